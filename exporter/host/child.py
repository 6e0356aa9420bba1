"""Child processes of the exporter: which there are, how they end, and how to kill them without a long wait."""

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator

from exporter.forks import reset_after_fork

UNKNOWN_STATUS = 256  # no process exits with it
MAX_REAP_WAIT = 0.1
"""Seconds to wait for a killed child. If it is blocked in the kernel, on a dead mount, it dies only later."""

_running: set[int] = set()  # PIDs
_left: set[int] = set()  # sessions of commands that have ended, but not all of whose processes have


def _forget_all() -> None:
    _running.clear()
    _left.clear()


reset_after_fork(_forget_all)  # they are children of the parent


def note_start(child: "subprocess.Popen[bytes]") -> None:
    """Note that the exporter has started this child."""
    _running.add(child.pid)


def note_end(child: "subprocess.Popen[bytes]") -> None:
    """Note that a child has ended."""
    _running.discard(child.pid)


def note_session_end(child: "subprocess.Popen[bytes]") -> None:
    """Note that a child has ended that led a session. What is left of the session has been started by it."""
    note_end(child)
    if _group_exists(child.pid):
        _left.add(child.pid)


def list_started() -> set[int]:
    """Return the PIDs of the exporter's children, and the sessions that ended commands have left processes in."""
    for pid in tuple(_running):
        if not _exists(pid):  # it was killed, and nothing waited for its end
            _running.discard(pid)
    for leader in tuple(_left):
        if not _group_exists(leader) or _exists(leader):  # a process with the number of one that was reaped is new
            _left.discard(leader)
    return _running | _left


@contextlib.contextmanager
def watch_exit(pid: int, selector: selectors.BaseSelector) -> Iterator[int | None]:
    """Make the selector wake up when the process exits, and yield its pidfd; None if there are none (Linux 5.3)."""
    try:
        pidfd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        selector.register(pidfd, selectors.EVENT_READ)
        yield pidfd
    finally:
        os.close(pidfd)


def has_ended(child: "subprocess.Popen[bytes]", pidfd: int | None = None) -> bool:
    """Return whether the child has ended; then its `returncode` is its exit status.

    Raises ChildProcessError if something else has collected the status: a handler or a thread of the application that
    the exporter is embedded in, or the kernel if SIGCHLD is ignored. Popen's own methods would report success. With a
    pidfd, the status is the child's even if its PID has been reused.
    """
    if child.returncode is None:
        try:
            child.returncode = _collect(child.pid, pidfd)
        except ChildProcessError:
            child.returncode = UNKNOWN_STATUS
            raise
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


def _collect(pid: int, pidfd: int | None) -> int | None:
    if pidfd is None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def _reap(child: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(MAX_REAP_WAIT)


def _group_exists(leader: int) -> bool:
    return _accepts(os.killpg, leader)


def _exists(pid: int) -> bool:
    return _accepts(os.kill, pid)


def _accepts(send: Callable[[int, int], None], number: int) -> bool:
    """Return whether there is a process or a group with this number; signal 0 only asks."""
    try:
        send(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
