"""The file of `--history.file`: the history, which survives the exporter.

Theory of operation:

Whoever has an entry puts it into a queue and goes on. One daemon thread writes the queue once a second, and as soon as
something other than a run is in it. If the exporter crashes, only what has not been written is lost. If the disk hangs,
only this thread does; when the queue is full, further entries are lost and counted, and a line of the file says how
many.

Each segment of the file (see `segments`) begins with a Checkpoint, so it can be read without the others. Checkpoints
are repeated, so that there is one within the last bytes, which the next process reads.

When it begins, the thread reads the end of what earlier processes have written, so that the status page and /events
still show it.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from exporter.evaluation.answered import Answered, AnswerLog
from exporter.evaluation.entries import decode, encode
from exporter.evaluation.history import Entry, Event, Milestone, Recorded, rebuild
from exporter.evaluation.store import Store
from exporter.server.poller import Poller
from exporter.server.segments import Segments, read_lines

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

_Progress = tuple[int, float | None, float | None] | None


class HistoryFile:
    """Writes the history of a Store, and the answers of 503, into a file of at most `size` bytes."""

    def __init__(self, path: Path, size: int, store: Store, answers: AnswerLog) -> None:
        self._path = path
        self._segments = Segments(path, size, self._begin)
        self._store = store
        self._answers = answers
        self._queue: deque[Entry] = deque()
        self._lost = 0
        self._restored = False
        self._error = ""
        # Of an entry about answers: what was written of it that may change, and when.
        self._written: dict[tuple[str, bool, float], tuple[_Progress, float]] = {}
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
            if lines or lost or not self._segments.is_open:
                self._segments.prepare()
                self._segments.write(lines)
                self._segments.write(deque([self._encode_loss(lost)] if lost else []))
                self._segments.repeat_begin(MAX_RESTORED // 2)
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
            progress, moment = written.get(key, (None, -UPDATE))
            current = entry.count, entry.recovered, entry.startup
            if progress != current and (self._stopping or now - moment >= UPDATE):
                progress, moment = current, now
                yield entry
            self._written[key] = progress, moment

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

    def _begin(self) -> bytes:
        """Return the first line of a segment, the state of every check now. Before the first, read the past."""
        self._summaries.clear()
        if not self._restored:
            self._restored = True
            self._restore()
        return _encode(self._store.make_checkpoint())

    def _restore(self) -> None:
        entries = [*decode(read_lines(self._path, MAX_RESTORED))]
        latest = {(entry.path, entry.kubelet, entry.first): entry for entry in entries if isinstance(entry, Answered)}
        self._answers.restore(latest.values())
        self._written |= {
            key: ((entry.count, entry.recovered, entry.startup), time.monotonic()) for key, entry in latest.items()
        }
        self._store.restore(rebuild(entries))

    def _report(self, error: str) -> None:
        """Log the beginning and the end of a disturbance."""
        if error and error != self._error:
            fields = {"file": str(self._path), "error": error}
            _log.error("the history cannot be written: %s", error, extra={"fields": fields})
        elif self._error and not error:
            _log.info("the history is written again", extra={"fields": {"file": str(self._path)}})
        self._error = error


def _encode(entry: Entry, *, summary: bool = True) -> bytes:
    return f"{encode(entry, summary=summary)}\n".encode("utf-8", "replace")
