"""What the kubelet would have made of an endpoint's responses.

Theory of operation:

Responses are uncertain where the recording is. A restart is certain if failureThreshold probes in a row certainly fail.
Uncertain probes in a longer row may divide it, so that there is more than one restart.

The livenessProbe restarts the container after failureThreshold failures in a row, and then waits until it passes: how
often a container that does not recover is restarted depends on its startupProbe and on the kubelet's back-off.

The phase of the probes is often not known. Each incident is replayed for all phases that are possible (see `phases`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.replay.phases import find_incidents, list_views
from exporter.replay.stretches import Response, Stretch, Timing, count_probes, find_probe
from exporter.replay.windows import Windows, measure


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


def count_restarts(periods: Sequence[Sequence[Stretch]], probe: Timing, seen: Sequence[float] = ()) -> Bounds:
    """Return how often the livenessProbe restarts the container. `seen` has times, in order, at which it probed."""
    least = most = 0
    for incident in find_incidents(periods, probe):
        found = [find_restarts(view.extended, view.phase, probe) for view in list_views(incident, probe, seen)]
        least += min(sum(restart.certain for restart in restarts) for restarts in found)
        most += max(sum(restart.most for restart in restarts) for restarts in found)
    return Bounds(least, most)


def measure_unready(periods: Sequence[Sequence[Stretch]], probe: Timing, seen: Sequence[float] = ()) -> Bounds:
    """Return for how many seconds the readinessProbe takes the pod out of service. `seen` has times of probes."""
    least = most = 0.0
    for incident in find_incidents(periods, probe):
        fewest: list[float] = []
        largest: list[float] = []
        for view in list_views(incident, probe, seen):
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
        count = count_probes(stretch, phase, probe.period)
        if not count:
            continue
        if stretch.response is Response.UP:
            restarts += row.end()
            row = _Row(probe.failure_threshold)
        else:
            row.add(stretch.response, count, find_probe(stretch.begin, phase, probe.period), probe.period)
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
        response, count = _decide(stretch, maybe), count_probes(stretch, phase, probe.period)
        if not count:
            continue
        before = row if response is last else 0
        row, last = before + count, response
        threshold = probe.failure_threshold if response is Response.DOWN else probe.success_threshold
        if not before < threshold <= row or (response is Response.DOWN) is (since is not None):
            continue
        time = find_probe(stretch.begin, phase, probe.period) + (threshold - before - 1) * probe.period
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
