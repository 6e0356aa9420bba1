"""Snapshot -> the report of `health-exporter check`: for a terminal, or as JSON."""

import json
from typing import Any

from exporter.model import Group, Reason, Snapshot, State, Status, Verdict
from exporter.render.words import duration, headline, limits, quantity, worst_first

WIDEST = 32  # characters of a column; a longer name moves its own line alone
_COLOURS = {Status.PASS: "32", Status.WARN: "33", Status.FAIL: "1;31", Status.UNKNOWN: "35"}


def text(snapshot: Snapshot, verdict: Verdict, *, colour: bool) -> str:
    """Aligned columns, what is wrong first, each check with its reason and its numbers."""
    states = worst_first(snapshot)
    rows = [_cells(state) for state in states]
    widths = [min(WIDEST, max(map(len, column))) for column in zip(*rows, strict=True)]
    lines = []
    for state, row in zip(states, rows, strict=True):
        first, *cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([_painted(first, state.status, colour=colour), *cells, _summary(state)]).rstrip())
        numbers = _numbers(state)
        lines += [f"{'':{widths[0]}}  {numbers}"] if numbers else []
    blank = [""] if lines else []
    question = "" if verdict.group is Group.ALL else f" on {verdict.group}"
    return "\n".join([*lines, *blank, f"verdict{question}: {verdict.status} ({headline(snapshot)})"])


def as_json(snapshot: Snapshot, verdict: Verdict) -> str:
    """The same as JSON; numbers in base units, under the measurements' names."""
    checks = [_entry(state) for state in snapshot.states.values()]
    return json.dumps({"generation": snapshot.generation, "status": verdict.status, "checks": checks}, indent=2)


def _cells(state: State) -> tuple[str, ...]:
    took = duration(state.last.duration) if state.last else ""
    return state.status.upper(), state.spec.name, state.spec.kind, _reason(state) or "", took.rjust(8)


def _reason(state: State) -> Reason | None:
    """Why; of a check that could not look, why not."""
    blind = state.last is not None and state.last.outcome.status is state.status is Status.UNKNOWN
    return state.last.outcome.reason if blind and state.last else state.reason


def _summary(state: State) -> str:
    return state.last.outcome.summary if state.last else "did not end in time"


def _numbers(state: State) -> str:
    shown = []
    for each in state.last.outcome.measurements if state.last else ():
        limit = limits(each)
        shown.append(f"{each.key} {quantity(each.name, each.value)}{f' ({limit})' if limit else ''}")
    return ", ".join(shown)


def _entry(state: State) -> dict[str, Any]:
    return {
        "name": state.spec.name,
        "kind": state.spec.kind,
        "status": state.status,
        "reason": _reason(state),
        "summary": _summary(state),
        "durationSeconds": state.last.duration if state.last else None,
        "measurements": {each.key: each.value for each in state.last.outcome.measurements} if state.last else {},
    }


def _painted(text: str, status: Status, *, colour: bool) -> str:
    return f"\x1b[{_COLOURS[status]}m{text}\x1b[0m" if colour else text
