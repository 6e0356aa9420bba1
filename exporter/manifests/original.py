"""What `inject` has replaced in a pod: kept in an annotation, and restored.

The pod may have been changed since, for example by `helm upgrade`: then a probe that does not query the exporter is the
application's, and stays. Such a change merges probes, so each number that is still the exporter's is replaced by the
one from before `inject`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from exporter.config.nodes import MAX_DEPTH
from exporter.config.pasted import PROBES
from exporter.manifests.endpoints import PATHS
from exporter.manifests.sidecar import NAME, PORT
from exporter.manifests.tree import assign, build_data, find, find_text, list_items, make_node, remove, require
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
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The numbers of each probe that `inject` has put in place of these."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was taken out of a pod: the name of the ConfigMap, and the container. Without the exporter, nothing."""

    config_map: str = ""
    exporter: yaml.Node | None = None
    notes: Sequence[str] = ()


def remember(workload: Workload, original: Original) -> None:
    """Write the annotation."""
    annotations = require(require(workload.pod, "metadata", {}), "annotations", {})
    own = {"own": True} if original.own else {}
    record = {"container": original.container, "probes": original.probes, "numbers": original.numbers, **own}
    assign(annotations, ANNOTATION, make_node(json.dumps(record, sort_keys=True, ensure_ascii=False)))


def list_numbers(probes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the numbers of probes: their fields without the handlers."""
    return {key: {name: value for name, value in probe.items() if type(value) is int} for key, probe in probes.items()}


def find_original(workload: Workload) -> Original | None:
    """Return what an earlier `inject` has replaced. Raises ConfigError if the annotation is not readable."""
    annotation = find(workload.pod, "metadata", "annotations", ANNOTATION)
    if annotation is None:
        return None
    try:
        record = _parse(annotation.value)
        numbers = {key: dict(fields) for key, fields in record["numbers"].items()}
        original = Original(record["container"], dict(record["probes"]), record.get("own", False), numbers)
        if original.probes.keys() <= PROBES.keys() and original.container in workload.containers:
            return original
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise workload.refuse(annotation, f"the annotation {ANNOTATION} does not fit the pod: restore it by hand")


def _parse(text: str) -> Any:
    """Return the record in an annotation, which anybody may have written. Raises ValueError, or RecursionError."""
    record = json.loads(text)
    json.dumps(record, allow_nan=False, ensure_ascii=False).encode()  # no infinite number, and no lone surrogate
    if not all(probe is None or isinstance(probe, dict) for probe in record["probes"].values()):
        raise ValueError("a probe is not a mapping")
    if not _is_shallow(record, MAX_DEPTH):
        raise ValueError("nested too deep")
    return record


def _is_shallow(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)


def restore(workload: Workload) -> Restored:
    """Take out what `inject` has put in, except what was changed since. Raises ConfigError if that is not possible."""
    original = find_original(workload)
    if original is None:
        return Restored()
    annotations = find(workload.pod, "metadata", "annotations")
    assert annotations is not None
    container = workload.containers[original.container]
    notes = []
    for key, probe in original.probes.items():
        present = find(container, key)
        if present is None:
            notes += [f"warning: {key} was removed since inject, and stays so"] if probe else []
        elif not _is_exporters(key, present):
            _keep_changed(workload, key, present, original)
            notes.append(f"warning: {key} was changed since inject: its present value is used")
        elif probe is None:
            remove(container, key)
        else:
            assign(container, key, make_node(probe, annotations.start_mark))
    remove(annotations, ANNOTATION)
    volumes = list_items(workload.spec, "volumes")
    config_map = next((find_text(item, "configMap", "name") for item in volumes if _is_added(item)), "")
    places = [list_items(workload.spec, place) for place in ("containers", "initContainers")]
    exporter = next((item for items in places for item in items if _is_added(item)), None)
    for place in ("containers", "initContainers", "volumes"):
        if isinstance(items := find(workload.spec, place), yaml.SequenceNode):
            items.value = [item for item in items.value if not _is_added(item)]
    remove_empty(workload)
    return Restored(config_map, exporter, notes)


def _is_exporters(key: str, probe: yaml.Node) -> bool:
    """Return whether a probe queries the exporter."""
    port, path = find_text(probe, "httpGet", "port"), find_text(probe, "httpGet", "path")
    return port == str(PORT) and path == PATHS[PROBES[key]]


def _keep_changed(workload: Workload, key: str, present: yaml.Node, original: Original) -> None:
    """Replace each number of a changed probe that is still the exporter's by the remembered one."""
    if find_text(present, "httpGet", "port") == str(PORT):
        message = f"{key} was changed since inject, and still queries port {PORT}: write the application's port"
        raise workload.refuse(present, message)
    old = original.probes[key] or {}
    for name, number in original.numbers.get(key, {}).items():
        if (node := find(present, name)) is not None and build_data(node, workload.source) == number:
            if old.get(name) is None:
                remove(present, name)
            else:
                assign(present, name, make_node(old[name], present.start_mark))


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
