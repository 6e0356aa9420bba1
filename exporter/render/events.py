"""The history -> what happened, for `/events`: as JSON, or as a line of text for each event."""

import heapq
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from exporter.evaluation.answered import Answered
from exporter.evaluation.history import Event, History, Milestone, Span, Transition
from exporter.lines import format_time
from exporter.model import Snapshot, Spec
from exporter.render.words import format_duration
from exporter.text import replace_unprintable

MAX_EVENTS = 1000
"""Events of a response; the latest ones."""


_SUBJECTS = {
    Event.STARTED: "exporter",
    Event.LOADED: "configuration",
    Event.REJECTED: "configuration",
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
    recent = ((_find_begin(event), next(number), event) for event in events if _find_end(event) >= selection.since)
    # Not all of them are sorted: thousands of checks have many runs. The numbers keep the order of equal times.
    found = heapq.nlargest(selection.limit, recent, key=lambda numbered: numbered[:2])
    return [event for _, _, event in reversed(found)], next(number) - len(found)


def render_json(snapshot: Snapshot, host: str, selected: tuple[list[Happening], int], check: str | None) -> str:
    """Return the events as a JSON object, with the thresholds in force."""
    events, more = selected
    specs = (state.spec for state in snapshot.states.values())
    return json.dumps(
        {
            "generation": snapshot.generation,
            "time": format_time(snapshot.timestamp),
            "host": host,
            "leftOff": more,
            "events": [_describe(event) for event in events],
            "checks": {spec.name: _describe_spec(spec) for spec in specs if check in (None, spec.name)},
        }
    )


def render_text(selected: tuple[list[Happening], int]) -> str:
    """Return a line for each event, the earliest first."""
    events, more = selected
    lines = [f"{more} earlier events are left off"] if more else []
    lines += [f"{format_time(_find_begin(event))} {_write(event)}" for event in events]
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
    yield from (entry for entry in answers if check is None or _concerns(entry, check))


def _concerns(entry: Answered, check: str) -> bool:
    return any(reason.startswith(f"{check} (") for reason in entry.because)


def _find_begin(event: Happening) -> float:
    match event:
        case Runs():
            return event.span.first
        case Answered():
            return event.first
    return event.time


def _find_end(event: Happening) -> float:
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


def _describe_spec(spec: Spec) -> dict[str, Any]:
    return {
        "kind": spec.kind,
        "groups": sorted(spec.groups),
        "periodSeconds": spec.period,
        "timeoutSeconds": spec.timeout,
        "successThreshold": spec.success_threshold,
        "failureThreshold": spec.failure_threshold,
        "staleAfterSeconds": spec.stale_after,
    }


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
