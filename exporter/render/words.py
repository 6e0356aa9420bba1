"""Words and numbers for people, on the page and in the report."""

import time
from functools import lru_cache

from exporter.model import BADNESS, Measurement, Snapshot, State, Status
from exporter.quantities import UNITS, format_quantity
from exporter.text import format_count


def format_headline(snapshot: Snapshot) -> str:
    """Return the state of all checks in one line."""
    total = len(snapshot.states)
    if snapshot.degraded:
        return "no configuration"
    if not total:
        return "no checks"
    counts = {status: sum(state.status is status for state in snapshot.states.values()) for status in BADNESS}
    bad = [f"{counts[status]} {status}" for status in BADNESS if counts[status] and status is not Status.PASS]
    checks = format_count(total, "check")
    return f"{', '.join(bad)} of {checks}" if bad else f"{checks}, all pass"


def find_summary(state: State) -> str:
    """Return what the latest run found."""
    return state.last.outcome.summary if state.last else "did not end in time"


def sort_worst_first(snapshot: Snapshot) -> list[State]:
    """Return the States, worst first. Equal ones: the latest run unhealthy first, then as in the configuration."""

    def rank(state: State) -> tuple[int, bool]:
        return BADNESS.index(state.status), state.last is not None and state.last.outcome.status.healthy

    return sorted(snapshot.states.values(), key=rank)


def format_label(measurement: Measurement) -> str:
    """Return the name of a measurement for people, without the unit, which its value has.

    >>> format_label(Measurement("endpoint_latency_seconds", 0.1, phase="connect"))
    'endpoint latency, connect'
    """
    return _format_label(measurement.name, measurement.phase or measurement.field)


def format_limits(measurement: Measurement) -> str:
    """Return the limits, such as `warn 70 %, fail 90 %`; empty if there are none."""
    return _format_limits(measurement.name, measurement.warn, measurement.fail)


@lru_cache(maxsize=256)  # a page shows the same few for hundreds of checks
def _format_label(name: str, part: str | None) -> str:
    for suffix in ("_timestamp_seconds", "_seconds", "_bytes", "_ratio", "_total"):
        name = name.removesuffix(suffix)
    label = name.replace("_", " ")
    return f"{label}, {part}" if part else label


@lru_cache(maxsize=256)
def _format_limits(name: str, warn: float | None, fail: float | None) -> str:
    limits = (("warn", warn), ("fail", fail))
    return ", ".join(f"{level} {format_quantity(name, limit)}" for level, limit in limits if limit is not None)


def format_clock(moment: float) -> str:
    """Return the time of day in UTC."""
    return time.strftime("%H:%M:%S UTC", time.gmtime(moment))


def format_moment(moment: float) -> str:
    """Return a time in UTC, with its date."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def format_age(seconds: int) -> str:
    """Return how long ago something was, such as `just now`, `41 s ago` or `12 min ago`; `in 5 s` if it is to come."""
    if not seconds:
        return "just now"
    length = abs(seconds)
    unit, size = next(((unit, size) for unit, size in UNITS if length >= size), UNITS[-1])
    return f"{length // size} {unit} ago" if seconds > 0 else f"in {length // size} {unit}"
