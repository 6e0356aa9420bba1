"""The JSON of `/events` -> what is known about the past, as the story needs it."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any

from exporter.evaluation.answered import Answered
from exporter.evaluation.history import Event, Milestone, Span, Transition
from exporter.model import Group, Reason, Status


@dataclass(frozen=True, slots=True)
class Known:
    """A check at the end."""

    status: Status
    reason: Reason | None
    since: float | None
    owner: str = ""
    description: str = ""
    runbook_url: str = ""


@dataclass(frozen=True, slots=True)
class Chronicle:
    """What is known about the past of an exporter, each kind of event in order. Times are wall clock."""

    host: str
    until: float
    complete_since: float
    """Up to this time, events are missing; 0 if none is."""
    begin: float
    """The time of the first event."""
    ends: Sequence[float]
    """The times of all events, sorted."""
    cut: bool
    """Runs that were not healthy have been left off, because there are too many."""
    checks: Mapping[str, Known]
    transitions: tuple[Transition, ...]
    answers: tuple[Answered, ...]
    milestones: tuple[Milestone, ...]
    spans: Mapping[str, tuple[Span, ...]]
    """The runs of each check."""

    def list_spans(self, check: str) -> tuple[Span, ...]:
        """Return the runs of a check."""
        return self.spans.get(check, ())

    def find_last_before(self, moment: float) -> float | None:
        """Return the time of the last event before a moment."""
        number = bisect_left(self.ends, moment)
        return self.ends[number - 1] if number else None

    def has_started_between(self, begin: float, end: float) -> bool:
        """Return whether the exporter has started in this time, so that it did not see everything."""
        return any(entry.event is Event.STARTED and begin < entry.time <= end for entry in self.milestones)

    def is_held(self, transition: Transition) -> bool:
        """Return whether liveness was held when a check changed, so that it did not fail."""
        decisive = (Event.HELD, Event.RELEASED, Event.STARTED)
        known = (entry for entry in reversed(self.milestones) if entry.event in decisive)
        latest = next((entry for entry in known if entry.time <= transition.time), None)
        return latest is not None and latest.event is Event.HELD

    def list_names(self) -> list[str]:
        """Return the names of all checks, those that are configured first."""
        return [*dict.fromkeys((*self.checks, *(transition.check for transition in self.transitions)))]

    def select(self, check: str) -> "Chronicle":
        """Return what is known about this check alone, and about the exporter itself."""
        return replace(
            self,
            checks={name: known for name, known in self.checks.items() if name == check},
            transitions=tuple(transition for transition in self.transitions if transition.check == check),
            spans={name: spans for name, spans in self.spans.items() if name == check},
        )


def parse(document: Mapping[str, Any]) -> Chronicle:
    """Return the Chronicle of a document.

    Raises ValueError, LookupError, TypeError, AttributeError or OverflowError if it is not a valid one.
    """
    events: Sequence[Mapping[str, Any]] = document["events"]
    spans: dict[str, list[Span]] = {}
    for fields in _select(events, "runs"):
        spans.setdefault(str(fields["check"]), []).append(_parse_span(fields))
    complete, until = document.get("completeSince"), _time(document["until"])
    return Chronicle(
        host=str(document["host"]),
        until=until,
        begin=min((_time(fields.get("first") or fields["time"]) for fields in events), default=until),
        ends=sorted(_time(fields.get("last") or fields["time"]) for fields in events),
        complete_since=_time(complete) if complete else 0.0,
        cut=bool(document["leftOff"]) and not any(span.status.healthy for span in chain(*spans.values())),
        checks={str(name): _parse_known(fields) for name, fields in document["checks"].items()},
        transitions=tuple(map(_parse_transition, _select(events, "transition"))),
        answers=tuple(map(_parse_answered, _select(events, "answered"))),
        milestones=tuple(map(_parse_milestone, _select(events, *Event))),
        spans={name: tuple(runs) for name, runs in spans.items()},
    )


def _select(events: Sequence[Mapping[str, Any]], *types: str) -> list[Mapping[str, Any]]:
    return [fields for fields in events if fields["type"] in types]


def _parse_known(fields: Mapping[str, Any]) -> Known:
    return Known(
        status=Status(fields["status"]),
        reason=_reason(fields),
        since=_optional_time(fields, "since"),
        owner=str(fields.get("owner", "")),
        description=str(fields.get("description", "")),
        runbook_url=str(fields.get("runbookUrl", "")),
    )


def _parse_transition(fields: Mapping[str, Any]) -> Transition:
    return Transition(
        time=_time(fields["time"]),
        generation=int(fields["generation"]),
        check=str(fields["check"]),
        before=Status(fields["before"]),
        after=Status(fields["after"]),
        reason=_reason(fields),
        summary=str(fields.get("output", "")),
        streak=int(fields.get("streak", 0)),
        threshold=int(fields.get("threshold", 0)),
        clock=0.0,
        groups=tuple(map(Group, fields["groups"])),
    )


def _parse_answered(fields: Mapping[str, Any]) -> Answered:
    return Answered(
        path=str(fields["path"]),
        kubelet=bool(fields["kubelet"]),
        because=tuple(map(str, fields["because"])),
        generation=int(fields["generation"]),
        first=_time(fields["first"]),
        last=_time(fields["last"]),
        count=int(fields["count"]),
        previous=_optional_time(fields, "previous"),
        recovered=_optional_time(fields, "recovered"),
        startup=_optional_time(fields, "startup"),
    )


def _parse_milestone(fields: Mapping[str, Any]) -> Milestone:
    detail = str(fields.get("detail", ""))
    return Milestone(_time(fields["time"]), int(fields["generation"]), Event(fields["type"]), detail)


def _parse_span(fields: Mapping[str, Any]) -> Span:
    return Span(
        status=Status(fields["status"]),
        reason=_reason(fields),
        first=_time(fields["first"]),
        last=_time(fields["last"]),
        count=int(fields["count"]),
        longest=float(fields["longestSeconds"]),
    )


def _reason(fields: Mapping[str, Any]) -> Reason | None:
    return Reason(fields["reason"]) if "reason" in fields else None


def _optional_time(fields: Mapping[str, Any], name: str) -> float | None:
    return _time(fields[name]) if name in fields else None


def _time(text: str) -> float:
    moment = datetime.fromisoformat(text).timestamp()
    if moment < 0:  # the year 1 in another time zone is the year 0, which cannot be written
        raise ValueError("a time before 1970")
    return moment
