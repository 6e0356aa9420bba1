"""A life of a check, replayed with another configuration: runs through `settle` and `expire`.

Theory of operation:

What is not known has a best and a worst case: the State at the begin of a recording, the runs between two scrapes, and
which of the recorded runs a longer period would have had. Each case is a trace of its own. More failed runs never make
a check healthier, so the truth is between what all traces have in common and what any of them has.

A State goes stale at its time exactly, because whoever asks then is told so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import zip_longest
from typing import TypeAlias

from exporter.evaluation.judge import satisfies
from exporter.evaluation.settle import expire, settle
from exporter.model import Group, Result, Spec, State, Status
from exporter.replay.recording import Life, ReplayError
from exporter.replay.windows import Windows, intersect, unite

Trace: TypeAlias = list[tuple[float, State]]
"""The States of a check, each with the time at which its status begins."""
_MANY = 10**9


@dataclass(frozen=True, slots=True)
class Span:
    """The time in which something is certain, and in which it is possible."""

    certain: Windows
    possible: Windows


def trace_all(life: Life, spec: Spec) -> list[Trace]:
    """Return the traces of a life with this Spec. Raises ReplayError if its period is not a multiple."""
    step = _find_step(life.spec, spec)
    readings = life.readings if step == 1 else [thin for runs in life.readings for thin in _thin_out(life, runs, step)]
    return [_trace(life, start, runs) for start in _find_starts(life, spec) for runs in readings]


def find_down(life: Life, traces: Sequence[Trace], group: Group) -> Span:
    """Return when the check makes a group false."""
    cases = [_find_down(trace, life.end, group) for trace in traces]
    return Span(reduce(intersect, cases), unite(*cases))


def _find_step(recorded: Spec, wanted: Spec) -> int:
    """Return how many of the recorded runs are one of the wanted period."""
    step = round(wanted.period / recorded.period)
    if step >= 1 and wanted.period == step * recorded.period:
        return step
    known = f"the recorded runs are {recorded.period:g} s apart"
    if wanted.period < recorded.period:
        raise ReplayError(f"{wanted.name}: periodSeconds {wanted.period:g}: {known}, and nothing is known in between")
    multiples = ", ".join(f"{number * recorded.period:g}" for number in (2, 3, 4))
    raise ReplayError(f"{wanted.name}: periodSeconds {wanted.period:g}: {known}; use a multiple, such as {multiples}")


def _thin_out(life: Life, runs: list[Result], step: int) -> Iterator[list[Result]]:
    """Yield the runs that would be left with a period of `step` periods, for every possible begin."""
    first = runs[:1] if life.is_new else []  # the first run of a new check does not wait for its slot
    for begin in range(len(first), step * (1 + len(first))):
        left, due = [*first], 0.0
        for run in runs[begin:]:
            if run.started >= due:
                left.append(run)
                due = run.started + (step - 0.5) * life.spec.period
        yield left


def _find_starts(life: Life, spec: Spec) -> tuple[State, ...]:
    """Return the State at the begin, or the best and the worst one if it is not known."""
    state = life.start
    if state is not None and life.is_new:
        return (State(spec),)
    if state is not None and state.status is not Status.UNKNOWN and spec.period == life.spec.period:
        threshold = spec.success_threshold if state.streak_healthy else spec.failure_threshold
        same = spec.success_threshold, spec.failure_threshold
        if same == (life.spec.success_threshold, life.spec.failure_threshold):
            return (_carry(state, spec, state.status),)
        if state.streak >= threshold:
            settled = state.status if state.status.healthy else Status.PASS
            return (_carry(state, spec, settled if state.streak_healthy else Status.FAIL),)
    passing = State(spec, Status.PASS, None, streak=_MANY, streak_healthy=True, runs=1)
    failing = State(spec, Status.FAIL, None, streak=_MANY, streak_healthy=False, runs=1)
    return passing, failing


def _carry(state: State, spec: Spec, status: Status) -> State:
    fresh_until = state.fresh_until - state.spec.stale_after + spec.stale_after
    return replace(state, spec=spec, status=status, fresh_until=fresh_until)


def _trace(life: Life, state: State, runs: Sequence[Result]) -> Trace:
    trace, offset, fresh_until = [(life.begin, state)], life.offset, state.fresh_until
    for result, following in zip_longest(runs, runs[1:]):
        if fresh_until >= result.ended and following is not None and _goes_on(state, result, following):
            fresh_until = result.ended + state.spec.fresh_for  # settling would change nothing else: most runs pass
            continue
        if fresh_until != state.fresh_until:
            state = replace(state, fresh_until=fresh_until)
        state = _expire_before(trace, state, result.ended, offset)
        offset = result.started + result.duration - result.ended
        state = settle(state, result)
        fresh_until = state.fresh_until
        _note(trace, result.started + result.duration, state)
    _expire_before(trace, state, life.end - offset, offset)
    return trace


def _goes_on(state: State, result: Result, following: Result) -> bool:
    """Return whether a check that passes goes on with two runs that pass, the second one in time."""
    passed = result.outcome.status is following.outcome.status is state.status is Status.PASS
    return passed and state.streak_healthy and following.ended <= result.ended + state.spec.fresh_for


def _expire_before(trace: Trace, state: State, now: float, offset: float) -> State:
    """Return the State just before `now`, on the monotonic clock."""
    if state.fresh_until >= now:
        return state
    wall = state.fresh_until + offset
    state = expire(state, state.fresh_until, wall)
    _note(trace, wall, state)
    return state


def _note(trace: Trace, time: float, state: State) -> None:
    if state.status is not trace[-1][1].status:
        trace.append((max(time, trace[-1][0]), state))  # the wall clock may have been set back


def _find_down(trace: Trace, end: float, group: Group) -> Windows:
    ends = [*(time for time, _ in trace[1:]), end]
    down = ((begin, end) for (begin, state), end in zip(trace, ends, strict=True) if not satisfies(state, group))
    return unite(tuple(down))
