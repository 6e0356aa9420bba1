"""Only pods whose checks pass receive traffic."""

import json
import time
from types import SimpleNamespace

import pytest
from e2e.cluster.drill import EXPORTER, Stage, after, patched, series, up
from e2e.cluster.kube import is_ready, restarts
from e2e.cluster.workloads import start_server

pytestmark = pytest.mark.timeout(600)
TIMEOUT = 2
CHECKS = f"""\
checks:
  - name: health
    httpGet: {{path: /health, port: 8080}}
    periodSeconds: 2
    failureThreshold: 2
    groups: [liveness, startup]
  - name: ready
    httpGet: {{path: /ready, port: 8080}}
    periodSeconds: 3
    timeoutSeconds: {TIMEOUT}
    failureThreshold: 2
    groups: [readiness]
"""


def slow_responses(stage: Stage) -> SimpleNamespace:
    """One of two replicas temporarily responds after five seconds, with a timeout of two."""
    record = SimpleNamespace(stage=stage)
    stage.apply("sidecar", CHECKS, [patched(replicas=2, SLOW=5)])
    record.slow, record.other = stage.ready(2)
    record.before = stage.watch.until(lambda watch: len(watch.endpoints()) == 2 and watch.endpoints(), 30, "endpoints")
    alive = 'health_answers_total{code="200",group="liveness"}'
    probes = stage.metrics(record.slow).get(alive, 0)
    fault = stage.order(record.slow, "/mode/ready/slow")
    stage.watch.until(lambda watch: record.slow not in watch.endpoints(), 60, "removed from the endpoints")
    stage.note("slow responses to no traffic", time.time() - fault)
    record.during = stage.watch.endpoints()
    record.metrics = stage.metrics(record.slow)
    record.readyz = stage.request(record.slow, "/readyz")
    containers = {container["name"]: container for container in stage.watch.pods()[record.slow]["spec"]["containers"]}
    threshold = containers["shop"]["livenessProbe"]["failureThreshold"]
    stage.until(
        lambda: stage.metrics(record.slow).get(alive, 0) > probes + threshold,
        120,
        "more liveness probes than failureThreshold",
    )
    record.later = stage.metrics(record.slow)
    fixed = stage.order(record.slow, "/mode/ready/healthy")
    record.again = stage.watch.until(
        lambda watch: record.slow in watch.endpoints() and watch.endpoints(), 60, "returned to the endpoints"
    )
    stage.note("fast responses to traffic", time.time() - fixed)
    record.recovered = stage.metrics(record.slow)
    record.pods = stage.watch.pods()
    return record


@after(slow_responses)
def test_a_slow_pod_receives_no_traffic_until_it_is_fast_again(record):
    """Scenario 5: it leaves the Service's endpoints, and returns without intervention."""
    assert record.before == {record.slow, record.other}
    assert record.during == {record.other}
    assert record.again == {record.slow, record.other}


@after(slow_responses)
def test_a_slow_pod_is_never_restarted(record):
    """Scenario 5: more liveness probes than failureThreshold arrived, and none got 503."""
    assert [restarts(pod) for pod in record.pods.values()] == [{"shop": 0, EXPORTER: 0}] * 2
    assert record.later[up("liveness")] == 1
    assert 'health_answers_total{code="503",group="liveness"}' not in record.later
    assert record.stage.watch.messages("Killing") == []


@after(slow_responses)
def test_the_metrics_show_the_timeout_while_the_pod_receives_no_traffic(record):
    """Scenario 5: the reason is shown, and the run ended at its timeout, not at the end of the response."""
    assert record.metrics[up("readiness")] == 0
    assert record.readyz.status == 503
    assert record.metrics[series("health_check_up", "ready")] == 0
    assert record.metrics[series("health_check_reason", "ready", reason="timeout")] == 1
    assert record.metrics[series("health_check_failures_total", "ready", reason="timeout")] >= 2
    assert TIMEOUT <= record.metrics[series("health_check_duration_seconds", "ready")] < TIMEOUT + 1
    assert ("shop", "Readiness probe failed: HTTP probe failed with statuscode: 503") in record.stage.watch.messages(
        "Unhealthy"
    )
    assert record.recovered[up("readiness")] == record.recovered[series("health_check_up", "ready")] == 1


SHARED = """\
checks:
  - name: health
    httpGet: {{path: /health, port: 8080}}
    periodSeconds: 2
    failureThreshold: 2
    groups: [liveness, readiness, startup]
  - name: shared
    httpGet: {{host: {address}, path: /health, port: 80}}
    periodSeconds: {period}
    failureThreshold: 1
    groups: [readiness]
"""
PERIOD = 30
STATEFUL = [
    {"op": "replace", "path": "/kind", "value": "StatefulSet"},
    {"op": "remove", "path": "/spec/strategy"},
    {"op": "add", "path": "/spec/serviceName", "value": "shop"},
    {"op": "add", "path": "/spec/podManagementPolicy", "value": "Parallel"},
]
"""A StatefulSet has the same pod names in every run: their offsets in the period span 0.18 periods."""


def shared_dependency(stage: Stage) -> SimpleNamespace:
    """A dependency of three replicas goes down and recovers."""
    record = SimpleNamespace(stage=stage)
    address = start_server(stage, "shared")
    as_stateful_set = {"target": {"kind": "Deployment"}, "options": {"allowKindChange": True}}
    stage.apply(
        "sidecar",
        SHARED.format(address=address, period=PERIOD),
        [patched(replicas=3), {**as_stateful_set, "patch": json.dumps(STATEFUL)}],
    )
    pods = {f"shop-{number}" for number in range(3)}
    stage.watch.until(lambda watch: pods <= watch.endpoints(), 120, "three endpoints")
    stage.order("shared", "/mode/health/failing")
    stage.watch.until(lambda watch: not pods & watch.endpoints(), 60, "no endpoints")
    record.down = {pod: stage.metrics(pod) for pod in pods}
    record.ready_when_down = [is_ready(stage.watch.pods()[pod]) for pod in pods]
    record.fixed = stage.order("shared", "/mode/health/healthy")
    stage.watch.until(lambda watch: pods <= watch.endpoints(), 60, "three endpoints again")
    record.again = {pod: stage.metrics(pod) for pod in pods}
    record.back = {}
    for pod in pods:
        change = stage.watch.first(
            "Pod", lambda found, pod=pod: found["metadata"]["name"] == pod and is_ready(found), record.fixed
        )
        record.back[pod] = change.at
    record.restarts = [restarts(stage.watch.pods()[pod]) for pod in pods]
    stage.note("from the first replica's return to the last's", max(record.back.values()) - min(record.back.values()))
    return record


@after(shared_dependency)
def test_a_shared_dependency_that_is_down_restarts_no_replica(record):
    """No replica receives traffic, and the reason is shown. None is restarted: the check is only in readiness."""
    assert record.ready_when_down == [False] * 3
    assert record.restarts == [{"shop": 0, EXPORTER: 0}] * 3
    assert record.stage.watch.messages("Killing") == []
    for metrics in record.down.values():
        assert metrics[series("health_check_reason", "shared", reason="status")] == 1
        assert metrics[up("readiness")] == 0
        assert metrics[up("liveness")] == 1


@after(shared_dependency)
def test_the_replicas_do_not_return_in_the_same_second(record):
    """Their checks have different offsets in the period, based on their names, so they return at different times."""
    passed = [
        metrics[series("health_check_last_transition_timestamp_seconds", "shared")] for metrics in record.again.values()
    ]
    assert max(passed) - min(passed) > 1
    assert max(record.back.values()) - min(record.back.values()) > 1
