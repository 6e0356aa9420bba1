"""Pods are replaced and deleted without failed requests."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from e2e.cluster.drill import EXPORTER, Stage, after, moment, patched, series, up
from e2e.cluster.kube import is_ready, restarts, statuses
from support import get

pytestmark = pytest.mark.timeout(600)
LOAD = 10


def rolling_update(stage: Stage) -> SimpleNamespace:
    """Three replicas of an application with a slow start are replaced while clients send requests."""
    record = SimpleNamespace(stage=stage, failed=[], readyz={}, metrics={})
    stage.apply("sidecar", patches=[patched(replicas=3, LOAD=LOAD, DRAIN=5, VERSION=1)])
    record.old = set(stage.ready(3))
    stage.watch.until(lambda watch: watch.endpoints() == record.old, 30, "three endpoints")
    record.begin = time.time()
    url = f"{stage.cluster.url}/api/v1/namespaces/{stage.namespace}/services/shop:http/proxy/"
    finished = False

    def client():
        while not finished:
            response = get(url, timeout=30)
            if response.status != 200:
                record.failed.append((time.time(), response.text))
            time.sleep(0.1)

    def replaced():
        """Probe the new pods that do not receive traffic yet. Returns whether all new pods receive it."""
        endpoints = stage.watch.endpoints()
        for name in set(stage.watch.pods()) - record.old - record.metrics.keys():
            if name in endpoints:
                record.metrics[name] = stage.metrics(name)
            elif "Health-Generation" in (response := stage.request(name, "/readyz")).headers:
                record.readyz.setdefault(name, []).append(response.status)
        return len(endpoints) == 3 and not endpoints & record.old

    with ThreadPoolExecutor() as pool:
        clients = [pool.submit(client) for _ in range(2)]
        try:
            stage.apply("sidecar", patches=[patched(replicas=3, LOAD=LOAD, DRAIN=5, VERSION=2)])
            stage.until(replaced, 240, "only new pods in the endpoints")
        finally:
            finished = True
        for future in clients:
            future.result()
    stage.note("rolling update of three", time.time() - record.begin)
    return record


@after(rolling_update)
def test_a_new_pod_receives_no_traffic_before_its_checks_pass(record):
    """Scenario 11: it returned 503 during its start, and became Ready after the first pass of its check."""
    pods = record.stage.watch.pods()
    assert len(record.metrics) == 3
    for name, metrics in record.metrics.items():
        assert 503 in record.readyz[name]
        passed = metrics[series("health_check_last_transition_timestamp_seconds", "health")]
        conditions = {condition["type"]: condition for condition in pods[name]["status"]["conditions"]}
        assert int(passed) <= moment(conditions["Ready"]["lastTransitionTime"])
        assert passed - moment(statuses(pods[name])["shop"]["state"]["running"]["startedAt"]) >= LOAD - 1
        assert metrics[up("readiness")] == 1
        assert restarts(pods[name]) == {"shop": 0, EXPORTER: 0}


@after(rolling_update)
def test_three_pods_are_ready_throughout_the_update(record):
    """Scenario 11: at any time, three pods that are not being deleted are ready and receive traffic."""
    watch = record.stage.watch
    latest: dict[str, dict] = {}
    counts = []
    for change in watch.all("Pod"):
        latest[change.object["metadata"]["name"]] = change.object
        remaining = [pod for pod in latest.values() if "deletionTimestamp" not in pod["metadata"]]
        if change.at > record.begin:
            counts.append(sum(map(is_ready, remaining)))
    assert min(counts) >= 3
    assert min(len(ready) for at, ready in watch.endpoints_over_time() if at > record.begin) >= 3


@after(rolling_update)
def test_no_request_fails_during_the_update(record):
    """Scenario 11: the purpose of the other conditions."""
    assert record.failed == []


def pod_deleted(stage: Stage) -> SimpleNamespace:
    """A pod is deleted during a long request. The application keeps serving longer than the exporter."""
    record = SimpleNamespace(stage=stage, polls=[])
    stage.apply("sidecar", patches=[patched(replicas=1, DRAIN=7)])
    (pod,) = stage.ready()
    with ThreadPoolExecutor() as pool:
        in_flight = pool.submit(stage.request, pod, "/after/9", 8080)
        stage.until(lambda: stage.request(pod, "/", 8080).headers["Delayed"] == "1", 10, "a request in flight")
        record.deleted = time.time()
        assert get(stage.cluster.url + f"/api/v1/namespaces/{stage.namespace}/pods/{pod}", "DELETE").status == 200

        def polled():
            at, readyz, livez = time.time(), stage.request(pod, "/readyz"), stage.request(pod, "/livez")
            codes = [
                response.status if "Health-Generation" in response.headers else None for response in (readyz, livez)
            ]
            record.polls.append((at, *codes))
            if codes == [503, 200] and not hasattr(record, "metrics"):
                record.metrics = stage.metrics(pod)
            return codes == [None, None]

        stage.until(polled, 60, "the exporter has exited")
        record.in_flight = in_flight.result()
    gone = stage.watch.until(
        lambda watch: next((change for change in watch.all("Pod") if change.type == "DELETED"), None),
        60,
        "the pod is gone",
    )
    record.took = gone.at - record.deleted
    record.exits = statuses(gone.object)
    record.grace = gone.object["spec"]["terminationGracePeriodSeconds"]
    record.without = next(
        at for at, ready in stage.watch.endpoints_over_time() if at > record.deleted and pod not in ready
    )
    unready = next((at for at, readyz, _ in record.polls if readyz == 503), math.inf)
    stage.note("deletion to readiness 503", unready - record.deleted)
    stage.note("deletion to the end of the pod", record.took)
    return record


@after(pod_deleted)
def test_a_deleted_pod_becomes_unready_immediately_and_permanently_but_stays_alive(record):
    """Scenario 12: its responses to probes and its metrics until the listener closes."""
    ready = [readyz for _, readyz, _ in record.polls if readyz]
    first = ready.index(503)
    assert record.polls[first][0] - record.deleted < 10
    assert set(ready[first:]) == {503}
    assert len(ready[first:]) > 3
    assert {livez for _, _, livez in record.polls if livez} == {200}
    assert record.metrics[up("readiness")] == 0
    assert record.metrics[up("liveness")] == 1


@after(pod_deleted)
def test_a_request_in_flight_completes_and_both_containers_exit_in_time(record):
    """Scenario 12: both exit with code 0, well within the grace period, and receive no traffic meanwhile."""
    assert record.in_flight.status == 200
    assert {name: status["state"]["terminated"]["exitCode"] for name, status in record.exits.items()} == {
        "shop": 0,
        EXPORTER: 0,
    }
    assert record.took < record.grace - 10
    assert record.without - record.deleted < 10
