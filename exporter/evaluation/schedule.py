"""When each check runs: next due times on the monotonic clock, spread, without overlap.

Timetable is the arithmetic and has no threads; Schedule is a bounded pool of threads that follows it. Reading on its
own timers departs from Prometheus' advice for exporters, on purpose: the kubelet, two Prometheus servers and a person
read one evaluation, and none of them multiplies the load on the targets.
"""

import heapq
import itertools
import logging
import math
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from exporter.evaluation.run import run
from exporter.evaluation.store import Store
from exporter.model import Spec, Vitals
from exporter.probe.check import Check

_log = logging.getLogger(__name__)

HEADROOM = 8
"""Workers beyond what the configuration needs when every check takes its whole timeout."""
SPREAD = 0.01
"""Seconds between first runs, so far as the first second allows: a few checks need not wait for one another."""
OVERDUE = 10.0
"""Seconds a due check may wait for a start before the exporter calls its own schedule stopped."""
STUCK_AFTER = 1.0
"""Seconds beyond its deadline after which a run counts as stuck."""
LAG_WINDOW = 30.0
"""Seconds; the lag shown is the largest of the last one to two windows, so that no scrape misses a peak."""


def pool_size(specs: Iterable[Spec]) -> int:
    """Workers for these checks: half as many again as would be busy if every run took its whole timeout.

    One check never occupies more than one, so there are never more workers than checks.
    """
    shares = [min(1.0, spec.timeout / spec.period) for spec in specs]
    return min(len(shares), math.ceil(1.5 * math.fsum(shares)) + HEADROOM)


def phase(name: str) -> float:
    """A check's own place in its period, in [0, 1): the same at every start.

    Fibonacci hashing, because it spreads names that differ in a counted suffix almost evenly, where a good random hash
    leaves a tenth of the period with a third too many starts.
    """
    return zlib.adler32(name.encode("utf-8", "replace")) * 2654435761 % 2**32 / 2**32


def offset(host: str) -> float:
    """What a host's exporter adds to its checks' places, in [0, 1).

    By `phase` the pods of a StatefulSet are near one another, 0.09 from ordinal to ordinal; seven such steps are far.
    """
    return 7 * phase(host) % 1


@dataclass(slots=True, eq=False)
class _Entry:
    """One check's place in the timetable: its first run is due within `spread` seconds of `origin`."""

    check: Check
    origin: float
    spread: float
    offset: float
    due: float = 0.0
    first: bool = True

    def first_due(self) -> float:
        """Within the first second or period, whichever is shorter."""
        return self.origin + phase(self.check.spec.name) * min(self.spread, self.check.spec.period)

    def due_after(self, now: float) -> float:
        """The run after the one that was due and has ended at `now`.

        As a Go ticker: missed ticks are dropped, but the latest one still counts, so a run longer than the period is
        followed by the next at once.
        """
        period = self.check.spec.period
        if self.first:
            return self._second_due()
        return self.due + period * max(1, math.floor((now - self.due) / period))

    def _second_due(self) -> float:
        """From the crowded first second to the check's place in the period.

        Never sooner than a period, so that no streak grows faster than configured, unless the first result would go
        stale meanwhile.
        """
        spec = self.check.spec
        slot = self.origin + (phase(spec.name) + self.offset) % 1 * spec.period
        due = slot + spec.period * math.ceil((self.due + spec.period - slot) / spec.period)
        if due + spec.timeout - self.due >= spec.stale_after and due - spec.period > self.due:
            due -= spec.period
        return due


class Timetable:
    """Which check is due when, and which are under way. Time comes in as an argument; nothing here waits.

    `offset` is this exporter's own part of a period, in [0, 1), by which all places are shifted: replicas that started
    together do not ask what they share, and do not come back to their Service, at the same moment for ever.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self._offset = offset
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[float, int, _Entry]] = []
        self._count = itertools.count()
        self._held: set[str] = set()  # due, but a run of an earlier configuration of the same name is not over
        self.under_way: dict[str, float] = {}  # name -> deadline

    def replace(self, checks: Iterable[Check], now: float) -> tuple[Check, ...]:
        """Watch these from now on; an unchanged check (the same object) keeps its place. Returns those removed."""
        checks = tuple(checks)
        spread = min(1.0, SPREAD * len(checks))
        old, self._entries = self._entries, {}
        for check in checks:
            name = check.spec.name
            known = old.get(name)
            if known is not None and known.check is check:
                self._entries[name] = known
            else:
                self._entries[name] = entry = _Entry(check, now + check.spec.initial_delay, spread, self._offset)
                self._push(entry, entry.first_due())
        return tuple(entry.check for name, entry in old.items() if self._entries.get(name) is not entry)

    def next_due(self) -> float:
        """When the next start is due; infinity when nothing waits for one."""
        while self._heap and not self._current(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def take(self, now: float) -> tuple[Check, float] | None:
        """The check to start now and how late it is; it is under way until `done`. None when nothing is due.

        A start missed by more than a period (the process was stopped, or all workers were busy) is not made up for but
        left to the next place in the period, so that a pause is not followed by a storm.
        """
        while self.next_due() <= now:
            due, _, entry = heapq.heappop(self._heap)
            spec = entry.check.spec
            if spec.name in self.under_way:
                self._held.add(spec.name)
                continue
            if now - due > spec.period:
                self._push(entry, due + spec.period * (math.floor((now - due) / spec.period) + 1))
                continue
            self.under_way[spec.name] = now + spec.timeout
            return entry.check, now - due
        return None

    def done(self, check: Check, now: float) -> None:
        """The run of this check is over."""
        name = check.spec.name
        self.under_way.pop(name, None)
        entry = self._entries.get(name)
        if entry is None:
            self._held.discard(name)
        elif entry.check is check:
            self._push(entry, entry.due_after(now))
            entry.first = False
        elif name in self._held:
            self._held.remove(name)
            self._push(entry, now)

    def _push(self, entry: _Entry, due: float) -> None:
        entry.due = due
        heapq.heappush(self._heap, (due, next(self._count), entry))

    def _current(self, due: float, _: int, entry: _Entry) -> bool:
        return entry.due == due and self._entries.get(entry.check.spec.name) is entry


@dataclass(slots=True)
class _Peak:
    """The largest lag of the last one to two windows."""

    now: float = 0.0
    before: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def note(self, lag: float, at: float) -> None:
        if at - self.since > LAG_WINDOW:
            self.before = self.now if at - self.since <= 2 * LAG_WINDOW else 0.0
            self.now, self.since = 0.0, at
        self.now = max(self.now, lag)


class Schedule:
    """A bounded pool of threads that runs checks as they fall due and hands the Results to the Store.

    `host` names where this exporter runs, and shifts its checks against those of other hosts.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic, host: str = "") -> None:
        self._store = store
        self._clock = clock
        self._timetable = Timetable(offset(host))
        self._turn = threading.Condition()
        self._wake_at = math.inf  # when the one worker that waits for the clock wakes; the others wait for a turn
        self._size = 0
        self._workers: set[threading.Thread] = set()
        self._peak = _Peak(since=clock())

    def replace(self, checks: Iterable[Check]) -> None:
        """Run these from now on, with as many workers as they need; checks that are no longer among them end."""
        checks = tuple(checks)
        with self._turn:
            removed = self._timetable.replace(checks, self._clock())
            self._size = pool_size(check.spec for check in checks)
            for _ in range(self._size - len(self._workers)):
                worker = threading.Thread(target=self._work, name="worker", daemon=True)
                self._workers.add(worker)
                worker.start()
            self._turn.notify_all()
        for check in removed:
            check.probe.close()

    def stop(self) -> None:
        """Start nothing more and give up what is under way. Does not wait for it."""
        self.replace(())

    def vitals(self) -> Vitals:
        """The pool's condition now."""
        with self._turn:
            now = self._clock()
            overdue = max(0.0, now - self._timetable.next_due())
            self._peak.note(overdue, now)
            deadlines = tuple(self._timetable.under_way.values())
            return Vitals(
                running=overdue < OVERDUE and len(self._workers) >= self._size,
                workers=len(self._workers),
                busy=len(deadlines),
                stuck=sum(now > deadline + STUCK_AFTER for deadline in deadlines),
                lag=max(self._peak.now, self._peak.before),
            )

    def _work(self) -> None:
        try:
            while (check := self._next()) is not None:
                result = run(check, self._clock)
                self._store.record(check, result)
                with self._turn:
                    self._timetable.done(check, self._clock())
        finally:
            with self._turn:
                self._workers.discard(threading.current_thread())

    def _next(self) -> Check | None:
        """Wait for a check that is due. None when there are more workers than needed.

        Leader and followers: one worker waits for the clock, the rest for a turn, so one start wakes one thread.
        """
        with self._turn:
            while len(self._workers) <= self._size:
                now = self._clock()
                if taken := self._timetable.take(now):
                    check, lag = taken
                    self._peak.note(lag, now)
                    self._turn.notify()
                    return check
                self._wait(now)
            self._workers.discard(threading.current_thread())  # at once, else every worker would see one too many
            return None

    def _wait(self, now: float) -> None:
        due = self._timetable.next_due()
        if due >= self._wake_at or due == math.inf:
            self._turn.wait()
            return
        self._wake_at = due
        self._turn.wait(min(due - now, threading.TIMEOUT_MAX))
        if self._wake_at == due:  # else another worker has begun to wait for an earlier time
            self._wake_at = math.inf
