"""Helpers for servers from Debian's packages, which run on a free port with their own data and can be frozen."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import Process, command, eventually

from exporter.model import Deadline, Outcome
from exporter.probe.check import Probe

MAX_OVERRUN = 20.0
"""Seconds a run may end after its deadline: a busy machine may delay it. Scripted servers hang for 30 s or more."""


@contextmanager
def folder(user: str) -> Iterator[Path]:
    """A new folder, removed at the end. It belongs to this user if the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="health-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(path, user, user)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def as_user(user: str, *arguments: str) -> list[str]:
    """The command, run as this user if the tests run as root: some servers refuse to run as root."""
    if os.geteuid() != 0:
        return list(arguments)
    return [command("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *arguments]


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    """The process, stopped for the length of the block: its port still accepts connections, but nothing responds."""
    process.signal(signal.SIGSTOP)
    eventually(lambda: is_stopped(process.pid), what="the process has stopped")
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    """Whether every thread of the process has stopped (proc(5): the field `state` follows the name in brackets)."""
    states = (stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat"))
    return set(states) == {"T"}


def run_probe(probe: Probe, timeout: float = 30.0) -> Outcome:
    """One run of the probe, which ends by its deadline."""
    deadline = Deadline(time.monotonic() + timeout)
    outcome = probe.probe(deadline)
    assert deadline.remaining() > -MAX_OVERRUN, f"it ended {-deadline.remaining():.2f} s after its deadline"
    return outcome
