"""The answers of 503, those in a row with the same reasons as one entry.

They are noted on the event loop, for every answer to a probe. The lock is held for microseconds, and never while
anything waits.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

MAX_ANSWERED = 128
"""Entries, without those that may still grow."""
MAX_OPEN = 64
"""Entries that may still grow: one for each path, for the kubelet and for other clients."""
MAX_BECAUSE = 20
"""Failing checks of an entry."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers of 503 to the same request in a row, with the same reasons. Times are wall clock."""

    path: str
    kubelet: bool
    because: tuple[str, ...]
    generation: int  # of the first answer
    first: float
    last: float
    count: int


class AnswerLog:
    """The latest answers of 503. Safe to use from several threads."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._closed: deque[Answered] = deque(maxlen=MAX_ANSWERED)
        self._open: dict[tuple[str, bool], Answered] = {}

    def note(self, path: str, status: int, because: Sequence[str], generation: int, *, kubelet: bool) -> None:
        """Note an answer. One of 200 ends the entry of its path."""
        key = path, kubelet
        if status == 200 and key not in self._open:  # almost always, and without the lock
            return
        reasons, now = tuple(because[:MAX_BECAUSE]), self._wall()
        with self._lock:
            known = self._open.pop(key, None)
            if known and status != 200 and known.because == reasons:
                self._open[key] = replace(known, last=now, count=known.count + 1)
                return
            if known:
                self._closed.append(known)
            if status != 200:
                self._open[key] = Answered(path, kubelet, reasons, generation, now, now, 1)
                if len(self._open) > MAX_OPEN:
                    self._closed.append(self._open.pop(next(iter(self._open))))

    def entries(self) -> tuple[Answered, ...]:
        """Return the entries, those that may still grow last."""
        with self._lock:
            return (*self._closed, *self._open.values())

    def restore(self, entries: Iterable[Answered]) -> None:
        """Add what an earlier process has recorded, before what this one has."""
        with self._lock:
            self._closed = deque([*entries, *self._closed], maxlen=MAX_ANSWERED)
