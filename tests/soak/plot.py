"""Draws the samples as SVG: small panels above each other, over the same time."""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, GAP = 760, 110, 60, 40, 44
COLORS = ("#1f6fb4", "#d9731a", "#2e8b57")

Panel = tuple[str, Sequence[tuple[str, Sequence[float]]]]
"""A title, and lines: a label and a value for each moment."""


def draw(title: str, minutes: Sequence[float], panels: Sequence[Panel]) -> str:
    """Return an SVG document."""
    height = TOP + len(panels) * (HEIGHT + GAP)
    box = f"0 0 {WIDTH + LEFT + 20} {height}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        parts += _draw_panel(TOP + number * (HEIGHT + GAP), minutes, panel)
    return "\n".join([*parts, "</svg>", ""])


def _draw_panel(top: float, minutes: Sequence[float], panel: Panel) -> list[str]:
    title, lines = panel
    highest = _round_up(max((value for _, values in lines for value in values), default=1.0))
    last = max(minutes[-1], 1e-9) if minutes else 1.0
    bottom = top + HEIGHT
    parts = [f'<text x="{LEFT}" y="{top - 2}" font-weight="bold">{escape(title)}</text>']
    for share in (0, 0.5, 1):
        y = bottom - share * (HEIGHT - 10)
        parts.append(f'<path d="M{LEFT} {y:g}h{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">{highest * share:g}</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = LEFT + share * WIDTH
        parts.append(f'<text x="{x:g}" y="{bottom + 14}" text-anchor="middle">{last * share:.3g} min</text>')
    for number, (label, values) in enumerate(lines):
        points = " ".join(
            f"{LEFT + minute / last * WIDTH:.1f},{bottom - value / highest * (HEIGHT - 10):.1f}"
            for minute, value in zip(minutes, values, strict=True)
        )
        color = COLORS[number % len(COLORS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.2"/>')
        x = LEFT + WIDTH - 150 * (len(lines) - number)
        parts.append(f'<text x="{x}" y="{top - 2}" fill="{color}">{escape(label)}</text>')
    return parts


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 3, 5 and 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0
    while power / 10 >= value:
        power /= 10
    while power < value:
        power *= 10
    return next(step * power / 10 for step in (1, 2, 3, 5, 10) if step * power / 10 >= value)
