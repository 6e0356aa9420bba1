"""Which processes are exporters, or were started by one. They are not the application, whatever they are called.

Theory of operation. The exporter knows its children, and the sessions of commands (`child`). A process belongs to one
of them if it descends from it or is in its session; the latter also finds a process whose parent has ended. Other
exporters are recognized by their command lines. `serve` has two processes, and only the second one starts others: the
first one, as PID 1, also becomes the parent of orphans that it has not started.
"""

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from exporter.host.child import list_started
from exporter.host.proc import read_file
from exporter.model import ProbeError

_COMMAND_LINE = re.compile(
    r"(?:\S*/)?(?:(?:python|pypy)[\w.-]* (?:-\w*[WX] \S+ |-[WX]\S+ |-\w+ )*?)?"  # with options, -W and -X with a value
    r"(?:(?:\S*/)?health-exporter|-m exporter) (\w+)"
)


class Family:
    """The processes of exporters."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def includes(self, pid: int) -> bool:
        """Return whether a process is an exporter, or was started by one."""
        if pid == os.getpid() or self._find_command(pid) is not None:
            return True
        ancestors = list(self.list_ancestors(pid))
        if not list_started().isdisjoint([pid, *ancestors, self._find_session(pid)]):
            return True
        commands = [*map(self._find_command, ancestors), None]
        return any(command == "check" or (command == parent == "serve") for command, parent in pairwise(commands))

    def list_ancestors(self, pid: int) -> Iterator[int]:
        """Yield the parent of a process, its parent, and so on; those that this process may not see are left out."""
        seen = {pid}  # a PID may be reused meanwhile
        while (pid := self._find_parent(pid)) and pid not in seen:
            seen.add(pid)
            yield pid

    def _find_parent(self, pid: int) -> int:
        fields = self._read(pid, "stat").rpartition(") ")[2].split()
        return int(fields[1]) if len(fields) > 1 else 0

    def _find_command(self, pid: int) -> str | None:
        """Return the command that an exporter was started with, such as `serve`; None if it is not an exporter."""
        match = _COMMAND_LINE.match(self._read(pid, "cmdline").replace("\0", " "))
        return match and match[1]

    def _find_session(self, pid: int) -> int:
        try:
            return os.getsid(pid)
        except OSError:  # it has ended
            return 0

    def _read(self, pid: int, name: str) -> str:
        try:
            return read_file(self._proc / str(pid) / name) or ""
        except (ProbeError, OSError):  # hidden, or it has ended
            return ""
