"""A manifest -> the same manifest with the exporter beside the application, and back.

Theory of operation. `inject` first takes out what an earlier `inject` has put in, so that its result does not depend on
it, and a second `inject` gives the same bytes. Then, for each workload:

1. The probes of the container become a configuration (probes.py), or the configuration is the user's. The exporter's
   own loader reads it: `serve` accepts everything that `inject` writes.
2. Each probe whose group has a check is replaced by a probe of the exporter (timing.py). The annotation
   `health-exporter/original` keeps the old one. Other probes stay as they are.
3. The exporter's container and its volume are added, and the ConfigMap stands before the document.

A new probe clears each field that the old one had and the new one has not. `kubectl apply` merges the manifest with the
object in the cluster. If that object was not made by `kubectl apply`, nothing says which fields were removed: an old
`tcpSocket` would stay beside the new `httpGet`, and an old `scheme` or `host` would lead the kubelet elsewhere, which
restarts a healthy application. Server-side apply keeps a null handler that another manager owns, and the API server
then refuses the probe.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from exporter.config.checks import Config, load
from exporter.config.complaint import Complaint, ConfigError
from exporter.config.pasted import PROBES
from exporter.manifests import sidecar, timing
from exporter.manifests.conversion import ASSUMED, Conversion
from exporter.manifests.probes import EXEC, OldProbe, convert, find_probes
from exporter.manifests.timing import Timing
from exporter.manifests.tree import (
    assign,
    find,
    find_text,
    list_items,
    make_node,
    refuse,
    remove,
    require,
    write,
)
from exporter.manifests.workloads import Workload, find_workloads, read
from exporter.model import Group
from exporter.probe.reference import find_unset

ORIGINAL = "health-exporter/original"
"""The annotation of a pod with the probes that `inject` has replaced, as JSON."""
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_PATHS = {Group.LIVENESS: "/livez", Group.READINESS: "/readyz", Group.STARTUP: "/startupz"}
_EMPTY: dict[str, Any] = {"host": "", "httpHeaders": []}
"""Fields of httpGet that the exporter's probes do not use, with the value that clears them."""
_EXEC_HINT = (
    "runs in the application's container and stays as it is: to replace it, write a check for --config.file, for "
    "example of a file on a volume that both containers mount, or with shareProcessNamespace: "
    "file: {path: /tmp/healthy, of: {process: NAME}}"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user has chosen. The container is found if it is empty; the file replaces the converted probes."""

    container: str = ""
    image: str = sidecar.IMAGE
    native: bool = False
    config: tuple[str, bytes] | None = None
    """The name and the content of a configuration file."""


def inject(content: bytes, source: str, settings: Settings) -> Conversion:
    """Return the manifests with the exporter in each workload. Raises ConfigError, also if there is no workload."""
    documents = read(content, source)
    notes: list[Complaint] = []
    written: list[yaml.Node] = []
    for document in _drop_config_maps(documents):
        config_maps: dict[tuple[str, str], yaml.Node] = {}
        for workload in find_workloads(document, source):
            try:
                name, config_map, found = _inject(workload, settings)
            except _SkippedError as reason:
                notes.append(workload.note(f"unchanged, because {reason}"))
            else:
                config_maps[workload.namespace, name] = config_map
                notes += found
        written += [*config_maps.values(), document]
    if not any(map(sidecar.is_config_map, written)):
        raise ConfigError(notes) if notes else _refuse_stream(documents, source)
    return Conversion(write(written), tuple(notes))


def uninject(content: bytes, source: str) -> Conversion:
    """Return the manifests as they were before `inject`. Raises ConfigError if nothing was injected."""
    documents = read(content, source)
    notes: list[Complaint] = []
    kept = list(_drop_config_maps(documents))
    for document in kept:
        for workload in find_workloads(document, source):
            config_map = _restore(workload)
            if config_map is not None:
                namespace = f" --namespace {workload.namespace}" if workload.namespace else ""
                notes.append(workload.note(f"restored; then run: kubectl delete configmap {config_map}{namespace}"))
    if not notes:
        raise refuse(source, None, "no workload has the exporter that inject adds")
    return Conversion(write(kept), tuple(notes))


def convert_probes(content: bytes, source: str, container: str) -> Conversion:
    """Return the configuration that replaces the probes of the stream's only workload. Raises ConfigError."""
    documents = read(content, source)
    workloads = [workload for document in documents for workload in find_workloads(document, source)]
    if len(workloads) != 1:
        names = ", ".join(workload.title for workload in workloads)
        message = f"has several workloads, give one of them: {names}"
        raise refuse(source, None, message) if workloads else _refuse_stream(documents, source)
    _restore(workloads[0])
    found = _find_container(workloads[0], container)
    probes = find_probes(workloads[0], found)
    conversion = convert(workloads[0], found, probes)
    if conversion is None:
        raise workloads[0].refuse(found, _explain_missing(found, probes))
    notes = map(workloads[0].note, _warn_exec(probes, frozenset()))
    return Conversion(conversion.text, (*notes, *conversion.notes))


class _SkippedError(Exception):
    """A workload is left as it is; the message says why."""


def _inject(workload: Workload, settings: Settings) -> tuple[str, yaml.Node, list[Complaint]]:
    """Add the exporter to a workload. Returns the name of its ConfigMap, the ConfigMap, and notes.

    Raises _SkippedError if the workload stays as it is, and ConfigError.
    """
    if workload.controlled:
        raise _SkippedError("another object controls it: inject that one")
    original = _find_original(workload)
    if original and original.own and settings.config is None:
        raise _SkippedError("its checks are from --config.file: give the file again")
    _restore(workload)
    _remove_empty(workload)
    container = _find_container(workload, settings.container)
    _refuse_conflicts(workload, container)
    probes = find_probes(workload, container)
    conversion = _choose_config(workload, container, probes, settings)
    config = load(Path(workload.source), conversion.text.encode(), ASSUMED)
    native = settings.native or _ends(workload)
    replaced = _replace_probes(workload, container, probes, config, own=settings.config is not None)
    name = sidecar.name_config_map(workload.name, conversion.text)
    place = "initContainers" if native else "containers"
    exporter = sidecar.make_container(settings.image, native=native)
    require(workload.spec, place, []).value.insert(0 if native else len(workload.containers), exporter)
    require(workload.spec, "volumes", []).value.append(sidecar.make_volume(name))
    form = "native sidecar" if native else "sidecar"
    lines = [
        f"added the {form} {sidecar.NAME} and ConfigMap {name}, for the container {find_text(container, 'name')}",
        *_explain_times(probes, replaced, config),
        *_warn_exec(probes, frozenset(replaced)),
        *_warn_variables(config),
        *_warn_pod(workload, native=settings.native),
    ]
    notes = [*map(workload.note, lines), *conversion.notes]
    return name, sidecar.make_config_map(name, workload.node, conversion.text), notes


def _find_container(workload: Workload, name: str) -> yaml.Node:
    """Return the container to watch: by name, by the pod's annotation, or the only one."""
    containers = workload.containers
    name = name or find_text(workload.pod, "metadata", "annotations", _DEFAULT_CONTAINER)
    names = ", ".join(containers)
    if name:
        if name not in containers:
            raise workload.refuse(None, f"no container has the name {name}; the containers are: {names}")
        return containers[name]
    if len(containers) > 1:
        raise workload.refuse(None, f"has several containers, choose one with --container: {names}")
    return next(iter(containers.values()))


def _refuse_conflicts(workload: Workload, container: yaml.Node) -> None:
    """Raise ConfigError if the pod has something of its own in a place that the exporter needs."""
    for key in ("containers", "initContainers", "volumes"):
        for item in list_items(workload.spec, key):
            if find_text(item, "name") == sidecar.NAME:
                raise workload.refuse(item, f"{key} has a {sidecar.NAME} that inject has not added: remove it first")
    for port in list_items(container, "ports"):
        if find_text(port, "containerPort") == str(sidecar.PORT):
            raise workload.refuse(port, f"the container uses port {sidecar.PORT}, which the exporter needs")


def _choose_config(
    workload: Workload, container: yaml.Node, probes: Mapping[str, OldProbe], settings: Settings
) -> Conversion:
    if settings.config is not None:
        name, content = settings.config
        load(Path(name), content, ASSUMED)
        return Conversion(content.decode("utf-8-sig").replace("\r\n", "\n"))
    conversion = convert(workload, container, probes)
    if conversion is None:
        raise _SkippedError(_explain_missing(container, probes))
    return conversion


def _explain_missing(container: yaml.Node, probes: Mapping[str, OldProbe]) -> str:
    name = find_text(container, "name")
    flaw = "only exec probes, which run in the application's container" if probes else "no probe"
    port = next((find_text(item, "containerPort") for item in list_items(container, "ports")), "8080")
    check = f"{{name: {name}, httpGet: {{host: $(POD_IP), path: /, port: {port}}}, groups: [liveness, startup]}}"
    return f"the container {name} has {flaw}: write a file for --config.file, such as checks: [{check}]"


def _ends(workload: Workload) -> bool:
    """Return whether the pod ends by itself: only a native sidecar does not keep it running."""
    return find_text(workload.spec, "restartPolicy") in ("Never", "OnFailure")


def _replace_probes(
    workload: Workload, container: yaml.Node, probes: Mapping[str, OldProbe], config: Config, *, own: bool
) -> dict[str, Timing]:
    """Replace each probe whose group has checks, and return the numbers of the new ones.

    `own` means that the checks are the user's own, which replace also exec probes.
    """
    groups = {group: [check.spec for check in config.checks if group in check.spec.groups] for group in _PATHS}
    replaced = {
        key: group
        for key, group in PROBES.items()
        if groups[group] and (own or key not in probes or probes[key].kind != EXEC)
    }
    old = {key: probes[key].timing for key in probes}
    chosen: dict[str, Timing] = {}
    for key, group in replaced.items():
        if group is Group.LIVENESS:
            chosen[key] = timing.choose_liveness(old.get(key), groups[group])
        elif group is Group.READINESS:
            gated = "startupProbe" in replaced or "startupProbe" in probes
            chosen[key] = timing.choose_readiness(old.get(key), groups[group], gated=gated)
        else:
            gates = [old[name] for name in ("startupProbe", "livenessProbe") if name in old]
            chosen[key] = timing.choose_startup(gates, groups[group])
    old_probes = {key: probes[key].data if key in probes else None for key in replaced}
    _remember(workload, _Original(find_text(container, "name"), old_probes, own))
    for key, numbers in chosen.items():
        assign(container, key, make_node(_make_probe(key, numbers, probes)))
    return chosen


def _make_probe(key: str, numbers: Timing, probes: Mapping[str, OldProbe]) -> dict[str, Any]:
    old = probes[key].data if key in probes else {}
    handler = old.get("httpGet") or {}
    new: dict[str, Any] = {
        "httpGet": {
            "path": _PATHS[PROBES[key]],
            "port": sidecar.PORT,
            "scheme": "HTTP",
            **{field: _EMPTY[field] for field in _EMPTY if field in handler},
        },
        **timing.format_timing(numbers, old),
    }
    grace = _find_grace(key, probes)
    if grace is not None:
        new["terminationGracePeriodSeconds"] = grace
    return new | {field: None for field in sorted(old) if field not in new}


def _find_grace(key: str, probes: Mapping[str, OldProbe]) -> Any:
    """Return the terminationGracePeriodSeconds of the new probe: a restart ends as gracefully as before."""
    places = {"livenessProbe": ("livenessProbe",), "startupProbe": ("startupProbe", "livenessProbe")}.get(key, ())
    values = (probes[name].data.get("terminationGracePeriodSeconds") for name in places if name in probes)
    return next((value for value in values if value is not None), None)


@dataclass(frozen=True, slots=True)
class _Original:
    """What the annotation of a pod keeps: the container, and its probes that were replaced; None for a new one."""

    container: str
    probes: dict[str, Any]
    own: bool
    """Whether the checks are the user's own."""


def _remember(workload: Workload, original: _Original) -> None:
    annotations = require(require(workload.pod, "metadata", {}), "annotations", {})
    record = {"container": original.container, "probes": original.probes} | ({"own": True} if original.own else {})
    assign(annotations, ORIGINAL, make_node(json.dumps(record, sort_keys=True, ensure_ascii=False)))


def _find_original(workload: Workload) -> _Original | None:
    """Return what an earlier `inject` has replaced. Raises ConfigError if the annotation is not readable."""
    annotation = find(workload.pod, "metadata", "annotations", ORIGINAL)
    if annotation is None:
        return None
    try:
        record = json.loads(annotation.value)
        original = _Original(record["container"], dict(record["probes"]), record.get("own", False))
        if original.probes.keys() <= PROBES.keys() and original.container in workload.containers:
            return original
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise workload.refuse(annotation, f"the annotation {ORIGINAL} does not fit the pod: restore it by hand")


def _restore(workload: Workload) -> str | None:
    """Take out what `inject` has put in. Returns the name of the ConfigMap; None if there was nothing."""
    original = _find_original(workload)
    if original is None:
        return None
    annotations = find(workload.pod, "metadata", "annotations")
    assert annotations is not None
    container = workload.containers[original.container]
    for key, probe in original.probes.items():
        if probe is None:
            remove(container, key)
        else:
            assign(container, key, make_node(probe, annotations.start_mark))
    remove(annotations, ORIGINAL)
    volumes = list_items(workload.spec, "volumes")
    config_map = next((find_text(item, "configMap", "name") for item in volumes if _is_added(item)), "")
    for place in ("containers", "initContainers", "volumes"):
        if (items := find(workload.spec, place)) is not None:
            items.value = [item for item in items.value if not _is_added(item)]
    _remove_empty(workload)
    return config_map


def _is_added(item: yaml.Node) -> bool:
    return find_text(item, "name") == sidecar.NAME


def _remove_empty(workload: Workload) -> None:
    """Remove keys with an empty value, which mean nothing, so that it does not matter whether `inject` adds them."""
    metadata = find(workload.pod, "metadata")
    places = ((workload.spec, "volumes"), (workload.spec, "initContainers"), (metadata, "annotations"))
    for mapping, key in (*places, (workload.pod, "metadata")):
        value = find(mapping, key)
        if value is None or not value.value:
            remove(mapping, key)


def _drop_config_maps(documents: Iterable[yaml.Node]) -> Iterator[yaml.Node]:
    """Yield the documents without the ConfigMaps that `inject` has made."""
    for document in documents:
        if not sidecar.is_config_map(document):
            yield document


def _refuse_stream(documents: list[yaml.Node], source: str) -> ConfigError:
    kinds = ", ".join(dict.fromkeys(find_text(document, "kind") or "?" for document in documents))
    return refuse(source, None, f"contains no workload{f', only: {kinds}' if kinds else ': it is empty'}")


def _explain_times(probes: Mapping[str, OldProbe], replaced: Mapping[str, Timing], config: Config) -> Iterator[str]:
    events = {"livenessProbe": "a restart", "readinessProbe": "the removal from the endpoints"}
    for key, event in events.items():
        if key not in replaced:
            continue
        checks = [check.spec for check in config.checks if PROBES[key] in check.spec.groups]
        low, high = timing.find_span(replaced[key], checks)
        span = probes[key].timing.span if key in probes else None
        if span != (low, high):
            was = f"; before: {span[0]} to {span[1]} s" if span else ""
            yield f"{event} follows {low} to {high} s after a fault{was}"
    if "startupProbe" in replaced:
        gates = [probes[key].timing.start for key in ("startupProbe", "livenessProbe") if key in probes]
        before = f"; before: {sum(gates)} s" if gates else ""
        yield f"an application that does not start is restarted after {replaced['startupProbe'].start} s{before}"


def _warn_exec(probes: Mapping[str, OldProbe], replaced: frozenset[str]) -> Iterator[str]:
    for key, probe in probes.items():
        if probe.kind == EXEC and key not in replaced:
            yield f"warning: {key}: exec {_EXEC_HINT}"


def _warn_pod(workload: Workload, *, native: bool) -> Iterator[str]:
    if _ends(workload) and not native:
        yield "a native sidecar, because the pod ends by itself: requires Kubernetes 1.29"
    if find_text(workload.spec, "hostNetwork") == "true":
        yield f"warning: hostNetwork: port {sidecar.PORT} must be free on the node, so only one such pod fits on it"
    live = find(workload.node, "metadata", "uid") is not None
    if live and find_text(workload.node, "kind") in ("Pod", "Job"):
        yield "warning: the API server accepts no new containers in a running pod or Job: create it again"


def _warn_variables(config: Config) -> Iterator[str]:
    variables = dict.fromkeys(name for name in _find_variables(config.document.data) if name != "POD_IP")
    if variables:
        yield f"warning: the checks read {', '.join(variables)}: add them to the container {sidecar.NAME} as env"


def _find_variables(value: Any) -> Iterator[str]:
    """Yield the names of the environment variables in a configuration."""
    match value:
        case {"env": str(name)}:
            yield name
        case dict():
            for item in value.values():
                yield from _find_variables(item)
        case list():
            for item in value:
                yield from _find_variables(item)
        case str():
            yield from find_unset(value, {})
