"""Folders of cgroup filesystems: those of the exporter's own container, and those of another one.

Theory of operation. A process may mount anything in its own container, also without privileges, in a user namespace: on
a file of its cgroup a symbolic link, a FIFO, a device, or any other file. The kernel would follow an absolute link from
the root folder of the exporter. So the folders and files of another container are opened one after the other, each only
as a reference (O_PATH), which neither follows a link nor waits for anything. Only what has the mount ID of the cgroup
filesystem is the kernel's own.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from exporter.host.mounts import read_mount_id
from exporter.host.proc import name_descriptor, read_file
from exporter.model import ProbeError, Reason

MAX_FILE = 64 * 1024  # bytes
_REFERENCE = os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", 0)  # macOS has no such containers


class Folder(Protocol):
    """A folder of a cgroup filesystem. Its text is its path."""

    def find(self, parts: Sequence[str]) -> "Folder":
        """Return a folder below this one, which may not exist."""

    def exists(self) -> bool:
        """Return whether it is a folder."""

    def read(self, name: str) -> str | None:
        """Return the beginning of the text of a file in it; None if the file does not exist."""


class OwnFolder:
    """A folder in the exporter's own container."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def find(self, parts: Sequence[str]) -> "OwnFolder":
        """Return a folder below this one."""
        return OwnFolder(self._path.joinpath(*parts))

    def exists(self) -> bool:
        """Return whether it is a folder, also at the end of a symbolic link."""
        return self._path.is_dir()

    def read(self, name: str) -> str | None:
        """Return the text of a file, also at the end of a symbolic link."""
        return read_file(self._path / name, MAX_FILE)


class TheirFolder:
    """A folder in another container, of which only the kernel's own files are read."""

    def __init__(self, root: int, point: str, parts: Sequence[str] = ()) -> None:
        """`root` is a descriptor of where the filesystem is mounted, and `point` is that path in the container."""
        self._root = root
        self._point = point
        self._parts = tuple(parts)

    def __str__(self) -> str:
        return "/".join((self._point, *self._parts))

    def find(self, parts: Sequence[str]) -> "TheirFolder":
        """Return a folder below this one."""
        return TheirFolder(self._root, self._point, (*self._parts, *parts))

    def exists(self) -> bool:
        """Return whether it is a folder. Raises ProbeError if it is not the kernel's."""
        with ExitStack() as stack:
            try:
                return stat.S_ISDIR(os.fstat(self._refer(self._parts, stack)).st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return False

    def read(self, name: str) -> str | None:
        """Return the text of a file. Raises ProbeError if it is not the kernel's."""

        def open_(path: str, flags: int) -> int:
            with ExitStack() as stack:
                descriptor = self._refer((*self._parts, name), stack)
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise _refuse(path)
                return os.open(name_descriptor(descriptor), flags)

        return read_file(Path(f"{self}/{name}"), MAX_FILE, open_)

    def _refer(self, parts: Sequence[str], stack: ExitStack) -> int:
        """Return a descriptor of what is there, which the stack closes. Raises ProbeError if it is not the kernel's."""
        descriptor, mount = self._root, read_mount_id(self._root)
        for part in parts:
            descriptor = os.open(part, _REFERENCE, dir_fd=descriptor)
            stack.callback(os.close, descriptor)
            if read_mount_id(descriptor) != mount:  # before anything else, because its filesystem may not respond
                raise _refuse("/".join((self._point, *parts)))
        return descriptor


def open_plain(root: int, path: str) -> int:
    """Return a descriptor of a folder that no symbolic link leads to. Raises OSError; a link is not a folder."""
    descriptor = os.open(".", _REFERENCE | os.O_DIRECTORY, dir_fd=root)
    for part in path.split("/"):
        above = descriptor
        try:
            descriptor = os.open(part or ".", _REFERENCE | os.O_DIRECTORY, dir_fd=above)
        finally:
            os.close(above)
    return descriptor


def _refuse(path: str) -> ProbeError:
    message = f"{path} is not a file of the kernel: something else is mounted there"
    return ProbeError(Reason.ERROR, message)
