"""A stream of manifests: its documents, and the workloads in them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from exporter.config.complaint import Complaint, ConfigError
from exporter.config.nodes import compose_all
from exporter.config.pasted import PROBES
from exporter.manifests.tree import MAX_DEPTH, MAX_VALUES, copy_node, find, find_text, list_items, make_node, refuse

MAX_BYTES = 16 * 2**20
"""The size of a stream; an object has at most 1.5 MiB in etcd."""

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""The kinds of objects that run containers, each with the keys that lead to its pod."""
_GROUPS = {"v1", "apps", "batch", "extensions"}
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True, slots=True)
class Workload:
    """An object that runs containers. The nodes are those of the document, so that a change of them changes it."""

    source: str
    node: yaml.Node
    pod: yaml.Node
    """The mapping with the pod's `metadata` and `spec`."""

    @property
    def name(self) -> str:
        """The object's name, or its `generateName`."""
        return find_text(self.node, "metadata", "name") or find_text(self.node, "metadata", "generateName").rstrip("-")

    @property
    def title(self) -> str:
        """The kind and the name, as kubectl writes them."""
        return f"{find_text(self.node, 'kind').lower()}/{self.name}"

    @property
    def path(self) -> tuple[str, ...]:
        """The keys that lead to the pod."""
        return _TEMPLATES[find_text(self.node, "kind")]

    @property
    def namespace(self) -> str:
        """The namespace in the manifest, which may be empty."""
        return find_text(self.node, "metadata", "namespace")

    @property
    def spec(self) -> yaml.Node:
        """The pod's `spec`, which has containers."""
        spec = find(self.pod, "spec")
        assert spec is not None
        return spec

    @property
    def containers(self) -> dict[str, yaml.Node]:
        """The containers by name, without init containers."""
        return {find_text(container, "name"): container for container in list_items(self.spec, "containers")}

    @property
    def has_probes(self) -> bool:
        """Whether any of the containers has a probe."""
        return any(find(container, key) for container in self.containers.values() for key in PROBES)

    @property
    def ends(self) -> bool:
        """Whether the pod ends by itself: only a native sidecar does not keep it running."""
        return find_text(self.spec, "restartPolicy") in ("Never", "OnFailure")

    @property
    def disabled(self) -> bool:
        """Whether an annotation keeps the exporter away."""
        return find_text(self.node, "metadata", "annotations", "health-exporter/inject") == "disabled"

    @property
    def controlled(self) -> bool:
        """Whether another object, such as a Deployment, has created this one and would undo any change."""
        owners = list_items(self.node, "metadata", "ownerReferences")
        return any(find_text(owner, "controller") == "true" for owner in owners)

    def find_container(self, names: Sequence[str]) -> yaml.Node:
        """Return the container to watch: the first of these that the pod has, that of its annotation, or the only one.

        Raises LookupError with the reason if there is none.
        """
        containers, known = self.containers, ", ".join(self.containers)
        named = find_text(self.pod, "metadata", "annotations", _DEFAULT_CONTAINER)
        names = names or ([named] if named else [])
        if not names and len(containers) > 1:
            raise LookupError(f"it has several containers, choose one with --container: {known}")
        if name := next((name for name in names or containers if name in containers), None):
            return containers[name]
        raise LookupError(f"no container has the name {' or '.join(names)}; the containers are: {known}")

    def refuse(self, node: yaml.Node | None, message: str) -> ConfigError:
        """Return an error about a part of the workload."""
        return refuse(self.source, node or self.node, f"{self.title}: {message}")

    def note(self, message: str) -> Complaint:
        """Return a note about the workload."""
        return self.refuse(None, message).complaints[0]


def read(content: bytes, source: str) -> list[yaml.Node]:
    """Return the documents of a stream, without empty ones. Raises ConfigError if it is not YAML or JSON."""
    if len(content) > MAX_BYTES:
        raise refuse(source, None, f"is larger than {MAX_BYTES // 2**20} MiB")
    try:
        documents = compose_all(content, source, MAX_DEPTH, MAX_VALUES)
    except ConfigError:
        document = _read_json(content)
        if document is None:
            raise
        documents = [document]
    return [copy_node(document, source) if any(find_objects(document)) else document for document in documents]


def find_objects(node: yaml.Node) -> Iterator[yaml.Node]:
    """Yield the objects in a document that run containers, also those in a List.

    Each node is visited once: by aliases, a List can contain itself, and be repeated without end.
    """
    waiting, seen = [node], {id(node)}
    while waiting:
        item = waiting.pop()
        kind = find_text(item, "kind")
        if kind.endswith("List"):
            fresh = {id(inner): inner for inner in list_items(item, "items") if id(inner) not in seen}
            seen |= fresh.keys()
            waiting += reversed(fresh.values())
        elif kind in _TEMPLATES and find_text(item, "apiVersion").partition("/")[0] in _GROUPS:
            yield item


def find_unsupported(node: yaml.Node, source: str) -> Iterator[Complaint]:
    """Yield a note about each object in a document that has a pod template, and is of another kind."""
    kind = find_text(node, "kind")
    if kind.endswith("List"):
        for item in list_items(node, "items"):
            yield from find_unsupported(item, source)
    elif not any(find_objects(node)) and list_items(node, "spec", "template", "spec", "containers"):
        name = f"{kind.lower()}/{find_text(node, 'metadata', 'name')}"
        yield from refuse(
            source, node, f"{name}: unchanged, because inject does not support the kind {kind}"
        ).complaints


def find_workloads(node: yaml.Node, source: str) -> Iterator[Workload]:
    """Yield the workloads in a document. Raises ConfigError for one without containers."""
    for item in find_objects(node):
        pod = find(item, *_TEMPLATES[find_text(item, "kind")])
        if not list_items(pod, "spec", "containers"):
            raise refuse(source, item, f"the {find_text(item, 'kind')} has no containers")
        for container in list_items(pod, "spec", "containers"):
            if not find_text(container, "name"):
                raise refuse(source, container, f"a container of the {find_text(item, 'kind')} has no name")
        assert pod is not None
        yield Workload(source, item, pod)


def find_only_workload(documents: Sequence[yaml.Node], source: str) -> Workload:
    """Return the workload of a stream; of several, the only one with probes. Raises ConfigError if it is not clear."""
    workloads = [workload for document in documents for workload in find_workloads(document, source)]
    if not workloads:
        raise refuse_stream(documents, source)
    if len(workloads) > 1:
        workloads = [workload for workload in workloads if workload.has_probes] or workloads
    if len(workloads) > 1:
        names = ", ".join(workload.title for workload in workloads)
        raise refuse(source, None, f"has several workloads, give one of them: {names}")
    return workloads[0]


def refuse_stream(documents: Sequence[yaml.Node], source: str) -> ConfigError:
    """Return the error about a stream without a workload."""
    kinds = ", ".join(dict.fromkeys(find_text(document, "kind") or "?" for document in documents))
    return refuse(source, None, f"contains no workload{f', only: {kinds}' if kinds else ': it is empty'}")


def _read_json(content: bytes) -> yaml.Node | None:
    """Return the document in JSON that is not YAML, such as text with escapes of two surrogates; None for others."""
    try:
        return _make_json(json.loads(content, parse_float=_Number, parse_int=_Number))
    except (ValueError, RecursionError):
        return None


class _Number(str):
    """A number of a document in JSON, as it is written."""

    __slots__ = ()


def _make_json(value: Any) -> yaml.Node:
    match value:
        case _Number():
            node = make_node(0)
            node.value = str(value)
            return node
        case dict():
            node = make_node({})
            node.value = [(make_node(key), _make_json(item)) for key, item in value.items()]
            return node
        case list():
            node = make_node([])
            node.value = list(map(_make_json, value))
            return node
    return make_node(value)
