"""The exporter looks into the application's container, in a pod whose containers share a process namespace."""

import json
from types import SimpleNamespace

import pytest
from e2e.cluster.drill import EXPORTER, Stage, after, series
from e2e.cluster.kube import is_ready, restarts

pytestmark = pytest.mark.timeout(600)
MIB = 2**20
CHECKS = """\
checks:
  - name: healthy
    file: {path: /tmp/healthy, of: {process: python3}}
    periodSeconds: 2
    failureThreshold: 2
  - {name: memory, memory: {scope: container, of: {process: python3}}, groups: [], periodSeconds: 2}
  - {name: cpu, cpu: {scope: container, of: {process: python3}}, groups: [], periodSeconds: 2}
  - {name: disk, disk: {path: /tmp, mountPoint: true, of: {process: python3}}, groups: [], periodSeconds: 2}
"""
FILE = series("health_check_up", "healthy", "file")


def make_patch(*, shared: bool) -> dict[str, str]:
    """One replica, with a folder that only the application's container has."""
    container = {"name": "shop", "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
    pod = {"shareProcessNamespace": shared, "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}}
    return {"patch": json.dumps({**head, "spec": {"replicas": 1, "template": {"spec": pod}}})}


def start(stage: Stage, *, shared: bool) -> str:
    """Start the application. Returns the pod, which is not ready yet, after a run of every check."""
    stage.apply("sidecar", CHECKS, [make_patch(shared=shared)])
    (pod,) = stage.watch.until(
        lambda watch: [name for name, pod in watch.pods().items() if len(restarts(pod)) == 2], 120, "the pod runs"
    )
    kinds = {"healthy": "file", "memory": "memory", "cpu": "cpu", "disk": "disk"}
    runs = [series("health_check_runs_total", check, kind) for check, kind in kinds.items()]

    def has_run() -> bool:
        response = stage.request(pod, "/metrics")
        return response.status == 200 and all(stage.metrics(pod).get(name, 0) >= 2 for name in runs)

    stage.until(has_run, 120, "every check has run twice")
    return pod


def shared_namespace(stage: Stage) -> SimpleNamespace:
    """The application makes its file, as in the example of the Kubernetes documentation, and removes it."""
    record = SimpleNamespace(stage=stage)
    pod = start(stage, shared=True)
    record.metrics = stage.metrics(pod)
    stage.execute(pod, "shop", "touch", "/tmp/healthy")
    (record.ready,) = stage.ready()
    record.up = stage.metrics(pod)[FILE]
    stage.execute(pod, "shop", "rm", "/tmp/healthy")
    stage.watch.until(lambda watch: not is_ready(watch.pods()[pod]), 60, "the pod is not ready")
    record.down = stage.metrics(pod)[FILE]
    record.pod = stage.watch.pods()[pod]
    return record


def separate_namespaces(stage: Stage) -> SimpleNamespace:
    record = SimpleNamespace(stage=stage)
    pod = start(stage, shared=False)
    record.document = json.loads(stage.request(pod, "/healthz?format=json").text)
    record.metrics = stage.metrics(pod)
    record.log = stage.log(pod)
    record.pod = stage.watch.pods()[pod]
    return record


@after(shared_namespace)
def test_a_file_in_the_application_s_container_decides_whether_it_is_ready(record):
    assert record.metrics[series("health_check_reason", "healthy", "file", reason="missing")] == 1
    assert record.metrics[series("health_check_status", "healthy", "file", status="fail")] == 1
    assert (record.up, record.down) == (1, 0)


@after(shared_namespace)
def test_memory_cpu_and_disk_are_those_of_the_application_s_container(record):
    containers = {container["name"]: container for container in record.pod["spec"]["containers"]}
    assert containers["shop"]["resources"]["limits"]["memory"] == "64Mi"
    assert record.metrics[series("health_memory_total_bytes", "memory", "memory")] == 64 * MIB
    assert record.metrics[series("health_check_up", "memory", "memory")] == 1
    assert record.metrics[series("health_check_up", "cpu", "cpu")] == 1
    assert record.metrics[series("health_check_up", "disk", "disk")] == 1


@after(separate_namespaces)
def test_without_a_shared_namespace_nothing_is_known_and_the_setting_is_named(record):
    assert record.metrics[series("health_check_status", "healthy", "file", status="unknown")] == 1
    assert "set shareProcessNamespace: true in the pod" in record.log + json.dumps(record.document)


@after(shared_namespace, separate_namespaces)
def test_nothing_is_restarted(record):
    assert restarts(record.pod) == {"shop": 0, EXPORTER: 0}
