"""Which check is due when. Pure arithmetic: the time is an argument, and nothing here waits.

Theory of operation:

Every check runs at its own period and keeps time like a Go ticker, as a worker of the kubelet's prober does
(pkg/kubelet/prober/worker.go). The name of a check gives its slot, a number in [0, 1): its runs are due at that part of
each period, so different checks start at different times. The slot is the same at every start. The host name gives a
shift that is added to all slots, so that replicas that started together do not keep checking a shared target, or
returning to their Service, at the same moment. Due times are rounded to multiples of GRID. The checks of one such
moment run one after another while the caches of the processor are warm: with 100 checks a second, a run costs about
half of what it costs alone.

The first run of a check does not wait for the slot, because the status is unknown until then. All first runs are due
within a second (after `initialDelaySeconds`), in the order of the slots. The second run is the first one in the slot.
It is due at least one period after the first, so that no streak grows faster than configured, unless the first result
would go stale before it.

Runs of one check never overlap. If a run takes longer than the period, the ticks that it misses are dropped, except the
latest one: the next run starts immediately. If a start is late by more than a period, because all workers were busy or
the process was stopped, it is dropped, and the check waits for its next slot. So a pause is not followed by a burst.

If a check changes at a reload while its run is under way, the new check waits until that run has ended.
"""

import heapq
import itertools
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.probe.check import Check

GRID = 0.1
"""Seconds between the moments at which checks are due, apart from first runs."""
SPREAD = 0.01
"""Seconds between first runs, until the first second is full: with few checks, each of them starts almost at once."""


def compute_slot(name: str) -> float:
    """Return a check's slot in its period, in [0, 1). It depends on the name only.

    The hash is a Fibonacci hash. It spreads names that differ in a numbered suffix almost evenly. With a random hash, a
    tenth of the period would have a third more starts than the average.
    """
    return zlib.adler32(name.encode("utf-8", "replace")) * 2654435761 % 2**32 / 2**32


def compute_shift(host: str) -> float:
    """Return the shift, in [0, 1), that the exporter on this host adds to the slots of its checks.

    The slots of the pod names of a StatefulSet are close together: 0.09 from one ordinal to the next. Seven times that
    is far apart.
    """
    return 7 * compute_slot(host) % 1


def _round(time: float) -> float:
    return round(time / GRID) * GRID


@dataclass(slots=True, eq=False)
class _Entry:
    """One check in the timetable. Its first run is due within `spread` seconds of `origin`."""

    check: Check
    origin: float
    spread: float
    shift: float
    due: float = 0.0
    first: bool = True

    def first_due(self) -> float:
        """Return when the first run is due: within the first second or period, whichever is shorter."""
        return self.origin + compute_slot(self.check.spec.name) * min(self.spread, self.check.spec.period)

    def due_after(self, now: float) -> float:
        """Return when the next run is due, after one that ends now."""
        period = self.check.spec.period
        if self.first:
            return self.second_due()
        return self.due + period * max(1, math.floor((now - self.due) / period))

    def second_due(self) -> float:
        """Return when the second run is due: in the check's slot, at least one period after the first run.

        It is due one period earlier if the first result would go stale before.
        """
        spec = self.check.spec
        start = _round(self.origin + (compute_slot(spec.name) + self.shift) % 1 * spec.period)
        due = start + spec.period * math.ceil((self.due + spec.period - start) / spec.period)
        if due + spec.timeout - self.due >= spec.stale_after and due - spec.period > self.due:
            due -= spec.period
        return due


class Timetable:
    """When each check is due, and which runs are under way. `shift`, in [0, 1), is added to every slot.

    All times are seconds on the monotonic clock.
    """

    def __init__(self, shift: float = 0.0) -> None:
        self._shift = shift
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[float, int, _Entry]] = []
        self._sequence = itertools.count()
        self._waiting: set[str] = set()  # checks that are due, but wait for a run of their previous configuration
        self.deadlines: dict[str, float] = {}
        """The deadline of each run that is under way, by the name of its check."""
        self.removed: set[str] = set()
        """Of these checks, those that were removed while they ran."""

    def replace(self, checks: Iterable[Check], now: float) -> tuple[Check, ...]:
        """Schedule exactly these checks, and return the removed ones.

        An unchanged check (the same object) keeps its due time.
        """
        checks = tuple(checks)
        spread = min(1.0, SPREAD * len(checks))
        old, self._entries = self._entries, {}
        for check in checks:
            name = check.spec.name
            known = old.get(name)
            if known is not None and known.check is check:
                self._entries[name] = known
            else:
                self._entries[name] = entry = _Entry(check, now + check.spec.initial_delay, spread, self._shift)
                self._push(entry, entry.first_due())
        self.removed = self.deadlines.keys() - self._entries.keys()
        return tuple(entry.check for name, entry in old.items() if self._entries.get(name) is not entry)

    def next_due(self) -> float:
        """Return when the next start is due; infinity if no check waits for its start."""
        while self._heap and not self._is_current(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def overdue(self, now: float) -> float:
        """Return for how many seconds a start has been due."""
        return max(0.0, now - self.next_due())

    def next_runs(self, now: float) -> dict[str, float]:
        """Return how many seconds from now each check is due; 0 while its run is under way."""
        return {
            name: 0.0 if name in self.deadlines else max(0.0, entry.due - now) for name, entry in self._entries.items()
        }

    def take(self, now: float) -> Check | None:
        """Return the check to start now, or None if no check is due. Call `finish` afterwards."""
        while self.next_due() <= now:
            due, _, entry = heapq.heappop(self._heap)
            spec = entry.check.spec
            if spec.name in self.deadlines:
                self._waiting.add(spec.name)
                continue
            if now - due > spec.period:
                self._push(entry, due + spec.period * (math.floor((now - due) / spec.period) + 1))
                continue
            self.deadlines[spec.name] = now + spec.timeout
            return entry.check
        return None

    def finish(self, check: Check, now: float) -> None:
        """Note that the run of this check has ended, and schedule the next one."""
        name = check.spec.name
        self.deadlines.pop(name, None)
        self.removed.discard(name)
        entry = self._entries.get(name)
        if entry is None:
            self._waiting.discard(name)
        elif entry.check is check:
            self._push(entry, entry.due_after(now))
            entry.first = False
        elif name in self._waiting:
            self._waiting.remove(name)
            self._push(entry, now)

    def _push(self, entry: _Entry, due: float) -> None:
        entry.due = due
        heapq.heappush(self._heap, (due, next(self._sequence), entry))

    def _is_current(self, due: float, _: int, entry: _Entry) -> bool:
        return entry.due == due and self._entries.get(entry.check.spec.name) is entry
