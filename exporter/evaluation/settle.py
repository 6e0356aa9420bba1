"""State + Result -> State: thresholds and streaks. Pure.

The rules are the kubelet's (pkg/kubelet/prober/worker.go): a run that could not look changes no verdict and neither
counts nor breaks a streak; the verdict moves when a streak reaches its threshold. A State starts `unknown` and stays
so until a threshold is met, without a special first case.
"""

import math
from bisect import bisect_left
from dataclasses import replace

from exporter.model import ENDPOINT_LATENCY, Outcome, Reason, Result, State, Status


def settle(state: State, result: Result) -> State:
    """Return the State after this Result."""
    state = _timed(_counted(state, result), result.outcome)
    outcome = result.outcome
    if outcome.status is Status.UNKNOWN:
        return state
    healthy = outcome.status.healthy
    streak = state.streak + 1 if state.streak and state.streak_healthy == healthy else 1
    state = replace(state, streak=streak, streak_healthy=healthy)
    threshold = state.spec.success_threshold if healthy else state.spec.failure_threshold
    if streak >= threshold:
        state = _turned(state, outcome.status, outcome.reason, result.started + result.duration)
    if state.status is Status.UNKNOWN:
        return state
    return replace(state, fresh_until=result.ended + state.spec.stale_after)


def expire(state: State, now: float, wall: float) -> State:
    """Return the State as it is at `now` (monotonic): `unknown` when no definitive result came in time."""
    if now < state.fresh_until:
        return state
    return replace(_turned(state, Status.UNKNOWN, Reason.STALE, wall), fresh_until=math.inf)


def _counted(state: State, result: Result) -> State:
    reason = result.outcome.reason
    healthy = result.outcome.status.healthy
    return replace(
        state,
        last=result,
        last_pass=result.started if healthy else state.last_pass,
        runs=state.runs + 1,
        failures=state.failures
        if healthy or reason is None
        else {**state.failures, reason: state.failures.get(reason, 0) + 1},
    )


def _timed(state: State, outcome: Outcome) -> State:
    """With the endpoint's latency in its bucket, where a histogram is wanted and there was an answer."""
    buckets = state.spec.latency_buckets
    latency = next((each.value for each in outcome.measurements if each.name == ENDPOINT_LATENCY), None)
    if not buckets or latency is None:
        return state
    place = bisect_left(buckets, latency)
    counts = state.latencies or (0,) * (len(buckets) + 1)
    counts = (*counts[:place], counts[place] + 1, *counts[place + 1 :])
    return replace(state, latencies=counts, latency_sum=state.latency_sum + latency)


def _turned(state: State, status: Status, reason: Reason | None, wall: float) -> State:
    if status is state.status:
        return replace(state, reason=reason)
    return replace(state, status=status, reason=reason, since=wall, transitions=state.transitions + 1)
