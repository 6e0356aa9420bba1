"""A file of a limited size, in segments that one process writes.

The segments are FILE, FILE.1, FILE.2 and FILE.3, the latest first. When FILE is full, each one gets the next name, and
the oldest is deleted. A lock on FILE makes sure that only one process writes. Lines are written as a whole: if the disk
is full, the part of a line that did fit is cut off again.
"""

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from itertools import accumulate, islice
from pathlib import Path

from exporter.host.reader import read_end

SEGMENTS = 4
"""Files that share the size. While the oldest is deleted, at least three quarters of the content remain."""


class Segments:
    """The segments of a file. Its functions are for one thread, because the disk may hang."""

    def __init__(self, path: Path, size: int, begin: Callable[[], bytes]) -> None:
        """`begin` returns the first line of a segment. It is called when the file is locked."""
        self._path = path
        self._segment = size // SEGMENTS
        self._begin = begin
        self._descriptor: int | None = None
        self._size_at_begin = 0  # of a segment that begins with this process, with its first line alone
        self._since_begin = 0

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._descriptor is not None

    def write(self, lines: deque[bytes]) -> None:
        """Write these lines. Raises OSError; what remains in `lines` has then not been written."""
        self._since_begin += sum(map(len, lines))
        while lines and self._descriptor is not None:
            room = self._segment - os.fstat(self._descriptor).st_size
            count = sum(size <= room for size in accumulate(map(len, lines)))
            if not count and self._size_at_begin < self._segment - room:
                self._rotate()
                continue
            _append(self._descriptor, b"".join(islice(lines, max(1, count))), self._segment)
            for _ in range(max(1, count)):
                lines.popleft()

    def repeat_begin(self, distance: int) -> None:
        """Write the first line of a segment again if the last one is that many bytes away. Raises OSError."""
        if self._since_begin >= distance:
            self.write(deque([self._begin()]))
            self._since_begin = 0

    def prepare(self) -> None:
        """Open the file, unless it is open and still the one at the path. Raises OSError."""
        if self._descriptor is not None:
            if _is_same(self._descriptor, self._path):
                return
            self.close()
        self._descriptor = _open(self._path)
        try:
            _lock(self._descriptor)
            self._write_begin(self._descriptor)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file, which unlocks it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write_begin(self, descriptor: int) -> None:
        """Begin where the file ends, with a line of its own."""
        self._prune()
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            _append(descriptor, b"\n", size + 1)
        line = self._begin()
        self._since_begin = 0
        if size and size + len(line) > self._segment:
            self._rotate()
            return
        _append(descriptor, line, self._segment)
        self._size_at_begin = 0 if size else len(line)

    def _rotate(self) -> None:
        """Give each segment the next name, and begin another one."""
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, SEGMENTS))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)
        self.close()
        self.prepare()

    def _prune(self) -> None:
        """Delete segments that a larger size has left."""
        for number in range(1, SEGMENTS):
            path = Path(f"{self._path}.{number}")
            if path.exists() and path.stat().st_size > self._segment:
                path.unlink()


def read_lines(path: Path, max_bytes: int) -> Iterator[str]:
    """Yield the lines of all segments, in order, as far as they are within the last bytes."""
    parts: list[bytes] = []
    for name in (path, *(Path(f"{path}.{number}") for number in range(1, SEGMENTS))):
        if max_bytes <= 0:
            break
        try:
            content = read_end(name, max_bytes)
        except OSError:
            break
        max_bytes -= len(content)
        parts.append(content)
    for content in reversed(parts):
        yield from content.decode("utf-8", "replace").splitlines()


def list_lines(path: Path) -> Iterator[str]:
    """Yield all lines of all segments, in order. Raises OSError if the file itself cannot be read."""
    older = (Path(f"{path}.{number}") for number in range(SEGMENTS - 1, 0, -1))
    for name in (*filter(Path.is_file, older), path):
        if name.exists() and not name.is_file():  # reading a FIFO or a device can block or have effects
            raise OSError(errno.EINVAL, "it is not a regular file")
        with name.open(encoding="utf-8", errors="replace") as lines:
            yield from lines


def _open(path: Path) -> int:
    """Open a regular file, which is created if it is missing. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):  # opening a device can have effects
            raise OSError(errno.EINVAL, "it is not a regular file")
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(path, flags, 0o600)


def _append(descriptor: int, content: bytes, max_size: int) -> None:
    """Append all of the content. Raises OSError, and appends nothing, if it does not fit."""
    before = os.fstat(descriptor).st_size
    if before + len(content) > max_size:
        raise OSError(errno.EFBIG, "--history.size is too small for these checks")
    rest = content
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> None:
    import fcntl  # here, because the embedded form runs without it on other systems

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(errno.EWOULDBLOCK, "another process writes this file") from None
