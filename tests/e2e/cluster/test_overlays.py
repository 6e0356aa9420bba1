"""The other overlays, unchanged, in a namespace that enforces the restricted Pod Security Standard."""

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from e2e.cluster.drill import EXPORTER, IMAGE, Stage, after
from e2e.cluster.kube import kubectl
from support import unavailable

pytestmark = pytest.mark.timeout(600)


def checks(metrics: dict[str, float]) -> set[str]:
    return {name for sample in metrics for name in re.findall(r'^health_check_info\{check="([^"]+)"', sample)}


def configured(stage: Stage, name: str) -> set[str]:
    """The names of the checks in a ConfigMap."""
    found = stage.cluster.read(f"/api/v1/namespaces/{stage.namespace}/configmaps/{name}")
    return {check["name"] for check in yaml.safe_load(found["data"]["health.yml"])["checks"]}


def start(stage: Stage, overlay: str, name: str, count: int) -> SimpleNamespace:
    stage.apply(overlay)
    pods = stage.ready(count)
    record = SimpleNamespace(stage=stage, configured=configured(stage, name))
    record.healthy = [stage.request(pod, "/-/healthy").status for pod in pods]
    record.checks = [checks(stage.metrics(pod)) for pod in pods]
    return record


def standalone(stage: Stage) -> SimpleNamespace:
    return start(stage, "standalone", EXPORTER, 1)


def daemonset(stage: Stage) -> SimpleNamespace:
    nodes = len(stage.cluster.read("/api/v1/nodes")["items"])
    return start(stage, "daemonset", f"{EXPORTER}-node", nodes)


def sharded(stage: Stage) -> SimpleNamespace:
    return start(stage, "sharded", f"{EXPORTER}-sharded", 3)


@after(standalone, daemonset)
def test_every_pod_is_ready_and_runs_every_check(record):
    assert set(record.healthy) == {200}
    assert record.configured
    assert all(names == record.configured for names in record.checks)


@after(sharded)
def test_three_shards_divide_the_configuration_completely_and_without_overlap(record):
    assert record.healthy == [200] * 3
    assert set.union(*record.checks) == record.configured
    assert sum(map(len, record.checks)) == len(record.configured)
    assert all(record.checks)


def pod_security(stage: Stage) -> SimpleNamespace:
    if stage.cluster.version() < (1, 25):
        unavailable("Kubernetes before 1.25 has no stable Pod Security admission")
    container = {"name": "any", "image": IMAGE, "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": {"containers": [container]}}
    with pytest.raises(pytest.fail.Exception) as rejected:
        kubectl("create", "-n", stage.namespace, "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    return SimpleNamespace(error=str(rejected.value))


@after(pod_security)
def test_the_namespace_of_every_drill_enforces_the_restricted_standard(record):
    """Therefore the other tests also show that the overlays comply with it."""
    assert 'violates PodSecurity "restricted' in record.error
