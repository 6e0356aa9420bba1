"""What `inject` has replaced in a pod: kept in an annotation, and restored."""

import json
from dataclasses import dataclass
from typing import Any

import yaml

from exporter.config.pasted import PROBES
from exporter.manifests.sidecar import NAME
from exporter.manifests.tree import assign, find, find_text, list_items, make_node, remove, require
from exporter.manifests.workloads import Workload

ANNOTATION = "health-exporter/original"
"""The annotation of a pod with the probes that `inject` has replaced, as JSON."""


@dataclass(frozen=True, slots=True)
class Original:
    """What the annotation of a pod keeps: the container, and its probes that were replaced; None for a new one."""

    container: str
    probes: dict[str, Any]
    own: bool
    """Whether the checks are the user's own."""


def remember(workload: Workload, original: Original) -> None:
    """Write the annotation."""
    annotations = require(require(workload.pod, "metadata", {}), "annotations", {})
    record = {"container": original.container, "probes": original.probes} | ({"own": True} if original.own else {})
    assign(annotations, ANNOTATION, make_node(json.dumps(record, sort_keys=True, ensure_ascii=False)))


def find_original(workload: Workload) -> Original | None:
    """Return what an earlier `inject` has replaced. Raises ConfigError if the annotation is not readable."""
    annotation = find(workload.pod, "metadata", "annotations", ANNOTATION)
    if annotation is None:
        return None
    try:
        record = json.loads(annotation.value)
        original = Original(record["container"], dict(record["probes"]), record.get("own", False))
        if original.probes.keys() <= PROBES.keys() and original.container in workload.containers:
            return original
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise workload.refuse(annotation, f"the annotation {ANNOTATION} does not fit the pod: restore it by hand")


def restore(workload: Workload) -> str:
    """Take out what `inject` has put in. Returns the name of the ConfigMap; empty if there was nothing."""
    original = find_original(workload)
    if original is None:
        return ""
    annotations = find(workload.pod, "metadata", "annotations")
    assert annotations is not None
    container = workload.containers[original.container]
    for key, probe in original.probes.items():
        if probe is None:
            remove(container, key)
        else:
            assign(container, key, make_node(probe, annotations.start_mark))
    remove(annotations, ANNOTATION)
    volumes = list_items(workload.spec, "volumes")
    config_map = next((find_text(item, "configMap", "name") for item in volumes if _is_added(item)), "")
    for place in ("containers", "initContainers", "volumes"):
        if (items := find(workload.spec, place)) is not None:
            items.value = [item for item in items.value if not _is_added(item)]
    remove_empty(workload)
    return config_map


def remove_empty(workload: Workload) -> None:
    """Remove keys with an empty value, which mean nothing, so that it does not matter whether `inject` adds them."""
    metadata = find(workload.pod, "metadata")
    places = ((workload.spec, "volumes"), (workload.spec, "initContainers"), (metadata, "annotations"))
    for mapping, key in (*places, (workload.pod, "metadata")):
        value = find(mapping, key)
        if value is None or not value.value:
            remove(mapping, key)
    for container in workload.containers.values():
        for key in PROBES:
            if find(container, key) is None:
                remove(container, key)


def _is_added(item: yaml.Node) -> bool:
    return find_text(item, "name") == NAME
