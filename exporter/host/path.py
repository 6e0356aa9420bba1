"""Asking about a path that may never answer, for the kinds that look at files.

A system call on a dead mount cannot be interrupted, and a thread stuck in one makes the whole process unkillable; so a
child process asks, and is given up when it must be.
"""

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Sequence

from exporter.model import Deadline, Outcome, ProbeError, Reason

REAP = 0.1  # seconds a killed child has to be gone; in a dead mount it dies when the mount answers

_ASK = """
import os, sys
call, path, *fields = sys.argv[1:]
try:
    answer = getattr(os, call)(path)
    print(0, *(getattr(answer, field) for field in fields))
except OSError as error:
    print(error.errno)
"""
_PYTHON = (sys.executable, "-I", "-S", "-c", _ASK)


class PathError(Exception):
    """There is no answer about the path, or a bad one."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def outcome(self) -> Outcome:
        """The failure this is."""
        return Outcome.failed(self.reason, str(self))


class PathQuery:
    """Something to ask about a path. While a process hangs on it, no second one is started."""

    def __init__(self, call: str, *fields: str, command: Sequence[str] = _PYTHON) -> None:
        """`call` is the function of `os` to call with the path, `fields` what of its answer is wanted."""
        self._asked = (call, fields)
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None

    def run(self, path: str, deadline: Deadline) -> list[int]:
        """The fields, which are whole numbers. Raises PathError, or ProbeError where it could not look."""
        if self._child is not None and self._child.poll() is None:
            raise PathError(Reason.TIMEOUT, f"{path} still does not answer (pid {self._child.pid} waits for it)")
        error, *numbers = self._answer(path, deadline)
        if error in (errno.ENOENT, errno.ENOTDIR):
            raise PathError(Reason.MISSING, f"{path} does not exist")
        if error in (errno.EACCES, errno.EPERM):
            raise ProbeError(Reason.PERMISSION, f"{path}: {os.strerror(error)}")
        if error:
            raise PathError(Reason.ERROR, f"{path}: {os.strerror(error)}")
        return numbers

    def close(self) -> None:
        """Give up what is asked."""
        if self._child is not None:
            _give_up(self._child)

    def _answer(self, path: str, deadline: Deadline) -> list[int]:
        call, fields = self._asked
        command = [*self._command, call, path, *fields]
        self._child = child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child.stdout:
            try:
                output, _ = child.communicate(timeout=max(0.0, deadline.remaining()))
            except subprocess.TimeoutExpired:
                _give_up(child)
                raise PathError(Reason.TIMEOUT, f"{path} did not answer in time") from None
        if not output:
            raise ProbeError(Reason.ERROR, f"the process that asks for {path} ended with {child.returncode}")
        return [int(each) for each in output.split()]


def _give_up(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(REAP)
