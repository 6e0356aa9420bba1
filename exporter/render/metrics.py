"""Snapshot -> the Prometheus exposition.

Every family is made from the Snapshot for each scrape; no gauge objects live between scrapes. So the series are exactly
those of the current configuration, and all values come from one generation. Only the families that depend on nothing
but the configuration are cached, as rendered bytes. Samples carry no timestamps: the age of a result is a metric itself
(`health_check_last_run_timestamp_seconds`).

In OpenMetrics, the series that begin at the first failure have a created timestamp: the start of that first run. From
it, Prometheus 3 with the feature created-timestamp-zero-ingestion knows that they were 0 before. The other counters are
0 when they begin, so a timestamp would tell nothing new; and servers without the feature store each one as a series.

The file is longer than others because only here prometheus_client is imported, and because half of it is names and HELP
texts.
"""

import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

from prometheus_client import ProcessCollector
from prometheus_client import generate_latest as text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric, Sample
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from exporter import __version__
from exporter.evaluation.judge import find_causes, judge
from exporter.kinds import kinds
from exporter.model import STREAK_BOUNDS, Group, Measurement, Result, Snapshot, Spec, State, Vitals
from exporter.text import replace_surrogates

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

AnswerCounts = Mapping[tuple[str, int], int]
"""The number of answers, by group and HTTP status code."""
Labels = dict[str, str]
Labelled = Collection[tuple[Labels, State]]
"""States, each with the labels that all its samples have."""
Rows = Iterable[tuple[Labels, float | None]]
"""Labels and values of samples; a value of None means that there is no sample."""

_END = b"# EOF\n"  # of OpenMetrics

MAX_LABEL = 200  # characters

_PER_CHECK: tuple[tuple[str, str, Callable[[State], float | None]], ...] = (
    (
        "up",
        "1 if the check is healthy (pass or warn) after thresholds, otherwise 0.",
        lambda state: state.status.healthy,
    ),
    (
        "consecutive_failures",
        "Consecutive failed runs; absent without any. Runs with status unknown are not counted and do not reset it.",
        lambda state: state.consecutive_failures or None,
    ),
    (
        "last_pass_timestamp_seconds",
        "Start of the latest healthy run, as Unix time; absent while the check and its latest run are healthy.",
        lambda state: None if _is_passing(state) else state.last_pass,
    ),
    (
        "last_transition_timestamp_seconds",
        "Latest change of the check's status after thresholds, as Unix time.",
        lambda state: state.since,
    ),
)
_PER_SPEC: tuple[tuple[str, str, Callable[[Spec], float]], ...] = (
    (
        "period_seconds",
        "Configured time between the starts of two runs, in seconds (periodSeconds).",
        lambda spec: spec.period,
    ),
    ("timeout_seconds", "Configured time limit of a run, in seconds (timeoutSeconds).", lambda spec: spec.timeout),
    (
        "failure_threshold",
        "Configured number of consecutive failed runs after which the check fails (failureThreshold).",
        lambda spec: spec.failure_threshold,
    ),
)
_PER_RUN: tuple[tuple[str, str, Callable[[Result], float]], ...] = (
    (
        "last_up",
        "1 if the latest run was healthy (pass or warn), before thresholds, otherwise 0.",
        lambda last: last.outcome.status.healthy,
    ),
    ("duration_seconds", "Duration of the latest run, in seconds.", lambda last: last.duration),
    ("last_run_timestamp_seconds", "Start of the latest run, as Unix time.", lambda last: last.started),
)


def render(
    snapshot: Snapshot, vitals: Vitals, answers: AnswerCounts, *, content_type: str, names: Collection[str] = ()
) -> bytes:
    """Render one Snapshot in the format of `content_type`; with `names`, only the samples with these names."""
    names = frozenset(names)
    created = content_type == OPEN_METRICS
    states = [(_make_labels(state.spec), state) for state in snapshot.states.values()]
    return (
        _render(_collect_checks(states, created=created), content_type, names).removesuffix(_END)
        + _render_configuration(tuple(state.spec for _, state in states), content_type, names).removesuffix(_END)
        + _render(_collect_others(states, snapshot, vitals, answers), content_type, names)
    )


def render_textfile(snapshot: Snapshot, groups: Collection[Group]) -> bytes:
    """Render what a single run of each check has found, for the textfile collector of node_exporter.

    `groups` are those whose checks are all in the Snapshot.

    Left out are counters and streaks, which one run cannot know, and the exporter's own process: node_exporter has
    metrics with the same names.
    """
    states = [(_make_labels(state.spec), state) for state in snapshot.states.values()]
    families = [
        *(family for family in _collect_checks(states, created=False) if family.name in _TEXTFILE),
        *(family for family in _collect_configuration(state.spec for _, state in states) if family.name in _TEXTFILE),
        *_collect_measurements(states),
        _make_group_gauge(snapshot, groups),
        _make_timestamp_gauge(snapshot),
    ]
    return text(_Families(families, ()))


@lru_cache(maxsize=2)
def _render_configuration(specs: tuple[Spec, ...], content_type: str, names: frozenset[str]) -> bytes:
    """Render the families that depend on the configuration alone: a third of all samples, equal in every scrape."""
    return _render(_collect_configuration(specs), content_type, names)


def _render(families: Iterable[Metric], content_type: str, names: frozenset[str]) -> bytes:
    collector = _Families(families, names)
    if content_type == OPEN_METRICS:
        # Our names need no escaping; by default every character of every name would be checked.
        return bytes(open_metrics(collector, escaping=ALLOWUTF8))  # type: ignore[no-untyped-call]
    return text(collector)


class _Families(Collector):
    """Families, reduced to the samples with these names if there are any."""

    def __init__(self, families: Iterable[Metric], names: Collection[str]) -> None:
        self._families = families
        self._names = names

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            if self._names:
                family.samples = [sample for sample in family.samples if sample.name in self._names]
                if not family.samples:
                    continue
            yield family


_TEXTFILE = frozenset(
    f"health_{name}"
    for name in (
        *("check_up", "check_status", "check_last_up", "check_reason", "check_duration_seconds"),
        *("check_last_run_timestamp_seconds", "check_timeout_seconds", "check_info", "check_group"),
    )
)
"""The families of `render_textfile`, besides the measurements."""
_process = ProcessCollector(registry=None)
_LEFT_OUT = ("process_virtual_memory_bytes", "process_max_fds")  # meaningless for Python, and a constant


def _collect_checks(states: Labelled, *, created: bool) -> Iterator[Metric]:
    for name, help_text, of in _PER_CHECK:
        yield _make_gauge(f"check_{name}", help_text, ((labels, of(state)) for labels, state in states))
    ran = [(labels, state.last) for labels, state in states if state.last]
    for name, help_text, of_run in _PER_RUN:
        yield _make_gauge(f"check_{name}", help_text, ((labels, of_run(last)) for labels, last in ran))
    yield _make_gauge(
        "check_status",
        "1 for the check's status after thresholds; absent for every other status.",
        (({**labels, "status": state.status}, 1) for labels, state in states),
    )
    yield _make_gauge(
        "check_reason",
        "1 for the reason why the latest run did not pass; absent after a pass.",
        (({**labels, "reason": last.outcome.reason}, 1) for labels, last in ran if last.outcome.reason),
    )
    yield _make_counter("check_runs", "Runs of the check.", ((labels, state.runs) for labels, state in states))
    failures = CounterMetricFamily(
        "health_check_failures", "Runs with status fail or unknown, by reason.", labels=["check", "kind", "reason"]
    )
    for labels, state in states:
        for reason, count in sorted(state.failures.items()):
            since = state.failed_since[reason] if created else None
            failures.add_metric([*labels.values(), reason], count, created=since)
    yield failures
    yield from _collect_streaks(states, created=created)
    yield _make_counter(
        "check_transitions",
        "Changes of the check's status after thresholds.",
        ((labels, state.transitions) for labels, state in states),
    )


def _collect_streaks(states: Labelled, *, created: bool) -> Iterator[Metric]:
    """Yield the streaks of failures of the checks that have failed."""
    failed = [(labels, state) for labels, state in states if state.first_failure is not None]
    if not failed:
        return
    family = _make_histogram(
        "check_failure_streak_runs",
        "Consecutive failed runs, for every such streak that has ended; absent before the first failure.",
    )
    for labels, state in failed:
        _add_histogram(family, labels, STREAK_BOUNDS, state.failure_streaks, state.failure_streak_runs)
        if created and state.first_failure is not None:
            family.samples.append(Sample(f"{family.name}_created", labels, state.first_failure))
    yield family


def _collect_configuration(specs: Iterable[Spec]) -> Iterator[Metric]:
    checks = [(_make_labels(spec), spec) for spec in specs]
    for name, help_text, of in _PER_SPEC:
        yield _make_gauge(f"check_{name}", help_text, ((labels, of(spec)) for labels, spec in checks))
    yield _make_gauge(
        "check_info",
        "Always 1. The target, without credentials and query string, the severity and the owner of the check.",
        ((labels | _describe_spec(spec), 1) for labels, spec in checks),
    )
    yield _make_gauge(
        "check_group",
        "1 for each group that the check is configured for. Every check also belongs to the group all.",
        (
            ({**labels, "group": group}, 1)
            for labels, spec in checks
            for group in Group
            if group is not Group.ALL and spec.belongs_to(group)
        ),
    )


def _collect_others(states: Labelled, snapshot: Snapshot, vitals: Vitals, answers: AnswerCounts) -> Iterator[Metric]:
    dependent = [(labels, state) for labels, state in states if state.spec.depends_on]
    if dependent:
        yield _make_gauge(
            "check_suppressed",
            "1 if the check is unhealthy and one of its dependencies fails, otherwise 0; absent without dependencies.",
            ((labels, bool(find_causes(snapshot, state))) for labels, state in dependent),
        )
    yield from _collect_histograms(states)
    yield from _collect_measurements(states)
    yield from _collect_verdicts(snapshot, answers)
    yield from _collect_exporter(vitals)
    yield from (family for family in _process.collect() if family.name not in _LEFT_OUT)


def _collect_histograms(states: Labelled) -> Iterator[Metric]:
    """Yield the latency histogram of the checks that configure one."""
    timed = [(labels, state) for labels, state in states if state.spec.latency_buckets]
    if timed:
        family = _make_histogram(
            "endpoint_latency_distribution_seconds",
            "Time the endpoint took to respond, in seconds, for every run with a response.",
        )
        for labels, state in timed:
            _add_histogram(family, labels, state.spec.latency_buckets, state.latencies, state.latency_sum)
        yield family


def _make_histogram(name: str, help_text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"health_{name}", help_text, labels=["check", "kind"])


def _add_histogram(
    family: HistogramMetricFamily, labels: Labels, bounds: Sequence[float], counts: Sequence[int], total: float
) -> None:
    """Add the histogram of a check. `counts` has one more item than `bounds`, or none if nothing was counted."""
    limits = [*map(floatToGoString, bounds), "+Inf"]
    buckets = [*zip(limits, accumulate(counts or (0,) * len(limits)), strict=True)]
    family.add_metric([*labels.values()], buckets, total)


def _collect_measurements(states: Labelled) -> Iterator[Metric]:
    """Yield one family for each measurement, and one for its limits."""
    found: dict[str, dict[str, tuple[Labels, Measurement]]] = {}
    for labels, state in states:
        for measurement in state.last.outcome.measurements if state.last else ():
            key = f"{state.spec.name} {measurement.key}"
            found.setdefault(measurement.name, {})[key] = {**labels, **measurement.labels}, measurement
    if not found:  # then kinds may be missing: one that cannot be loaded makes the configuration invalid
        return
    used = {state.spec.kind for _, state in states} & kinds().keys()
    helps = {name: text for kind in used for name, text in kinds()[kind].measures.items()}
    for name, by_check in sorted(found.items()):
        measurements = by_check.values()
        help_text = helps.get(name) or _find_help(name)
        rows = ((labels, measurement.value) for labels, measurement in measurements)
        counter = name.removesuffix("_total")
        yield _make_gauge(name, help_text, rows) if counter == name else _make_counter(counter, help_text, rows)
        limits = [
            ({**labels, "level": level}, limit)
            for labels, measurement in measurements
            for level, limit in measurement.limits.items()
        ]
        if limits:
            yield _make_gauge(f"{name}_limit", f"Threshold of health_{name} at which the check warns or fails.", limits)


def _find_help(name: str) -> str:
    """Return the HELP text of a measurement that no kind in use makes: a function's, which may have a kind's name."""
    texts = (kind.measures.get(name) for kind in kinds().values())
    return next(filter(None, texts), "Measured by the check in the latest run.")


def _collect_verdicts(snapshot: Snapshot, answers: AnswerCounts) -> Iterator[Metric]:
    yield _make_group_gauge(snapshot, Group)
    if snapshot.hold:
        yield _make_gauge(
            "group_hold_expiry_timestamp_seconds",
            "Time, as Unix time, until which restarts are suspended: the endpoint returns 200. Absent without a hold.",
            [({"group": Group.LIVENESS}, snapshot.hold.until)],
        )
    codes = CounterMetricFamily(
        "health_answers", "Responses of the group's endpoint, by status code.", labels=["group", "code"]
    )
    for (name, code), count in sorted(answers.items()):
        codes.add_metric([name, str(code)], count)
    yield codes
    yield _make_single_gauge(
        "health_exporter_started",
        "1 once startup and readiness have been up together since the exporter started, otherwise 0.",
        snapshot.started,
    )
    if snapshot.draining:
        yield _make_single_gauge("health_exporter_draining", "1 while the exporter shuts down, otherwise absent.", 1)
    yield _make_single_gauge(
        "health_snapshot_generation",
        "Generation of the snapshot that this response shows; also in the response header Health-Generation.",
        snapshot.generation,
    )
    yield _make_timestamp_gauge(snapshot)


def _make_timestamp_gauge(snapshot: Snapshot) -> Metric:
    return _make_single_gauge(
        "health_snapshot_timestamp_seconds",
        "Time of the snapshot that this response shows, as Unix time.",
        snapshot.timestamp,
    )


def _make_group_gauge(snapshot: Snapshot, groups: Iterable[Group]) -> Metric:
    family = GaugeMetricFamily(
        "health_group_up",
        "1 if the group's endpoint returns 200, 0 if it returns 503; absent if it returns 200 without checks.",
        labels=["group"],
    )
    for verdict in (judge(snapshot, group) for group in groups):
        if verdict.members or not verdict.up:
            family.add_metric([verdict.group], verdict.up)
    return family


def _collect_exporter(vitals: Vitals) -> Iterator[Metric]:
    build = GaugeMetricFamily(
        "health_exporter_build_info",
        "Always 1. The versions of Health Exporter and Python.",
        labels=["version", "pythonversion"],
    )
    build.add_metric([__version__, platform.python_version()], 1)
    yield build
    if vitals.restarts is not None:
        yield CounterMetricFamily(
            "health_exporter_worker_restarts",
            "Restarts of the exporter's worker process by its keeper. Absent if the exporter is embedded.",
            value=float(vitals.restarts),
        )
    for name, help_text, value in (
        (
            "config_last_reload_successful",
            "1 if the latest loads of the configuration, web configuration and certificates succeeded, otherwise 0.",
            vitals.reload_ok,
        ),
        (
            "config_last_reload_success_timestamp_seconds",
            "Latest successful load of the configuration, as Unix time; absent before the first.",
            vitals.reload_time,
        ),
        (
            "scheduler_lag_seconds",
            "Longest delay in starting a run during the last 30 to 60 seconds, in seconds.",
            vitals.lag,
        ),
        ("workers", "Threads that run checks.", vitals.workers),
        ("workers_busy", "Threads that are running a check.", vitals.busy),
        (
            "workers_stuck",
            "Threads that are running a check whose deadline has passed; absent without any.",
            vitals.stuck or None,
        ),
    ):
        if value is not None:
            yield _make_single_gauge(f"health_exporter_{name}", help_text, value)


def _is_passing(state: State) -> bool:
    return state.status.healthy and state.last is not None and state.last.outcome.status.healthy


def _make_gauge(name: str, help_text: str, rows: Rows) -> Metric:
    return _add_samples(GaugeMetricFamily(f"health_{name}", help_text), f"health_{name}", rows)


def _make_counter(name: str, help_text: str, rows: Rows) -> Metric:
    return _add_samples(CounterMetricFamily(f"health_{name}", help_text), f"health_{name}_total", rows)


def _add_samples(family: Metric, name: str, rows: Rows) -> Metric:
    family.samples = [Sample(name, labels, float(number)) for labels, number in rows if number is not None]
    return family


def _make_single_gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def _make_labels(spec: Spec) -> Labels:
    return {"check": _cut_label(spec.name), "kind": _cut_label(spec.kind)}


def _describe_spec(spec: Spec) -> Labels:
    owner = {"owner": _cut_label(spec.owner)} if spec.owner else {}
    return {"target": _cut_label(spec.target), "severity": spec.severity, **owner}


def _cut_label(value: str) -> str:
    """Return a short label value without lone surrogates, a single one of which would make the whole scrape fail."""
    return replace_surrogates(value[:MAX_LABEL])
