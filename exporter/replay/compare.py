"""Recording + Variant -> Row: what the variant would have made of the recorded runs."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from exporter.model import Group, Spec, Status
from exporter.replay.kubelet import Bounds, count_restarts, measure_unready
from exporter.replay.recording import Life, Recording
from exporter.replay.stretches import Stretch, list_stretches
from exporter.replay.trace import Span, Trace, find_down, trace_all
from exporter.replay.variant import Kubelet, Variant
from exporter.replay.windows import Windows, intersect, measure, unite

_ALREADY = -1.0


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one variant. Times are seconds."""

    variant: Variant
    restarts: Bounds
    """Restarts of the container by its livenessProbe."""
    unready: Bounds
    """Time in which the readinessProbe has failed."""
    livez: Bounds
    """Time in which `/livez` returns 503."""
    readyz: Bounds
    """Time in which `/readyz` returns 503."""
    outages: int
    """Outages of the checks that differ between the variants, or of all checks: runs that failed in a row."""
    noticed: Bounds
    """Outages in which the status of the check becomes `fail`."""
    delay: Bounds | None
    """Time from the start of the first failed run to the status `fail`; None if no outage is noticed."""


def compare(recording: Recording, variants: Sequence[Variant], covered: Windows) -> Iterator[Row]:
    """Yield the result of each variant within these windows. The first one has the probes as they were.

    Raises ReplayError.
    """
    specs = {variant: [variant.apply(life.spec) for life in recording.lives] for variant in variants}
    columns = zip(*specs.values(), strict=True)  # the Specs of a life in all variants
    changed = [len(set(column)) > 1 for column in columns]
    for variant in variants:
        lives = zip(recording.lives, specs[variant], changed, strict=True)
        traced = [_Traced(life, spec, trace_all(life, spec), matters) for life, spec, matters in lives if spec]
        yield _make_row(recording, variant, variants[0].kubelet, traced, covered)


@dataclass(frozen=True, slots=True)
class _Traced:
    """A life in a variant."""

    life: Life
    spec: Spec
    traces: list[Trace]
    matters: bool
    """Whether it is different in the variants."""


def _make_row(
    recording: Recording, variant: Variant, present: Kubelet, traced: Sequence[_Traced], covered: Windows
) -> Row:
    every = [(life.life, life.spec, life.traces) for life in traced]
    liveness, readiness = (
        list_stretches(covered, find_group_down(recording, every, group)) for group in (Group.LIVENESS, Group.READINESS)
    )
    kubelet, matters = variant.kubelet, any(life.matters for life in traced)
    live = _list_probes(recording, "/livez") if kubelet.liveness.period == present.liveness.period else []
    ready = _list_probes(recording, "/readyz") if kubelet.readiness.period == present.readiness.period else []
    found = [
        delays
        for life in traced
        if life.matters or not matters
        for delays in _list_delays(life.life, life.traces, covered)
    ]
    noticed = [delay for delays in found for delay in delays if delay not in (None, _ALREADY)]
    always = sum(None not in delays for delays in found)
    return Row(
        variant=variant,
        restarts=count_restarts(liveness, kubelet.liveness, live),
        unready=measure_unready(readiness, kubelet.readiness, ready),
        livez=_measure_down(liveness),
        readyz=_measure_down(readiness),
        outages=len(found),
        noticed=Bounds(always, sum(any(delay is not None for delay in delays) for delays in found)),
        delay=Bounds(min(noticed), max(noticed)) if noticed else None,
    )


def find_group_down(recording: Recording, traced: Iterable[tuple[Life, Spec, Sequence[Trace]]], group: Group) -> Span:
    """Return when a group's endpoint returns 503."""
    found = [find_down(life, traces, group) for life, spec, traces in traced if spec.belongs_to(group)]
    always = recording.degraded if group is not Group.LIVENESS else ()
    always = unite(always, recording.draining) if group is Group.READINESS else always
    return Span(
        unite(always, *(span.certain for span in found)),
        unite(always, *(span.possible for span in found)),
    )


def _list_probes(recording: Recording, path: str) -> list[float]:
    """Return times at which the kubelet certainly probed."""
    answers = (entry for entry in recording.answered if entry.path == path)
    times = (time for entry in answers for time in (entry.previous, entry.first, entry.last, entry.recovered))
    return sorted({time for time in times if time is not None})


def _measure_down(periods: Sequence[Sequence[Stretch]]) -> Bounds:
    stretches = [stretch for period in periods for stretch in period]
    certain = measure((s.begin, s.end) for s in stretches if s.response.value == 503)
    return Bounds(certain, measure((s.begin, s.end) for s in stretches if s.response.value != 200))


def _list_delays(life: Life, traces: Sequence[Trace], covered: Windows) -> Iterator[list[float | None]]:
    """Yield, for each outage, the time until it is noticed in each of the traces; None where it is not."""
    for begin, end in _list_outages(life):
        if intersect(covered, ((begin, begin + 1e-6),)):
            yield [_find_delay(trace, begin, end) for trace in traces]


def _find_delay(trace: Trace, begin: float, end: float) -> float | None:
    """Return the time until the status is `fail`; ALREADY if it still is from an outage before."""
    position = bisect_right(trace, begin, key=itemgetter(0))
    if position and trace[position - 1][1].status is Status.FAIL:
        return _ALREADY
    for time, state in trace[position:]:
        if time >= end:
            break
        if state.status is Status.FAIL:
            return time - begin
    return None


def _list_outages(life: Life) -> Iterator[tuple[float, float]]:
    """Yield the outages: from the start of the first one to the end of the healthy run after them."""
    begin = None
    for result in life.readings[0]:
        if result.outcome.status is Status.FAIL:
            begin = result.started if begin is None else begin
        elif result.outcome.status is not Status.UNKNOWN and begin is not None:
            yield begin, result.started + result.duration
            begin = None
    if begin is not None:
        yield begin, life.end + 1e-6
