"""Draws panels of lines as SVG, readable on a light and on a dark page."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float, float, float]
"""x, and the minimum, median and maximum of y."""

_COLUMNS, _WIDTH, _HEIGHT = 2, 400, 250  # of all panels, and of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 28, 36, 44  # around the axes of a panel
_HEAD, _FOOT = 44, 26
_STYLE = """
  svg { --paper: #ffffff; --ink: #24292f; --soft: #57606a; --grid: #d8dee4; --first: #0969da; --second: #bc4c00; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1; --grid: #30363d; --first: #58a6ff; --second: #f0883e; }
  }
  text { font: 12px sans-serif; fill: var(--ink); }
  .title { font-size: 16px; font-weight: bold; }
  .name { font-size: 13px; font-weight: bold; }
  .soft { fill: var(--soft); }
  .middle { text-anchor: middle; }
  .end { text-anchor: end; }
  .paper { fill: var(--paper); }
  .grid { stroke: var(--grid); }
  .line { fill: none; stroke-width: 2; }
  .c0 { stroke: var(--first); }
  .c1 { stroke: var(--second); }
  circle.c0 { fill: var(--first); }
  circle.c1 { fill: var(--second); }
"""


@dataclass(frozen=True)
class Line:
    """Values of one thing. A line that is alone needs no label."""

    label: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Panel:
    """Axes with lines. A linear axis begins at 0, and a logarithmic one ends at the largest value."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    log_x: bool = False
    log_y: bool = False


class Axis:
    """Maps values to positions between two ends."""

    def __init__(self, values: Sequence[float], begin: float, end: float, *, log: bool) -> None:
        self._begin, self._end, self._log = begin, end, log
        if log:
            first, last = math.floor(math.log10(min(values))), math.log10(max(values))
            self._low, self._high = 10.0**first, max(values)
            self.ticks = [10.0**power for power in range(first, math.floor(last) + 1)]
        else:
            step = _find_step(max(values))
            steps = math.ceil(max(values) / step)
            self._low, self._high = 0.0, step * steps
            self.ticks = [step * number for number in range(steps + 1)]

    def place(self, value: float) -> float:
        low, high, at = (math.log10(x) for x in (self._low, self._high, value)) if self._log else (0, self._high, value)
        return self._begin + (at - low) / (high - low) * (self._end - self._begin)


def plot(title: str, panels: Sequence[Panel]) -> str:
    """Return an SVG document."""
    width = _COLUMNS * _WIDTH
    height = _HEAD + _FOOT + -(-len(panels) // _COLUMNS) * _HEIGHT
    note = "Points are medians, and the bars behind them go from the minimum to the maximum."
    box = f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<text class="title" x="16" y="28">{escape(title)}</text>',
        f'<text class="soft" x="16" y="{height - 12}">{note}</text>',
    ]
    for number, panel in enumerate(panels):
        left, top = number % _COLUMNS * _WIDTH, _HEAD + number // _COLUMNS * _HEIGHT
        parts += [f'<g transform="translate({left} {top})">', *_draw(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _draw(panel: Panel) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    x_axis = Axis([point[0] for point in points], left, right, log=panel.log_x)
    y_axis = Axis([y for point in points for y in point[1:]], bottom, top, log=panel.log_y)
    yield f'<text class="name" x="{left}" y="14">{escape(panel.title)}</text>'
    yield f'<text class="soft" x="{left}" y="{top - 7}">{escape(panel.y)}</text>'
    yield f'<text class="soft middle" x="{(left + right) / 2:g}" y="{bottom + 32}">{escape(panel.x)}</text>'
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        yield f'<path class="grid" d="M{left} {y:.1f}H{right}"/>'
        yield f'<text class="soft end" x="{left - 6}" y="{y + 4:.1f}">{tick:,g}</text>'
    for tick in x_axis.ticks:
        x = x_axis.place(tick)
        yield f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>'
        yield f'<text class="soft middle" x="{x:.1f}" y="{bottom + 16}">{tick:,g}</text>'
    for number, line in enumerate(panel.lines):
        yield from _draw_line(line, f"c{number}", x_axis, y_axis)
        if line.label:
            yield f'<circle class="c{number}" cx="{right - 68}" cy="{6 + 16 * number}" r="4"/>'
            yield f'<text x="{right - 58}" y="{10 + 16 * number}">{escape(line.label)}</text>'


def _draw_line(line: Line, color: str, x_axis: Axis, y_axis: Axis) -> Iterator[str]:
    places = [(x_axis.place(x), *map(y_axis.place, y)) for x, *y in line.points]
    for x, low, _, high in places:
        yield f'<path class="line {color}" stroke-opacity=".45" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'
    corners = " ".join(f"{x:.1f},{middle:.1f}" for x, _, middle, _ in places)
    yield f'<polyline class="line {color}" points="{corners}"/>'
    for x, _, middle, _ in places:
        yield f'<circle class="{color}" cx="{x:.1f}" cy="{middle:.1f}" r="3"/>'


def _find_step(highest: float) -> float:
    """Return 1, 2 or 5 times a power of ten, of which at most five are needed."""
    power = 10 ** math.floor(math.log10(highest / 5))
    return next(step * power for step in (1, 2, 5, 10) if step * power * 5 >= highest)
