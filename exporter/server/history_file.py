"""The file of `--history.file`: the history, which survives the exporter.

Theory of operation:

Whoever has an entry puts it into a queue and goes on. One daemon thread writes the queue once a second, and as soon as
something other than a run is in it. If the exporter crashes, only what has not been written is lost. If the disk hangs,
only this thread does; when the queue is full, further entries are lost and counted, and a line of the file says how
many. If the disk is full, the part of a line that did fit is cut off again.

The file has a limited size. It consists of segments: FILE, FILE.1, FILE.2 and FILE.3, the latest first. When FILE is
full, each one gets the next name, and the oldest is deleted. Each segment begins with a Checkpoint, so it can be read
without the others. A lock on FILE makes sure that only one process writes.

When it begins, the thread reads the end of what earlier processes have written, so that the status page and /events
still show it.
"""

import contextlib
import errno
import fcntl
import logging
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import accumulate, chain, islice
from pathlib import Path

from exporter.evaluation.answered import Answered, AnswerLog
from exporter.evaluation.entries import decode, encode
from exporter.evaluation.history import Entry, Event, Milestone, Recorded, rebuild
from exporter.evaluation.store import Store
from exporter.host.reader import read_end
from exporter.server.poller import Poller

SEGMENTS = 4
"""Files that share the size. While the oldest is deleted, at least three quarters of the history remain."""
MAX_BACKLOG = 4000
"""Entries that wait to be written."""
MAX_RESTORED = 2 * 2**20
"""Bytes of the file that are read at the start."""
MAX_FLUSH = 1.0
"""Seconds that the end of the exporter waits for the last entries to be written."""
MAX_PAUSE = 32
"""Polls from one attempt to the next, while the file cannot be written."""
UPDATE = 10.0
"""Seconds after which an entry about answers that still grows is written again."""

_log = logging.getLogger(__name__)


class HistoryFile:
    """Writes the history of a Store, and the answers of 503, into a file of at most `size` bytes."""

    def __init__(self, path: Path, size: int, store: Store, answers: AnswerLog) -> None:
        self._path = path
        self._segment = size // SEGMENTS
        self._store = store
        self._answers = answers
        self._queue: deque[Entry] = deque()
        self._lost = 0
        self._descriptor: int | None = None
        self._size_at_begin = 0  # of a file that begins with this process, before any entry
        self._restored = False
        self._error = ""
        self._written: dict[tuple[str, bool, float], tuple[int, float]] = {}  # answers: their count, and when written
        self._summaries: dict[str, str] = {}  # the summary of each check that was written last
        self._pause = self._polls_to_wait = 0  # after an error
        self._stopping, self._flushed = False, threading.Event()
        self._poller = Poller("history", self.poll)
        store.history.sink = self.put

    def put(self, entry: Entry) -> None:
        """Have an entry written soon, and at once if it is not a run. Never waits."""
        if len(self._queue) < MAX_BACKLOG:
            self._queue.append(entry)
        else:
            self._lost += 1
        if not isinstance(entry, Recorded):
            self._poller.wake()

    def start(self) -> None:
        """Begin to write. Raises RuntimeError if the system cannot start another thread."""
        self._poller.start()

    def stop(self) -> None:
        """Write what is left. Waits for at most MAX_FLUSH seconds."""
        self._stopping = True
        self._poller.wake()
        self._flushed.wait(MAX_FLUSH)
        self._poller.stop()

    def poll(self) -> None:
        """Write everything that waits. To be called by one thread. After an error, it waits longer and longer."""
        stopping = self._stopping
        self._polls_to_wait -= 1
        if self._polls_to_wait < 0:
            self._write_all()
        if stopping:
            self._flushed.set()

    def _write_all(self) -> None:
        lines = deque(map(self._encode, chain(self._take(), self._list_answers())))
        lost, self._lost = self._lost, 0
        try:
            if lines or lost or self._descriptor is None:
                self._open()
                self._write(lines)
                self._write(deque([self._encode_loss(lost)] if lost else []))
        except OSError as error:
            self._lost += lost + len(lines)
            self._summaries.clear()
            self._pause = self._polls_to_wait = min(2 * self._pause or 1, MAX_PAUSE)
            self._report(error.strerror or str(error))
        else:
            self._pause = 0
            self._report("")

    def _take(self) -> Iterator[Entry]:
        while self._queue:
            yield self._queue.popleft()

    def _list_answers(self) -> Iterator[Answered]:
        """Yield the entries about answers that are new, that have ended, or that have not been written for a while."""
        now, written = time.monotonic(), self._written
        self._written = {}
        for entry in self._answers.entries():
            key = entry.path, entry.kubelet, entry.first
            count, moment = written.get(key, (0, -UPDATE))
            if entry.count != count and (self._stopping or now - moment >= UPDATE):
                count, moment = entry.count, now
                yield entry
            self._written[key] = count, moment

    def _encode(self, entry: Entry) -> bytes:
        """Return the line of an entry. A run has its summary only if it is not healthy, and it is a new one."""
        if not isinstance(entry, Recorded):
            return _encode(entry)
        outcome = entry.result.outcome
        new = not outcome.status.healthy and self._summaries.get(entry.check) != outcome.summary
        if new:
            self._summaries[entry.check] = outcome.summary
        return _encode(entry, summary=new)

    def _encode_loss(self, count: int) -> bytes:
        generation = self._store.snapshot().generation
        return _encode(Milestone(time.time(), generation, Event.LOST, f"{count} entries"))

    def _write(self, lines: deque[bytes]) -> None:
        """Write these lines. Raises OSError; what remains in `lines` has then not been written."""
        while lines and self._descriptor is not None:
            room = self._segment - os.fstat(self._descriptor).st_size
            count = sum(size <= room for size in accumulate(map(len, lines)))
            if not count and self._size_at_begin < self._segment - room:
                self._rotate()
                continue
            _append(self._descriptor, b"".join(islice(lines, max(1, count))), self._segment)
            for _ in range(max(1, count)):
                lines.popleft()

    def _open(self) -> None:
        """Open the file, unless it is open and still the one at the path. Raises OSError."""
        if self._descriptor is not None:
            if _is_same(self._descriptor, self._path):
                return
            self._close()
        self._descriptor = _open(self._path)
        try:
            _lock(self._descriptor)
            self._restore()
            self._begin(self._descriptor)
        except OSError:
            self._close()
            raise

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _begin(self, descriptor: int) -> None:
        """Begin where the file ends: with whole lines, and with the state of every check now."""
        self._summaries.clear()
        self._prune()
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            _append(descriptor, b"\n", size + 1)
        checkpoint = _encode(self._store.make_checkpoint())
        if size and size + len(checkpoint) > self._segment:
            self._rotate()
            return
        _append(descriptor, checkpoint, self._segment)
        self._size_at_begin = 0 if size else len(checkpoint)

    def _rotate(self) -> None:
        """Give each segment the next name, and begin another one."""
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, SEGMENTS))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)
        self._close()
        self._open()

    def _prune(self) -> None:
        """Delete segments that a larger size has left."""
        for number in range(1, SEGMENTS):
            path = Path(f"{self._path}.{number}")
            if path.exists() and path.stat().st_size > self._segment:
                path.unlink()

    def _restore(self) -> None:
        """Read what earlier processes have written, once."""
        if self._restored:
            return
        self._restored = True
        entries = [*decode(read_lines(self._path, MAX_RESTORED))]
        latest = {(entry.path, entry.kubelet, entry.first): entry for entry in entries if isinstance(entry, Answered)}
        self._answers.restore(latest.values())
        self._written |= {key: (entry.count, time.monotonic()) for key, entry in latest.items()}
        self._store.restore(rebuild(entries))

    def _report(self, error: str) -> None:
        """Log the beginning and the end of a disturbance."""
        if error and error != self._error:
            fields = {"file": str(self._path), "error": error}
            _log.error("the history cannot be written: %s", error, extra={"fields": fields})
        elif self._error and not error:
            _log.info("the history is written again", extra={"fields": {"file": str(self._path)}})
        self._error = error


def read_lines(path: Path, max_bytes: int) -> Iterator[str]:
    """Yield the lines of all segments of a history, in order, as far as they are within the last bytes."""
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


def _open(path: Path) -> int:
    """Open a regular file, which is created if it is missing. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):  # opening a device can have effects
            raise OSError(errno.EINVAL, "it is not a regular file")
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(path, flags, 0o600)


def _encode(entry: Entry, *, summary: bool = True) -> bytes:
    return f"{encode(entry, summary=summary)}\n".encode("utf-8", "replace")


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
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(errno.EWOULDBLOCK, "another process writes this file") from None
