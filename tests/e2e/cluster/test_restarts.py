"""The kubelet restarts the application because the exporter says so, and the exporter still says why afterwards."""

import re
import time
from types import SimpleNamespace

import pytest
from drill import EXPORTER, OVERLAYS, Stage, patched, series, up
from kube import is_ready, restarts
from support import unavailable

pytestmark = pytest.mark.timeout(600)
FAILURES = "health_check_failures_total"
SLACK = 15
"""Seconds that a machine may be late which has much else to do."""


def fail_and_be_restarted(stage: Stage, overlay: str, order: str) -> SimpleNamespace:
    """One replica with the overlay's own numbers fails, is restarted and is well again."""
    seen = SimpleNamespace(stage=stage)
    stage.apply(overlay, patches=[patched(replicas=1)])
    (pod,) = stage.ready()
    seen.well = stage.metrics(pod)
    seen.fault = stage.order(pod, order)

    def verdict_is_down():
        metrics = stage.metrics(pod)
        return None if metrics[up("liveness")] else metrics

    seen.down = stage.until(verdict_is_down, 30, "liveness is down")
    seen.livez = stage.ask(pod, "/livez?format=json")
    seen.restarts_when_down = restarts(stage.watch.pods()[pod])
    seen.restart = stage.restarted("shop")
    seen.at_restart = stage.metrics(pod)
    stage.watch.until(lambda watch: watch.endpoints() == {pod}, 60, "the application gets traffic again")
    seen.back = time.time()
    seen.again = stage.metrics(pod)
    seen.pod = stage.watch.pods()[pod]
    seen.log = stage.log(pod)
    seen.killing = stage.watch.until(lambda watch: watch.messages("Killing"), 10, "the event Killing")
    fault_to_decision, fault_to_no_traffic = measured(seen)
    stage.note("fault to no traffic", fault_to_no_traffic)
    stage.note("fault to the kubelet's decision", fault_to_decision)
    stage.note("fault to the new container", seen.restart - seen.fault)
    stage.note("new container to traffic", seen.back - seen.restart)
    return seen


def stops_serving(stage: Stage) -> SimpleNamespace:
    return fail_and_be_restarted(stage, "sidecar", "/stop")


def answers_500(stage: Stage) -> SimpleNamespace:
    return fail_and_be_restarted(stage, "sidecar", "/mode/health/ill")


def native_sidecar(stage: Stage) -> SimpleNamespace:
    if stage.cluster.version() < (1, 29):
        unavailable("Kubernetes before 1.29 has no native sidecars")
    return fail_and_be_restarted(stage, "native-sidecar", "/mode/health/ill")


EVERY = pytest.mark.parametrize(
    ("seen", "reason"),
    [(stops_serving, "connect"), (answers_500, "status"), (native_sidecar, "status")],
    indirect=["seen"],
)


@EVERY
def test_the_application_is_restarted_and_the_exporter_is_not(seen, reason):
    """Scenarios 2 and 4: once, and only the container with the fault."""
    assert restarts(seen.pod) == {"shop": 1, EXPORTER: 0}
    assert is_ready(seen.pod)
    assert [container for container, _ in seen.killing] == ["shop"]
    assert "liveness probe" in seen.killing[0][1]


@EVERY
def test_the_metrics_know_it_before_kubernetes_acts(seen, reason):
    """Scenarios 2 and 4: what the kubelet is told is what Prometheus is told, and with the reason."""
    assert seen.well[up("liveness")] == 1
    assert series(FAILURES, "health", reason=reason) not in seen.well
    assert seen.restarts_when_down == {"shop": 0, EXPORTER: 0}
    assert seen.down[series("health_check_up", "health")] == 0
    assert seen.down[series("health_check_reason", "health", reason=reason)] == 1
    assert (
        seen.down[series(FAILURES, "health", reason=reason)]
        == seen.down[series("health_check_failure_threshold", "health")]
    )
    assert seen.livez.status == 503
    assert f'"reason": "{reason}"' in seen.livez.text or f'"reason":"{reason}"' in seen.livez.text


@EVERY
def test_the_kubelet_was_told_503_as_often_as_it_takes(seen, reason):
    """Scenarios 2 and 4: the answers that the exporter counted are the probes that the kubelet complains of."""
    threshold = next(c for c in seen.pod["spec"]["containers"] if c["name"] == "shop")["livenessProbe"]
    told = seen.at_restart['health_answers_total{code="503",group="liveness"}']
    assert told >= threshold["failureThreshold"]
    unhealthy = seen.stage.watch.messages("Unhealthy")
    assert ("shop", "Liveness probe failed: HTTP probe failed with statuscode: 503") in unhealthy
    *_, endpoints = (ready for at, ready in seen.stage.watch.endpoints_over_time() if at <= seen.restart)
    assert endpoints == frozenset()


@EVERY
def test_the_exporter_still_tells_why_after_the_restart(seen, reason):
    """Scenarios 2 and 4: the counter by reason, the moment, and the log line are there when all is well again."""
    assert seen.again[series("health_check_up", "health")] == 1
    assert seen.again[up("liveness")] == 1
    failures = seen.again[series(FAILURES, "health", reason=reason)]
    assert failures >= seen.at_restart[series(FAILURES, "health", reason=reason)] >= 2
    moment = series("health_check_last_transition_timestamp_seconds", "health")
    assert seen.well[moment] < seen.down[moment] < seen.again[moment]
    changed = series("health_check_transitions_total", "health")
    assert seen.again[changed] - seen.well[changed] == 2
    assert re.search(rf'level=warn msg="check health: pass -> fail" .*reason={reason} ', seen.log)
    assert re.search(rf'msg="answered 503" .*path=/livez because="health \({reason}\)', seen.log)
    assert re.search(r'level=info msg="check health: fail -> pass"', seen.log)


@EVERY
def test_the_times_are_those_of_the_readme(seen, reason):
    """The shipped numbers, measured; a busy machine takes somewhat longer, and no machine less."""
    fault_to_restart, fault_to_no_traffic = measured(seen)
    soonest, latest = readme("fault to restart")
    assert soonest - 0.5 < fault_to_restart < latest + SLACK
    soonest, latest = readme("fault to removal from the endpoints")
    assert soonest - 0.5 < fault_to_no_traffic < latest + SLACK
    _, latest = readme("container start to first traffic")
    assert seen.back - seen.restart < latest + SLACK


def measured(seen: SimpleNamespace) -> tuple[float, float]:
    """From the fault to the kubelet's decision, and to the moment at which the pod gets no traffic."""
    watch = seen.stage.watch
    killing = watch.first("Event", lambda event: event["reason"] == "Killing")
    without = next(at for at, ready in watch.endpoints_over_time() if at > seen.fault and not ready)
    return killing.at - seen.fault, without - seen.fault


def readme(row: str) -> tuple[int, int]:
    """At least and at most, of the numbers shipped, in the README's table of times."""
    text = (OVERLAYS.parent / "README.md").read_text()
    found = re.search(rf"^\| {row} \|.*\| (\d+) to (\d+) s \|.*\|$", text, re.MULTILINE)
    assert found, row
    return int(found[1]), int(found[2])
