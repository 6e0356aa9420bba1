"""Pods that are scraped: what a real exporter's evaluation says about scripted checks, sample by sample.

The checks are settled by the real Store and rendered by the real exposition. Only the results of the runs are made up.
Time is in seconds since the start of the simulation, and Unix time is the same number, as in promtool's tests.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from make import Scripted

from exporter.evaluation.store import Store
from exporter.model import ENDPOINT_LATENCY, Group, Measurement, Outcome, Reason, Result, Severity, Spec, Status, Vitals
from exporter.probe.check import Check
from exporter.render.metrics import TEXT, render

STEP = 15  # seconds between scrapes, and between evaluations
MINUTE = 60
DAY = 86400

Samples = dict[str, float]
Spans = tuple[tuple[float, float], ...]
"""Times, each from one minute to another."""


@dataclass(frozen=True)
class Watch:
    """A check and what its runs find: `script` lists minutes, each with the finding from then on.

    A finding is `pass`, `slow`, a reason with which the run fails, a reason after `?` with which the check cannot run,
    or `flap`: a minute of passes and a minute of failures in turn. `expires` is the minute when a certificate expires.
    """

    name: str
    script: tuple[tuple[float, str], ...] = ((0, "pass"),)
    kind: str = "mysql"
    groups: frozenset[Group] = frozenset({Group.READINESS})
    severity: Severity = Severity.CRITICAL
    depends_on: tuple[str, ...] = ()
    period: int = 2
    expires: float | None = None
    target: str = "db.shop:3306"

    def build(self) -> Check:
        """Return the check with the shipped timing of a sidecar."""
        spec = Spec(
            name=self.name,
            kind=self.kind,
            target=self.target,
            groups=self.groups | {Group.ALL},
            severity=self.severity,
            depends_on=self.depends_on,
            period=self.period,
            timeout=1,
            failure_threshold=2,
            stale_after=2 * self.period + 1,
        )
        return Check(spec, Scripted())

    def run(self, now: float) -> tuple[Outcome, float]:
        """Return the outcome of the run at `now`, and its duration."""
        if self.expires is not None:
            left = self.expires * MINUTE - now
            measurement = Measurement("certificate_remaining_seconds", left, 21 * DAY, 7 * DAY, falling=True)
            reason = None if measurement.status == "pass" else Reason.THRESHOLD
            return Outcome(measurement.status, reason, "", (measurement,)), 0.02
        finding = [finding for start, finding in self.script if start * MINUTE <= now][-1]
        if finding == "flap":
            finding = "connect" if now // MINUTE % 2 else "pass"
        if finding in ("pass", "slow"):
            duration = 0.9 if finding == "slow" else 0.02
            return Outcome.passed("", Measurement(ENDPOINT_LATENCY, duration)), duration
        if finding.startswith("?"):
            return Outcome(Status.UNKNOWN, Reason(finding[1:]), ""), 0.02
        return Outcome.failed(Reason(finding), ""), 1.0 if finding == "timeout" else 0.02


@dataclass(frozen=True)
class Life:
    """What decides the samples of a pod. Replicas with the same fate share them."""

    checks: tuple[Watch, ...]
    processes: Spans
    drained: float | None
    lagging: Spans
    rejected: Spans
    held: Spans


@dataclass(frozen=True)
class Pod:
    """A pod with an exporter, and what happens to it, in minutes.

    `processes` are the times in which the exporter's process runs, `target` those in which Prometheus has the target,
    `unscraped` those in which scrapes are lost on the way, `lagging` those in which runs start late, `rejected` those
    in which the configuration file is invalid, and `held` those of holds. At `drained` the process ends in order, after
    a drain of 5 s. The application's container restarts at `restarts`. `exists` are the times in which Kubernetes has
    the pod.
    """

    name: str
    job: str = "shop"
    namespace: str = "prod"
    cluster: str = ""
    node: str = "node-1"
    address: str = "10.0.0.1:4584"
    checks: tuple[Watch, ...] = ()
    processes: Spans = ((0, 1e6),)
    target: Spans = ((0, 1e6),)
    exists: Spans = ((0, 1e6),)
    drained: float | None = None
    unscraped: Spans = ()
    lagging: Spans = ()
    rejected: Spans = ()
    held: Spans = ()
    restarts: tuple[float, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the target, as those of the Prometheus Operator. An empty label is none."""
        names = {
            "cluster": self.cluster,
            "namespace": self.namespace,
            "pod": self.name,
            "container": "health-exporter",
            "endpoint": "http-health",
            "job": self.job,
            "instance": self.address,
            "node": self.node,
        }
        return {name: value for name, value in names.items() if value}

    @property
    def life(self) -> Life:
        """What decides the samples."""
        return Life(self.checks, self.processes, self.drained, self.lagging, self.rejected, self.held)


def holds(spans: Spans, now: float) -> bool:
    """Return whether `now`, in seconds, is within one of the spans."""
    return any(start * MINUTE <= now < end * MINUTE for start, end in spans)


@lru_cache(maxsize=64)
def live(life: Life, end: int, names: frozenset[str]) -> tuple[Samples | None, ...]:
    """Return the samples with these names at every step until `end`, None while the exporter does not run."""
    scrapes: list[Samples | None] = [None] * (end // STEP + 1)
    logger = logging.getLogger("exporter.evaluation.store")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # days of status changes; other tests of the same process look at the log
    try:
        for start, stop in life.processes:
            for step, samples in _run_process(life, int(start * MINUTE), int(min(stop * MINUTE, end + 1)), names):
                scrapes[step] = samples
    finally:
        logger.setLevel(level)
    return tuple(scrapes)


def _run_process(life: Life, start: int, stop: int, names: frozenset[str]) -> Iterator[tuple[int, Samples]]:
    """Yield the samples of each step while one process runs, from its start until it stops."""
    now = start
    store = Store(lambda: float(now), lambda: float(now))
    checks: tuple[Check, ...] | None = None  # an exporter that starts with an invalid file has none until it is valid
    watches = {watch.name: watch for watch in life.checks}
    drain = stop if life.drained is None else life.drained * MINUTE - 5
    for now in range(start, stop):
        if checks is None and not holds(life.rejected, now):
            checks = store.configure([watch.build() for watch in life.checks])
        for check in checks or ():
            if (now - start) % check.spec.period == 0:
                outcome, duration = watches[check.spec.name].run(now)
                store.record(check, Result(outcome, now - duration, now, duration))
        for begin, end in life.held:
            if now == begin * MINUTE:
                store.hold((end - begin) * MINUTE, "debugging")
        if now >= drain and not store.snapshot().draining:
            store.drain()
        if now % STEP == 0:
            lag = 30.0 if holds(life.lagging, now) else 0.0
            vitals = Vitals(True, 8, lag=lag, reload_ok=not holds(life.rejected, now), reload_time=start, restarts=0)
            yield now // STEP, _expose(store, vitals, start, names, degraded=checks is None)


def _expose(store: Store, vitals: Vitals, start: float, names: frozenset[str], *, degraded: bool) -> Samples:
    text = render(store.snapshot(), vitals, {}, content_type=TEXT, names=names).decode()
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith(("#", "process_")))
    samples = {name: float(value) for name, value in lines} | {"process_start_time_seconds": start}
    if degraded:  # an exporter without a valid configuration is alive and not ready
        samples |= {f'health_group_up{{group="{group}"}}': 0.0 for group in ("readiness", "startup", "all")}
        samples["health_exporter_started"] = 0.0
    return samples


def deploy(count: int, *checks: Watch, job: str = "shop", net: int = 0, **options: Any) -> list[Pod]:
    """Return the pods of a Deployment, spread over three nodes."""
    pods = [
        Pod(f"{job}-7d9c5b-{place:02}", job, node=f"node-{place % 3 + 1}", address=f"10.{net}.0.{place + 1}:4584")
        for place in range(count)
    ]
    return [replace(pod, checks=checks, **options) for pod in pods]
