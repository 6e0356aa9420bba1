"""The kubelet restarts the application because the exporter reports a failure, and the reason stays visible."""

import re
import time
from types import SimpleNamespace

import pytest
from e2e.cluster.drill import EXPORTER, OVERLAYS, Stage, patched, series, up
from e2e.cluster.kube import is_ready, restarts
from support import unavailable

pytestmark = pytest.mark.timeout(600)
FAILURES = "health_check_failures_total"
SLACK = 15
"""Seconds of delay that a busy machine may add."""


def fail_and_be_restarted(stage: Stage, overlay: str, order: str) -> SimpleNamespace:
    """One replica with the numbers of the overlay fails, is restarted, and is healthy again."""
    record = SimpleNamespace(stage=stage)
    stage.apply(overlay, patches=[patched(replicas=1)])
    (pod,) = stage.ready()
    record.before = stage.metrics(pod)
    stage.breaks(pod, "shop")
    record.fault = stage.order(pod, order)

    def verdict_is_down():
        metrics = stage.metrics(pod)
        return None if metrics[up("liveness")] else metrics

    record.down = stage.until(verdict_is_down, 30, "liveness is down")
    record.livez = stage.request(pod, "/livez?format=json")
    record.restarts_when_down = restarts(stage.watch.pods()[pod])
    record.restart = stage.restarted("shop")
    record.at_restart = stage.metrics(pod)
    stage.watch.until(lambda watch: watch.endpoints() == {pod}, 60, "the application receives traffic again")
    record.back = time.time()
    record.again = stage.metrics(pod)
    record.pod = stage.watch.pods()[pod]
    record.log = stage.log(pod)
    record.killing = stage.watch.until(lambda watch: watch.messages("Killing"), 10, "the event Killing")
    fault_to_decision, fault_to_no_traffic = measured(record)
    stage.note("fault to no traffic", fault_to_no_traffic)
    stage.note("fault to the kubelet's decision", fault_to_decision)
    stage.note("fault to the new container", record.restart - record.fault)
    stage.note("new container to traffic", record.back - record.restart)
    return record


def stops_serving(stage: Stage) -> SimpleNamespace:
    return fail_and_be_restarted(stage, "sidecar", "/stop")


def returns_500(stage: Stage) -> SimpleNamespace:
    return fail_and_be_restarted(stage, "sidecar", "/mode/health/failing")


def native_sidecar(stage: Stage) -> SimpleNamespace:
    if stage.cluster.version() < (1, 29):
        unavailable("Kubernetes before 1.29 has no native sidecars")
    return fail_and_be_restarted(stage, "native-sidecar", "/mode/health/failing")


EVERY = pytest.mark.parametrize(
    ("record", "reason"),
    [(stops_serving, "connect"), (returns_500, "status"), (native_sidecar, "status")],
    indirect=["record"],
)


@EVERY
def test_the_application_is_restarted_and_the_exporter_is_not(record, reason):
    """Scenarios 2 and 4: only the failing container is restarted, and only once."""
    assert restarts(record.pod) == {"shop": 1, EXPORTER: 0}
    assert is_ready(record.pod)
    assert [container for container, _ in record.killing] == ["shop"]
    assert "liveness probe" in record.killing[0][1]


@EVERY
def test_the_metrics_show_the_failure_before_kubernetes_acts(record, reason):
    """Scenarios 2 and 4: the kubelet and Prometheus get the same result, and Prometheus also the reason."""
    assert record.before[up("liveness")] == 1
    assert series(FAILURES, "health", reason=reason) not in record.before
    assert record.restarts_when_down == {"shop": 0, EXPORTER: 0}
    assert record.down[series("health_check_up", "health")] == 0
    assert record.down[series("health_check_reason", "health", reason=reason)] == 1
    assert (
        record.down[series(FAILURES, "health", reason=reason)]
        == record.down[series("health_check_failure_threshold", "health")]
    )
    assert record.livez.status == 503
    assert f'"reason": "{reason}"' in record.livez.text or f'"reason":"{reason}"' in record.livez.text


@EVERY
def test_the_kubelet_got_503_at_least_failure_threshold_times(record, reason):
    """Scenarios 2 and 4: the exporter counts the responses that the kubelet reports as failed probes."""
    containers = {container["name"]: container for container in record.pod["spec"]["containers"]}
    responses = record.at_restart['health_answers_total{code="503",group="liveness"}']
    assert responses >= containers["shop"]["livenessProbe"]["failureThreshold"]
    unhealthy = record.stage.watch.messages("Unhealthy")
    assert ("shop", "Liveness probe failed: HTTP probe failed with statuscode: 503") in unhealthy
    *_, endpoints = (ready for at, ready in record.stage.watch.endpoints_over_time() if at <= record.restart)
    assert endpoints == frozenset()


@EVERY
def test_the_exporter_still_shows_the_reason_after_the_restart(record, reason):
    """Scenarios 2 and 4: the counter by reason, the time, and the log line remain after the recovery."""
    assert record.again[series("health_check_up", "health")] == 1
    assert record.again[up("liveness")] == 1
    failures = record.again[series(FAILURES, "health", reason=reason)]
    assert failures >= record.at_restart[series(FAILURES, "health", reason=reason)] >= 2
    transition = series("health_check_last_transition_timestamp_seconds", "health")
    assert record.before[transition] < record.down[transition] < record.again[transition]
    transitions = series("health_check_transitions_total", "health")
    assert record.again[transitions] - record.before[transitions] == 2
    assert re.search(rf'level=warn msg="check health: pass -> fail \({reason}\): .*reason={reason} ', record.log)
    assert re.search(rf'msg="answered 503: .*path=/livez because="health \({reason}\)', record.log)
    assert re.search(r'level=info msg="check health: fail -> pass: ', record.log)


@EVERY
def test_the_measured_times_match_the_documentation(record, reason):
    """A busy machine may take somewhat longer than the shipped numbers, but no machine takes less."""
    fault_to_restart, fault_to_no_traffic = measured(record)
    soonest, latest = documented("fault to restart")
    assert soonest - 0.5 < fault_to_restart < latest + SLACK
    soonest, latest = documented("fault to removal from the endpoints")
    assert soonest - 0.5 < fault_to_no_traffic < latest + SLACK
    _, latest = documented("container start to first traffic")
    assert record.back - record.restart < latest + SLACK


def measured(record: SimpleNamespace) -> tuple[float, float]:
    """Seconds from the fault to the kubelet's decision, and to the removal of the pod from the endpoints."""
    watch = record.stage.watch
    killing = watch.first("Event", lambda event: event["reason"] == "Killing")
    without = next(at for at, ready in watch.endpoints_over_time() if at > record.fault and not ready)
    return killing.at - record.fault, without - record.fault


def documented(row: str) -> tuple[int, int]:
    """The minimum and the maximum of the shipped numbers in the documented table of times."""
    text = (OVERLAYS.parent.parent / "docs/probe-timing.md").read_text()
    found = re.search(rf"^\| {row} \|.*\| (\d+) to (\d+) s \|.*\|$", text, re.MULTILINE)
    assert found, row
    return int(found[1]), int(found[2])
