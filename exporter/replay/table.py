"""Rows -> the report of `health-exporter replay`: a table for people, or JSON."""

import json
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from exporter.lines import format_time
from exporter.replay.compare import Row
from exporter.replay.kubelet import Bounds
from exporter.replay.windows import Windows

_HEADS = ("variant", "restarts", "unready", "/livez 503", "/readyz 503", "outages noticed", "after")
_WIDTH = 100  # of the notes


def render_text(rows: Sequence[Row], notes: Iterable[str]) -> str:
    """Return the table, and the notes below it."""
    cells = [_HEADS, *map(_format_row, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    paragraphs = (textwrap.fill(note, _WIDTH, subsequent_indent="  ") for note in notes)
    return "\n".join([*lines, "", *paragraphs])


def render_json(rows: Sequence[Row], notes: Iterable[str], covered: Windows) -> str:
    """Return the rows as a JSON object. Numbers that are not exact have two different bounds."""
    windows = [{"begin": format_time(begin), "end": format_time(end)} for begin, end in covered]
    return json.dumps({"covered": windows, "variants": [*map(_describe, rows)], "notes": [*notes]}, indent=2)


def _format_row(row: Row) -> tuple[str, ...]:
    return (
        row.variant.name,
        _format_bounds(row.restarts, _format_count),
        *(_format_bounds(bounds, format_seconds) for bounds in (row.unready, row.livez, row.readyz)),
        f"{_format_bounds(row.noticed, _format_count)} of {row.outages}",
        _format_bounds(row.delay, format_seconds) if row.delay else "",
    )


def format_seconds(seconds: float) -> str:
    """Return a duration with one decimal, such as `12.5 s` or `14.5 min`."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds else "0"


def _format_count(number: float) -> str:
    return f"{number:.0f}"


def _format_bounds(bounds: Bounds, write: Callable[[float], str]) -> str:
    least, most = write(bounds.least), write(bounds.most)
    if least == most:
        return least
    number, _, unit = least.partition(" ")
    return f"{number} to {most}" if unit and most.endswith(f" {unit}") else f"{least} to {most}"


def _describe(row: Row) -> dict[str, Any]:
    return {
        "name": row.variant.name,
        "restarts": _describe_bounds(row.restarts),
        "unreadySeconds": _describe_bounds(row.unready),
        "livezDownSeconds": _describe_bounds(row.livez),
        "readyzDownSeconds": _describe_bounds(row.readyz),
        "outages": row.outages,
        "noticed": _describe_bounds(row.noticed),
        "noticedAfterSeconds": _describe_bounds(row.delay) if row.delay else None,
    }


def _describe_bounds(bounds: Bounds) -> dict[str, float]:
    return {"min": round(bounds.least, 6), "max": round(bounds.most, 6)}
