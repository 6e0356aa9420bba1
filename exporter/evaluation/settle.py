"""State + Result -> State: streaks and thresholds. Pure functions.

Theory of operation:

The rules are the ones of the kubelet (doProbe in pkg/kubelet/prober/worker.go). A result is definitive if it is `pass`,
`warn` or `fail`. `pass` and `warn` are healthy. Consecutive healthy results form a streak, as do consecutive failed
ones. The settled status changes when a streak reaches its threshold: successThreshold or failureThreshold. While a
streak goes on after that, the status and its reason follow the latest result, for example from `pass` to `warn`.

A healthy result ends a streak of failures. Streaks that have ended are counted by their length: as many of them as are
at least N runs long would have failed the check with a failureThreshold of N.

An `unknown` result means that the check could not run. It is counted, with its reason, among the runs that were not
healthy. But it neither extends nor ends a streak, and it does not change the settled status.

A State starts as `unknown` with the reason `pending`, and stays unknown until a streak reaches a threshold. So the
start needs no rule of its own. What `unknown` means to an endpoint is decided in `judge`.

A settled status needs confirmation. If no definitive result arrives within `fresh_for` seconds of the latest one, the
status becomes `unknown` with the reason `stale`. The streak continues, so one more result can settle it again.

While the status is `unknown`, its reason is that of the latest run, such as `missing` if the check cannot run. It is
`pending` only if the latest run has none: there was no run yet, or the successes do not suffice yet.

The helpers return the fields that change, by name, so that a run copies the State once.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from exporter.model import ENDPOINT_LATENCY, STREAK_BOUNDS, Outcome, Reason, Result, State, Status


def settle(state: State, result: Result) -> State:
    """Return the State after this Result."""
    outcome = result.outcome
    changes: dict[str, Any] = _count_run(state, result) | _count_latency(state, outcome)
    if state.status is Status.UNKNOWN:
        changes["reason"] = outcome.reason or Reason.PENDING
    if outcome.status is Status.UNKNOWN:
        return replace(state, **changes)
    healthy = outcome.status.healthy
    streak = state.streak + 1 if state.streak and state.streak_healthy == healthy else 1
    changes |= {**_count_streak(state, result, healthy=healthy), "streak": streak, "streak_healthy": healthy}
    threshold = state.spec.success_threshold if healthy else state.spec.failure_threshold
    settled = streak >= threshold
    if settled:
        changes |= _change_status(state, outcome.status, outcome.reason, result.started + result.duration)
    if settled or state.status is not Status.UNKNOWN:
        changes["fresh_until"] = result.ended + state.spec.fresh_for
    return replace(state, **changes)  # once, because it reads every field


def expire(state: State, now: float, wall: float) -> State:
    """Return the State at `now` (monotonic clock): `unknown` if it is stale. `wall` is the same moment, wall clock."""
    if now < state.fresh_until:
        return state
    latest = state.last.outcome if state.last else None
    reason = latest.reason if latest and latest.status is Status.UNKNOWN else Reason.STALE
    return replace(state, **_change_status(state, Status.UNKNOWN, reason, wall), fresh_until=math.inf)


def _count_run(state: State, result: Result) -> dict[str, Any]:
    reason = result.outcome.reason
    if reason is None or result.outcome.status.healthy:
        return {"last": result, "last_pass": result.started, "runs": state.runs + 1}
    return {
        "last": result,
        "runs": state.runs + 1,
        "failures": {**state.failures, reason: state.failures.get(reason, 0) + 1},
        "failed_since": {reason: result.started, **state.failed_since},
    }


def _count_latency(state: State, outcome: Outcome) -> dict[str, Any]:
    """Count the endpoint's latency in its bucket, if the check has a histogram and the endpoint responded."""
    buckets = state.spec.latency_buckets
    if not buckets:
        return {}
    values = (measurement.value for measurement in outcome.measurements if measurement.name == ENDPOINT_LATENCY)
    latency = next(values, None)
    if latency is None:
        return {}
    latencies = _count_in_bucket(state.latencies, buckets, latency)
    return {"latencies": latencies, "latency_sum": state.latency_sum + latency}


def _count_streak(state: State, result: Result, *, healthy: bool) -> dict[str, Any]:
    """Count the streak of failures that this result ends, if it ends one."""
    if not healthy:
        return {"first_failure": result.started} if state.first_failure is None else {}
    length = state.consecutive_failures
    if not length:
        return {}
    streaks = _count_in_bucket(state.failure_streaks, STREAK_BOUNDS, length)
    return {"failure_streaks": streaks, "failure_streak_runs": state.failure_streak_runs + length}


def _count_in_bucket(counts: tuple[int, ...], bounds: Sequence[float], value: float) -> tuple[int, ...]:
    """Return the counts with one more in the bucket of the value; those without any are empty."""
    counts = counts or (0,) * (len(bounds) + 1)
    bucket = bisect_left(bounds, value)
    return (*counts[:bucket], counts[bucket] + 1, *counts[bucket + 1 :])


def _change_status(state: State, status: Status, reason: Reason | None, wall: float) -> dict[str, Any]:
    if status is state.status:
        return {"reason": reason}
    return {"status": status, "reason": reason, "since": wall, "transitions": state.transitions + 1}
