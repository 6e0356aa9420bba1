"""What happened: the runs of each check, the transitions, and the life of the exporter, in bounded memory.

Theory of operation:

The Store is the only writer, under its lock. Readers take no lock: every value that they get is immutable, and a
writer replaces it as a whole. Each ring drops its oldest entries, and no ring displaces another: a check that flaps
cannot push out the reload that caused it.

The runs of a check are run-length coded: consecutive runs with the same status and reason, at their regular times, are
one Span. A check that passes all day is one Span, and the blip of the night stays beside it. Spans are packed into
`bytes`, 25 bytes each, because an exporter may have thousands of checks.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from struct import Struct
from typing import TypeAlias, TypeVar

from exporter.evaluation.answered import Answered
from exporter.model import Beat, Group, Reason, Result, Spec, State, Status

MAX_SPANS = 64
"""Spans of a check. One that changes with each run has so many runs in its history."""
MAX_TRANSITIONS = 256
"""Transitions of all checks together."""
MAX_MILESTONES = 64
"""Starts, loads of the configuration and the like."""

_T = TypeVar("_T", "Transition", "Milestone")
_SPAN = Struct("<ddIfB")
_MAX_COUNT = 2**32 - 1
_REASONS = (None, *Reason)
_OUTCOMES = [(status, reason) for status in Status for reason in _REASONS]
_CODES = {outcome: code for code, outcome in enumerate(_OUTCOMES)}


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive runs of a check with the same status and reason. Times are starts of runs, wall clock."""

    status: Status
    reason: Reason | None
    first: float
    last: float
    count: int
    longest: float
    """The longest duration, in seconds."""

    def list_starts(self) -> list[float]:
        """Return the start of each run. Those between the first and the last are estimated: they are regular."""
        return [self.first + number * self._step for number in range(self.count)]

    def count_before(self, moment: float) -> int:
        """Return the number of runs that started before this moment; an estimate, if it is within the Span."""
        if self.last <= moment:
            return self.count - (self.last == moment)
        return max(0, math.ceil((moment - self.first) / self._step)) if self._step else 0

    @property
    def _step(self) -> float:
        return (self.last - self.first) / max(1, self.count - 1)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of the status of a check after thresholds."""

    time: float  # wall clock
    generation: int
    check: str
    before: Status
    after: Status
    reason: Reason | None
    summary: str
    streak: int
    """Consecutive runs that led to it, and the threshold that they reached; 0 if the check went stale."""
    threshold: int
    clock: float
    """The same moment on the monotonic clock."""
    groups: tuple[Group, ...] = ()
    """The groups that the check counts for, without `all`."""


class Event(StrEnum):
    """What happens to the exporter itself."""

    STARTED = "started"
    LOADED = "loaded"  # the configuration
    REJECTED = "rejected"  # the configuration
    HELD = "held"  # liveness, so restarts are suspended
    RELEASED = "released"  # liveness
    DRAINING = "draining"
    STOPPED = "stopped"
    LOST = "lost"  # entries of the history, because its file could not be written


@dataclass(frozen=True, slots=True)
class Milestone:
    """An event in the life of the exporter itself."""

    time: float  # wall clock
    generation: int
    event: Event
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A Result of a check, and the generation in which it counted."""

    check: str
    result: Result
    generation: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Every State at one moment, with the thresholds in force. A replay starts from it."""

    time: float  # wall clock
    clock: float  # monotonic clock
    generation: int
    states: tuple[State, ...]
    draining: bool
    degraded: bool
    loaded: bool = True  # the configuration has just been loaded; otherwise nothing has changed
    held: bool = False
    beats: tuple[Beat, ...] = ()
    """The latest heartbeat of each check, or the beginning of its wait for one."""


Entry: TypeAlias = Recorded | Transition | Milestone | Checkpoint | Answered | Beat
"""What is recorded, in the order in which it happens."""


@dataclass(frozen=True, slots=True)
class CheckHistory:
    """What is known about the past of one check, in order."""

    spans: tuple[Span, ...] = ()
    transitions: tuple[Transition, ...] = ()
    failure: Result | None = None
    """The latest run that was not healthy."""


class History:
    """The past of all checks and of the exporter. One thread at a time writes; any number read."""

    def __init__(self, spans: int = MAX_SPANS, transitions: int = MAX_TRANSITIONS) -> None:
        """Keep at most so many spans of each check, and transitions."""
        self._max_bytes = spans * _SPAN.size
        self._max_transitions = transitions
        self.complete_since = 0.0
        """The time up to which transitions or events of the exporter have been dropped; 0 if none has been."""
        self._running: set[str] = set()  # the checks that have run since the exporter started
        self.transitions: tuple[Transition, ...] = ()
        self.milestones: tuple[Milestone, ...] = ()
        self.sink: Callable[[Entry], object] | None = None
        """Called with every entry, while the Store holds its lock. It must not wait."""
        self.packed: dict[str, bytes] = {}
        """The Spans of each check, packed."""
        self.failures: dict[str, Result] = {}
        """The latest run of each check that was not healthy."""
        self.beats: dict[str, Beat] = {}
        """The latest heartbeat of each check, or the beginning of its wait for one."""

    def of(self, name: str) -> CheckHistory:
        """Return the history of a check; an empty one if there is none."""
        transitions = tuple(transition for transition in self.transitions if transition.check == name)
        return CheckHistory(self.list_spans(name), transitions, self.failures.get(name))

    def list_spans(self, name: str) -> tuple[Span, ...]:
        """Return the runs of a check."""
        return tuple(_make_span(*fields) for fields in _SPAN.iter_unpack(self.packed.get(name, b"")))

    def recall(self, name: str) -> Iterator[Span]:
        """Yield the runs of a check, the latest first. A reader that needs only some of them saves time."""
        packed = self.packed.get(name, b"")
        for end in range(len(packed), 0, -_SPAN.size):
            yield _make_span(*_SPAN.unpack_from(packed, end - _SPAN.size))

    def note_run(self, spec: Spec, result: Result, generation: int) -> None:
        """Note a run, before its transition if it causes one."""
        name, outcome, started = spec.name, result.outcome, result.started
        spans, code = self.packed.get(name, b""), _CODES[outcome.status, outcome.reason]
        span = (started, started, 1, result.duration, code)
        if spans:
            first, last, count, longest, before = _SPAN.unpack_from(spans, len(spans) - _SPAN.size)
            regular = 0 <= started - last <= 2 * max(spec.period, spec.timeout) and name in self._running
            if before == code and regular and count < _MAX_COUNT:
                spans, span = spans[: -_SPAN.size], (first, started, count + 1, max(longest, result.duration), code)
        self._running.add(name)
        self.packed[name] = (spans + _SPAN.pack(*span))[-self._max_bytes :]
        if not outcome.status.healthy:
            self.failures[name] = result
        if self.sink:
            self.sink(Recorded(name, result, generation))

    def note_change(self, before: State, after: State, generation: int, clock: float, *, expired: bool) -> None:
        """Note the transition between two States, if there is one."""
        if after.status is before.status:
            return
        spec, healthy = after.spec, after.status.healthy
        transition = Transition(
            time=after.since or 0.0,
            generation=generation,
            check=spec.name,
            before=before.status,
            after=after.status,
            reason=after.reason,
            summary=after.last.outcome.summary if after.last and after.reason is not Reason.STALE else "",
            streak=0 if expired else after.streak,
            threshold=0 if expired else spec.success_threshold if healthy else spec.failure_threshold,
            clock=clock,
            groups=tuple(sorted(group for group in spec.groups if group is not Group.ALL)),
        )
        self.note_transition(transition)

    def note_transition(self, transition: Transition) -> None:
        """Note a transition."""
        self.transitions = self._limit((*self.transitions, transition), self._max_transitions)
        self._put(transition)

    def note(self, milestone: Milestone) -> None:
        """Note an event in the life of the exporter."""
        if milestone.event is Event.STARTED:
            self._running.clear()
        self.milestones = self._limit((*self.milestones, milestone), MAX_MILESTONES)
        self._put(milestone)

    def note_beat(self, beat: Beat) -> None:
        """Note a heartbeat."""
        self.beats = {**self.beats, beat.check: beat}
        self._put(beat)

    def add_waits(self, waits: Iterable[Beat]) -> None:
        """Note since when these checks wait for their first heartbeat, unless that is known, or there has been one."""
        self.beats = {beat.check: beat for beat in waits} | self.beats

    def note_checks(self, checkpoint: Checkpoint) -> None:
        """Note which checks there are from now on. The history of all others is forgotten."""
        names = {state.spec.name for state in checkpoint.states}
        if checkpoint.states or not checkpoint.degraded:
            self.packed = {name: spans for name, spans in self.packed.items() if name in names}
            self.failures = {name: result for name, result in self.failures.items() if name in names}
            self.beats = {name: beat for name, beat in self.beats.items() if name in names}
            self._running &= names
        self._put(checkpoint)

    def restore(self, earlier: "History", names: Collection[str] | None) -> None:
        """Add what an earlier process has recorded, before what this one has; of these checks, unless it is None."""
        for name, spans in earlier.packed.items():
            if names is None or name in names:
                self.packed[name] = (spans + self.packed.get(name, b""))[-self._max_bytes :]
                failure = self.failures.get(name) or earlier.failures.get(name)
                self.failures |= {name: failure} if failure else {}
        restored = {name: beat for name, beat in earlier.beats.items() if names is None or name in names}
        self.beats = _merge_beats(restored, self.beats)
        self.complete_since = max(self.complete_since, earlier.complete_since)
        self.transitions = self._limit((*earlier.transitions, *self.transitions), self._max_transitions)
        self.milestones = self._limit((*earlier.milestones, *self.milestones), MAX_MILESTONES)

    def _limit(self, entries: tuple[_T, ...], count: int) -> tuple[_T, ...]:
        """Return the latest of these entries."""
        for entry in entries[:-count]:
            self.complete_since = max(self.complete_since, entry.time)
        return entries[-count:]

    def _put(self, entry: Entry) -> None:
        if self.sink:
            self.sink(entry)


def rebuild(entries: Iterable[Entry], history: History | None = None) -> History:
    """Return the History that these entries come from, in a new one or in this one."""
    history, specs = history or History(), dict[str, Spec]()
    for entry in entries:
        match entry:
            case Checkpoint() if entry.states:
                specs = {state.spec.name: state.spec for state in entry.states}
                beats = _merge_beats(history.beats, {beat.check: beat for beat in entry.beats})
                history.beats = {name: beat for name, beat in beats.items() if name in specs}
            case Beat():
                history.note_beat(entry)
            case Recorded() if entry.check in specs:
                history.note_run(specs[entry.check], entry.result, entry.generation)
            case Transition():
                history.note_transition(entry)
            case Milestone():
                history.note(entry)
    return history


def _merge_beats(earlier: Mapping[str, Beat], later: Mapping[str, Beat]) -> dict[str, Beat]:
    """Return the later heartbeats, and the earlier ones of checks without any.

    A process that has just started begins to wait again, because it has not read the file yet.
    """
    known = {name: beat for name, beat in later.items() if beat.exit_code is not None or name not in earlier}
    return {**earlier, **known}


def _make_span(first: float, last: float, count: int, longest: float, code: int) -> Span:
    status, reason = _OUTCOMES[code]
    return Span(status, reason, first, last, count, longest)
