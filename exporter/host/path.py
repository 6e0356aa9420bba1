"""Calls the system on paths that may block forever, for the kinds that check files and filesystems.

A system call on a dead mount cannot be interrupted, and a thread blocked in one makes the whole process unkillable. A
child process therefore makes the call; at the deadline the child is killed and abandoned.
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from exporter.host.child import kill, note_end, note_start
from exporter.host.mounts import read_mount_id
from exporter.model import Deadline, Outcome, ProbeError, Reason

_SCRIPT = """
import errno, os, stat, sys
root, call, path, *fields = sys.argv[1:]
MAX_LINKS = 40  # as in path_resolution(7)

def find_mount(descriptor):
    with open(f"/proc/self/fdinfo/{descriptor}") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))

def identify():
    if root:
        mount, above = find_mount(opened[-1]), find_mount(opened[-2]) if len(opened) > 1 else None
    else:
        real = os.path.realpath(path)
        mount = find_mount(os.open(real, os.O_PATH))
        above = find_mount(os.open(os.path.dirname(real), os.O_PATH)) if real != "/" else None
    return mount, int(mount != above)

def walk():
    # The kernel would follow an absolute link from this process's root folder, and .. to above the given one.
    links, parts = 0, path.split("/")[::-1]
    while parts:
        part = parts.pop()
        if part in ("", ".", ".."):
            if not stat.S_ISDIR(os.stat(opened[-1]).st_mode):
                raise OSError(errno.ENOTDIR, part)
            if part == ".." and len(opened) > 1:
                os.close(opened.pop())
            continue
        descriptor = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=opened[-1])
        if not stat.S_ISLNK(os.stat(descriptor).st_mode):
            opened.append(descriptor)
            continue
        target = os.readlink("", dir_fd=descriptor)
        os.close(descriptor)
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, part)
        while target.startswith("/") and len(opened) > 1:
            os.close(opened.pop())
        parts += target.split("/")[::-1]
    return opened[-1]

try:
    opened = [int(root)] if root else []
    result = getattr(os, call)(walk() if root else path)
except OSError as error:
    print(error.errno)
    raise SystemExit
print(0, *(getattr(result, field) for field in fields))
if root or call == "statvfs":
    try:
        print(*identify())
    except (OSError, StopIteration):
        print(0, 0)
"""


def find_python(executable: str = sys.executable) -> str:
    """Return the path of the Python interpreter. In uWSGI, `sys.executable` is uWSGI itself."""
    if Path(executable).name.startswith(("python", "pypy")):
        return executable
    folders = (f"{sys.exec_prefix}/bin", f"{sys.base_exec_prefix}/bin", os.environ.get("PATH", os.defpath))
    return shutil.which(f"python3.{sys.version_info.minor}", path=os.pathsep.join(folders)) or "python3"


_PYTHON = (find_python(), "-I", "-S", "-c", _SCRIPT)


class PathError(Exception):
    """The path is bad: it does not exist, the system call fails, or its mount does not respond."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def outcome(self) -> Outcome:
        """Return the failed Outcome of the check."""
        return Outcome.failed(self.reason, str(self))


class PathQuery:
    """One system call on a path, in a child process. At most one child is blocked on a dead mount."""

    def __init__(self, call: str, *fields: str, command: Sequence[str] = _PYTHON) -> None:
        """`call` is a function of `os` that takes a path, `fields` are the attributes of its result to return."""
        self._call = call
        self._fields = fields
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._mount = 0  # ID of that of the root folder

    def run(self, path: str, deadline: Deadline, root: int | None = None) -> list[int]:
        """Return the fields, all whole numbers. Raises PathError, or ProbeError if the call could not be made.

        The path and its symbolic links are followed below the root folder `root`, a descriptor; None for that of this
        process.

        After the fields of `statvfs`, and of any call with a root folder, the ID of the mount follows (man 5
        proc_pid_mountinfo), or 0 if it is not known, and 1 if the path is where it is mounted.
        """
        mount = 0 if root is None else read_mount_id(root)
        if self._child is not None:
            if self._child.poll() is None:
                self._report_block(path, self._child.pid, mount)
            note_end(self._child)
        self._mount = mount
        error, *numbers = self._run_child(path, deadline, root)
        if error in (errno.ENOENT, errno.ENOTDIR):
            raise PathError(Reason.MISSING, f"{path} does not exist")
        if error in (errno.EACCES, errno.EPERM):
            raise ProbeError(Reason.PERMISSION, f"{path}: {os.strerror(error)}")
        if error:
            raise PathError(Reason.ERROR, f"{path}: {os.strerror(error)}")
        return numbers

    def close(self) -> None:
        """Abandon a call in progress."""
        if self._child is not None:
            kill(self._child)

    def _report_block(self, path: str, pid: int, mount: int) -> NoReturn:
        """Raise PathError, or ProbeError if the child is blocked in a container that another one has replaced."""
        if mount != self._mount:
            message = f"{path} was not tried, because pid {pid} is still blocked on it in an earlier container"
            raise ProbeError(Reason.TIMEOUT, message)
        raise PathError(Reason.TIMEOUT, f"{path} still does not respond (pid {pid} is blocked on it)")

    def _run_child(self, path: str, deadline: Deadline, root: int | None) -> list[int]:
        """Return the numbers that the child prints: an errno, or 0 and the fields."""
        command = [*self._command, "" if root is None else str(root), self._call, path, *self._fields]
        passed = () if root is None else (root,)
        self._child = child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=passed
        )
        note_start(child)
        assert child.stdout is not None
        with child.stdout:
            try:
                output, _ = child.communicate(timeout=max(0.0, deadline.remaining()))
                note_end(child)
            except subprocess.TimeoutExpired:
                kill(child)
                raise PathError(
                    Reason.TIMEOUT, f"{path} did not respond in time: its mount or its server may be dead"
                ) from None
        if not output:
            # Python takes a status that something else has collected for 0.
            how = f"exited with {child.returncode}" if child.returncode else "ended without an answer"
            raise ProbeError(Reason.ERROR, f"the child process for {path} {how}")
        return [int(number) for number in output.split()]
