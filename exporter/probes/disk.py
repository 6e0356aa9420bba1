"""The kind `disk`: how full a filesystem is."""

import errno
import os
import subprocess
import sys
from typing import Annotated, ClassVar

from pydantic import Field, PrivateAttr

from exporter.check import Probe, Ratio
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason

# A statfs on a dead mount cannot be interrupted, and a thread stuck in one makes the whole process unkillable; so a
# child process asks, and is given up when it must be. It prints an errno, and the numbers when that is 0.
_ASK = """
import os, sys
try:
    s = os.statvfs(sys.argv[1])
    print(0, s.f_blocks, s.f_bfree, s.f_bavail, s.f_frsize)
except OSError as error:
    print(error.errno)
"""


class Disk(Probe):
    """The part of a filesystem's space that is in use, counted as `df` does.

    A mount that does not answer within the timeout fails with the reason `timeout`. While an asking process hangs on
    it, no second one is started.
    """

    measures: ClassVar = {
        "disk_used_ratio": "Space in use, as a part of what users may use, as of the latest run.",
        "disk_available_bytes": "Space available to users, as of the latest run.",
        "disk_size_bytes": "Size of the filesystem, as of the latest run.",
    }

    path: Annotated[str, Field(min_length=1)] = "/"
    """Any path on the filesystem."""
    fail_ratio: Ratio = 0.9
    """Used part at and above which the check fails."""
    warn_ratio: Ratio | None = None
    """Used part at and above which it warns."""

    _asking: "subprocess.Popen[bytes] | None" = PrivateAttr(default=None)

    @property
    def target(self) -> str:
        return self.path

    def liveness_risk(self) -> str | None:
        return "a full or dead disk is rarely cured by a restart"

    def probe(self, deadline: Deadline) -> Outcome:
        if self._asking is not None and self._asking.poll() is None:
            return Outcome.failed(Reason.TIMEOUT, f"{self.path} still does not answer statfs (pid {self._asking.pid})")
        answer = self._ask(deadline)
        if answer is None:
            return Outcome.failed(Reason.TIMEOUT, f"{self.path} did not answer statfs in time")
        error, *numbers = answer
        if error in (errno.ENOENT, errno.ENOTDIR):
            return Outcome.failed(Reason.MISSING, f"{self.path} does not exist")
        if error in (errno.EACCES, errno.EPERM):
            raise ProbeError(Reason.PERMISSION, f"{self.path}: {os.strerror(error)}")
        if error:
            return Outcome.failed(Reason.ERROR, f"{self.path}: {os.strerror(error)}")
        blocks, free, available, size = numbers
        used = blocks - free
        ratio = used / (used + available) if used + available else 0.0
        return Outcome.judged(
            f"{ratio:.0%} of {self.path} is in use, {available * size / 2**30:.1f} GiB available",
            Measurement("disk_used_ratio", ratio, self.warn_ratio, self.fail_ratio),
            Measurement("disk_available_bytes", available * size),
            Measurement("disk_size_bytes", blocks * size),
        )

    def close(self) -> None:
        if self._asking is not None:
            self._asking.kill()

    def _ask(self, deadline: Deadline) -> list[int] | None:
        command = [sys.executable, "-I", "-S", "-c", _ASK, self.path]
        self._asking = child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child.stdout:
            try:
                output, _ = child.communicate(timeout=max(0.0, deadline.remaining()))
            except subprocess.TimeoutExpired:
                child.kill()  # not waited for: in a dead mount it dies when the mount answers
                return None
        if not output:
            raise ProbeError(Reason.ERROR, f"the process that asks for {self.path} ended with {child.returncode}")
        return [int(each) for each in output.split()]
