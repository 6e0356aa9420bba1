"""Snapshot -> the report of `health-exporter check`, for a terminal or as JSON."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from exporter.lines import format_time
from exporter.model import Group, Measurement, Reason, Snapshot, State, Status, Verdict
from exporter.quantities import format_duration
from exporter.render.columns import cut, cut_middle, measure, pad, wrap
from exporter.render.words import find_summary, format_headline, format_label, format_limits, sort_worst_first

_GAP = "  "  # between two columns
_NO_BREAK = "\N{NO-BREAK SPACE}"  # keeps a number together with its name and its limits
_MIN_NAME = 12  # columns that a name gets on the narrowest terminal
_COLORS = {Status.PASS: "32", Status.WARN: "33", Status.FAIL: "1;31", Status.UNKNOWN: "35"}


def render_text(snapshot: Snapshot, verdict: Verdict, *, color: bool, width: int | None = None) -> str:
    """Return aligned columns, problems first, with the reason and the measurements of each check.

    No line is longer than `width`: a summary that does not fit continues below. Without a width, a summary is in the
    line of its check.
    """
    lines = [line for rows in render_rows(snapshot, color=color, width=width) for line in rows]
    blank = [""] if lines else []
    return "\n".join([*lines, *blank, render_verdict(snapshot, verdict)])


def render_verdict(snapshot: Snapshot, verdict: Verdict) -> str:
    """Return the last line of the report."""
    subject = "verdict" if verdict.group is Group.ALL else verdict.group
    return f"{subject}: {verdict.status} ({format_headline(snapshot)})"


def render_rows(snapshot: Snapshot, *, color: bool, width: int | None = None) -> Iterator[list[str]]:
    """Yield the lines of each check."""
    states, rows, widths = _lay_out(snapshot, width)
    indent = widths[0] + len(_GAP)
    for state, row in zip(states, rows, strict=True):
        summary, room = find_summary(state), _find_room(widths, width)
        fits = room is None or measure(summary) <= room
        numbers = _indent(_format_numbers(state, width), indent, width)
        yield [
            _join(row, widths, summary if fits else "", state.status, color=color),
            *([] if fits else _indent(summary, indent, width)),
            *(line.replace(_NO_BREAK, " ") for line in numbers),
        ]


def render_short_rows(snapshot: Snapshot, *, color: bool, width: int) -> Iterator[str]:
    """Yield one line for each check, with as much of its summary as fits."""
    states, rows, widths = _lay_out(snapshot, width)
    room = max(1, _find_room(widths, width) or 0)
    for state, row in zip(states, rows, strict=True):
        yield _join(row, widths, cut(find_summary(state), room), state.status, color=color)


def render_change(state: State, names: Iterable[str], *, color: bool) -> str:
    """Return one line about a check that has changed, aligned with those of the other names."""
    ended = format_time(state.last.started + state.last.duration) if state.last else ""
    status = _paint(pad(state.status.upper(), len(Status.UNKNOWN)), state.status, color=color)
    name = pad(state.spec.name, max(map(measure, names)))
    reason = pad(state.reason or "", max(map(len, Reason)))
    return _GAP.join([ended, status, name, state.spec.kind, reason, find_summary(state)]).rstrip()


def render_json(snapshot: Snapshot, verdict: Verdict) -> str:
    """Return the report as JSON, with the measurements in base units."""
    checks = [_describe_check(state) for state in snapshot.states.values()]
    return json.dumps({"generation": snapshot.generation, "status": verdict.status, "checks": checks}, indent=2)


def _lay_out(snapshot: Snapshot, width: int | None) -> tuple[list[State], list[tuple[str, ...]], list[int]]:
    """Return the States, worst first, the cells of each, and the widths of the columns."""
    states = sort_worst_first(snapshot)
    rows = [_format_cells(state) for state in states]
    widths = [max(map(measure, column)) for column in zip(*rows, strict=True)] or [0]
    if width is not None and rows:
        others = sum(widths) - widths[1] + len(_GAP) * len(widths)
        widths[1] = min(widths[1], max(_MIN_NAME, width - others))
    return states, rows, widths


def _find_room(widths: Sequence[int], width: int | None) -> int | None:
    """Return how many columns the summary has in the line of its check; None without a limit."""
    return None if width is None else width - sum(widths) - len(_GAP) * len(widths)


def _join(row: Sequence[str], widths: Sequence[int], summary: str, status: Status, *, color: bool) -> str:
    first, *cells = (pad(cut_middle(cell, size), size) for cell, size in zip(row, widths, strict=True))
    return _GAP.join([_paint(first, status, color=color), *cells, summary]).rstrip()


def _format_cells(state: State) -> tuple[str, ...]:
    took = format_duration(state.last.duration) if state.last else ""
    return state.status.upper(), state.spec.name, state.spec.kind, state.reason or "", took.rjust(8)


def _indent(text: str, indent: int, width: int | None) -> list[str]:
    lines = wrap(text, max(_MIN_NAME, width - indent)) if width else [text] if text else []
    return [f"{'':{indent}}{line}" for line in lines]


def _format_numbers(state: State, width: int | None) -> str:
    numbers = map(_format_number, state.last.outcome.measurements if state.last else ())
    return ", ".join(number if width is None else number.replace(" ", _NO_BREAK) for number in numbers)


def _format_number(measurement: Measurement) -> str:
    limit = format_limits(measurement)
    value = measurement.quantity
    return f"{format_label(measurement)} {value}{f' ({limit})' if limit else ''}"


def _describe_check(state: State) -> dict[str, Any]:
    return {
        "name": state.spec.name,
        "kind": state.spec.kind,
        "status": state.status,
        "reason": state.reason,
        "summary": find_summary(state),
        "durationSeconds": state.last.duration if state.last else None,
        "measurements": {number.key: number.value for number in state.last.outcome.measurements} if state.last else {},
    }


def _paint(text: str, status: Status, *, color: bool) -> str:
    return f"\x1b[{_COLORS[status]}m{text}\x1b[0m" if color else text
