"""What is measured, how much of it, and the table that `make bench` prints."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median


@dataclass(frozen=True)
class Figure:
    """A figure, measured once or several times, and its budget: a ratio to the peer's figure, or a number.

    The peer is measured as often. Its values and ours of the same place are a pair: measured one after the other.
    """

    name: str
    unit: str
    ours: Sequence[float]
    peer_name: str = ""
    peers: Sequence[float] = ()
    at_most: float | None = None  # times the peer's
    below: float | None = None  # units

    @property
    def ratios(self) -> list[float]:
        """The ratio of each pair."""
        return [ours / peer for ours, peer in zip(self.ours, self.peers, strict=True)] if self.peers else []

    @property
    def verdict(self) -> str:
        """Whether the median is within its budget, and whether all values are; nothing without a budget."""
        if self.at_most is None and self.below is None:
            return ""
        ratios = self.ratios or [inf]
        if not self._keeps(median(self.ours), median(ratios)):
            return "MISSED"
        return "kept" if self._keeps(max(self.ours), max(ratios)) else "median kept"

    def _keeps(self, ours: float, ratio: float) -> bool:
        return (self.at_most is None or ratio <= self.at_most) and (self.below is None or ours < self.below)


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    rounds: int
    seconds: float  # of each round
    requests: int  # of each round
    checks: int  # of the crowded configuration, at 333 runs a second
    period: int


FULL = Effort(rounds=5, seconds=5, requests=1000, checks=20_000, period=60)
QUICK = Effort(rounds=2, seconds=2, requests=200, checks=1333, period=4)

_SPREAD = ("min", "median", "max")
_HEAD = ("", *_SPREAD, "unit", "peer", *_SPREAD, "ratio:", *_SPREAD, "budget", "")


def show(results: Sequence[Figure | str]) -> str:
    """Return the table of figures. A text among them is a line of its own."""
    rows = [_HEAD, *(_describe(result) if isinstance(result, Figure) else (result,) for result in results)]
    widths = [max(map(len, column)) for column in zip(*(row for row in rows if len(row) > 1), strict=True)]
    return "\n".join(_align(row, widths) for row in rows)


def _describe(figure: Figure) -> Sequence[str]:
    budgets = []
    if figure.at_most is not None:
        budgets.append(f"at most {figure.at_most:.3g} times")
    if figure.below is not None:
        budgets.append(f"below {figure.below:g} {figure.unit}".rstrip())
    numbers = [
        *_spread(figure.ours),
        figure.unit,
        figure.peer_name,
        *_spread(figure.peers),
        "",
        *_spread(figure.ratios),
    ]
    return (figure.name, *numbers, ", ".join(budgets), figure.verdict)


def _spread(values: Sequence[float]) -> list[str]:
    return [f"{value:.4g}" for value in (min(values), median(values), max(values))] if values else [""] * 3


def _align(row: Sequence[str], widths: Sequence[int]) -> str:
    aligned = (
        cell.rjust(width) if title in _SPREAD else cell.ljust(width)
        for cell, title, width in zip(row, _HEAD, widths, strict=False)
    )
    return "  ".join(aligned).rstrip()
