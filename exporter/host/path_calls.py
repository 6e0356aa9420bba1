"""The program of the processes that `path_processes` starts. It makes system calls on paths, one after the other.

It imports nothing of the exporter, and only modules that are part of the interpreter or tiny, because each process has
memory of its own.

A request is the name of a function of `os` and the attributes of its result to return, separated by spaces, then the
path, each followed by a null byte; with it comes the descriptor of a root folder, if there is one. The response is a
line of whole numbers: the errno, or 0 and the attributes; then, for `statvfs` or with a root folder, the ID of the
mount and 1 if the path is where it is mounted, or two zeros. The first line, before any request, is empty.
"""

import _socket
import _stat
import errno
import posix
import sys

MAX_LINKS = 40  # as in path_resolution(7)
_REFERENCE = posix.O_CLOEXEC | getattr(posix, "O_PATH", 0)


def serve() -> None:
    """Respond to requests until the other side closes the connection, which is the standard input."""
    connection = _socket.socket(fileno=0)
    connection.sendall(b"\n")
    while request := _receive(connection):
        try:
            numbers = _respond(*request)
        except OSError as error:
            numbers = [error.errno or errno.EIO]
        connection.sendall(b"%s\n" % b" ".join(b"%d" % number for number in numbers))


def _receive(connection: _socket.socket) -> tuple[list[str], bytes, int | None] | None:
    """Return the words of a request, its path and its root folder; None at the end."""
    request, root = b"", None
    while request.count(b"\0") < 2:
        part, extra, _, _ = connection.recvmsg(65536, _socket.CMSG_SPACE(4))
        if not part:
            return None
        request += part
        if extra:
            root = int.from_bytes(extra[0][2], sys.byteorder)
    words, path, _ = request.split(b"\0")
    return words.decode().split(), path, root


def _respond(words: list[str], path: bytes, root: int | None) -> list[int]:
    name, *fields = words
    opened = [] if root is None else [root]
    try:
        result = getattr(posix, name)(path if root is None else _walk(path, opened))
        numbers = [0, *(getattr(result, field) for field in fields)]
        return numbers + _identify(path, opened) if name == "statvfs" or root is not None else numbers
    finally:
        for descriptor in opened:
            posix.close(descriptor)


def _identify(path: bytes, opened: list[int]) -> list[int]:
    """Return the ID of the mount of the path, and whether the path is where it is mounted; zeros if not known."""
    try:
        if not opened:
            opened.append(posix.open(b"/", _REFERENCE))
            _walk(path, opened)
        mounts = [_find_mount(descriptor) for descriptor in opened[-2:]]
    except (OSError, LookupError, ValueError):
        return [0, 0]
    return [mounts[-1], int(len(mounts) < 2 or mounts[0] != mounts[1])]


def _walk(path: bytes, opened: list[int]) -> int:
    """Follow a path from a root folder, which alone is in the list, and return a descriptor of where it leads to.

    The list then has the folders on the way. The kernel would follow an absolute link from the root folder of this
    process, and `..` to above the given one.
    """
    links, parts = 0, path.split(b"/")[::-1]
    while parts:
        part = parts.pop()
        if part in (b"", b".", b".."):
            if not _stat.S_ISDIR(posix.stat(opened[-1]).st_mode):
                raise OSError(errno.ENOTDIR, part)
            if part == b".." and len(opened) > 1:
                posix.close(opened.pop())
            continue
        opened.append(posix.open(part, _REFERENCE | posix.O_NOFOLLOW, dir_fd=opened[-1]))
        if not _stat.S_ISLNK(posix.stat(opened[-1]).st_mode):
            continue
        target = posix.readlink(b"", dir_fd=opened[-1])
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, part)
        for _ in range(len(opened) - 1 if target.startswith(b"/") else 1):
            posix.close(opened.pop())
        parts += target.split(b"/")[::-1]
    return opened[-1]


def _find_mount(descriptor: int) -> int:
    file = posix.open(b"/proc/self/fdinfo/%d" % descriptor, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return int(posix.read(file, 4096).partition(b"mnt_id:")[2].split()[0])
    finally:
        posix.close(file)
