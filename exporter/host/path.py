"""Calls the system on paths that may block forever, for the kinds that check files and filesystems.

The processes of `path_processes` make the calls. One that does not respond by the deadline is killed and abandoned.
"""

import errno
import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

from exporter.forks import reset_after_fork
from exporter.host.mounts import read_mount_id
from exporter.host.path_processes import PathProcess, PathProcesses
from exporter.model import Deadline, Outcome, ProbeError, Reason


def find_python(executable: str = sys.executable) -> str:
    """Return the path of the Python interpreter. In uWSGI, `sys.executable` is uWSGI itself."""
    if Path(executable).name.startswith(("python", "pypy")):
        return executable
    folders = (f"{sys.exec_prefix}/bin", f"{sys.base_exec_prefix}/bin", os.environ.get("PATH", os.defpath))
    return shutil.which(f"python3.{sys.version_info.minor}", path=os.pathsep.join(folders)) or "python3"


# An import, unlike a script, uses what Python has compiled before: this takes 0.3 MiB less in each process.
_START = "import sys; sys.path.append(sys.argv[1]); import path_calls; path_calls.serve()"
_PROCESSES = PathProcesses((find_python(), "-I", "-S", "-c", _START, str(Path(__file__).parent)))
reset_after_fork(_PROCESSES.reset)


class PathError(Exception):
    """The path is bad: it does not exist, the system call fails, or its mount does not respond."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def outcome(self) -> Outcome:
        """Return the failed Outcome of the check."""
        return Outcome.failed(self.reason, str(self))


class PathQuery:
    """One system call on a path, in another process. At most one process is blocked on a dead mount."""

    def __init__(self, call: str, *fields: str, processes: PathProcesses = _PROCESSES) -> None:
        """`call` is a function of `os` that takes a path, `fields` are the attributes of its result to return."""
        self._words = " ".join((call, *fields))
        self._processes = processes
        self._blocked: PathProcess | None = None
        self._mount = 0  # ID of that of the root folder
        self._closed = False

    def run(self, path: str, deadline: Deadline, root: int | None = None) -> list[int]:
        """Return the fields, all whole numbers. Raises PathError, or ProbeError if the call could not be made.

        The path and its symbolic links are followed below the root folder `root`, a descriptor; None for that of this
        process.

        After the fields of `statvfs`, and of any call with a root folder, the ID of the mount follows (man 5
        proc_pid_mountinfo), or 0 if it is not known, and 1 if the path is where it is mounted.
        """
        mount = 0 if root is None else read_mount_id(root)
        if self._blocked is not None and self._blocked.is_running():
            self._report_block(path, self._blocked.child.pid, mount)
        self._blocked, self._mount = None, mount
        error, *numbers = self._call(path, deadline, root)
        if error in (errno.ENOENT, errno.ENOTDIR):
            raise PathError(Reason.MISSING, f"{path} does not exist")
        if error in (errno.EACCES, errno.EPERM):
            raise ProbeError(Reason.PERMISSION, f"{path}: {os.strerror(error)}")
        if error:
            raise PathError(Reason.ERROR, f"{path}: {os.strerror(error)}")
        return numbers

    def close(self) -> None:
        """Abandon a call in progress, and make no further one."""
        self._closed = True
        self._processes.close(self)

    def _report_block(self, path: str, pid: int, mount: int) -> NoReturn:
        """Raise PathError, or ProbeError if the process is blocked in a container that another one has replaced."""
        if mount != self._mount:
            message = f"{path} was not tried, because pid {pid} is still blocked on it in an earlier container"
            raise ProbeError(Reason.TIMEOUT, message)
        raise PathError(Reason.TIMEOUT, f"{path} still does not respond (pid {pid} is blocked on it)")

    def _call(self, path: str, deadline: Deadline, root: int | None) -> list[int]:
        """Return the numbers that the process responds with: an errno, or 0 and the fields."""
        if root is None and not path.startswith("/"):
            path = f"{Path.cwd()}/{path}"  # the process has another working directory
        process = self._processes.lend(self, path)
        try:
            if self._closed:
                raise ProbeError(Reason.ERROR, f"{path} was not tried, because the check is closed")
            return process.call(b"%s\0%s\0" % (self._words.encode(), os.fsencode(path)), root, deadline)
        except EOFError as error:
            raise ProbeError(Reason.ERROR, f"the process for {path} {error}") from None
        except TimeoutError:
            if not process.asked:
                message = f"{path} was not tried, because the process for it has not started in time"
                raise ProbeError(Reason.TIMEOUT, message) from None
            self._blocked = process
            raise PathError(
                Reason.TIMEOUT, f"{path} did not respond in time: its mount or its server may be dead"
            ) from None
        finally:
            self._processes.take_back(self)
