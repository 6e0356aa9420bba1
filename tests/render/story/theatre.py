"""Incidents of a pod, simulated in no time: checks on their schedule, clients, and a kubelet with its thresholds.

Everything that decides is the exporter's own: the Store, the answers to probes, the history. The clock is set by hand,
so the same play always has the same times. The kubelet follows `doProbe` in pkg/kubelet/prober/worker.go.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from support import Clock

from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.history import Entry, Event
from exporter.evaluation.store import Store
from exporter.model import Outcome, Result, Vitals
from exporter.probe.check import Check
from exporter.render import events
from exporter.render.story.chronicle import Chronicle, parse
from exporter.server.answers import AnswerCounter
from exporter.server.probes import Probes

BEGIN = datetime(2026, 3, 1, 3, 0, tzinfo=UTC).timestamp()
"""Second 0 of a play, on the wall clock."""

Target = Callable[[float], Outcome | tuple[Outcome, float]]
"""What a run that begins at this second finds, and how long it takes."""


@dataclass(frozen=True)
class Times:
    """A probe of the kubelet."""

    period: float
    failure_threshold: int = 3
    initial_delay: float = 0


@dataclass
class Container:
    """The application's container, as the kubelet treats it."""

    probes: dict[str, Times]
    grace: float = 1.0  # seconds from the decision to the end of the old process
    begins: list[float] = field(default_factory=list)  # of each process
    started: bool = False
    running: bool = False
    ready: bool = False

    @property
    def begin(self) -> float:
        return self.begins[-1]


class Theatre:
    """A pod with an exporter. `act` plans what happens from outside; `play` makes it happen."""

    def __init__(self, host: str = "web-7d9c", sink: Callable[[Entry], object] | None = None) -> None:
        self.clock, self.host = Clock(0.0), host
        self.shift = 0.0  # of the wall clock
        self.store = Store(self.clock, self.wall)
        self.store.history.sink = sink
        self.answers = AnswerLog(self.wall)
        self.probes = Probes(self.store, AnswerCounter(), lambda: Vitals(running=True), self.answers)
        self.targets: dict[str, Target] = {}
        self.container: Container | None = None
        self._checks: dict[str, Check] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def wall(self) -> float:
        return BEGIN + self.clock.now + self.shift

    def act(self, second: float, what: Callable[[], object], *, every: float = 0) -> None:
        """Do something at this second, and then again and again."""

        def do() -> None:
            what()
            if every:
                heapq.heappush(self._queue, (self.clock.now + every, next(self._order), do))

        heapq.heappush(self._queue, (second, next(self._order), do))

    def play(self, until: float) -> "Theatre":
        """Let time pass. Once a second, the exporter notices what has gone stale."""
        self.act(self.clock.now + 1, self.store.snapshot, every=1)
        while self._queue and self._queue[0][0] <= until:
            second, _, do = heapq.heappop(self._queue)
            self.clock.now = max(self.clock.now, second)
            do()
        self.clock.now = until
        return self

    # The exporter

    def start(self, second: float = 0.0, detail: str = "version 0.1.0") -> None:
        self.act(second, lambda: self.store.note(Event.STARTED, f"{detail} on {self.host}"))

    def watch(self, *checks: Check, second: float = 0.1) -> None:
        """Load a configuration. Each check runs at once and then once a period."""
        self.act(second, lambda: self._load(checks))

    def _load(self, checks: tuple[Check, ...]) -> None:
        before = self._checks
        self._checks = {one.spec.name: one for one in self.store.configure(checks)}
        for number, (name, one) in enumerate(self._checks.items()):
            if before.get(name) is not one:
                begin = self.clock.now + one.spec.initial_delay + 0.2 * (number + 1)
                self.act(begin, lambda name=name, one=one: self._run(name, one), every=one.spec.period)

    def _run(self, name: str, one: Check) -> None:
        if self._checks.get(name) is not one:
            return
        found = self.targets[name](self.clock.now)
        outcome, duration = found if isinstance(found, tuple) else (found, 0.01)
        started = self.wall()
        self.act(
            self.clock.now + duration,
            lambda: self.store.record(one, Result(outcome, started, self.clock.now, duration)),
        )

    def ask(self, path: str, *, kubelet: bool = False) -> bool:
        """Request a path. Returns whether the response is 200."""
        answer = self.probes.answer("GET", path, kubelet=kubelet)
        assert answer is not None
        return answer.status == 200

    # The kubelet

    def run_container(self, second: float = 0.0, grace: float = 1.0, **probes: Times) -> Container:
        """Start a container with these probes: `startup`, `liveness`, `readiness`."""
        container = self.container = Container(probes, grace)
        self.act(second, self._begin_process)
        for kind, times in probes.items():
            self.act(second, self._make_prober(container, kind, times), every=times.period)
        return container

    def _begin_process(self) -> None:
        assert self.container is not None
        self.container.begins.append(self.clock.now)
        self.container.running, self.container.started = True, "startup" not in self.container.probes

    def _make_prober(self, container: Container, kind: str, times: Times) -> Callable[[], None]:
        path = {"startup": "/startupz", "liveness": "/livez", "readiness": "/readyz"}[kind]
        failures = 0
        process = 0.0

        def probe() -> None:
            nonlocal failures, process
            if not container.running or self.clock.now - container.begin < times.initial_delay:
                return
            if (kind == "startup") == container.started:
                return
            if process != container.begin:
                process, failures = container.begin, 0
            up = self.ask(path, kubelet=True)
            failures = 0 if up else failures + 1
            if kind == "readiness":
                container.ready = up if up or failures >= times.failure_threshold else container.ready
            elif kind == "startup" and up:
                container.started = True
            elif failures >= times.failure_threshold:
                container.running = container.ready = False
                self.act(self.clock.now + container.grace, self._begin_process)

        return probe

    # The story

    def document(self) -> dict[str, Any]:
        """Return what `/events` returns now."""
        snapshot = self.store.snapshot()
        selected = events.select(snapshot, self.store.history, self.answers.entries(), events.Selection(runs=True))
        complete = max(self.store.history.complete_since, self.answers.complete_since)
        return events.describe(snapshot, self.host, selected, until=self.wall(), complete_since=complete)

    def chronicle(self) -> Chronicle:
        return parse(self.document())
