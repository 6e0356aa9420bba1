"""Cgroups of version 1 and 2: limits for the memory, the CPU time and the number of processes of a program."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from support import eventually, unavailable

ROOT = Path("/sys/fs/cgroup")
CPU_PERIOD = 100_000  # microseconds, the kernel's default
UNLIMITED = {"memory": "-1", "cpu": "-1", "pids": "max"}  # in version 1


class Cgroup:
    """A cgroup for one test. `memory` is in bytes, `cpu` is a share of one CPU, `pids` counts threads, too."""

    def __init__(self, **limits: float) -> None:
        name = f"health-exporter-test-{uuid4().hex[:8]}"
        self.unified = (ROOT / "cgroup.controllers").exists()
        parent = self._prepare_parent(*limits) if self.unified else ROOT
        self.folders = {kind: (parent if self.unified else ROOT / kind) / name for kind in limits}
        for folder in set(self.folders.values()):
            folder.mkdir()
        self.limit(**limits)

    def limit(self, **limits: float | None) -> None:
        """Change limits; None removes one."""
        for kind, value in limits.items():
            write = self._limit_unified if self.unified else self._limit_legacy
            write(kind, value)

    @property
    def prefix(self) -> list[str]:
        """Words to put before a command, which then runs in the cgroup."""
        enter = "".join(f"echo $$ > {folder}/cgroup.procs; " for folder in set(self.folders.values()))
        return ["sh", "-ec", f'{enter}exec "$@"', "sh"]

    @contextmanager
    def nested(self, name: str, memory: int) -> Iterator[list[str]]:
        """A cgroup inside this one, with a limit for its memory; words to put before a command, which runs in it."""
        outer = self.folders["memory"]
        if self.unified:
            (outer / "cgroup.subtree_control").write_text("+memory")
        folder = outer / name
        folder.mkdir()
        (folder / ("memory.max" if self.unified else "memory.limit_in_bytes")).write_text(str(memory))
        try:
            yield ["sh", "-ec", f'echo $$ > {folder}/cgroup.procs; exec "$@"', "sh"]
        finally:
            eventually(lambda: not (folder / "cgroup.procs").read_text(), what="the cgroup is empty")
            folder.rmdir()

    def processes(self) -> list[int]:
        """The PIDs in the cgroup."""
        folder = next(iter(self.folders.values()))
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]

    def count(self, kind: str, file: str, key: str) -> int:
        """A number of a file of the kernel in the form `key number`, such as `cpu.stat`."""
        words = (self.folders[kind] / file).read_text().split()
        return int(words[words.index(key) + 1])

    def anonymous_memory(self) -> int:
        """Bytes of memory that the kernel cannot take back by dropping a cache."""
        return self.count("memory", "memory.stat", "anon" if self.unified else "total_rss")

    def remove(self) -> None:
        """End what still runs in it, and remove it."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self.processes(), what="the cgroup is empty")
        for folder in set(self.folders.values()):
            folder.rmdir()

    def _limit_unified(self, kind: str, value: float | None) -> None:
        text = "max" if value is None else str(int(value * CPU_PERIOD) if kind == "cpu" else int(value))
        self._write(kind, f"{kind}.max", f"{text} {CPU_PERIOD}" if kind == "cpu" else text)
        if kind == "memory" and (self.folders[kind] / "memory.swap.max").exists():
            self._write(kind, "memory.swap.max", "max" if value is None else "0")

    def _limit_legacy(self, kind: str, value: float | None) -> None:
        file = {"memory": "memory.limit_in_bytes", "cpu": "cpu.cfs_quota_us", "pids": "pids.max"}[kind]
        scale = CPU_PERIOD if kind == "cpu" else 1
        self._write(kind, file, UNLIMITED[kind] if value is None else str(int(value * scale)))

    def _write(self, kind: str, file: str, text: str) -> None:
        (self.folders[kind] / file).write_text(text)

    def _prepare_parent(self, *kinds: str) -> Path:
        """Let the cgroup of this process have limited children: then it must contain no process itself."""
        listing = Path("/proc/self/cgroup").read_text()
        parent = ROOT / listing.rpartition("::")[2].strip().lstrip("/")
        controllers = " ".join(f"+{kind}" for kind in kinds)
        try:
            (parent / "cgroup.subtree_control").write_text(controllers)
        except OSError:
            (parent / "tests").mkdir(exist_ok=True)
            for pid in (parent / "cgroup.procs").read_text().split():
                with suppress(OSError):  # it has ended, or belongs to the kernel
                    (parent / "tests" / "cgroup.procs").write_text(pid)
            (parent / "cgroup.subtree_control").write_text(controllers)
        return parent


@contextmanager
def cgroup(**limits: float) -> Iterator[Cgroup]:
    """A cgroup with these limits; skips the test where none can be made."""
    try:
        made = Cgroup(**limits)
    except OSError as error:
        unavailable(f"no cgroup with limits for {', '.join(limits)} can be made here: {error}")
    try:
        yield made
    finally:
        made.remove()
