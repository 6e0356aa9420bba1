"""Collects the exit status of child processes, and kills those that have run out of time, without a long wait."""

import contextlib
import os
import signal
import subprocess

UNKNOWN_STATUS = 256  # no process exits with it
MAX_REAP_WAIT = 0.1
"""Seconds to wait for a killed child. If it is blocked in the kernel, on a dead mount, it dies only later."""


def has_ended(child: "subprocess.Popen[bytes]") -> bool:
    """Return whether the child has ended; then its `returncode` is its exit status.

    Raises ChildProcessError if another handler has collected the status: one of the application that the exporter is
    embedded in, or the kernel if SIGCHLD is ignored. Popen's own methods would report success.
    """
    if child.returncode is None:
        try:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
        except ChildProcessError:
            child.returncode = UNKNOWN_STATUS
            raise
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode is not None


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
