"""The other overlays as they are shipped, in a namespace that enforces the restricted Pod Security Standard."""

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from drill import EXPORTER, IMAGE, Stage, after
from kube import kubectl
from support import unavailable

pytestmark = pytest.mark.timeout(600)


def checks(metrics: dict[str, float]) -> set[str]:
    return {name for sample in metrics for name in re.findall(r'^health_check_info\{check="([^"]+)"', sample)}


def configured(stage: Stage, name: str) -> set[str]:
    """The names of the checks in a ConfigMap."""
    found = stage.cluster.read(f"/api/v1/namespaces/{stage.namespace}/configmaps/{name}")
    return {each["name"] for each in yaml.safe_load(found["data"]["health.yml"])["checks"]}


def come_up(stage: Stage, overlay: str, name: str, count: int) -> SimpleNamespace:
    stage.apply(overlay)
    pods = stage.ready(count)
    seen = SimpleNamespace(stage=stage, configured=configured(stage, name))
    seen.healthy = [stage.ask(pod, "/-/healthy").status for pod in pods]
    seen.checks = [checks(stage.metrics(pod)) for pod in pods]
    return seen


def standalone(stage: Stage) -> SimpleNamespace:
    return come_up(stage, "standalone", EXPORTER, 1)


def daemonset(stage: Stage) -> SimpleNamespace:
    nodes = len(stage.cluster.read("/api/v1/nodes")["items"])
    return come_up(stage, "daemonset", f"{EXPORTER}-node", nodes)


def sharded(stage: Stage) -> SimpleNamespace:
    return come_up(stage, "sharded", f"{EXPORTER}-sharded", 3)


@after(standalone, daemonset)
def test_every_pod_is_ready_and_runs_every_check(seen):
    assert set(seen.healthy) == {200}
    assert seen.configured
    assert all(each == seen.configured for each in seen.checks)


@after(sharded)
def test_three_shards_divide_the_configuration_without_rest_and_without_overlap(seen):
    assert seen.healthy == [200] * 3
    assert set.union(*seen.checks) == seen.configured
    assert sum(map(len, seen.checks)) == len(seen.configured)
    assert all(seen.checks)


def pod_security(stage: Stage) -> SimpleNamespace:
    if stage.cluster.version() < (1, 25):
        unavailable("Kubernetes before 1.25 has no Pod Security admission that is stable")
    container = {"name": "any", "image": IMAGE, "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": {"containers": [container]}}
    with pytest.raises(pytest.fail.Exception) as refused:
        kubectl("create", "-n", stage.namespace, "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    return SimpleNamespace(complaint=str(refused.value))


@after(pod_security)
def test_the_namespace_of_every_drill_refuses_what_the_restricted_standard_forbids(seen):
    """So that each of the other tests shows that the overlays are within it."""
    assert 'violates PodSecurity "restricted' in seen.complaint
