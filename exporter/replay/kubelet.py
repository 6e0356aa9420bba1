"""What the kubelet would have made of an endpoint's responses.

Theory of operation:

A worker of the kubelet probes at regular times: at a phase in its period. The history has the time of a response of 503
to the kubelet, which gives away the phase in this incident. Without one, the incident is replayed for every phase: only
those at which a probe moves past a change of the response make a difference. If there are too many of these, or if the
phase is only known to be in a range, ranges are replayed, and a response that changes within the range is uncertain.

Responses are uncertain too where the recording is. A restart is certain if failureThreshold probes in a row certainly
fail. Uncertain probes in a longer row may divide it, so that there is more than one restart.

The livenessProbe restarts the container after failureThreshold failures in a row, and then waits until it passes: how
often a container that does not recover is restarted depends on its startupProbe and on the kubelet's back-off.
Between incidents, enough probes pass that an incident does not depend on the one before.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from exporter.replay.trace import Span
from exporter.replay.windows import Windows, intersect, measure

MAX_PHASES = 64
"""Phases of an incident that are replayed one by one; beyond that, ranges of them."""
JITTER = 0.1
"""Seconds by which a probe may be earlier or later than another one of the same phase."""


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


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number that is at least `least` and at most `most`."""

    least: float
    most: float

    @property
    def exact(self) -> bool:
        """Whether there is only one possible number."""
        return self.least == self.most


@dataclass(frozen=True, slots=True)
class Restart:
    """A restart of the container, or several that may be one: the first at `time`."""

    time: float
    certain: bool
    most: int


def list_stretches(covered: Windows, down: Span) -> list[list[Stretch]]:
    """Return the responses of an endpoint, for each window that is covered."""
    return [[*_list_stretches(begin, end, down)] for begin, end in covered]


def count_restarts(periods: Sequence[Sequence[Stretch]], probe: Timing, seen: Sequence[float] = ()) -> Bounds:
    """Return how often the livenessProbe restarts the container. `seen` has times, in order, at which it probed."""
    least = most = 0
    for incident in _find_incidents(periods, probe):
        found = [find_restarts(view.extended, view.phase, probe) for view in _list_views(incident, probe, seen)]
        least += min(sum(restart.certain for restart in restarts) for restarts in found)
        most += max(sum(restart.most for restart in restarts) for restarts in found)
    return Bounds(least, most)


def measure_unready(periods: Sequence[Sequence[Stretch]], probe: Timing, seen: Sequence[float] = ()) -> Bounds:
    """Return for how many seconds the readinessProbe takes the pod out of service. `seen` has times of probes."""
    least = most = 0.0
    for incident in _find_incidents(periods, probe):
        fewest: list[float] = []
        largest: list[float] = []
        for view in _list_views(incident, probe, seen):
            begin, end = view.stretches[0].begin, view.stretches[-1].end
            for maybe, totals in ((Response.UP, fewest), (Response.DOWN, largest)):
                windows = find_unready(view.extended, view.phase, probe, maybe, begin)
                # Only windows at the begin and at the end change with the phase within its range.
                clipped = any(a <= begin + view.width or b >= end - view.width for a, b in windows)
                slack = view.width if maybe is Response.DOWN else -view.width
                totals.append(max(0.0, measure(windows) + (slack if clipped else 0.0)))
        least += min(fewest)
        most += max(largest)
    return Bounds(least, most)


def find_restarts(stretches: Sequence[Stretch], phase: float, probe: Timing) -> list[Restart]:
    """Return the restarts of the container if the livenessProbe probes at `phase` + n * period."""
    restarts, row = [], _Row(probe.failure_threshold)
    for stretch in stretches:
        count = _count_probes(stretch, phase, probe.period)
        if not count:
            continue
        if stretch.response is Response.UP:
            restarts += row.end()
            row = _Row(probe.failure_threshold)
        else:
            row.add(stretch.response, count, _find_probe(stretch.begin, phase, probe.period), probe.period)
    return restarts + row.end()


@dataclass(slots=True)
class _Row:
    """Probes in a row that fail, certainly or possibly."""

    threshold: int
    count: int = 0
    certain: int = 0  # those at the end that certainly fail
    is_certain: bool = False  # a restart
    rest: int = 0  # probes since the last one that may have divided the row
    divided: int = 0
    time: float = 0.0  # of the restart

    def add(self, response: Response, count: int, first: float, period: float) -> None:
        """Add probes with this response."""
        if self.count < self.threshold <= self.count + count:
            self.time = first + (self.threshold - self.count - 1) * period
        self.count += count
        self.certain = self.certain + count if response is Response.DOWN else 0
        self.is_certain = self.is_certain or self.certain >= self.threshold
        if response is Response.DOWN:
            self.rest += count
            return
        while count:  # as many restarts as possible: divide wherever enough probes are before
            if self.rest >= self.threshold:
                self.divided, self.rest, count = self.divided + 1, 0, count - 1
            else:
                step = min(count, self.threshold - self.rest)
                self.rest, count = self.rest + step, count - step

    def end(self) -> list[Restart]:
        """Return the restarts of this row: at most one item."""
        most = self.divided + (self.rest >= self.threshold)
        return [Restart(self.time, self.is_certain, most)] if most else []


def find_unready(
    stretches: Sequence[Stretch],
    phase: float,
    probe: Timing,
    maybe: Response = Response.DOWN,
    begin: float = -math.inf,
) -> Windows:
    """Return when the pod is not ready if the readinessProbe probes at `phase` + n * period.

    `maybe` is what an uncertain response counts as. The pod is ready at the begin if the endpoint is up then.
    """
    first = next(stretch for stretch in stretches if stretch.begin >= begin)
    since = None if _decide(first, maybe) is Response.UP else first.begin
    windows, row, last = [], 0, Response.UP
    for stretch in stretches:
        response, count = _decide(stretch, maybe), _count_probes(stretch, phase, probe.period)
        if not count:
            continue
        before = row if response is last else 0
        row, last = before + count, response
        threshold = probe.failure_threshold if response is Response.DOWN else probe.success_threshold
        if not before < threshold <= row or (response is Response.DOWN) is (since is not None):
            continue
        time = _find_probe(stretch.begin, phase, probe.period) + (threshold - before - 1) * probe.period
        if since is None:
            since = time
        else:
            windows.append((since, max(since, time)))
            since = None
    if since is not None:
        windows.append((since, stretches[-1].end))
    return tuple(windows)


def _decide(stretch: Stretch, maybe: Response) -> Response:
    return maybe if stretch.response is Response.MAYBE else stretch.response


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


def _find_incidents(periods: Sequence[Sequence[Stretch]], probe: Timing) -> Iterator[list[Stretch]]:
    """Yield the stretches of each incident, up to the time in which enough probes certainly pass."""
    for stretches in periods:
        incident: list[Stretch] = []
        for stretch in stretches:
            up = stretch.response is Response.UP
            if not incident:
                incident = [_shorten(stretch, probe.period)] if up else [stretch]
                continue
            incident.append(stretch)
            if _is_recovery(stretch, probe):
                yield incident
                incident = [_shorten(stretch, probe.period)]
        if any(stretch.response is not Response.UP for stretch in incident):
            yield incident


def _shorten(stretch: Stretch, length: float) -> Stretch:
    """Return the end of a stretch."""
    return Stretch(max(stretch.begin, stretch.end - length), stretch.end, stretch.response)


@dataclass(frozen=True, slots=True)
class _View:
    """An incident as it is seen at a phase."""

    stretches: list[Stretch]
    phase: float
    width: float
    """By how much the phase may differ."""
    late: float = 0.0
    """By how much probes may be later than at the phase. The stretches take it into account."""

    @property
    def extended(self) -> list[Stretch]:
        """The stretches, with the time before the begin from which a late probe belongs to the incident."""
        begin = self.stretches[0].begin
        if not self.late:
            return self.stretches
        return [Stretch(begin - self.late, begin, Response.MAYBE), *self.stretches]


def _list_views(stretches: list[Stretch], probe: Timing, seen: Sequence[float]) -> Iterator[_View]:
    """Yield the incident as it is seen at each phase or range of phases."""
    period = probe.period
    if known := _find_phases(stretches, period, seen):
        phase, width = known
        yield _View([*_blur(stretches, width, probe)], phase, width, width)
        return
    changes = sorted({time % period for stretch in stretches for time in (stretch.begin, stretch.end)})
    if len(changes) <= MAX_PHASES:
        for left, right in pairwise([*changes, changes[0] + period]):
            yield _View(stretches, (left + right) / 2, (right - left) / 2)
        return
    width = period / MAX_PHASES
    blurred = [*_blur(stretches, width, probe)]
    for number in range(MAX_PHASES):
        yield _View(blurred, number * width, width, width)


def _find_phases(stretches: list[Stretch], period: float, seen: Sequence[float]) -> tuple[float, float] | None:
    """Return the range of phases that fits the probes that are known: its begin and its width."""
    times = seen[bisect_left(seen, stretches[0].begin) : bisect_right(seen, stretches[-1].end)]
    if not times:
        return None
    offsets = [(time - times[0] + period / 2) % period - period / 2 for time in times]
    begin, end = min(offsets) - JITTER, max(offsets) + JITTER
    return (times[0] + begin, end - begin) if end - begin < 4 * JITTER else None


def _blur(stretches: list[Stretch], width: float, probe: Timing) -> Iterator[Stretch]:
    """Yield the responses to a probe that is up to `width` late. At the end, it is uncertain whether there is one."""
    *others, last = stretches
    ends_well = _is_recovery(last, probe)
    for stretch in others if ends_well else stretches:
        middle = max(stretch.begin, stretch.end - width)
        yield Stretch(stretch.begin, middle, stretch.response)
        yield Stretch(middle, stretch.end, Response.MAYBE)
    if ends_well:
        yield last


def _is_recovery(stretch: Stretch, probe: Timing) -> bool:
    """Return whether enough probes pass, whatever their phase."""
    return stretch.response is Response.UP and stretch.end - stretch.begin >= probe.success_threshold * probe.period


def _find_probe(time: float, phase: float, period: float) -> float:
    """Return the time of the first probe at `time` or later."""
    return phase + math.ceil((time - phase) / period) * period


def _count_probes(stretch: Stretch, phase: float, period: float) -> int:
    return math.ceil((stretch.end - phase) / period) - math.ceil((stretch.begin - phase) / period)
