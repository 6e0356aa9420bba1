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


def make_patch(*, shared: bool, user: int) -> dict[str, str]:
    """One replica, with a folder that only the application's container has."""
    container = {
        "name": "shop",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": {"runAsUser": user},
    }
    pod = {"shareProcessNamespace": shared, "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}}
    return {"patch": json.dumps({**head, "spec": {"replicas": 1, "template": {"spec": pod}}})}


def start(stage: Stage, *, shared: bool, user: int = 65532) -> str:
    """Start the application. Returns the pod, which is not ready yet, after a run of every check."""
    stage.apply("sidecar", CHECKS, [make_patch(shared=shared, user=user)])
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
    return look(stage, start(stage, shared=False))


def another_user(stage: Stage) -> SimpleNamespace:
    return look(stage, start(stage, shared=True, user=1000))


def look(stage: Stage, pod: str) -> SimpleNamespace:
    document = json.loads(stage.request(pod, "/healthz?format=json").text)
    words = stage.log(pod) + json.dumps(document)
    return SimpleNamespace(stage=stage, metrics=stage.metrics(pod), words=words, pod=stage.watch.pods()[pod])


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


@pytest.mark.parametrize(
    ("record", "reason", "words"),
    [
        (separate_namespaces, "missing", "set shareProcessNamespace: true in the pod"),
        (another_user, "permission", "it runs as the user and group 1000:65532, the exporter as 65532:65532"),
    ],
    indirect=["record"],
)
def test_without_access_nothing_is_known_and_the_setting_is_named(record, reason, words):
    assert record.metrics[series("health_check_status", "healthy", "file", status="unknown")] == 1
    assert record.metrics[series("health_check_reason", "healthy", "file", reason=reason)] == 1
    assert words in record.words


@after(shared_namespace, separate_namespaces, another_user)
def test_nothing_is_restarted(record):
    assert restarts(record.pod) == {"shop": 0, EXPORTER: 0}
