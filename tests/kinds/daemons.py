"""Database servers from Debian's packages, each on a free port of loopback with data of its own, that can be frozen."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import Process, command

from exporter.model import Deadline, Outcome
from exporter.probe.check import Probe

LATE = 0.25
"""Seconds after its deadline by which every act of looking has ended."""


@contextmanager
def folder(user: str) -> Iterator[Path]:
    """A new folder that belongs to a user where the tests run as root; removed at the end."""
    made = Path(tempfile.mkdtemp(prefix="health-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(made, user, user)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def as_user(user: str, *arguments: str) -> list[str]:
    """The command, run as this user where the tests run as root: some servers refuse to be."""
    if os.geteuid() != 0:
        return list(arguments)
    return [command("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *arguments]


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    """The process stopped: its port still takes connections, and nothing is answered."""
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


def look(probe: Probe, timeout: float = 5.0) -> Outcome:
    """One act of looking, which keeps its deadline."""
    began = time.monotonic()
    outcome = probe.probe(Deadline(began + timeout))
    took = time.monotonic() - began
    assert took < timeout + LATE, f"it took {took:.2f} s of {timeout} s"
    return outcome
