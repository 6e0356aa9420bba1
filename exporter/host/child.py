"""Ending a child process that has run out of time, without ever waiting for it for long."""

import contextlib
import os
import signal
import subprocess

MAX_REAP_WAIT = 0.1
"""How long to wait for a killed child. One that is blocked in the kernel, on a dead mount, dies only when that ends."""


def kill(child: "subprocess.Popen[bytes]") -> None:
    """Kill one process and reap it, unless it is blocked in the kernel."""
    child.kill()
    _reap(child)


def kill_session(child: "subprocess.Popen[bytes]") -> None:
    """Kill a child that leads a session, with its whole process group, and reap it unless it is blocked."""
    kill_group(child.pid)
    _reap(child)


def kill_group(leader: int) -> None:
    """Kill a process group without waiting for it. A group that no longer exists is not an error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _reap(child: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(MAX_REAP_WAIT)
