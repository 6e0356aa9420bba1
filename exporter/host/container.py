"""The container of another process: its root folder, its mounts and its cgroup, as that process sees them.

Theory of operation. Containers that share a PID namespace see each other's processes, and `/proc/PID/root` is the root
folder of a process's own mount namespace. Three things could lead to another place than the one that is meant:

- A PID may be reused. The folder of the process in /proc is therefore opened first. It never becomes the folder of
  another process, and only then is the process checked to be the wanted one.
- A container may end at any time, and its mounts are gone before its last process is. A file that was on one of them
  would seem to be missing. After each use, the process must therefore still have its root folder.
- Whoever controls the container controls its symbolic links. `path` follows them below the root folder;
  `folders` follows none on the way to the files of a cgroup.

`/proc/PID/root` is readable under the conditions of ptrace(2), section "Ptrace access mode checking".
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from exporter.host.cgroup import Cgroup
from exporter.host.family import Family
from exporter.host.folders import TheirFolder, open_plain
from exporter.host.mounts import find_mount, list_mounts, read_mount_id
from exporter.host.proc import name_descriptor
from exporter.host.processes import list_pids
from exporter.host.scan import Scan, Wanted, scan_processes
from exporter.model import Deadline, ProbeError, Reason

_ENDED = (FileNotFoundError, ProcessLookupError)
_FIX = "or run the exporter as root with the capability SYS_PTRACE"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Container:
    """The container of a process. The descriptors are open while it is used."""

    process: str  # in words, with its PID
    pid: int
    folder: Path  # of the process in /proc
    root: int  # descriptor of its root folder

    def read_cgroup(self, read: Callable[[Cgroup], _T]) -> _T:
        """Return what a function reads from the cgroup of the process. A message names paths as the process does."""
        with ExitStack() as stack:
            try:
                return read(Cgroup(self.folder, partial(self._open_hierarchy, stack)))
            except ProbeError as error:
                message = str(error).replace(f"{self.folder}/", f"/proc/{self.pid}/")
                raise ProbeError(error.reason, f"{self.process}: {message}") from None

    def _open_hierarchy(self, stack: ExitStack, controller: str) -> TheirFolder:
        """Return where a controller's hierarchy is mounted in the container. The stack closes its descriptor."""
        kind = "cgroup" if controller else "cgroup2"
        for _, mount in list_mounts(self.folder):
            if mount.type == kind and (not controller or controller in mount.options):
                with suppress(OSError):  # another filesystem is mounted above it
                    descriptor = open_plain(self.root, mount.point)
                    stack.callback(os.close, descriptor)
                    # An open mount keeps its ID: the list says now what has been opened.
                    if find_mount(read_mount_id(descriptor), self.folder) == mount:
                        return TheirFolder(descriptor, mount.point)
        which = f"{kind} filesystem of the controller {controller}" if controller else f"{kind} filesystem"
        message = f"it has no {which}: mount it at /sys/fs/cgroup, as container runtimes do"
        raise ProbeError(Reason.MISSING, message)


@contextmanager
def open_container(who: str, wanted: Wanted, deadline: Deadline) -> Iterator[Container]:
    """Find the container of a process, and close it at the end. `who` is the process in words.

    If several processes match, the ancestor of the others is used. Raises ProbeError if there is none, if there
    are several in different containers, if the exporter may not look into the container, and, at the end, if the
    process has ended meanwhile.
    """
    pids, family = set(psutil.pids()), Family()
    scan = scan_processes(pids, wanted, deadline, family)
    live = {pid: pid for pid in scan.stopped} | {process.pid: process.live.pid for process in scan.running}
    first, *others = _select_ancestors(live, family) or [0]
    if not first:
        raise _explain_absence(who, wanted, scan, pids, family)
    who = f"{who} ({list_pids([first])})"
    with ExitStack() as stack:
        folder = stack.enter_context(_open_folder(first, live[first]))
        if first not in _list_found(scan_processes([first], wanted, deadline, family)):
            raise _report_end(who)
        for pid in others:
            with _open_folder(pid, live[pid]) as other:
                if not _share_container(who, folder, other):
                    message = f"{who} and pid {pid} are in different containers: name the process by a commandLine"
                    raise ProbeError(Reason.ERROR, f"{message} that only one of them has")
        with _explained(who, folder):
            root = os.open(folder / "root", os.O_PATH | os.O_DIRECTORY)
            stack.callback(os.close, root)
        try:
            yield Container(who, first, folder, root)
        finally:
            with _explained(who, folder):
                (folder / "root").readlink()


def _list_found(scan: Scan) -> list[int]:
    return [*scan.stopped, *(process.pid for process in scan.running)]


def _select_ancestors(pids: Collection[int], family: Family) -> list[int]:
    """Return the processes that do not descend from one of the others, the oldest PID first."""
    return sorted(pid for pid in pids if not set(pids).intersection(family.list_ancestors(pid)))


@contextmanager
def _open_folder(pid: int, thread: int) -> Iterator[Path]:
    """Open the folder of a process in /proc, of a thread of it if its main thread has ended, and return its path."""
    try:
        descriptor = os.open(f"/proc/{pid}/task/{thread}", os.O_PATH | os.O_DIRECTORY)
    except _ENDED:
        raise _report_end(f"pid {pid}") from None
    try:
        yield name_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _share_container(who: str, one: Path, other: Path) -> bool:
    """Return whether two processes are in the same cgroup and see the same mounts. Anyone may read the cgroup."""
    with _explained(who, other):
        same_cgroup = (one / "cgroup").read_text() == (other / "cgroup").read_text()
        return same_cgroup and (one / "ns" / "mnt").readlink() == (other / "ns" / "mnt").readlink()


@contextmanager
def _explained(who: str, folder: Path) -> Iterator[None]:
    try:
        try:
            yield
        except PermissionError:
            message = f"no access to the container of {who}: {_explain_denial(folder)}"
            raise ProbeError(Reason.PERMISSION, message) from None
    except _ENDED:  # also while the reason was looked up
        raise _report_end(who) from None


def _explain_absence(who: str, wanted: Wanted, scan: Scan, pids: Collection[int], family: Family) -> ProbeError:
    if 1 not in pids or scan.hidden:
        message = f"{who} was not found, but processes of other users are hidden (hidepid)"
        return ProbeError(Reason.PERMISSION, message)
    if family.includes(1) or all(map(family.includes, pids)):
        message = f"{who} was not found: only the exporter's own processes are visible"
        return ProbeError(Reason.MISSING, f"{message}; set shareProcessNamespace: true in the pod")
    others = scan.describe_others(wanted.name)
    return ProbeError(Reason.MISSING, f"{who} is not running, so its container is not known{others}")


def _report_end(who: str) -> ProbeError:
    return ProbeError(Reason.MISSING, f"{who} ended during the run, so its container is not known")


def _explain_denial(folder: Path) -> str:
    """Return which condition of ptrace(2) is not met, and what to do."""
    theirs, ours = _read_status(folder), _read_status(Path("/proc/thread-self"))
    ids = [(theirs[key][:3], ours[key][3:]) for key in ("Uid", "Gid")]  # real, effective, saved; of the filesystem
    if any(set(process) != set(exporter) for process, exporter in ids):
        users = ":".join(process[0] for process, _ in ids), ":".join(exporter[0] for _, exporter in ids)
        message = "it runs as the user and group {}, the exporter as {}: give both containers the same runAsUser"
        return f"{message.format(*users)} and runAsGroup, {_FIX}"
    if int(theirs["CapPrm"][0], 16) & ~int(ours["CapEff"][0], 16):
        return f"it has capabilities that the exporter does not have: drop them (capabilities: {{drop: [ALL]}}), {_FIX}"
    return f"it has changed its user after it started, or protects itself: start it as its final user, {_FIX}"


def _read_status(folder: Path) -> dict[str, list[str]]:
    lines = ((folder / "status").read_text(errors="replace")).split("\n")  # as in `count_allowed_cpus`
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
