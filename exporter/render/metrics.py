"""Snapshot -> the Prometheus exposition, by one collector that makes every family anew for each scrape.

Nothing is kept between scrapes, so the series are exactly those of the current configuration, and all of them come from
one generation. Values never carry a timestamp of their own: their age is a value too
(`health_check_last_run_timestamp_seconds`).
"""

import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client import generate_latest as text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.registry import Collector

from exporter import __version__
from exporter.check import kinds
from exporter.judge import judge
from exporter.model import Group, Result, Snapshot, State, Status, Vitals

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Answers = Mapping[tuple[str, int], int]
"""Answers given so far, by group and HTTP status code."""

_LABEL_LIMIT = 200  # characters
_CHECK = ("check", "kind")
_LATEST = "as of the latest run, whose age health_check_last_run_timestamp_seconds tells"

_PER_CHECK: tuple[tuple[str, str, Callable[[State], float | None]], ...] = (
    ("up", "1 if the check is healthy (pass or warn) after thresholds, else 0.", lambda state: state.status.healthy),
    ("period_seconds", "Configured time between starts (periodSeconds).", lambda state: state.spec.period),
    ("timeout_seconds", "Configured time limit of a run (timeoutSeconds).", lambda state: state.spec.timeout),
    (
        "failure_threshold",
        "Configured failures in a row that make the check fail (failureThreshold).",
        lambda state: state.spec.failure_threshold,
    ),
    (
        "consecutive_failures",
        "Failing runs in a row; a run that could not look neither counts nor ends the row.",
        lambda state: state.consecutive_failures,
    ),
    ("last_pass_timestamp_seconds", "Unix time of the start of the latest healthy run.", lambda state: state.last_pass),
    ("last_transition_timestamp_seconds", "Unix time of the settled status' latest change.", lambda state: state.since),
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
    families = _Families(snapshot, vitals, answers, frozenset(names))
    rendered: bytes = open_metrics(families) if content_type == OPEN_METRICS else text(families)  # type: ignore[no-untyped-call]
    return rendered


class _Families(Collector):
    """Everything there is to expose, of one Snapshot."""

    own = CollectorRegistry()  # private: nothing that another library registers globally gets in
    ProcessCollector(registry=own)
    GCCollector(registry=own)

    def __init__(self, snapshot: Snapshot, vitals: Vitals, answers: Answers, names: frozenset[str]) -> None:
        self._snapshot = snapshot
        self._vitals = vitals
        self._answers = answers
        self._names = names

    def collect(self) -> Iterator[Metric]:
        for family in self._all():
            if self._names:
                family.samples = [sample for sample in family.samples if sample.name in self._names]
                if not family.samples:
                    continue
            yield family

    def _all(self) -> Iterator[Metric]:
        states = tuple(self._snapshot.states.values())
        yield from _checks(states)
        yield from _measurements(states)
        yield from _verdicts(self._snapshot, self._answers)
        yield from _exporter(self._vitals)
        yield from self.own.collect()


def _checks(states: Collection[State]) -> Iterator[Metric]:
    for name, help_text, value in _PER_CHECK:
        yield _gauge(f"health_check_{name}", help_text, ((state, (), value(state)) for state in states))
    for name, help_text, of in _PER_RUN:
        yield _gauge(f"health_check_{name}", help_text, ((state, (), of(state.last)) for state in states if state.last))
    yield _gauge(
        "health_check_status",
        "1 for the settled status of the check, 0 for the others.",
        ((state, (status,), status is state.status) for state in states for status in Status),
        "status",
    )
    yield _gauge(
        "health_check_reason",
        "1 for the reason of the latest run, while that run is not pass.",
        ((state, (state.last.outcome.reason,), 1) for state in states if state.last and state.last.outcome.reason),
        "reason",
    )
    yield _counter("health_check_runs", "Runs of the check.", ((state, (), state.runs) for state in states))
    yield _counter(
        "health_check_failures",
        "Runs that were not healthy (fail, or unknown because they could not look), by reason.",
        ((state, (reason,), count) for state in states for reason, count in sorted(state.failures.items())),
        "reason",
    )
    yield _counter(
        "health_check_transitions",
        "Changes of the settled status.",
        ((state, (), state.transitions) for state in states),
    )
    yield _gauge(
        "health_check_info",
        "What the check looks at, without credentials or query string, and how much it matters.",
        ((state, (state.spec.target, state.spec.severity), 1) for state in states),
        "target",
        "severity",
    )
    yield _gauge(
        "health_check_group",
        "1 for each group in whose verdict the check has a say.",
        ((state, (group,), 1) for state in states for group in Group if state.spec.belongs_to(group)),
        "group",
    )


def _measurements(states: Collection[State]) -> Iterator[Metric]:
    """One family for each measurement there is, and one for its limits."""
    helps = {name: text for kind in kinds().values() for name, text in kind.measures.items()}
    seen = [(state, each) for state in states if state.last for each in state.last.outcome.measurements]
    for name in sorted({each.name for _, each in seen}):
        found = [(state, each) for state, each in seen if each.name == name]
        help_text = helps.get(name, f"Measured by the check, {_LATEST}.")
        yield _gauge(f"health_{name}", help_text, ((state, (), each.value) for state, each in found))
        limits = [(state, (level,), limit) for state, each in found for level, limit in each.limits.items()]
        if limits:
            yield _gauge(
                f"health_{name}_limit", f"Limit at which health_{name} makes the check warn or fail.", limits, "level"
            )


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


Row = tuple[State, tuple[Any, ...], float | None]


def _gauge(name: str, help_text: str, rows: Iterable[Row], *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(name, help_text, labels=[*_CHECK, *labels]), rows)


def _counter(name: str, help_text: str, rows: Iterable[Row], *labels: str) -> Metric:
    return _filled(CounterMetricFamily(name, help_text, labels=[*_CHECK, *labels]), rows)


def _filled(family: Any, rows: Iterable[Row]) -> Metric:
    for state, values, number in rows:
        if number is not None:
            family.add_metric([_label(each) for each in (state.spec.name, state.spec.kind, *values)], float(number))
    return family  # type: ignore[no-any-return]


def _plain(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def _label(value: str) -> str:
    """A label value that no exposition breaks on: bounded, and encodable (a lone surrogate loses the whole scrape)."""
    return value[:_LABEL_LIMIT].encode("utf-8", "replace").decode()
