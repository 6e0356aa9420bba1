"""Pods come and go, and nobody who asks them notices."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from drill import EXPORTER, Stage, after, moment, patched, series, up
from kube import is_ready, restarts, statuses
from support import get

pytestmark = pytest.mark.timeout(600)
LOAD = 10


def rolling_update(stage: Stage) -> SimpleNamespace:
    """Three replicas of an application that takes its time to load are replaced while clients ask."""
    seen = SimpleNamespace(stage=stage, refused=[], readyz={}, metrics={})
    stage.apply("sidecar", patches=[patched(replicas=3, LOAD=LOAD, DRAIN=5, VERSION=1)])
    seen.old = set(stage.ready(3))
    stage.watch.until(lambda watch: watch.endpoints() == seen.old, 30, "three endpoints")
    seen.begin = time.time()
    url = f"{stage.cluster.url}/api/v1/namespaces/{stage.namespace}/services/shop:http/proxy/"
    over = False

    def client():
        while not over:
            answer = get(url, timeout=30)
            if answer.status != 200:
                seen.refused.append((time.time(), answer.text))
            time.sleep(0.1)

    def look():
        """Ask the new pods that get no traffic yet whether they are ready; whether all of them get it now."""
        endpoints = stage.watch.endpoints()
        for name in set(stage.watch.pods()) - seen.old - seen.metrics.keys():
            if name in endpoints:
                seen.metrics[name] = stage.metrics(name)
            elif "Health-Generation" in (answer := stage.ask(name, "/readyz")).headers:
                seen.readyz.setdefault(name, []).append(answer.status)
        return len(endpoints) == 3 and not endpoints & seen.old

    with ThreadPoolExecutor() as pool:
        clients = [pool.submit(client) for _ in range(2)]
        try:
            stage.apply("sidecar", patches=[patched(replicas=3, LOAD=LOAD, DRAIN=5, VERSION=2)])
            stage.until(look, 240, "only new pods in the endpoints")
        finally:
            over = True
        for each in clients:
            each.result()
    stage.note("rolling update of three", time.time() - seen.begin)
    return seen


@after(rolling_update)
def test_a_new_pod_gets_no_traffic_before_its_checks_pass(seen):
    """Scenario 11: it was asked and said 503 while it loaded; Ready came after the check's first pass."""
    pods = seen.stage.watch.pods()
    assert len(seen.metrics) == 3
    for name, metrics in seen.metrics.items():
        assert 503 in seen.readyz[name]
        passed = metrics[series("health_check_last_transition_timestamp_seconds", "health")]
        ready = next(each for each in pods[name]["status"]["conditions"] if each["type"] == "Ready")
        assert int(passed) <= moment(ready["lastTransitionTime"])
        assert passed - moment(statuses(pods[name])["shop"]["state"]["running"]["startedAt"]) >= LOAD - 1
        assert metrics[up("readiness")] == 1
        assert restarts(pods[name]) == {"shop": 0, EXPORTER: 0}


@after(rolling_update)
def test_no_old_pod_goes_before_a_new_one_is_ready(seen):
    """Scenario 11: at every moment of the update three pods that are not being ended were ready and got traffic."""
    watch = seen.stage.watch
    latest: dict[str, dict] = {}
    counts = []
    for each in watch.all("Pod"):
        latest[each.object["metadata"]["name"]] = each.object
        staying = [pod for pod in latest.values() if "deletionTimestamp" not in pod["metadata"]]
        if each.at > seen.begin:
            counts.append(sum(map(is_ready, staying)))
    assert min(counts) >= 3
    assert min(len(ready) for at, ready in watch.endpoints_over_time() if at > seen.begin) >= 3


@after(rolling_update)
def test_no_request_is_refused_during_the_update(seen):
    """Scenario 11: which is what all of it is for."""
    assert seen.refused == []


def pod_deleted(stage: Stage) -> SimpleNamespace:
    """A pod is deleted while it answers a request that takes a while; it serves on longer than the exporter."""
    seen = SimpleNamespace(stage=stage, polls=[])
    stage.apply("sidecar", patches=[patched(replicas=1, DRAIN=7)])
    (pod,) = stage.ready()
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(stage.ask, pod, "/after/9", 8080)
        stage.until(lambda: stage.ask(pod, "/", 8080).headers["Asked"] == "1", 10, "a request under way")
        seen.deleted = time.time()
        assert get(stage.cluster.url + f"/api/v1/namespaces/{stage.namespace}/pods/{pod}", "DELETE").status == 200

        def polled():
            at, readyz, livez = time.time(), stage.ask(pod, "/readyz"), stage.ask(pod, "/livez")
            answers = [each.status if "Health-Generation" in each.headers else None for each in (readyz, livez)]
            seen.polls.append((at, *answers))
            if answers == [503, 200] and not hasattr(seen, "metrics"):
                seen.metrics = stage.metrics(pod)
            return answers == [None, None]

        stage.until(polled, 60, "the exporter is gone")
        seen.under_way = under_way.result()
    gone = stage.watch.until(
        lambda watch: next((e for e in watch.all("Pod") if e.change == "DELETED"), None), 60, "the pod is gone"
    )
    seen.took = gone.at - seen.deleted
    seen.exits = statuses(gone.object)
    seen.grace = gone.object["spec"]["terminationGracePeriodSeconds"]
    seen.without = next(at for at, ready in stage.watch.endpoints_over_time() if at > seen.deleted and pod not in ready)
    unready = next((at for at, readyz, _ in seen.polls if readyz == 503), math.inf)
    stage.note("deletion to readiness 503", unready - seen.deleted)
    stage.note("deletion to the end of the pod", seen.took)
    return seen


@after(pod_deleted)
def test_a_deleted_pod_is_unready_at_once_and_for_good_and_stays_alive(seen):
    """Scenario 12: what it answers until its listener closes, by the probes and in the metrics."""
    ready = [readyz for _, readyz, _ in seen.polls if readyz]
    first = ready.index(503)
    assert seen.polls[first][0] - seen.deleted < 10
    assert set(ready[first:]) == {503}
    assert len(ready[first:]) > 3
    assert {livez for _, _, livez in seen.polls if livez} == {200}
    assert seen.metrics[up("readiness")] == 0
    assert seen.metrics[up("liveness")] == 1


@after(pod_deleted)
def test_a_request_under_way_is_answered_and_both_containers_end_well_in_time(seen):
    """Scenario 12: exit code 0, well inside the grace period, and no traffic meanwhile."""
    assert seen.under_way.status == 200
    assert {name: each["state"]["terminated"]["exitCode"] for name, each in seen.exits.items()} == {
        "shop": 0,
        EXPORTER: 0,
    }
    assert seen.took < seen.grace - 10
    assert seen.without - seen.deleted < 10
