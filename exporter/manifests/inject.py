"""A manifest -> the same manifest with the exporter alongside the application, and back.

Theory of operation. `inject` first takes out what an earlier `inject` has put in, so that its result does not depend on
it, and a second `inject` gives the same bytes. Then, for each workload:

1. The probes of the container become a configuration (probes.py), or the configuration is the user's. The exporter's
   own loader reads it: `serve` accepts everything that `inject` writes.
2. Each probe whose group has a check is replaced by a probe of the exporter (endpoints.py, timing.py). An annotation
   keeps the old one (original.py). Other probes stay as they are.
3. The exporter's container and its volume are added (sidecar.py). The ConfigMap stands before the document of the
   workload, and after that of its namespace.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from exporter import __version__
from exporter.config.complaint import Complaint, ConfigError
from exporter.manifests import notes, sidecar
from exporter.manifests.configuration import Configuration, examine, parse
from exporter.manifests.conversion import Conversion
from exporter.manifests.endpoints import choose_probes, make_probe
from exporter.manifests.original import Original, find_original, list_numbers, remember, remove_empty, restore
from exporter.manifests.probes import OldProbe, convert_probes, find_probes
from exporter.manifests.tree import assign, copy_node, find, find_text, list_items, make_node, refuse, require
from exporter.manifests.workloads import Workload, find_unsupported, find_workloads, read, refuse_stream
from exporter.manifests.writer import write

DEFAULT_IMAGE = f"health-exporter:{__version__}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user has chosen. The file replaces the converted probes.

    Of the containers, the first that a pod has counts. An empty image means the present one, or for a pod without the
    exporter, that of this version.
    """

    containers: Sequence[str]
    image: str
    native: bool
    config: tuple[str, bytes] | None
    """The name and the content of a configuration file."""


@dataclass(frozen=True, slots=True)
class _Added:
    """What was added to a workload: its ConfigMap, the name of the one that it had before, and notes."""

    config_map: yaml.Node
    replaced: str
    notes: list[Complaint]


class _SkippedError(Exception):
    """A workload is left as it is; the message says why."""


def inject(content: bytes, source: str, settings: Settings) -> Conversion:
    """Return the manifests with the exporter in each workload. Raises ConfigError, also if there is no workload."""
    documents = read(content, source)
    found: list[Complaint] = []
    written: list[yaml.Node] = []
    outdated: set[tuple[str, str]] = set()
    added: dict[tuple[str, str], yaml.Node] = {}
    for document in documents:
        found += find_unsupported(document, source)
        for workload in find_workloads(document, source):
            before = copy_node(workload.pod, source)
            try:
                result = _inject(workload, settings)
            except _SkippedError as reason:
                workload.pod.value = before.value
                found.append(workload.note(f"unchanged, because {reason}"))
                continue
            found += result.notes
            outdated.add((workload.namespace, result.replaced))
            if added.setdefault(sidecar.identify(result.config_map), result.config_map) is result.config_map:
                written.append(result.config_map)
        written.append(document)
    if not added:
        raise ConfigError(found) if found else refuse_stream(documents, source)
    kept = sidecar.remove_config_maps(written, outdated, added.values())
    return Conversion(write(kept), tuple(dict.fromkeys(found)))


def uninject(content: bytes, source: str) -> Conversion:
    """Return the manifests as they were before `inject`. Raises ConfigError if nothing was injected."""
    documents = read(content, source)
    found: list[Complaint] = []
    outdated: set[tuple[str, str]] = set()
    for document in documents:
        for workload in find_workloads(document, source):
            restored = restore(workload)
            if name := restored.config_map:
                outdated.add((workload.namespace, name))
                found.append(workload.note(f"restored{_explain_deletion(name, workload.namespace)}"))
                found += map(workload.note, restored.notes)
    if not found:
        raise refuse(source, None, "no workload has the exporter that inject adds")
    return Conversion(write(sidecar.remove_config_maps(documents, outdated)), tuple(found))


def _inject(workload: Workload, settings: Settings) -> _Added:
    """Add the exporter to a workload. Raises _SkippedError if the workload stays as it is, and ConfigError."""
    own = settings.config is not None
    original = find_original(workload)
    if workload.controlled:
        raise _SkippedError("another object controls it: inject that one")
    if workload.disabled:
        raise _SkippedError("its annotation health-exporter/inject is disabled")
    if original and original.own and not own:
        raise _SkippedError("its checks are from --config.file: give the file again")
    restored = restore(workload)
    remove_empty(workload)
    native = settings.native or workload.ends
    _refuse_conflicts(workload, native=native)
    try:
        container = workload.find_container(settings.containers)
    except LookupError as reason:
        raise _SkippedError(reason) from None
    probes = find_probes(workload, container)
    configuration, warnings = _choose_configuration(workload, container, probes, settings)
    chosen = choose_probes(probes, configuration, own=own)
    old_probes = {key: probes[key].data if key in probes else None for key in chosen}
    new_probes = {key: make_probe(key, numbers, probes) for key, numbers in chosen.items()}
    remember(workload, Original(find_text(container, "name"), old_probes, own, list_numbers(new_probes)))
    for key, probe in new_probes.items():
        assign(container, key, make_node(probe))
    name = sidecar.name_config_map(workload.name, configuration.text)
    image = settings.image or find_text(restored.exporter, "image") or DEFAULT_IMAGE
    exporter = sidecar.make_container(image, native=native)
    if restored.exporter is not None:
        sidecar.keep_changes(exporter, restored.exporter)
    _add_exporter(workload, exporter, name, native=native)
    form = "native sidecar" if native else "sidecar"
    lines = [
        *restored.notes,
        f"added the {form} {sidecar.NAME} and ConfigMap {name}, for the container {find_text(container, 'name')}",
        *notes.explain_times(probes, chosen, configuration.checks),
        *notes.warn_exec(probes, chosen),
        *notes.warn_image(configuration, image, chosen, native=native),
        *notes.warn_pod(workload, native=settings.native),
    ]
    config_map = sidecar.make_config_map(name, workload.node, configuration.text)
    return _Added(config_map, restored.config_map, [*map(workload.note, lines), *warnings])


def _add_exporter(workload: Workload, exporter: yaml.Node, config_map: str, *, native: bool) -> None:
    """Add the container, as the last one or as the first init container, and the volume."""
    if native:
        require(workload.spec, "initContainers", []).value.insert(0, exporter)
    else:
        require(workload.spec, "containers", []).value.append(exporter)
    require(workload.spec, "volumes", []).value.append(sidecar.make_volume(config_map))


def _refuse_conflicts(workload: Workload, *, native: bool) -> None:
    """Raise ConfigError if the pod has something of its own in a place that the exporter needs.

    All containers that run beside the exporter share its ports: also other sidecars, and beside a native one also the
    init containers.
    """
    for value, key in ((workload.pod, "metadata"), (find(workload.pod, "metadata"), "annotations")):
        if (found := find(value, key)) is not None and not isinstance(found, yaml.MappingNode):
            raise workload.refuse(found, f"{key}: must be a mapping")
    for key in ("containers", "initContainers", "volumes"):
        if (found := find(workload.spec, key)) is not None and not isinstance(found, yaml.SequenceNode):
            raise workload.refuse(found, f"{key}: must be a list")
        for item in list_items(workload.spec, key):
            if find_text(item, "name") == sidecar.NAME:
                raise workload.refuse(item, f"{key} has a {sidecar.NAME} that inject has not added: remove it first")
    before = list_items(workload.spec, "initContainers")
    beside = [item for item in before if native or find_text(item, "restartPolicy") == "Always"]
    for container in (*workload.containers.values(), *beside):
        for port in list_items(container, "ports"):
            if find_text(port, "containerPort") == str(sidecar.PORT):
                name = find_text(container, "name")
                message = f"the container {name} uses port {sidecar.PORT}, which the exporter needs"
                raise workload.refuse(port, message)


def _choose_configuration(
    workload: Workload, container: yaml.Node, probes: Mapping[str, OldProbe], settings: Settings
) -> tuple[Configuration, tuple[Complaint, ...]]:
    """Return the configuration, the user's or the converted one, and warnings about it."""
    if settings.config is not None:
        name, content = settings.config
        configuration = parse(content, name)
        return configuration, configuration.advice
    conversion = convert_probes(workload, container, probes)
    if conversion is None:
        raise _SkippedError(notes.explain_missing(container, probes))
    warnings = (note for note in conversion.notes if note.source == workload.source)  # not about extras: warn_image
    return examine(conversion.text.encode(), workload.source), tuple(warnings)


def _explain_deletion(name: str, namespace: str) -> str:
    """Return the command that deletes a ConfigMap of `inject`; nothing for a name that `inject` does not give."""
    if not sidecar.is_name(name):
        return ""
    place = f" --namespace={shlex.quote(namespace)}" if namespace else ""
    return f". To delete its ConfigMap: kubectl delete configmap {name}{place}"
