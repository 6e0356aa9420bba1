"""Runs checks when they are due: a bounded pool of threads that follows a Timetable.

Prometheus advises exporters to collect on each scrape. This one departs from that on purpose: the kubelet, several
Prometheus servers and people all read the results of the same runs, and none of them adds load on the targets.

Theory of operation:

The workers share one Timetable, which knows when each check is due, and one lock that guards it. A worker that finds a
due check takes it, runs it, records the Result in the Store, and comes back for another one. So a check occupies at
most one worker.

Workers without a check are a leader, a deputy, and followers. The leader waits for the clock until the next check is
due. Usually it then runs all checks of that moment, one after another. That takes half the CPU time of runs in several
threads, which would wake up for one run each and compete for the interpreter. The deputy waits TAKEOVER longer. If a
check is still due by then, because a run takes long, the deputy takes it. Followers wait to be notified. A worker that
takes a check notifies one, unless the leader or the deputy wakes up in time for the next check; so late checks get a
worker each, and a check that hangs delays others by no more than TAKEOVER while the pool has a free worker. A worker
that comes back and finds a check due before the leader wakes up waits for that earlier time itself.

The worker that began to wait last is notified first. A thread's stack grows to what the most demanding check needs, and
never shrinks. So the same few workers do the work, and those that are only needed when many targets hang stay small.
Each waits on a condition of its own, because a `threading.Condition` notifies the oldest waiter first. If there are
more workers than needed, it is the oldest that are notified: each leaves, and notifies the next.

The lag of a start is the time from its due time until it is taken, or dropped because it is too late. If a due check
waits longer than OVERDUE for a worker, or if workers are missing, the exporter reports that its schedule is not
running.
"""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from exporter.evaluation.run import close, run
from exporter.evaluation.store import Store
from exporter.evaluation.timetable import Timetable, compute_shift
from exporter.model import Spec, Vitals
from exporter.probe.check import Check

HEADROOM = 8
"""Additional workers, on top of what the configuration needs if every check takes its whole timeout."""
OVERDUE = 10.0
"""Seconds that a due check may wait for a worker. After that, the exporter reports that its schedule is not running."""
TAKEOVER = 0.025
"""Seconds that checks which are due together wait for each other. After that, they get workers of their own."""
STUCK_AFTER = 1.0
"""Seconds after its deadline from which a run counts as stuck."""
LAG_WINDOW = 30.0
"""Seconds. The reported lag is the largest one of the last one to two windows, so that no scrape misses a peak."""

_log = logging.getLogger(__name__)


def compute_pool_size(specs: Iterable[Spec]) -> int:
    """Return the number of workers: 1.5 times as many as are busy if every run takes its whole timeout, and HEADROOM.

    A check never occupies more than one worker, so there are never more workers than checks.
    """
    shares = [min(1.0, spec.timeout / spec.period) for spec in specs]
    return min(len(shares), math.ceil(1.5 * math.fsum(shares)) + HEADROOM)


class PoolError(RuntimeError):
    """The system cannot start as many threads as the checks need."""


@dataclass(slots=True)
class Peak:
    """The largest lag of the last one to two windows, in seconds."""

    since: float
    """When the current window began, on the monotonic clock."""
    current: float = 0.0
    previous: float = 0.0

    def note(self, lag: float, now: float) -> None:
        """Take a lag into account; start a new window if the current one is over."""
        if now - self.since > LAG_WINDOW:
            self.previous = self.current if now - self.since <= 2 * LAG_WINDOW else 0.0
            self.current, self.since = 0.0, now
        self.current = max(self.current, lag)

    @property
    def largest(self) -> float:
        """The largest lag."""
        return max(self.current, self.previous)


class Schedule:
    """A bounded pool of threads that runs checks when they are due and records the Results in the Store.

    `host` is the name of the host that the exporter runs on. It shifts the checks against those of other hosts.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic, host: str = "") -> None:
        self._store = store
        self._clock = clock
        self._timetable = Timetable(compute_shift(host))
        self._lock = threading.RLock()
        self._waiting: OrderedDict[threading.Condition, None] = OrderedDict()  # workers without a check, latest last
        self._alarms: dict[threading.Condition, float] = {}  # when the leader and the deputy wake up
        self._size = 0  # workers for the checks in the timetable
        self._workers: set[threading.Thread] = set()
        self._peak = Peak(since=clock())

    def hire(self, checks: Iterable[Check]) -> None:
        """Start the workers that these checks need in addition, so that `replace` cannot fail.

        Raises PoolError if the system cannot start enough threads. Then nothing has changed.
        """
        checks = tuple(checks)
        with self._lock:
            before = self._size
            removed = self._timetable.deadlines.keys() - {check.spec.name for check in checks}
            self._size = max(before, compute_pool_size(check.spec for check in checks) + len(removed))
            try:
                self._start_workers()
            except (RuntimeError, MemoryError) as error:
                message = f"the checks need {self._size} threads, and only {len(self._workers)} could be started"
                self._size = before
                self._notify()  # those that have started in vain end
                raise PoolError(f"{message}: {error}") from error

    def replace(self, checks: Iterable[Check]) -> None:
        """Run exactly these checks from now on, with as many workers as they need. Removed probes are closed.

        Raises PoolError as `hire` does.
        """
        checks = tuple(checks)
        with self._lock:
            self.hire(checks)
            removed = self._timetable.replace(checks, self._clock())
            self._size = compute_pool_size(check.spec for check in checks)
            self._notify()
        for check in removed:
            close(check)

    def stop(self) -> None:
        """Start no further runs, and abandon those under way without waiting for them."""
        self.replace(())

    def vitals(self) -> Vitals:
        """Return the condition of the pool now."""
        with self._lock:
            now = self._clock()
            overdue = self._timetable.overdue(now)
            self._peak.note(overdue, now)
            deadlines = tuple(self._timetable.deadlines.values())
            return Vitals(
                running=overdue < OVERDUE and len(self._workers) >= self._wanted,
                workers=len(self._workers),
                busy=len(deadlines),
                stuck=sum(now > deadline + STUCK_AFTER for deadline in deadlines),
                lag=self._peak.largest,
            )

    def next_runs(self) -> dict[str, float]:
        """Return how many seconds from now each check is due; 0 while its run is under way."""
        with self._lock:
            return self._timetable.next_runs(self._clock())

    @property
    def _wanted(self) -> int:
        """The number of workers. One that still runs a removed check does not count for the others."""
        return self._size + len(self._timetable.removed)

    def _start_workers(self) -> None:
        while len(self._workers) < self._wanted:
            worker = threading.Thread(target=self._work, name="worker", daemon=True)
            worker.start()
            self._workers.add(worker)

    def _work(self) -> None:
        try:
            while (check := self._take()) is not None:
                self._run(check)
        finally:
            with self._lock:
                self._workers.discard(threading.current_thread())

    def _run(self, check: Check) -> None:
        try:
            self._store.record(check, run(check, self._clock))
        except Exception:  # noqa: BLE001  # such as MemoryError: this result is lost, but not the worker
            _log.error("check %s: the result could not be recorded", check.spec.name, exc_info=True)
        finally:
            with self._lock:
                self._timetable.finish(check, self._clock())

    def _take(self) -> Check | None:
        """Wait for a check that is due, and take it. Return None if there are more workers than needed."""
        with self._lock:
            while len(self._workers) <= self._wanted:
                now = self._clock()
                self._peak.note(self._timetable.overdue(now), now)
                if check := self._timetable.take(now):
                    due = self._timetable.next_due()
                    if not self._count_alarms(due + TAKEOVER):
                        self._notify()
                    return check
                self._wait(now)
            self._workers.discard(threading.current_thread())  # under this lock, or too many workers would leave
            self._notify()  # this may have been the leader
            return None

    def _wait(self, now: float) -> None:
        """Wait as the leader, as the deputy if there is a leader, or as a follower if there are both."""
        due = self._timetable.next_due()
        alarm = math.inf
        if not self._count_alarms(due):
            alarm = due
        elif self._count_alarms(due + TAKEOVER) < 2:  # there is no deputy
            alarm = due + TAKEOVER
        condition = threading.Condition(self._lock)
        self._waiting[condition] = None
        if alarm < math.inf:
            self._alarms[condition] = alarm
        try:
            condition.wait(min(alarm - now, threading.TIMEOUT_MAX) if alarm < math.inf else None)
        finally:
            self._waiting.pop(condition, None)  # it is still there after a timeout
            self._alarms.pop(condition, None)

    def _count_alarms(self, until: float) -> int:
        """Return how many workers wake up by then without being notified."""
        return sum(alarm <= until for alarm in self._alarms.values())

    def _notify(self) -> None:
        """Wake the worker that began to wait last; if there are more workers than needed, the one that began first."""
        if self._waiting:
            condition, _ = self._waiting.popitem(last=len(self._workers) <= self._wanted)
            condition.notify()
