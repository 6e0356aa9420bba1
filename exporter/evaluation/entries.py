"""Entries of the history <-> lines of JSON, as the file of `--history.file` has them.

A file begins with a Checkpoint: the thresholds in force and the state of every check. From there on, it has everything
that changes a State or a Verdict, in order and with its time on both clocks. So a replay through `settle`, `expire` and
`judge` comes to the same States and Verdicts.

The version of the schema is in each Checkpoint. Most lines are about runs, so these are short: the times have no more
digits than microseconds, and a run without a status has passed.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from exporter.evaluation.answered import Answered
from exporter.evaluation.history import Checkpoint, Entry, Event, Milestone, Recorded, Transition
from exporter.model import Beat, Group, Outcome, Reason, Result, Severity, Spec, State, Status

SCHEMA = 1
"""The version of the schema. A reader ignores the files of later versions."""
_DIGITS = 6  # of the times of a run
_MAX_TIME = 253402300799.0  # seconds: the end of the year 9999, after which no time can be written as a date
_MAX_COUNT = 2**53  # the largest integer that JSON carries exactly


def encode(entry: Entry, *, summary: bool = True) -> str:
    """Return the line of an entry, without its end. Without `summary`, that of a run is left out."""
    match entry:
        case Recorded():
            fields = _encode_run(entry, summary=summary)
        case Transition():
            fields = {"type": "transition", **_encode_transition(entry)}
        case Answered():
            fields = {"type": "answered", **_encode_answered(entry)}
        case Milestone():
            fields = {"type": entry.event, "time": entry.time, "generation": entry.generation, "detail": entry.detail}
        case Beat():
            fields = {"type": "heartbeat", **_encode_beat(entry)}
        case Checkpoint():
            fields = {"type": "checks", **_encode_checkpoint(entry)}
    return json.dumps({key: value for key, value in fields.items() if value not in (None, "")}, separators=(",", ":"))


def decode(lines: Iterable[str]) -> Iterator[Entry]:
    """Yield the entries of these lines, except damaged lines and those that follow a later schema.

    An entry about answers replaces an earlier one with the same path and time, which was written while it still grew.
    """
    known = True
    summaries: dict[str, str] = {}
    for line in lines:
        try:
            fields = json.loads(line)
            known = fields["schema"] <= SCHEMA if fields["type"] == "checks" else known
            if known:
                if fields["type"] == "run":
                    _complete_summary(fields, summaries)
                yield _decode(fields)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue


def _complete_summary(fields: dict[str, Any], summaries: dict[str, str]) -> None:
    """Add the summary of an unhealthy run if it was left out, because the one before had the same."""
    if fields.get("status") in ("fail", "unknown"):
        fields["summary"] = summaries[fields["check"]] = fields.get("summary", summaries.get(fields["check"], ""))


def _decode(fields: Mapping[str, Any]) -> Entry:
    match fields["type"]:
        case "run":
            return _decode_run(fields)
        case "transition":
            return _decode_transition(fields)
        case "answered":
            return _decode_answered(fields)
        case "heartbeat":
            return _decode_beat(fields)
        case "checks":
            return _decode_checkpoint(fields)
    detail = str(fields.get("detail", ""))
    return Milestone(_number(fields["time"]), _count(fields["generation"]), Event(fields["type"]), detail)


def _encode_run(entry: Recorded, *, summary: bool) -> dict[str, Any]:
    result, outcome = entry.result, entry.result.outcome
    return {
        "type": "run",
        "check": entry.check,
        "started": round(result.started, _DIGITS),
        "duration": round(result.duration, _DIGITS),
        "clock": round(result.ended, _DIGITS),
        "generation": entry.generation,
        "status": None if outcome.status is Status.PASS else outcome.status,
        "reason": outcome.reason,
        "summary": outcome.summary if summary else "",
    }


def _decode_run(fields: Mapping[str, Any]) -> Recorded:
    outcome = Outcome(Status(fields.get("status", Status.PASS)), _reason(fields), str(fields.get("summary", "")))
    started, clock, duration = (_number(fields[name]) for name in ("started", "clock", "duration"))
    _number(started + duration)  # when it ended is a time too
    return Recorded(str(fields["check"]), Result(outcome, started, clock, duration), _count(fields["generation"]))


def _encode_transition(entry: Transition) -> dict[str, Any]:
    return {
        "check": entry.check,
        "time": entry.time,
        "clock": entry.clock,
        "generation": entry.generation,
        "before": entry.before,
        "after": entry.after,
        "reason": entry.reason,
        "summary": entry.summary,
        "streak": entry.streak,
        "threshold": entry.threshold,
        "groups": entry.groups,
    }


def _decode_transition(fields: Mapping[str, Any]) -> Transition:
    return Transition(
        time=_number(fields["time"]),
        generation=_count(fields["generation"]),
        check=str(fields["check"]),
        before=Status(fields["before"]),
        after=Status(fields["after"]),
        reason=_reason(fields),
        summary=str(fields.get("summary", "")),
        streak=_count(fields["streak"]),
        threshold=_count(fields["threshold"]),
        clock=_number(fields["clock"]),
        groups=tuple(map(Group, fields.get("groups", ()))),
    )


def _encode_answered(entry: Answered) -> dict[str, Any]:
    return {
        "path": entry.path,
        "status": 503,
        "kubelet": entry.kubelet,
        "because": entry.because,
        "generation": entry.generation,
        "first": entry.first,
        "last": entry.last,
        "count": entry.count,
        "previous": entry.previous,
        "recovered": entry.recovered,
        "startup": entry.startup,
    }


def _decode_answered(fields: Mapping[str, Any]) -> Answered:
    return Answered(
        path=str(fields["path"]),
        kubelet=bool(fields["kubelet"]),
        because=tuple(map(str, fields["because"])),
        generation=_count(fields["generation"]),
        first=_number(fields["first"]),
        last=_number(fields["last"]),
        count=_count(fields["count"]),
        previous=_optional(fields, "previous"),
        recovered=_optional(fields, "recovered"),
        startup=_optional(fields, "startup"),
    )


def _encode_beat(entry: Beat) -> dict[str, Any]:
    return {
        "check": entry.check,
        "time": entry.time,
        "clock": entry.clock,
        "generation": entry.generation,
        "exitCode": entry.exit_code,
    }


def _decode_beat(fields: Mapping[str, Any]) -> Beat:
    return Beat(
        check=str(fields["check"]),
        time=_number(fields["time"]),
        clock=_number(fields["clock"]),
        generation=_count(fields["generation"]),
        exit_code=None if fields["exitCode"] is None else _count(fields["exitCode"]),
    )


def _encode_checkpoint(entry: Checkpoint) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "time": entry.time,
        "clock": entry.clock,
        "generation": entry.generation,
        "draining": entry.draining,
        "degraded": entry.degraded,
        "loaded": entry.loaded,
        "held": entry.held or None,
        "checks": [_encode_state(state) for state in entry.states],
        "heartbeats": [_encode_beat(beat) for beat in entry.beats] or None,
    }


def _decode_checkpoint(fields: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(
        time=_number(fields["time"]),
        clock=_number(fields["clock"]),
        generation=_count(fields["generation"]),
        states=tuple(_decode_state(state) for state in fields["checks"]),
        draining=bool(fields["draining"]),
        degraded=bool(fields["degraded"]),
        loaded=bool(fields["loaded"]),
        held=bool(fields.get("held", False)),
        beats=tuple(_decode_beat(beat) for beat in fields.get("heartbeats", ())),
    )


def _encode_state(state: State) -> dict[str, Any]:
    spec = state.spec
    return {
        "name": spec.name,
        "kind": spec.kind,
        "groups": sorted(spec.groups),
        "severity": spec.severity,
        "dependsOn": spec.depends_on,
        "initialDelaySeconds": spec.initial_delay,
        "periodSeconds": spec.period,
        "timeoutSeconds": spec.timeout,
        "successThreshold": spec.success_threshold,
        "failureThreshold": spec.failure_threshold,
        "staleAfterSeconds": spec.stale_after,
        **spec.guidance,
        "status": state.status,
        "reason": state.reason,
        "since": state.since,
        "streak": state.streak,
        "streakHealthy": state.streak_healthy,
        "runs": state.runs,
        "transitions": state.transitions,
        "freshUntil": None if state.fresh_until == math.inf else state.fresh_until,
    }


def _decode_state(fields: Mapping[str, Any]) -> State:
    spec = Spec(
        name=str(fields["name"]),
        kind=str(fields["kind"]),
        groups=frozenset(map(Group, fields["groups"])),
        severity=Severity(fields["severity"]),
        depends_on=tuple(map(str, fields["dependsOn"])),
        initial_delay=_number(fields["initialDelaySeconds"]),
        period=_number(fields["periodSeconds"], minimum=1e-3),
        timeout=_number(fields["timeoutSeconds"]),
        success_threshold=_count(fields["successThreshold"], minimum=1),
        failure_threshold=_count(fields["failureThreshold"], minimum=1),
        stale_after=_number(fields["staleAfterSeconds"]),
        owner=str(fields.get("owner", "")),  # earlier versions did not write these three
        description=str(fields.get("description", "")),
        runbook_url=str(fields.get("runbookUrl", "")),
    )
    return State(
        spec=spec,
        status=Status(fields["status"]),
        reason=_reason(fields),
        since=None if fields["since"] is None else _number(fields["since"]),
        streak=_count(fields["streak"]),
        streak_healthy=bool(fields["streakHealthy"]),
        runs=_count(fields["runs"]),
        transitions=_count(fields["transitions"]),
        fresh_until=math.inf if fields["freshUntil"] is None else _number(fields["freshUntil"]),
    )


def _reason(fields: Mapping[str, Any]) -> Reason | None:
    reason = fields.get("reason")
    return None if reason is None else Reason(reason)


def _optional(fields: Mapping[str, Any], name: str) -> float | None:
    return _number(fields[name]) if name in fields else None


def _number(value: Any, minimum: float = 0.0) -> float:
    if not minimum <= value <= _MAX_TIME:  # compared as it is, because float() raises OverflowError for a long integer
        raise ValueError("not a time")
    return float(value)


def _count(value: Any, minimum: int = 0) -> int:
    if not minimum <= value <= _MAX_COUNT:  # as above, for int() and infinity
        raise ValueError("not a count")
    return int(value)
