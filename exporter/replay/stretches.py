"""The responses of an endpoint over time, and the times at which the kubelet probes it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from exporter.replay.trace import Span
from exporter.replay.windows import Windows, intersect


@dataclass(frozen=True, slots=True)
class Timing:
    """The numbers of a probe that matter here. The defaults are those of Kubernetes."""

    period: float = 10
    failure_threshold: int = 3
    success_threshold: int = 1


class Response(Enum):
    """What an endpoint responds."""

    UP = 200
    DOWN = 503
    MAYBE = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Time in which the response is the same."""

    begin: float
    end: float
    response: Response


def list_stretches(covered: Windows, down: Span) -> list[list[Stretch]]:
    """Return the responses of an endpoint, for each window that is covered."""
    return [[*_list_stretches(begin, end, down)] for begin, end in covered]


def _list_stretches(begin: float, end: float, down: Span) -> Iterator[Stretch]:
    """Yield the responses from `begin` to `end`. Neighbors differ."""
    here = ((begin, end),)
    changes = {begin, end}
    for windows in (intersect(down.certain, here), intersect(down.possible, here)):
        changes.update(time for window in windows for time in window)
    certain, possible = _Cursor(down.certain), _Cursor(down.possible)
    for left, right in pairwise(sorted(changes)):
        maybe = Response.MAYBE if possible.has(left) else Response.UP
        yield Stretch(left, right, Response.DOWN if certain.has(left) else maybe)


class _Cursor:
    """Says of ascending times whether they are in windows."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._next = 0

    def has(self, time: float) -> bool:
        while self._next < len(self._windows) and self._windows[self._next][1] <= time:
            self._next += 1
        return self._next < len(self._windows) and self._windows[self._next][0] <= time


def find_probe(time: float, phase: float, period: float) -> float:
    """Return the time of the first probe at `time` or later."""
    return phase + math.ceil((time - phase) / period) * period


def count_probes(stretch: Stretch, phase: float, period: float) -> int:
    """Return how many probes there are in a stretch, at `phase` + n * period."""
    return math.ceil((stretch.end - phase) / period) - math.ceil((stretch.begin - phase) / period)
