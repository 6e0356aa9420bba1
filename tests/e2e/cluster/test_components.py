"""The API server accepts every kind of workload with the components, also where it had probes of another handler."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.cluster.kube import Cluster, kubectl
from k8s.kustomized import SIDECARS
from k8s.test_sidecar_components import HANDLERS, PROBES, WORKLOADS, built, pod_of

NATIVE_SIDECAR_SINCE = (1, 29)
SCALED = ("Deployment", "StatefulSet")
by_component = pytest.mark.parametrize("component", SIDECARS)


@pytest.fixture
def namespace(cluster: Cluster, component: str) -> Iterator[str]:
    if component == "native-sidecar" and cluster.version() < NATIVE_SIDECAR_SINCE:
        pytest.skip("the cluster has no native sidecars")
    name = f"components-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    # A Pod needs it, and a controller creates it some time later.
    kubectl("apply", "-f", "-", stdin=json.dumps(account(name)))
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def account(namespace: str) -> dict[str, Any]:
    metadata = {"name": "default", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def apply(namespace: str, objects: list[Any], *options: str) -> list[Any]:
    """The objects as the API server returns them."""
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    printed = kubectl("apply", f"--namespace={namespace}", "-o", "json", "-f", "-", *options, stdin=content)
    found: list[Any] = json.loads(printed)["items"]
    return found


@by_component
def test_the_api_server_accepts_every_workload(namespace: str, component: str) -> None:
    objects = list(built(component).values())
    assert len(apply(namespace, objects, "--dry-run=server")) == len(objects)


@by_component
def test_the_probes_of_an_application_that_runs_already_are_replaced(namespace: str, component: str) -> None:
    """In each handler's turn, the cluster has the old probes, and `kubectl apply` has to remove them."""
    names = [f"{kind.lower()}-{handler}" for kind in SCALED for handler in HANDLERS]
    for objects in (WORKLOADS, built(component)):
        selected = [json.loads(json.dumps(objects[name])) for name in names]
        for object_ in selected:
            object_["spec"]["replicas"] = 0
        applied = apply(namespace, selected)
    template = built(component)[names[0]]
    expected = {type_: pod_of(template)["containers"][0][type_] for type_ in PROBES}
    for object_ in applied:
        container = pod_of(object_)["containers"][0]
        found = {type_: container[type_] for type_ in PROBES}
        assert {type_: {**probe, "successThreshold": 1} for type_, probe in expected.items()} == found
