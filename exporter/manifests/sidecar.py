"""The exporter beside an application: its container, its volume and its ConfigMap, as in k8s/components/sidecar."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import yaml

from exporter.manifests.tree import assign, find, find_text, list_items, make_node, require

NAME = "health-exporter"
"""The name of the container and of the volume."""
PORT = 4584
CONFIG_FILE = "health.yml"
_MANAGED_BY = "app.kubernetes.io/managed-by"  # the label of a ConfigMap that `inject` has made; its value is NAME
_FOLDER = "/etc/health-exporter"
_COPIED_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/part-of")
_MAX_NAME = 253  # characters of the name of an object


def make_container(image: str, *, native: bool) -> yaml.Node:
    """Return the exporter's container. A native sidecar gets SIGTERM after the application has stopped."""
    return make_node(
        {
            "name": NAME,
            "image": image,
            **({"restartPolicy": "Always"} if native else {}),
            "args": ["serve", f"--config.file={_FOLDER}/{CONFIG_FILE}", f"--shutdown-delay={0 if native else 5}"],
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "ports": [{"name": "http-health", "containerPort": PORT}],
            "livenessProbe": {
                "httpGet": {"path": "/-/healthy", "port": "http-health"},
                "periodSeconds": 5,
                "timeoutSeconds": 5,
                "failureThreshold": 4,
                "terminationGracePeriodSeconds": 1,
            },
            "startupProbe": {
                "httpGet": {"path": "/-/healthy", "port": "http-health"},
                "periodSeconds": 1,
                "timeoutSeconds": 5,
                "failureThreshold": 120,
            },
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumeMounts": [{"name": NAME, "mountPath": _FOLDER, "readOnly": True}],
        }
    )


def keep_changes(container: yaml.Node, former: yaml.Node) -> None:
    """Give a container what was added to the former one: `resources`, `envFrom`, and more variables and mounts."""
    for key in ("resources", "envFrom"):
        if (value := find(former, key)) is not None:
            assign(container, key, value)
    for key, name in (("env", "name"), ("volumeMounts", "mountPath")):
        items = require(container, key, []).value
        taken = {find_text(item, name) for item in items}
        items += [item for item in list_items(former, key) if find_text(item, name) not in taken]


def make_volume(config_map: str) -> yaml.Node:
    """Return the volume with the configuration."""
    return make_node({"name": NAME, "configMap": {"name": config_map}})


def make_config_map(name: str, workload: yaml.Node, config: str) -> yaml.Node:
    """Return the ConfigMap with the configuration of a workload, in the same namespace."""
    labels = {key: text for key in _COPIED_LABELS if (text := find_text(workload, "metadata", "labels", key))}
    metadata: dict[str, str | Mapping[str, str]] = {"name": name}
    if namespace := find_text(workload, "metadata", "namespace"):
        metadata["namespace"] = namespace
    metadata["labels"] = {**labels, "app.kubernetes.io/component": "monitoring", _MANAGED_BY: NAME}
    return make_node({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {CONFIG_FILE: config}})


def name_config_map(workload: str, config: str) -> str:
    """Return the name of the ConfigMap. Each configuration has its own, so that a change of it is a rollout."""
    suffix = f"-health-{hashlib.sha256(config.encode()).hexdigest()[:10]}"
    return re.sub(r"[-.]+\Z", "", workload[: _MAX_NAME - len(suffix)]) + suffix


def is_name(text: str) -> bool:
    """Return whether a text is a name that `inject` gives to a ConfigMap, and safe in a command line."""
    return re.fullmatch(r"[a-z0-9][-.a-z0-9]*-health-[0-9a-f]{10}", text) is not None


def is_config_map(node: yaml.Node) -> bool:
    """Return whether this object is a ConfigMap that `inject` has made."""
    return find_text(node, "kind") == "ConfigMap" and find_text(node, "metadata", "labels", _MANAGED_BY) == NAME


def remove_config_maps(
    nodes: Sequence[yaml.Node], outdated: Collection[tuple[str, str]], kept: Iterable[yaml.Node] = ()
) -> list[yaml.Node]:
    """Return objects without the outdated ConfigMaps that `inject` has made, also those in a List.

    `outdated` has the namespace and the name of each, and `kept` the new ones, which may have the same names.
    """
    new = {id(node) for node in kept}
    for node in nodes:
        items = find(node, "items")
        if find_text(node, "kind").endswith("List") and isinstance(items, yaml.SequenceNode):
            items.value = remove_config_maps(items.value, outdated)
    return [node for node in nodes if id(node) in new or not (is_config_map(node) and identify(node) in outdated)]


def identify(config_map: yaml.Node) -> tuple[str, str]:
    """Return the namespace, which may be empty, and the name of an object."""
    return find_text(config_map, "metadata", "namespace"), find_text(config_map, "metadata", "name")
