"""An exporter that stops, starts slowly, or cannot read its configuration does not harm its application."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from e2e.cluster.drill import EXPORTER, Stage, after, patched, up
from e2e.cluster.kube import is_ready, restarts, statuses

pytestmark = pytest.mark.timeout(900)
ALIVE = 'health_answers_total{code="200",group="liveness"}'
LOADED = "health_exporter_config_last_reload_successful"
NOT_LOADED = "[-]configuration failed"
STARVED = "50m"
"""A limit of CPU with which the exporter needs longer than SLOW seconds to start. Otherwise it needs far less."""
SLOW = 4
VALID = """\
checks:
  - name: health
    httpGet: {host: $(POD_IP), path: /health, port: 8080}
    periodSeconds: 2
    failureThreshold: 2
    groups: [liveness, readiness, startup]
"""
TYPO = VALID.replace("port:", "prot:")


def patched_exporter(**container: Any) -> dict[str, Any]:
    """A kustomize patch of the exporter's container."""
    spec = {"template": {"spec": {"containers": [{"name": EXPORTER, **container}]}}}
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}}
    return {"patch": json.dumps({**head, "spec": spec})}


def wait_for_probes(stage: Stage, pod: str) -> None:
    """Wait until /livez has returned 200 more often than the kubelet would need failures to restart the application."""
    containers = {container["name"]: container for container in stage.watch.pods()[pod]["spec"]["containers"]}
    threshold = containers["shop"]["livenessProbe"]["failureThreshold"]

    def enough() -> bool:
        response = stage.request(pod, "/metrics")
        return response.status == 200 and find_sample(response.text, ALIVE) > threshold

    stage.until(enough, 240, "more liveness probes than failureThreshold")


def find_sample(page: str, name: str) -> float:
    return next((float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(f"{name} ")), 0)


def stop_twice(stage: Stage, *patches: dict[str, Any]) -> SimpleNamespace:
    """The exporter is stopped twice. The second time, the kubelet's back-off delays its restart."""
    record = SimpleNamespace(stage=stage, starts=[])
    stage.apply("sidecar", VALID, [patched(1), *patches])
    (pod,) = stage.ready(within=300)
    for count in (1, 2):
        record.starts.append(stage.stop_exporter(pod, count))
        wait_for_probes(stage, pod)
        stage.watch.until(lambda watch: is_ready(watch.pods()[pod]), 120, "ready again")
    record.metrics = stage.metrics(pod)
    record.pod = stage.watch.pods()[pod]
    return record


def exporter_dies(stage: Stage) -> SimpleNamespace:
    return stop_twice(stage)


def starved_exporter_dies(stage: Stage) -> SimpleNamespace:
    return stop_twice(stage, patched_exporter(resources={"limits": {"cpu": STARVED}, "requests": {"cpu": STARVED}}))


@after(exporter_dies, starved_exporter_dies)
def test_stopping_the_exporter_does_not_restart_the_application(record):
    """It responds again before the livenessProbe of the application fails, even if it cannot show results yet."""
    assert restarts(record.pod) == {"shop": 0, EXPORTER: 2}
    assert record.metrics[up("liveness")] == 1
    assert "shop" not in [container for container, _ in record.stage.watch.messages("Killing")]


@after(starved_exporter_dies)
def test_the_starved_exporter_took_long_to_have_results(record):
    """Otherwise the test above would not have covered a slow start."""
    assert min(record.starts) > SLOW


@after(exporter_dies)
def test_the_exporter_exited_with_0_and_the_back_off_delayed_the_second_restart(record):
    """Otherwise the test above would not have covered the back-off."""
    assert statuses(record.pod)[EXPORTER]["lastState"]["terminated"]["exitCode"] == 0
    waiting = [
        status["state"]["waiting"]["reason"]
        for change in record.stage.watch.all("Pod")
        if "waiting" in (status := statuses(change.object).get(EXPORTER, {"state": {}}))["state"]
    ]
    assert "CrashLoopBackOff" in waiting


def typo(stage: Stage) -> SimpleNamespace:
    """A ConfigMap gets a typo, then the exporter's container restarts, then the typo is corrected."""
    record = SimpleNamespace(stage=stage)
    stage.apply("sidecar", VALID, [patched(1)])
    (pod,) = stage.ready()
    stage.apply("sidecar", TYPO, [patched(1)])
    stage.until(lambda: stage.metrics(pod)[LOADED] == 0, 180, "the reload with the typo")
    record.rejected = [stage.request(pod, path).status for path in ("/livez", "/readyz", "/startupz")]

    stage.end_exporter(pod)

    stage.until(lambda: NOT_LOADED in stage.request(pod, "/readyz").text, 120, "the exporter knows the typo")
    wait_for_probes(stage, pod)
    record.responses = {path: stage.request(pod, path) for path in ("/livez", "/readyz", "/startupz")}
    record.metrics = stage.metrics(pod)
    record.log = stage.log(pod)
    record.unready = stage.watch.until(lambda watch: not is_ready(watch.pods()[pod]), 30, "not ready")
    record.endpoints = stage.watch.endpoints()

    stage.apply("sidecar", VALID, [patched(1)])
    stage.ready(within=240)
    record.corrected = stage.metrics(pod)
    record.pod = stage.watch.pods()[pod]
    return record


@after(typo)
def test_a_rejected_reload_keeps_the_running_configuration(record):
    assert record.rejected == [200, 200, 200]


@after(typo)
def test_an_exporter_that_starts_with_a_typo_is_alive_and_shows_why_it_is_not_ready(record):
    assert {path: response.status for path, response in record.responses.items()} == {
        "/livez": 200,
        "/readyz": 503,
        "/startupz": 503,
    }
    assert record.metrics[LOADED] == 0
    assert "checks[0].httpGet.prot" in record.log
    assert record.endpoints == frozenset()


@after(typo)
def test_a_typo_and_a_restart_of_the_exporter_do_not_restart_the_application(record):
    assert restarts(record.pod) == {"shop": 0, EXPORTER: 1}
    assert "shop" not in [container for container, _ in record.stage.watch.messages("Killing")]


@after(typo)
def test_a_corrected_configuration_is_used_without_another_restart(record):
    assert record.corrected[LOADED] == 1
    assert record.corrected[up("liveness")] == record.corrected[up("readiness")] == 1


def typo_in_a_rollout(stage: Stage) -> SimpleNamespace:
    """The same typo in a ConfigMap with a hash in its name, as shipped: a changed configuration is a rollout."""
    record = SimpleNamespace(stage=stage)
    stage.apply("sidecar", VALID, [patched(1)], hashed=True)
    (record.old,) = stage.ready()
    stage.apply("sidecar", TYPO, [patched(1)], hashed=True)
    record.new = stage.watch.until(
        lambda watch: next((name for name in watch.pods() if name != record.old), None), 60, "a new pod"
    )
    stage.until(lambda: NOT_LOADED in stage.request(record.new, "/readyz").text, 120, "the exporter knows the typo")
    stage.end_exporter(record.old)
    wait_for_probes(stage, record.old)
    record.endpoints = stage.watch.until(lambda watch: watch.endpoints(), 60, "traffic")
    record.pods = stage.watch.pods()
    return record


@after(typo_in_a_rollout)
def test_a_rollout_stops_at_the_first_pod_with_a_typo_and_the_old_pod_keeps_its_configuration(record):
    assert record.endpoints == {record.old}
    assert restarts(record.pods[record.old]) == {"shop": 0, EXPORTER: 1}
    assert not is_ready(record.pods[record.new])
