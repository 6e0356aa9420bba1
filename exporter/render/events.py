"""The history -> what happened, for `/events`: as plain data for JSON, or as a line of text for each event."""

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from exporter.evaluation.answered import Answered
from exporter.evaluation.history import Event, History, Milestone, Span, Transition
from exporter.lines import format_time
from exporter.model import Snapshot, State
from exporter.quantities import format_duration
from exporter.text import replace_unprintable

MAX_EVENTS = 1000
"""Events of a response; the latest ones."""


_SUBJECTS = {
    Event.STARTED: "exporter",
    Event.LOADED: "configuration",
    Event.REJECTED: "configuration",
    Event.HELD: "liveness",
    Event.RELEASED: "liveness",
    Event.DRAINING: "exporter",
    Event.STOPPED: "exporter",
    Event.LOST: "entries of the history",
}


@dataclass(frozen=True, slots=True)
class Runs:
    """A Span of a check."""

    check: str
    span: Span


Happening: TypeAlias = Runs | Transition | Answered | Milestone


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events to show: those that ended at `since` or later, of one check, with the runs of all checks."""

    since: float = 0.0
    check: str | None = None
    runs: bool = False
    limit: int = MAX_EVENTS


def select(
    snapshot: Snapshot, history: History, answers: Iterable[Answered], selection: Selection
) -> tuple[list[Happening], int]:
    """Return the latest of the selected events in the order of their times, and how many are left off."""
    number = itertools.count()
    events = _list_events(snapshot, history, answers, selection)
    recent = (
        (_rank(event), find_begin(event), next(number), event) for event in events if find_end(event) >= selection.since
    )
    # Not all of them are sorted: thousands of checks have many runs. The numbers keep the order of equal times.
    found = heapq.nlargest(selection.limit, recent, key=lambda numbered: numbered[:3])
    found.sort(key=lambda numbered: numbered[1:3])
    return [event for *_, event in found], next(number) - len(found)


def _rank(event: Happening) -> int:
    """Return how much an event matters: of too many, those with the lowest rank are left off."""
    match event:
        case Runs(_, span):
            return 0 if span.status.healthy else 1
    return 2


def describe(
    snapshot: Snapshot,
    host: str,
    selected: tuple[list[Happening], int],
    check: str | None = None,
    *,
    until: float,
    complete_since: float,
) -> dict[str, Any]:
    """Return the events as plain data, with the status and the configuration of the checks.

    `until` is now. Up to `complete_since`, if it is not 0, events are missing.
    """
    events, more = selected
    return {
        "generation": snapshot.generation,
        "time": format_time(snapshot.timestamp),
        "host": host,
        "until": format_time(until),
        **({"completeSince": format_time(complete_since)} if complete_since else {}),
        "leftOff": more,
        "events": [_describe(event) for event in events],
        "checks": {name: _describe_state(state) for name, state in snapshot.states.items() if check in (None, name)},
    }


def render_text(selected: tuple[list[Happening], int]) -> str:
    """Return a line for each event, the earliest first."""
    events, more = selected
    lines = [f"{more} earlier events are left off"] if more else []
    lines += [f"{format_time(find_begin(event))} {_write(event)}" for event in events]
    return "".join(f"{replace_unprintable(line)}\n" for line in lines or ["no events"])


def _list_events(
    snapshot: Snapshot, history: History, answers: Iterable[Answered], selection: Selection
) -> Iterator[Happening]:
    check = selection.check
    yield from (transition for transition in history.transitions if check in (None, transition.check))
    for name in snapshot.states:
        if check == name or (selection.runs and check is None):
            yield from (Runs(name, span) for span in history.list_spans(name))
    if check is None:
        yield from history.milestones
    yield from (entry for entry in answers if check is None or concerns(entry, check))


def concerns(entry: Answered, check: str) -> bool:
    """Return whether a check was among the reasons of a 503."""
    return any(reason.startswith(f"{check} (") for reason in entry.because)


def find_begin(event: Happening) -> float:
    """Return the time of an event, or of the first of several."""
    match event:
        case Runs():
            return event.span.first
        case Answered():
            return event.first
    return event.time


def find_end(event: Happening) -> float:
    """Return the time of an event, or of the last of several."""
    match event:
        case Runs():
            return event.span.last
        case Answered():
            return event.last
    return event.time


def _describe(event: Happening) -> dict[str, Any]:
    fields: dict[str, Any]
    match event:
        case Runs():
            fields = {
                "type": "runs",
                "check": event.check,
                "status": event.span.status,
                "reason": event.span.reason,
                "count": event.span.count,
                "first": format_time(event.span.first),
                "last": format_time(event.span.last),
                "longestSeconds": round(event.span.longest, 6),
            }
        case Transition():
            fields = {
                "type": "transition",
                "time": format_time(event.time),
                "check": event.check,
                "before": event.before,
                "after": event.after,
                "reason": event.reason,
                "output": event.summary or None,
                "streak": event.streak or None,
                "threshold": event.threshold or None,
                "groups": list(event.groups),
                "generation": event.generation,
            }
        case Answered():
            fields = {
                "type": "answered",
                "path": event.path,
                "status": 503,
                "because": list(event.because),
                "kubelet": event.kubelet,
                "count": event.count,
                "first": format_time(event.first),
                "last": format_time(event.last),
                "previous": _format(event.previous),
                "recovered": _format(event.recovered),
                "startup": _format(event.startup),
                "generation": event.generation,
            }
        case Milestone():
            fields = {
                "type": event.event,
                "time": format_time(event.time),
                "detail": event.detail or None,
                "generation": event.generation,
            }
    return {key: value for key, value in fields.items() if value is not None}


def _format(moment: float | None) -> str | None:
    return None if moment is None else format_time(moment)


def _describe_state(state: State) -> dict[str, Any]:
    spec = state.spec
    fields = {
        "kind": spec.kind,
        "groups": sorted(spec.groups),
        "periodSeconds": spec.period,
        "timeoutSeconds": spec.timeout,
        "successThreshold": spec.success_threshold,
        "failureThreshold": spec.failure_threshold,
        "staleAfterSeconds": spec.stale_after,
        **spec.guidance,
        "status": state.status,
        "reason": state.reason,
        "since": _format(state.since),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _write(event: Happening) -> str:
    match event:
        case Runs(check, span):
            reason = f" ({span.reason})" if span.reason else ""
            times = "1 run" if span.count == 1 else f"{span.count} runs until {format_time(span.last)}"
            return f"check {check}: {times}: {span.status}{reason}, at most {format_duration(span.longest)}"
        case Transition():
            reason = f" ({event.reason})" if event.reason else ""
            runs = f", {event.streak} of {event.threshold} in a row" if event.threshold else ""
            text = f": {event.summary}" if event.summary else ""
            return f"check {event.check}: {event.before} -> {event.after}{reason}{runs}{text}"
        case Answered():
            times = "once" if event.count == 1 else f"{event.count} times until {format_time(event.last)}"
            client = " to the kubelet" if event.kubelet else ""
            return f"answered {event.path} with 503{client} {times}: {', '.join(event.because)}"
        case Milestone():
            detail = f": {event.detail}" if event.detail else ""
            return f"{_SUBJECTS[event.event]} {event.event}{detail}"
