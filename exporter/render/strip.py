"""The latest runs of a check as a strip of cells, the newest on the right."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from exporter.evaluation.history import History
from exporter.model import BADNESS, Reason, Result, Snapshot, State, Status
from exporter.render.html import Html, fill
from exporter.render.words import format_clock

CELLS = 40
"""Runs of a check on the status page."""

_TOPS = {Status.FAIL: 0, Status.UNKNOWN: 2, Status.WARN: 2, Status.PASS: 4}
"""Where a cell begins, of 10: color alone does not show a failure to everybody."""
_STRIP = '<svg class="strip" viewBox="0 0 %s 10" preserveAspectRatio="none" role="img" aria-label="%s">%s</svg>'
_CELL = '<rect class="%s" x="%s" y="%s" width="%s" height="%s">%s</rect>'


@dataclass(slots=True)
class Cells:
    """Consecutive runs with the same result."""

    status: Status
    reason: Reason | None
    count: int
    last: float  # start of the last one, wall clock


def find_latest_start(snapshot: Snapshot, state: State) -> float:
    """Return up to which start the Snapshot knows the runs of a check. The history may be a moment ahead of it.

    If the check has not run yet in this process, all that are recorded are of an earlier one.
    """
    return state.last.started if state.last else snapshot.timestamp - state.spec.timeout


def find_cells(history: History, snapshot: Snapshot, state: State, limit: int) -> list[Cells]:
    """Return the latest runs of a check that the Snapshot knows, the oldest first."""
    last, until = state.last, find_latest_start(snapshot, state)
    # The history may also be a moment behind the State.
    cells = [Cells(last.outcome.status, last.outcome.reason, 1, until)] if last else []
    room = limit - len(cells)
    for span in history.recall(state.spec.name):
        if not room:
            break
        count = min(room, span.count_before(until))
        room -= count
        if cells and (span.status, span.reason) == (cells[-1].status, cells[-1].reason):
            cells[-1].count += count
        elif count:
            cells.append(Cells(span.status, span.reason, count, span.last))
    cells.reverse()
    return cells


def draw_strip(cells: Sequence[Cells], limit: int) -> Html:
    """Return the cells as a drawing with a description."""
    if len(cells) == 1 and cells[0].status is Status.PASS:  # most checks look the same
        return _draw_passes(cells[0].count, limit)
    return fill(_STRIP, limit, describe_cells(cells), _draw_cells(cells, limit))


@lru_cache(maxsize=256)
def _draw_passes(count: int, limit: int) -> Html:
    cells = [Cells(Status.PASS, None, count, 0.0)]
    return fill(_STRIP, limit, describe_cells(cells), _draw_cells(cells, limit))


def _draw_cells(cells: Sequence[Cells], limit: int) -> Html:
    drawn, at = [], limit - sum(part.count for part in cells)
    for part in cells:
        top = _TOPS[part.status]
        title = "" if part.status is Status.PASS else f"<title>{_describe(part)}</title>"
        drawn.append(_CELL % (part.status, at, top, part.count, 10 - top, title))
        at += part.count
    return Html("".join(drawn))


def describe_cells(cells: Sequence[Cells]) -> str:
    """Return how the runs ended, in words."""
    counts = Counter[Status]()
    for part in cells:
        counts[part.status] += part.count
    total = sum(counts.values())
    if not total:
        return "no runs yet"
    found = ", ".join(f"{counts[status]} {status}" for status in BADNESS if counts[status])
    return f"latest {total} runs: {found}" if total > 1 else f"1 run: {found}"


def find_failure(history: History, snapshot: Snapshot, state: State) -> Result | None:
    """Return the latest run that was not healthy, unless the Snapshot does not know it yet."""
    failure = history.failures.get(state.spec.name)
    return failure if failure and failure.started <= find_latest_start(snapshot, state) else None


def _describe(part: Cells) -> str:
    times = "" if part.count == 1 else f"{part.count} runs until "
    reason = f" ({part.reason})" if part.reason else ""
    return f"{times}{format_clock(part.last)}: {part.status}{reason}"
