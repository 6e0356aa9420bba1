"""Snapshot -> the report of `health-exporter check`: for a terminal, or as JSON."""

import json
from typing import Any

from exporter.model import Snapshot, State, Status, Verdict
from exporter.words import duration, headline, limits, quantity, worst_first

_COLOURS = {Status.PASS: "32", Status.WARN: "33", Status.FAIL: "1;31", Status.UNKNOWN: "35"}


def text(snapshot: Snapshot, *, colour: bool) -> str:
    """Aligned columns, what is wrong first, each check with its reason and its numbers."""
    states = worst_first(snapshot)
    rows = [_cells(state) for state in states]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for state, row in zip(states, rows, strict=True):
        first, *cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([_painted(first, state.status, colour=colour), *cells, _summary(state)]).rstrip())
        numbers = _numbers(state)
        lines += [f"{'':{widths[0]}}  {numbers}"] if numbers else []
    return "\n".join([*lines, "", headline(snapshot), ""])


def as_json(snapshot: Snapshot, verdict: Verdict) -> str:
    """The same as JSON; numbers in base units, under the measurements' names."""
    checks = [_entry(state) for state in snapshot.states.values()]
    return json.dumps({"generation": snapshot.generation, "status": verdict.status, "checks": checks}, indent=2)


def _cells(state: State) -> tuple[str, ...]:
    took = duration(state.last.duration) if state.last else ""
    return state.status.upper(), state.spec.name, state.spec.kind, state.reason or "", took.rjust(8)


def _summary(state: State) -> str:
    return state.last.outcome.summary if state.last else "did not end in time"


def _numbers(state: State) -> str:
    shown = []
    for each in state.last.outcome.measurements if state.last else ():
        limit = limits(each)
        shown.append(f"{each.name} {quantity(each.name, each.value)}{f' ({limit})' if limit else ''}")
    return ", ".join(shown)


def _entry(state: State) -> dict[str, Any]:
    return {
        "name": state.spec.name,
        "kind": state.spec.kind,
        "status": state.status,
        "reason": state.reason,
        "summary": _summary(state),
        "durationSeconds": state.last.duration if state.last else None,
        "measurements": {each.name: each.value for each in state.last.outcome.measurements} if state.last else {},
    }


def _painted(text: str, status: Status, *, colour: bool) -> str:
    return f"\x1b[{_COLOURS[status]}m{text}\x1b[0m" if colour else text
