"""Who gets traffic: pods whose checks pass, and only those."""

import json
import time
from types import SimpleNamespace

import pytest
from drill import EXPORTER, Stage, after, patched, series, up
from kube import is_ready, restarts

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


def slow_answers(stage: Stage) -> SimpleNamespace:
    """One of two replicas answers after five seconds where two are allowed, for a while."""
    seen = SimpleNamespace(stage=stage)
    stage.apply("sidecar", CHECKS, [patched(replicas=2, SLOW=5)])
    seen.slow, seen.other = stage.ready(2)
    seen.before = stage.watch.until(lambda watch: len(watch.endpoints()) == 2 and watch.endpoints(), 30, "endpoints")
    alive = 'health_answers_total{code="200",group="liveness"}'
    asked = stage.metrics(seen.slow).get(alive, 0)
    fault = stage.order(seen.slow, "/mode/ready/slow")
    stage.watch.until(lambda watch: seen.slow not in watch.endpoints(), 60, "taken out of the endpoints")
    stage.note("slow answers to no traffic", time.time() - fault)
    seen.during = stage.watch.endpoints()
    seen.metrics = stage.metrics(seen.slow)
    seen.readyz = stage.ask(seen.slow, "/readyz")
    patience = stage.watch.pods()[seen.slow]["spec"]["containers"]
    threshold = next(each for each in patience if each["name"] == "shop")["livenessProbe"]["failureThreshold"]
    stage.until(
        lambda: stage.metrics(seen.slow).get(alive, 0) > asked + threshold, 120, "liveness asked beyond its patience"
    )
    seen.later = stage.metrics(seen.slow)
    mended = stage.order(seen.slow, "/mode/ready/well")
    seen.again = stage.watch.until(
        lambda watch: seen.slow in watch.endpoints() and watch.endpoints(), 60, "put back into the endpoints"
    )
    stage.note("quick answers to traffic", time.time() - mended)
    seen.well = stage.metrics(seen.slow)
    seen.pods = stage.watch.pods()
    return seen


@after(slow_answers)
def test_a_pod_that_answers_slowly_gets_no_traffic_until_it_is_quick_again(seen):
    """Scenario 5: out of the Service's endpoints, and back, by itself."""
    assert seen.before == {seen.slow, seen.other}
    assert seen.during == {seen.other}
    assert seen.again == {seen.slow, seen.other}


@after(slow_answers)
def test_a_pod_that_answers_slowly_is_never_restarted(seen):
    """Scenario 5: liveness was asked more often than it would have taken, and nobody was told 503."""
    assert [restarts(pod) for pod in seen.pods.values()] == [{"shop": 0, EXPORTER: 0}] * 2
    assert seen.later[up("liveness")] == 1
    assert 'health_answers_total{code="503",group="liveness"}' not in seen.later
    assert seen.stage.watch.messages("Killing") == []


@after(slow_answers)
def test_the_metrics_say_timeout_while_the_pod_gets_no_traffic(seen):
    """Scenario 5: the reason, and a run that ended at its time limit and not at the end of the answer."""
    assert seen.metrics[up("readiness")] == 0
    assert seen.readyz.status == 503
    assert seen.metrics[series("health_check_up", "ready")] == 0
    assert seen.metrics[series("health_check_reason", "ready", reason="timeout")] == 1
    assert seen.metrics[series("health_check_failures_total", "ready", reason="timeout")] >= 2
    assert TIMEOUT <= seen.metrics[series("health_check_duration_seconds", "ready")] < TIMEOUT + 1
    assert ("shop", "Readiness probe failed: HTTP probe failed with statuscode: 503") in seen.stage.watch.messages(
        "Unhealthy"
    )
    assert seen.well[up("readiness")] == seen.well[series("health_check_up", "ready")] == 1


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
"""For names that are the same in every run: their places in the period are 0.18 periods apart from first to last."""


def shared_dependency(stage: Stage) -> SimpleNamespace:
    """What three replicas depend on goes down and comes back."""
    seen = SimpleNamespace(stage=stage)
    address = stage.application("shared")
    as_stateful_set = {"target": {"kind": "Deployment"}, "options": {"allowKindChange": True}}
    stage.apply(
        "sidecar",
        SHARED.format(address=address, period=PERIOD),
        [patched(replicas=3), {**as_stateful_set, "patch": json.dumps(STATEFUL)}],
    )
    pods = {f"shop-{number}" for number in range(3)}
    stage.watch.until(lambda watch: pods <= watch.endpoints(), 120, "three endpoints")
    stage.order("shared", "/mode/health/ill")
    stage.watch.until(lambda watch: not pods & watch.endpoints(), 60, "no endpoints")
    seen.down = {pod: stage.metrics(pod) for pod in pods}
    seen.ready_when_down = [is_ready(stage.watch.pods()[pod]) for pod in pods]
    seen.mended = stage.order("shared", "/mode/health/well")
    stage.watch.until(lambda watch: pods <= watch.endpoints(), 60, "three endpoints again")
    seen.again = {pod: stage.metrics(pod) for pod in pods}
    seen.back = {}
    for pod in pods:
        told = stage.watch.first(
            "Pod", lambda each, pod=pod: each["metadata"]["name"] == pod and is_ready(each), seen.mended
        )
        seen.back[pod] = told.at
    seen.restarts = [restarts(stage.watch.pods()[pod]) for pod in pods]
    stage.note("from the first replica's return to the last's", max(seen.back.values()) - min(seen.back.values()))
    return seen


@after(shared_dependency)
def test_a_shared_dependency_that_is_down_restarts_nobody(seen):
    """All are out of traffic, with the reason; none is restarted, because the dependency is in readiness only."""
    assert seen.ready_when_down == [False] * 3
    assert seen.restarts == [{"shop": 0, EXPORTER: 0}] * 3
    assert seen.stage.watch.messages("Killing") == []
    for metrics in seen.down.values():
        assert metrics[series("health_check_reason", "shared", reason="status")] == 1
        assert metrics[up("readiness")] == 0
        assert metrics[up("liveness")] == 1


@after(shared_dependency)
def test_the_replicas_do_not_come_back_in_the_same_second(seen):
    """Their checks have places of their own in the period, by their names, and so has their return to the Service."""
    passed = [
        metrics[series("health_check_last_transition_timestamp_seconds", "shared")] for metrics in seen.again.values()
    ]
    assert max(passed) - min(passed) > 1
    assert max(seen.back.values()) - min(seen.back.values()) > 1
