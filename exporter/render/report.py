"""Snapshot -> the report of `health-exporter check`, for a terminal or as JSON."""

import json
from typing import Any

from exporter.model import Group, Measurement, Snapshot, State, Status, Verdict
from exporter.render.words import format_duration, format_headline, format_limits, format_quantity, sort_worst_first

MAX_WIDTH = 32  # characters of a column; a longer cell shifts only its own line
_COLORS = {Status.PASS: "32", Status.WARN: "33", Status.FAIL: "1;31", Status.UNKNOWN: "35"}


def render_text(snapshot: Snapshot, verdict: Verdict, *, color: bool) -> str:
    """Return aligned columns, problems first, with the reason and the measurements of each check."""
    states = sort_worst_first(snapshot)
    rows = [_format_cells(state) for state in states]
    widths = [min(MAX_WIDTH, max(map(len, column))) for column in zip(*rows, strict=True)]
    lines = []
    for state, row in zip(states, rows, strict=True):
        first, *cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([_paint(first, state.status, color=color), *cells, _find_summary(state)]).rstrip())
        numbers = _format_numbers(state)
        lines += [f"{'':{widths[0]}}  {numbers}"] if numbers else []
    blank = [""] if lines else []
    subject = "verdict" if verdict.group is Group.ALL else verdict.group
    return "\n".join([*lines, *blank, f"{subject}: {verdict.status} ({format_headline(snapshot)})"])


def render_json(snapshot: Snapshot, verdict: Verdict) -> str:
    """Return the report as JSON, with the measurements in base units."""
    checks = [_describe_check(state) for state in snapshot.states.values()]
    return json.dumps({"generation": snapshot.generation, "status": verdict.status, "checks": checks}, indent=2)


def _format_cells(state: State) -> tuple[str, ...]:
    took = format_duration(state.last.duration) if state.last else ""
    return state.status.upper(), state.spec.name, state.spec.kind, state.reason or "", took.rjust(8)


def _find_summary(state: State) -> str:
    return state.last.outcome.summary if state.last else "did not end in time"


def _format_numbers(state: State) -> str:
    return ", ".join(map(_format_number, state.last.outcome.measurements if state.last else ()))


def _format_number(measurement: Measurement) -> str:
    limit = format_limits(measurement)
    value = format_quantity(measurement.name, measurement.value)
    return f"{measurement.key} {value}{f' ({limit})' if limit else ''}"


def _describe_check(state: State) -> dict[str, Any]:
    return {
        "name": state.spec.name,
        "kind": state.spec.kind,
        "status": state.status,
        "reason": state.reason,
        "summary": _find_summary(state),
        "durationSeconds": state.last.duration if state.last else None,
        "measurements": {number.key: number.value for number in state.last.outcome.measurements} if state.last else {},
    }


def _paint(text: str, status: Status, *, color: bool) -> str:
    return f"\x1b[{_COLORS[status]}m{text}\x1b[0m" if color else text
