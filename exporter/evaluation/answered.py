"""The answers of 503, those in a row with the same reasons as one entry.

They are noted on the event loop, for every answer to a probe. The lock is held for microseconds, and never while
anything waits.

The kubelet asks at regular intervals, except while it restarts a container. So an entry of the kubelet ends when it
pauses, and an entry has the times of the answers before and after it, even if these were 200. And it asks for /startupz
only until a container has started. So an entry about /livez has the time of such a request after it.
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

_PAUSE = 1.5  # times the interval before; from then on, the kubelet has paused
_TOLERANCE = 1.0  # seconds
_LIVENESS, _STARTUP = "/livez", "/startupz"


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
    previous: float | None = None
    """The answer before the first one, if the kubelet got both."""
    recovered: float | None = None
    """The answer of 200 that has ended the entry."""
    startup: float | None = None
    """The kubelet's first request for /startupz after the last one of these for /livez."""


def is_pause(seconds: float, interval: float) -> bool:
    """Return whether the kubelet has paused, because it asked that much later, and every `interval` seconds before."""
    return seconds > interval * _PAUSE + _TOLERANCE


class AnswerLog:
    """The latest answers of 503. Safe to use from several threads."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._closed: deque[Answered] = deque(maxlen=MAX_ANSWERED)
        self._open: dict[tuple[str, bool], Answered] = {}
        self._asked: dict[str, tuple[float, float]] = {}  # by the kubelet: when, and the time since it asked before
        self._dropped = 0.0

    @property
    def complete_since(self) -> float:
        """The time up to which entries have been dropped, because there were too many; 0 if none has been."""
        return self._dropped

    def note(self, path: str, status: int, because: Sequence[str], generation: int, *, kubelet: bool) -> None:
        """Note an answer. One of 200 ends the entry of its path."""
        key = path, kubelet
        previous, paused = self._note_kubelet(path) if kubelet else (None, False)
        if kubelet and path.startswith(_STARTUP):
            self._note_startup()
        if status == 200 and key not in self._open:  # almost always, and without the lock
            return
        reasons, now = tuple(because[:MAX_BECAUSE]), self._wall()
        with self._lock:
            known = self._open.pop(key, None)
            paused = paused or (known is not None and known.startup is not None)
            if known and status != 200 and known.because == reasons and not paused:
                self._open[key] = replace(known, last=now, count=known.count + 1)
                return
            if known:
                self._close(known if status != 200 else replace(known, recovered=now))
            if status != 200:
                self._open[key] = Answered(path, kubelet, reasons, generation, now, now, 1, previous)
                if len(self._open) > MAX_OPEN:
                    self._close(self._open.pop(self._find_least()))

    def _note_kubelet(self, path: str) -> tuple[float | None, bool]:
        """Return when the kubelet asked before, and whether it has paused since."""
        now = self._wall()
        asked, interval = self._asked.get(path, (None, 0.0))
        since = 0.0 if asked is None else now - asked
        if asked is not None or len(self._asked) < MAX_OPEN:
            self._asked[path] = now, since
        return asked, interval > 0 and is_pause(since, interval)

    def _note_startup(self) -> None:
        """Note that the kubelet has asked for /startupz, in the entries about /livez that may still grow."""
        with self._lock:
            for key, entry in self._open.items():
                if entry.kubelet and entry.path.startswith(_LIVENESS) and entry.startup is None:
                    self._open[key] = replace(entry, startup=self._wall())

    def _find_least(self) -> tuple[str, bool]:
        """Return the open entry to close, because there are too many: the oldest, but none of the kubelet."""
        return next((key for key in self._open if not key[1]), next(iter(self._open)))

    def _close(self, entry: Answered) -> None:
        if len(self._closed) == MAX_ANSWERED:
            self._dropped = max(self._dropped, self._closed[0].last)
        self._closed.append(entry)

    def entries(self) -> tuple[Answered, ...]:
        """Return the entries, those that may still grow last."""
        with self._lock:
            return (*self._closed, *self._open.values())

    def restore(self, entries: Iterable[Answered]) -> None:
        """Add what an earlier process has recorded, before what this one has."""
        with self._lock:
            restored = [*entries, *self._closed]
            self._dropped = max([self._dropped, *(entry.last for entry in restored[:-MAX_ANSWERED])])
            self._closed = deque(restored, maxlen=MAX_ANSWERED)
