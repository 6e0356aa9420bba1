"""Snapshot -> the Prometheus exposition, by one collector that makes every family anew for each scrape.

Nothing but what the configuration alone decides is kept between scrapes, so the series are exactly those of the current
configuration, and all of them come from one generation. Values never carry a timestamp of their own: their age is a
value too (`health_check_last_run_timestamp_seconds`).
"""

import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client import generate_latest as text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric, Sample
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from exporter import __version__
from exporter.evaluation.judge import causes, judge
from exporter.kinds import kinds
from exporter.model import Group, Measurement, Result, Snapshot, Spec, State, Status, Vitals

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Answers = Mapping[tuple[str, int], int]
"""Answers given so far, by group and HTTP status code."""
Labels = dict[str, str]
Labelled = Collection[tuple[Labels, State]]
"""States, each with the labels that its samples share."""
Rows = Iterable[tuple[Labels, float | None]]
"""Samples to be, by labels; None is none."""

_END = b"# EOF\n"  # of OpenMetrics
_LABEL_LIMIT = 200  # characters
_LATEST = "as of the latest run, whose age health_check_last_run_timestamp_seconds tells"

_PER_CHECK: tuple[tuple[str, str, Callable[[State], float | None]], ...] = (
    ("up", "1 if the check is healthy (pass or warn) after thresholds, else 0.", lambda state: state.status.healthy),
    (
        "consecutive_failures",
        "Failing runs in a row; a run that could not look neither counts nor ends the row.",
        lambda state: state.consecutive_failures,
    ),
    ("last_pass_timestamp_seconds", "Unix time of the start of the latest healthy run.", lambda state: state.last_pass),
    ("last_transition_timestamp_seconds", "Unix time of the settled status' latest change.", lambda state: state.since),
)
_PER_SPEC: tuple[tuple[str, str, Callable[[Spec], float]], ...] = (
    ("period_seconds", "Configured time between starts (periodSeconds).", lambda spec: spec.period),
    ("timeout_seconds", "Configured time limit of a run (timeoutSeconds).", lambda spec: spec.timeout),
    (
        "failure_threshold",
        "Configured failures in a row that make the check fail (failureThreshold).",
        lambda spec: spec.failure_threshold,
    ),
)
_PER_RUN: tuple[tuple[str, str, Callable[[Result], float]], ...] = (
    (
        "last_up",
        f"1 if the run was healthy (pass or warn), before thresholds, else 0, {_LATEST}.",
        lambda last: last.outcome.status.healthy,
    ),
    ("duration_seconds", f"Duration of the run, {_LATEST}.", lambda last: last.duration),
    ("last_run_timestamp_seconds", "Unix time of the start of the latest run.", lambda last: last.started),
)


def exposition(
    snapshot: Snapshot, vitals: Vitals, answers: Answers, *, content_type: str, names: Collection[str] = ()
) -> bytes:
    """The exposition of one Snapshot in the format of `content_type`, limited to the samples in `names` if any."""
    wanted = frozenset(names)
    states = [(_labels(state.spec), state) for state in snapshot.states.values()]
    return (
        _rendered(_checks(states), content_type, wanted).removesuffix(_END)
        + _configured(tuple(state.spec for _, state in states), content_type, wanted).removesuffix(_END)
        + _rendered(_others(states, snapshot, vitals, answers), content_type, wanted)
    )


@lru_cache(maxsize=2)
def _configured(specs: tuple[Spec, ...], content_type: str, wanted: frozenset[str]) -> bytes:
    """The families that only the configuration decides: a third of all samples, and the same for every scrape."""
    return _rendered(_configuration(specs), content_type, wanted)


def _rendered(families: Iterable[Metric], content_type: str, wanted: frozenset[str]) -> bytes:
    collector = _Families(families, wanted)
    if content_type == OPEN_METRICS:
        # Nothing is to be escaped in our names; by default each would be searched for it, letter by letter.
        return bytes(open_metrics(collector, escaping=ALLOWUTF8))  # type: ignore[no-untyped-call]
    return text(collector)


class _Families(Collector):
    """Families, limited to the samples that are wanted if any are named."""

    def __init__(self, families: Iterable[Metric], wanted: frozenset[str]) -> None:
        self._families = families
        self._wanted = wanted

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            if self._wanted:
                family.samples = [sample for sample in family.samples if sample.name in self._wanted]
                if not family.samples:
                    continue
            yield family


_own = CollectorRegistry()  # private: nothing that another library registers globally gets in
ProcessCollector(registry=_own)
GCCollector(registry=_own)


def _checks(states: Labelled) -> Iterator[Metric]:
    for name, help_text, of in _PER_CHECK:
        yield _gauge(f"check_{name}", help_text, ((labels, of(state)) for labels, state in states))
    ran = [(labels, state.last) for labels, state in states if state.last]
    for name, help_text, of_run in _PER_RUN:
        yield _gauge(f"check_{name}", help_text, ((labels, of_run(last)) for labels, last in ran))
    yield _gauge(
        "check_status",
        "1 for the settled status of the check, 0 for the others.",
        (({**labels, "status": status}, status is state.status) for labels, state in states for status in Status),
    )
    yield _gauge(
        "check_reason",
        "1 for the reason of the latest run, while that run is not pass.",
        (({**labels, "reason": last.outcome.reason}, 1) for labels, last in ran if last.outcome.reason),
    )
    yield _counter("check_runs", "Runs of the check.", ((labels, state.runs) for labels, state in states))
    yield _counter(
        "check_failures",
        "Runs that were not healthy (fail, or unknown because they could not look), by reason.",
        (
            ({**labels, "reason": reason}, count)
            for labels, state in states
            for reason, count in sorted(state.failures.items())
        ),
    )
    yield _counter(
        "check_transitions", "Changes of the settled status.", ((labels, state.transitions) for labels, state in states)
    )


def _configuration(specs: Iterable[Spec]) -> Iterator[Metric]:
    checks = [(_labels(spec), spec) for spec in specs]
    for name, help_text, of in _PER_SPEC:
        yield _gauge(f"check_{name}", help_text, ((labels, of(spec)) for labels, spec in checks))
    yield _gauge(
        "check_info",
        "What the check looks at, without credentials or query string, and how much it matters.",
        (({**labels, "target": _label(spec.target), "severity": spec.severity}, 1) for labels, spec in checks),
    )
    yield _gauge(
        "check_group",
        "1 for each group in whose verdict the check has a say.",
        (({**labels, "group": group}, 1) for labels, spec in checks for group in Group if spec.belongs_to(group)),
    )


def _others(states: Labelled, snapshot: Snapshot, vitals: Vitals, answers: Answers) -> Iterator[Metric]:
    dependent = [(labels, state) for labels, state in states if state.spec.depends_on]
    if dependent:
        yield _gauge(
            "check_suppressed",
            "1 if the check is not healthy and a check that it depends on fails, else 0; absent without dependencies.",
            ((labels, bool(causes(snapshot, state))) for labels, state in dependent),
        )
    yield from _histograms(states)
    yield from _measurements(states)
    yield from _verdicts(snapshot, answers)
    yield from _exporter(vitals)
    yield from _own.collect()


def _histograms(states: Labelled) -> Iterator[Metric]:
    """The one family of distributions, for the checks that want one."""
    timed = [(labels, state) for labels, state in states if state.spec.latency_buckets]
    if not timed:
        return
    family = HistogramMetricFamily(
        "health_endpoint_latency_distribution_seconds",
        "Seconds that the endpoint took to answer, of all runs with an answer.",
        labels=["check", "kind"],
    )
    for labels, state in timed:
        bounds = [*map(floatToGoString, state.spec.latency_buckets), "+Inf"]
        counts = accumulate(state.latencies or (0,) * len(bounds))
        family.add_metric([labels["check"], labels["kind"]], [*zip(bounds, counts, strict=True)], state.latency_sum)
    yield family


def _measurements(states: Labelled) -> Iterator[Metric]:
    """One family for each measurement there is, and one for its limits."""
    found: dict[str, dict[str, tuple[Labels, Measurement]]] = {}
    for labels, state in states:
        for each in state.last.outcome.measurements if state.last else ():
            own = labels if each.phase is None else {**labels, "phase": each.phase}
            found.setdefault(each.name, {})[f"{state.spec.name} {each.key}"] = own, each
    helps = {name: text for kind in kinds().values() for name, text in kind.measures.items()}
    for name, by_check in sorted(found.items()):
        seen = by_check.values()
        help_text = helps.get(name, f"Measured by the check, {_LATEST}.")
        yield _gauge(name, help_text, ((labels, each.value) for labels, each in seen))
        limits = [({**labels, "level": level}, limit) for labels, each in seen for level, limit in each.limits.items()]
        if limits:
            yield _gauge(f"{name}_limit", f"Limit at which health_{name} makes the check warn or fail.", limits)


def _verdicts(snapshot: Snapshot, answers: Answers) -> Iterator[Metric]:
    groups = GaugeMetricFamily(
        "health_group_up", "1 if the group's endpoint answers 200, 0 if it answers 503.", labels=["group"]
    )
    for group in Group:
        groups.add_metric([group], judge(snapshot, group).up)
    yield groups
    given = CounterMetricFamily(
        "health_answers", "Answers given on the group's path, by status code.", labels=["group", "code"]
    )
    for (name, code), count in sorted(answers.items()):
        given.add_metric([name, str(code)], count)
    yield given
    yield _plain(
        "health_snapshot_generation",
        "Number of the evaluation this exposition shows; the answers' header Health-Generation is the same number.",
        snapshot.generation,
    )
    yield _plain("health_snapshot_timestamp_seconds", "Unix time of that evaluation.", snapshot.timestamp)


def _exporter(vitals: Vitals) -> Iterator[Metric]:
    build = GaugeMetricFamily("health_exporter_build_info", "The running version.", labels=["version", "pythonversion"])
    build.add_metric([__version__, platform.python_version()], 1)
    yield build
    for name, help_text, value in (
        ("config_last_reload_successful", "1 if the latest load of the configuration succeeded.", vitals.reload_ok),
        (
            "config_last_reload_success_timestamp_seconds",
            "Unix time of the latest successful load of the configuration.",
            vitals.reload_time,
        ),
        (
            "scheduler_lag_seconds",
            "Largest delay between the due time and the start of a run in the last 30 to 60 seconds.",
            vitals.lag,
        ),
        ("workers", "Threads that run checks.", vitals.workers),
        ("workers_busy", "Threads that run a check now.", vitals.busy),
        ("workers_stuck", "Threads that run a check whose deadline has passed.", vitals.stuck),
    ):
        yield _plain(f"health_exporter_{name}", help_text, value)


def _gauge(name: str, help_text: str, rows: Rows) -> Metric:
    return _filled(GaugeMetricFamily(f"health_{name}", help_text), f"health_{name}", rows)


def _counter(name: str, help_text: str, rows: Rows) -> Metric:
    return _filled(CounterMetricFamily(f"health_{name}", help_text), f"health_{name}_total", rows)


def _filled(family: Metric, name: str, rows: Rows) -> Metric:
    family.samples = [Sample(name, labels, float(number)) for labels, number in rows if number is not None]
    return family


def _plain(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def _labels(spec: Spec) -> Labels:
    return {"check": _label(spec.name), "kind": _label(spec.kind)}


def _label(value: str) -> str:
    """A label value that no exposition breaks on: bounded, and encodable (a lone surrogate loses the whole scrape)."""
    return value[:_LABEL_LIMIT].encode("utf-8", "replace").decode()
