"""Goes through the processes that this one can see, and finds those that are wanted."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import psutil

from exporter.host.family import Family
from exporter.host.processes import Running, find_live_thread, find_similar, has_name, list_pids, read_command_line
from exporter.model import Deadline, ProbeError, Reason


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which processes to find: those with a name, those whose command line matches, or all."""

    name: str | None = None
    matches: Callable[[str], bool] | None = None


@dataclass(slots=True)
class Scan:
    """What a scan of all processes has found."""

    running: list[Running] = field(default_factory=list)
    traced: list[int] = field(default_factory=list)  # PIDs of those among them that a debugger has stopped
    stopped: list[int] = field(default_factory=list)  # PIDs; they do not run
    exporters: list[int] = field(default_factory=list)  # PIDs; they do not count
    names: list[tuple[int, str]] = field(default_factory=list)  # PIDs and names of processes with another name
    note: str = ""  # about the file that should have the PID
    hidden: bool = False  # there may be processes that cannot be seen

    def describe_others(self, name: str | None) -> str:
        """Return what else is there, for the end of a summary; if none runs, also similar names and the note."""
        others = ""
        if self.stopped:
            others += f", {len(self.stopped)} stopped by a signal until SIGCONT ({list_pids(self.stopped)})"
        if self.exporters:
            others += f", not counting what belongs to an exporter ({list_pids(self.exporters)})"
        if name is not None and not self.running and (similar := find_similar(self.names, name)):
            others += f"; similar names: {', '.join(similar)}"
        if self.note and not self.running:
            others += f": {self.note}"
        return others


def scan_processes(
    pids: Collection[int],
    wanted: Wanted,
    deadline: Deadline,
    family: Family,
    process: Callable[[int], psutil.Process] = psutil.Process,
) -> Scan:
    """Return which of these processes are wanted. Raises ProbeError if the deadline passes."""
    scan = Scan()
    for pid in sorted(pids):
        if deadline.remaining() <= 0:
            raise ProbeError(Reason.TIMEOUT, f"could not go through {len(pids)} processes in time")
        try:
            _add(process(pid), wanted, scan, family)
        except psutil.NoSuchProcess:  # it has ended during the scan, or is a zombie
            continue
        except psutil.AccessDenied:
            scan.hidden = True
    return scan


def _add(process: psutil.Process, wanted: Wanted, scan: Scan, family: Family) -> None:
    """Add the process to the scan, if it is wanted."""
    if wanted.name is not None and not has_name(process, wanted.name):
        scan.names.append((process.pid, process.name()))
    elif wanted.matches is not None and not wanted.matches(read_command_line(process)):
        return
    elif family.includes(process.pid):
        scan.exporters.append(process.pid)
    elif (live := find_live_thread(process)) is None:
        return
    elif (status := live.status()) == psutil.STATUS_STOPPED:
        scan.stopped.append(process.pid)
    else:
        scan.running.append(Running.of(process, live))
        if status == psutil.STATUS_TRACING_STOP:
            scan.traced.append(process.pid)
