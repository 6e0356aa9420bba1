"""What `inject` prints, against a real API server: it is accepted, and `kubectl apply` leaves nothing of an old probe.

No pod runs here: the workloads have no replicas.
"""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from e2e.cluster.kube import Cluster, kubectl
from manifests.fifty_manifests import NAMES, find_options, inject, read, run

ACCEPTED = [name for name in NAMES if not name.startswith("refused")]
FOREIGN = "batch.volcano.sh"  # an object whose definition the cluster does not have
IDLE: dict[str, dict[str, Any]] = {
    "Deployment": {"replicas": 0},
    "StatefulSet": {"replicas": 0},
    "ReplicaSet": {"replicas": 0},
    "ReplicationController": {"replicas": 0},
    "CronJob": {"suspend": True},
}
"""The kinds whose pod can be changed, with the fields that keep them from running one."""
TEMPLATES: dict[str, list[str]] = {"CronJob": ["jobTemplate", "spec", "template"]}


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"inject-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    kubectl("apply", "-n", name, "-f", "-", stdin=json.dumps(account))  # a pod is refused until it exists
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def load(text: str | bytes) -> list[dict[str, Any]]:
    documents = [json.loads(text)] if text[:1] in ("{", b"{") else [item for item in yaml.safe_load_all(text) if item]
    return [item for document in documents for item in document.get("items", [document])]


def write(objects: list[dict[str, Any]]) -> str:
    """The objects as JSON, those of a namespace or of another cluster too in the test's namespace."""
    for item in objects:
        for key in ("namespace", "resourceVersion", "uid"):
            item["metadata"].pop(key, None)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_api_server_accepts_what_inject_prints(name, namespace):
    injected = [item for item in load(inject(name).stdout) if FOREIGN not in item["apiVersion"]]
    command = "create" if any("generateName" in item["metadata"] for item in injected) else "apply"

    kubectl(command, "--dry-run=server", "-n", namespace, "-f", "-", stdin=write(injected))


def find_idle(name: str) -> dict[str, Any] | None:
    """The first workload of a manifest that can be changed in a cluster, without pods; None if it has none."""
    for item in load(read(name)):
        if item["kind"] in IDLE and "ownerReferences" not in item["metadata"]:
            item["spec"] |= IDLE[item["kind"]]
            return item
    return None


def find_pod(item: dict[str, Any]) -> dict[str, Any]:
    spec = item["spec"]
    for key in TEMPLATES.get(item["kind"], ["template"]):
        spec = spec[key]
    return spec


def clean(value: Any) -> Any:
    """A value without nulls and without values that mean the default in a probe."""
    if isinstance(value, dict):
        defaults = {"host": "", "httpHeaders": [], "initialDelaySeconds": 0}
        pairs = {key: clean(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in pairs.items() if defaults.get(key) != item}
    return [clean(item) for item in value] if isinstance(value, list) else value


def find_probes(item: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """The probes of the containers, except the exporter's own, with the values that the API server adds."""
    return {
        (container["name"], key): {
            "periodSeconds": 10,
            "timeoutSeconds": 1,
            "successThreshold": 1,
            "failureThreshold": 3,
        }
        | clean(value)
        for container in find_pod(item)["spec"]["containers"]
        for key, value in container.items()
        if value and key.endswith("Probe") and container["name"] != "health-exporter"
    }


CHANGEABLE = [name for name in ACCEPTED if find_idle(name)]
OTHER_HANDLERS = {
    name for name in CHANGEABLE if any("httpGet" not in probe for probe in find_probes(find_idle(name) or {}).values())
}
"""Manifests with an old probe that has another handler than `httpGet`."""


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, ()) for name in CHANGEABLE),
        # Server-side apply does not remove the handler of another field manager.
        *((name, ("--server-side", "--force-conflicts")) for name in CHANGEABLE if name not in OTHER_HANDLERS),
    ],
)
def test_inject_and_uninject_change_an_object_that_kubectl_created(name, options, namespace):
    """Without the annotation of `kubectl apply`, only the manifest itself says what has to go."""
    original = find_idle(name)
    assert original is not None
    resource = f"{original['kind'].lower()}/{original['metadata']['name']}"

    def get() -> str:
        """The object without its version, because a controller may change its status before it is applied."""
        return re.sub(r"\n +resourceVersion: .*", "", kubectl("get", resource, "-n", namespace, "-o", "yaml"))

    kubectl("create", "-n", namespace, "-f", "-", stdin=write([original]))
    try:
        created = load(get())[0]
        injected = run("inject", get().encode(), *find_options(name))
        kubectl("apply", *options, "-f", "-", stdin=injected.stdout)
        expected = next(item for item in load(injected.stdout) if item["kind"] == original["kind"])
        assert find_probes(load(get())[0]) == find_probes(expected)

        kubectl("apply", *options, "-f", "-", stdin=run("uninject", get().encode()).stdout)
        assert load(get())[0]["spec"] == created["spec"]
    finally:
        kubectl("delete", resource, "-n", namespace)
