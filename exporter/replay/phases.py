"""Incidents, and how each of them is seen at every phase of the kubelet's probes.

Theory of operation:

A worker of the kubelet probes at regular times: at a phase in its period. The history has the time of a response of 503
to the kubelet, which gives away the phase in this incident. Without one, the incident is replayed for every phase: only
those at which a probe moves past a change of the response make a difference. If there are too many of these, or if the
phase is only known to be in a range, ranges are replayed, and a response that changes within the range is uncertain.

Between incidents, enough probes pass that an incident does not depend on the one before.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from exporter.replay.stretches import Response, Stretch, Timing

MAX_PHASES = 64
"""Phases of an incident that are replayed one by one; beyond that, ranges of them."""
JITTER = 0.1
"""Seconds by which a probe may be earlier or later than another one of the same phase."""


@dataclass(frozen=True, slots=True)
class View:
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


def find_incidents(periods: Sequence[Sequence[Stretch]], probe: Timing) -> Iterator[list[Stretch]]:
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


def list_views(stretches: list[Stretch], probe: Timing, seen: Sequence[float]) -> Iterator[View]:
    """Yield the incident as it is seen at each phase or range of phases."""
    period = probe.period
    if known := _find_phases(stretches, period, seen):
        phase, width = known
        yield View([*_blur(stretches, width, probe)], phase, width, width)
        return
    changes = sorted({time % period for stretch in stretches for time in (stretch.begin, stretch.end)})
    if len(changes) <= MAX_PHASES:
        for left, right in pairwise([*changes, changes[0] + period]):
            yield View(stretches, (left + right) / 2, (right - left) / 2)
        return
    width = period / MAX_PHASES
    blurred = [*_blur(stretches, width, probe)]
    for number in range(MAX_PHASES):
        yield View(blurred, number * width, width, width)


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


def _shorten(stretch: Stretch, length: float) -> Stretch:
    """Return the end of a stretch."""
    return Stretch(max(stretch.begin, stretch.end - length), stretch.end, stretch.response)
