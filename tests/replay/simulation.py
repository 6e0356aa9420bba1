"""Targets with outages, the exporter and the kubelet, in discrete events: what a replay has to come to.

The exporter is the real Timetable and the real Store. All times are multiples of 1/64 s, which the lines of a history
have without rounding. Of events at the same time, a run ends first, and the kubelet probes last.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from make import FAIL, PASS, UNKNOWN, Scripted
from support import Clock

from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.entries import decode, encode
from exporter.evaluation.history import Entry, Event
from exporter.evaluation.judge import judge
from exporter.evaluation.store import Store
from exporter.evaluation.timetable import Timetable
from exporter.model import Group, Result, Snapshot, Spec, State, Status
from exporter.probe.check import Check
from exporter.replay.counters import Scrape
from exporter.replay.stretches import Timing
from exporter.replay.windows import unite

STEP = 64
EPOCH = 1_000_000.0  # wall clock minus monotonic clock


def rounded(time: float) -> float:
    return math.ceil(time * STEP) / STEP if time < math.inf else time


@dataclass
class Target:
    """A target that fails from the first to the second second of each outage, and cannot be checked while blind."""

    outages: Sequence[tuple[float, float]]
    blind: Sequence[tuple[float, float]] = ()
    duration: float = 1 / 64

    def outcome(self, since: float):
        if any(begin <= since < end for begin, end in self.blind):
            return UNKNOWN
        return FAIL if any(begin <= since < end for begin, end in self.outages) else PASS


@dataclass
class Worker:
    """A worker of the kubelet, probe by probe."""

    timing: Timing
    due: float
    passing: bool = True
    last: bool | None = None
    row: int = 0
    hold: bool = False

    def probe(self, *, up: bool) -> bool:
        """Count a response. Returns whether the verdict changed."""
        self.due += self.timing.period
        if self.hold and not up:
            return False
        self.hold = False
        self.row = self.row + 1 if up is self.last else 1
        self.last = up
        threshold = self.timing.success_threshold if up else self.timing.failure_threshold
        if self.row < threshold or self.passing is up:
            return False
        self.passing = up
        return True


def make_scrapes(now: float, state: State) -> list[Scrape]:
    """What the metrics of a check show; nothing before the first run."""
    if state.last is None:
        return []
    counts = sum(state.failures.values()), state.consecutive_failures
    ended = sum(state.failure_streaks), state.failure_streak_runs
    last = state.last.started, state.last.duration, state.last.outcome.status.healthy
    return [Scrape(now, state.spec, state.runs, *counts, *ended, *last)]


@dataclass
class Simulation:
    """What happens in `length` seconds. Times of the results are wall clock."""

    targets: dict[str, Target]
    specs: dict[str, Spec]
    liveness: Timing
    readiness: Timing
    phases: tuple[float, float]
    length: float
    scheduled: dict[str, Spec] | None = None
    """The Specs by which runs are due, if others."""
    scrape_every: float = math.inf
    kept: dict[str, tuple[int, int]] | None = None
    """Per check: only the first run is recorded, and every n-th from the k-th on, as (n, k)."""
    scrapes: dict[str, list[Scrape]] = field(repr=False, default_factory=dict)
    snapshots: list[tuple[float, Snapshot]] = field(repr=False, default_factory=list)
    """Those that are scraped."""
    entries: list[Entry] = field(repr=False, default_factory=list)
    statuses: list[tuple[float, str, Status]] = field(repr=False, default_factory=list)
    down: dict[Group, list[tuple[float, float]]] = field(
        repr=False, default_factory=lambda: {group: [] for group in Group}
    )
    restarts: list[float] = field(repr=False, default_factory=list)
    unready: list[tuple[float, float]] = field(repr=False, default_factory=list)

    def run(self) -> "Simulation":
        clock = Clock(1000.0)
        wall = lambda: EPOCH + clock.now  # noqa: E731
        lines: list[str] = []
        store, answers = Store(clock, wall), AnswerLog(wall)
        store.history.sink = lambda entry: lines.append(encode(entry))
        store.note(Event.STARTED)
        checks = {c.spec.name: c for c in store.configure([Check(s, Scripted()) for s in self.specs.values()])}
        timetable, scheduled = Timetable(), self.scheduled or self.specs
        timetable.replace([Check(scheduled[name], Scripted()) for name in checks], clock.now)
        start, end = clock.now, clock.now + self.length
        self._begin(store, EPOCH + start)
        live = Worker(self.liveness, start + self.phases[0] % self.liveness.period)
        ready = Worker(self.readiness, start + self.phases[1] % self.readiness.period)
        ready.passing = self._up[Group.READINESS]
        unready_since = None if ready.passing else EPOCH + start
        running: list[tuple[float, Check, float]] = []
        scrape = start + self.scrape_every
        while True:
            ends = min((finish for finish, *_ in running), default=math.inf)
            starts, stale = rounded(timetable.next_due()), store._snapshot.fresh_until
            clock.now = max(clock.now, min(ends, starts, stale, live.due, ready.due, scrape))
            if clock.now >= end:
                break
            for finish, check, began in [run for run in running if run[0] <= clock.now]:
                running.remove((finish, check, began))
                target = self.targets[check.spec.name]
                timetable.finish(check, clock.now)
                result = Result(target.outcome(began - start), EPOCH + began, finish, finish - began)
                store.record(checks[check.spec.name], result)
                self._look(store, EPOCH + clock.now)
            while check := timetable.take(clock.now):
                if self._is_left_out(check.spec.name):
                    timetable.finish(check, clock.now)
                    continue
                running.append((clock.now + self.targets[check.spec.name].duration, check, clock.now))
            store.snapshot()
            self._look(store, EPOCH + clock.now)
            for worker, group, path in ((live, Group.LIVENESS, "/livez"), (ready, Group.READINESS, "/readyz")):
                if worker.due > clock.now:
                    continue
                verdict = judge(store.snapshot(), group)
                because = [state.spec.name for state in verdict.culprits]
                answers.note(path, 200 if verdict.up else 503, because, store.snapshot().generation, kubelet=True)
                changed = worker.probe(up=verdict.up)
                if changed and group is Group.LIVENESS and not verdict.up:
                    self.restarts.append(EPOCH + clock.now)
                    worker.hold, worker.passing, worker.last = True, True, None
                elif changed and group is Group.READINESS and verdict.up:
                    self.unready.append((unready_since, EPOCH + clock.now))
                elif changed and group is Group.READINESS:
                    unready_since = EPOCH + clock.now
            if scrape <= clock.now:
                scrape += self.scrape_every
                self.snapshots.append((EPOCH + clock.now, store._snapshot))
                for name, state in store._snapshot.states.items():
                    self.scrapes.setdefault(name, []).extend(make_scrapes(EPOCH + clock.now, state))
        clock.now = end
        store.note(Event.STOPPED)
        self._finish(EPOCH + end)
        if not ready.passing:
            self.unready.append((unready_since, EPOCH + end))
        self.entries = [*decode([*lines, *map(encode, answers.entries())])]
        return self

    def _is_left_out(self, name: str) -> bool:
        number = self._started[name] = self._started.get(name, -1) + 1
        every, begin = (self.kept or {}).get(name, (1, 0))
        return number > 0 and (number < begin or (number - begin) % every > 0)

    def _begin(self, store: Store, now: float) -> None:
        self._started: dict[str, int] = {}
        self._known = {name: state.status for name, state in store.snapshot().states.items()}
        self._up = {group: judge(store.snapshot(), group).up for group in Group}
        self._since = dict.fromkeys(Group, now)
        self.down.update({group: [] for group in Group})

    def _look(self, store: Store, now: float) -> None:
        snapshot = store._snapshot
        for name, state in snapshot.states.items():
            if state.status is not self._known[name]:
                self.statuses.append((now, name, state.status))
                self._known[name] = state.status
        for group in Group:
            up = judge(snapshot, group).up
            if up and not self._up[group]:
                self.down[group].append((self._since[group], now))
            elif not up and self._up[group]:
                self._since[group] = now
            self._up[group] = up

    def _finish(self, now: float) -> None:
        for group in Group:
            if not self._up[group]:
                self.down[group].append((self._since[group], now))
            self.down[group] = [*unite(tuple(self.down[group]))]  # a result may come when another one goes stale

    def but(self, **changes) -> "Simulation":
        """The same world with other numbers, and runs at the same times."""
        again = {
            "entries": [],
            "statuses": [],
            "restarts": [],
            "unready": [],
            "down": {},
            "scrapes": {},
            "snapshots": [],
        }
        return replace(self, **{**again, "scheduled": self.specs, **changes}).run()
