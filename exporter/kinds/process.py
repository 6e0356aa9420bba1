"""The kind `process`: whether processes run, how many, for how long and with how much memory."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import psutil
from pydantic import model_validator

from exporter.host.family import Family
from exporter.host.mounts import explain_absence
from exporter.host.processes import Running, list_pids, measure_memory
from exporter.host.reader import explained, read
from exporter.host.scan import Scan, Wanted, scan_processes
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason, Status
from exporter.probe.check import Probe
from exporter.probe.expect import Pattern, matches
from exporter.probe.options import Count, FilePath, PositiveCount, Seconds, Text

_HIGHEST_PID = 2**22  # of Linux; a longer number may be a secret in the wrong place
MAX_PID_FILE = 64  # every format of PID file begins with the PID


class Process(Probe):
    """Checks that processes run, found by one of `name`, `commandLine` and `pidFile`.

    The check sees the processes of the exporter's own container. In a pod with `shareProcessNamespace: true`, it sees
    the processes of the whole pod; a sidecar needs this setting. The summary lists the PIDs.

    These do not count: the exporter itself, other exporters, and the commands of their checks; zombies; and processes
    that a signal has stopped (state T), which the summary mentions. The commands of an exporter that is embedded in
    another process do count. A process whose main thread has ended counts while another of its threads runs. A process
    that a debugger has stopped counts, and the check warns.

    Memory that several of the processes share counts once. If the processes belong to another user, or have more than
    2 GiB, memory that is shared since a fork counts for each of them, and the summary says so.

    If the processes of other users are hidden (hidepid) and one more process could change the result, the result is
    `unknown`.
    """

    measures: ClassVar = {
        "processes": "Processes that were found in the latest run.",
        "process_age_seconds": "Time since the start of the youngest process that was found in the latest run.",
        "process_memory_bytes": "Memory of all processes that were found in the latest run; shared memory counts once.",
    }
    examples: ClassVar = (
        "- name: nginx\n  process: {name: nginx}",
        "- name: workers\n  process: {commandLine: 'celery .* worker', minCount: 4, warnMemoryBytes: 2147483648}",
        "- name: database\n  process: {pidFile: /run/postgresql/15-main.pid, warnAgeSeconds: 60}",
    )

    name: Text | None = None
    """Name of the program, in full or as `ps -o comm`, `pgrep -x` and `top` show it, cut off after 15 bytes."""
    command_line: Pattern | None = None
    """Regular expression (RE2) to find anywhere in the command line, whose arguments are joined by spaces. Requires the
    extra `expect`."""
    pid_file: FilePath | None = None
    """Path of a file that begins with the PID. A different process with a reused PID is not recognized."""
    min_count: Count = 1
    """Fails when fewer processes run."""
    max_count: Count | None = None
    """Fails when more processes run."""
    min_age_seconds: Seconds | None = None
    """Fails when the youngest process is at most this many seconds old."""
    warn_age_seconds: Seconds | None = None
    """Warns when the youngest process is at most this many seconds old, because it restarted recently."""
    warn_memory_bytes: PositiveCount | None = None
    """Warns when the memory of all the processes together reaches this number of bytes."""
    fail_memory_bytes: PositiveCount | None = None
    """Fails when the memory of all the processes together reaches this number of bytes."""

    @model_validator(mode="after")
    def _validate_options(self) -> Self:
        if sum(way is not None for way in (self.name, self.command_line, self.pid_file)) != 1:
            raise ValueError("needs exactly one of name, commandLine and pidFile")
        if self.max_count is not None and self.min_count > self.max_count:
            raise ValueError("minCount (1 by default) must not be above maxCount")
        return self

    @property
    def target(self) -> str:
        if self.name is not None:
            return f"process {self.name}"
        return f"process of {self.pid_file}" if self.pid_file is not None else f"process matching {self.command_line}"

    def liveness_risk(self) -> str | None:
        return None if self.min_age_seconds is None else "a restart makes the processes younger than minAgeSeconds"

    def probe(
        self,
        deadline: Deadline,
        pids: Callable[[], Iterable[int]] = psutil.pids,
        process: Callable[[int], psutil.Process] = psutil.Process,
        wall: Callable[[], float] = time.time,
        proc: Path = Path("/proc"),
    ) -> Outcome:
        visible, note = set(pids()), ""
        candidates = visible
        if self.pid_file:
            pid, note = _read_pid(self.pid_file, deadline)
            candidates = visible & {pid}
        wanted = Wanted(self.name, None if self.command_line is None else partial(matches, self.command_line))
        scan = scan_processes(candidates, wanted, deadline, Family(proc), process)
        scan.note = note
        scan.hidden |= 1 not in visible  # PID 1 always exists
        if scan.hidden and self._is_uncertain(len(scan.running)):
            message = f"{self.target}: {len(scan.running)} found, but processes of other users are hidden (hidepid)"
            raise ProbeError(Reason.PERMISSION, message)
        return self._compare(scan, wall(), proc)

    def _is_uncertain(self, count: int) -> bool:
        """Return whether one more process, which is hidden, could change the result."""
        return count < self.min_count or (self.max_count is not None and count <= self.max_count)

    def _compare(self, scan: Scan, now: float, proc: Path) -> Outcome:
        count, others = len(scan.running), scan.describe_others(self.name)
        if count == 0 and not scan.stopped and self.min_count > 0:
            return Outcome.failed(Reason.MISSING, f"no {self.target} is running{others}", Measurement("processes", 0))
        pids = f" ({list_pids(process.pid for process in scan.running)})" if count else ""
        summary = f"{self.target}: {count} running{pids}{others}"
        counted = Outcome.counted(summary, "processes", count, self.min_count, self.max_count)
        if count == 0:
            return counted
        return Outcome.worst(
            counted,
            *_warn_about_debugger(scan.traced),
            *self._compare_age([process.started for process in scan.running], now, proc),
            self._compare_memory(scan.running),
        )

    def _compare_age(self, started: list[float | None], now: float, proc: Path) -> Iterator[Outcome]:
        known = [moment for moment in started if moment is not None]
        limits = self.warn_age_seconds, self.min_age_seconds
        if len(known) == len(started):
            age = max(0.0, now - max(known))
            measurement = Measurement("process_age_seconds", age, *limits, falling=True)
            yield Outcome.measured(f"the youngest is {measurement.quantity} old", measurement)
        elif limits != (None, None):
            why = explain_absence(proc / "stat", proc, "it has the time of the start of the system")
            yield Outcome(Status.UNKNOWN, Reason.MISSING, f"the age is not known: {why}")

    def _compare_memory(self, running: list[Running]) -> Outcome:
        limits = self.warn_memory_bytes, self.fail_memory_bytes
        memory, exact = measure_memory(running)
        if memory == 0 and limits != (None, None):
            return Outcome(Status.UNKNOWN, Reason.MISSING, "the kernel reports no memory of it, as for its own threads")
        words = "" if exact else ", with memory that is shared since a fork counted for each process"
        use = Measurement("process_memory_bytes", memory, *limits)
        return Outcome.measured(f"{use.quantity} of memory in use{words}", use)


def _warn_about_debugger(traced: list[int]) -> Iterator[Outcome]:
    if traced:
        message = f"{len(traced)} stopped by a debugger ({list_pids(traced)})"
        yield Outcome(Status.WARN, Reason.THRESHOLD, message)


def _read_pid(path: str, deadline: Deadline) -> tuple[int, str]:
    """Return the PID at the beginning of the file, or 0, and a note for the case that no such process runs.

    Raises ProbeError if the file cannot be read.
    """
    with explained():
        try:
            words = read(path, MAX_PID_FILE, deadline).split()
        except (FileNotFoundError, NotADirectoryError):
            return 0, "the file does not exist"
    if not words or not words[0].isdigit() or int(words[0]) > _HIGHEST_PID:
        return 0, "the file does not begin with a PID"
    return int(words[0]), f"the file has the PID {int(words[0])}"
