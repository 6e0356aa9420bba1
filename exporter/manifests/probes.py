"""The probes of a container -> checks of the exporter."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from exporter.config.complaint import Complaint, ConfigError
from exporter.config.data import MAX_DIGITS
from exporter.config.pasted import PROBES, TIMING
from exporter.manifests.conversion import Conversion, Converted, make_conversion
from exporter.manifests.credentials import SECRET_HEADER
from exporter.manifests.timing import Timing, choose_period, choose_threshold, make_timing
from exporter.manifests.tree import build_data, find, find_text, list_items
from exporter.manifests.workloads import Workload
from exporter.model import Group

POD = "$(POD_IP)"
"""The host of a check where the probe has none: the kubelet looks at the pod's address."""
EXEC = "exec"
_CONVERTED = ("httpGet", "tcpSocket", "grpc")
_ORDER = ("host", "path", "port", "scheme", "service")  # the same for a file and for an object in the cluster
_DEFAULTS: dict[str, Any] = {"path": "/", "scheme": "HTTP", "service": "", "mode": "Plaintext", "httpHeaders": []}
"""The API server's defaults, which an object in the cluster has and its file may not have."""
_REFERENCE = re.compile(r"\$\([A-Za-z_][-.A-Za-z0-9_]*\)")


@dataclass(frozen=True, slots=True)
class OldProbe:
    """A probe as it is in a manifest; `kind` is its handler."""

    key: str
    node: yaml.Node
    data: dict[str, Any]
    kind: str
    timing: Timing

    @property
    def group(self) -> Group:
        """The group of the question that the probe asks."""
        return PROBES[self.key]


@dataclass(frozen=True, slots=True)
class _Replacement:
    """A check that replaces probes with the same handler."""

    name: str
    kind: str
    options: dict[str, Any]
    groups: frozenset[Group]
    period: int
    timeout: int
    failure_threshold: int


def find_probes(workload: Workload, container: yaml.Node) -> dict[str, OldProbe]:
    """Return the probes of a container by their keys. Raises ConfigError if one is not valid."""
    nodes = {key: node for key in PROBES if (node := find(container, key)) is not None}
    return {key: _read_probe(workload, key, node) for key, node in nodes.items()}


def convert_probes(workload: Workload, container: yaml.Node, probes: Mapping[str, OldProbe]) -> Conversion | None:
    """Return the configuration with a check for each probe; None if no probe can be converted.

    Raises ConfigError if the exporter would not accept the configuration.
    """
    converted = [probe for probe in probes.values() if probe.kind in _CONVERTED]
    if not converted:
        return None
    checks = _merge([_convert(workload, container, probe) for probe in converted])
    introduction = f"Converted from the probes of the container {find_text(container, 'name')} of {workload.title}."
    try:
        entries = [Converted(_list_options(check)) for check in checks]
        return make_conversion(introduction, entries, _list_notes(workload, converted))
    except ConfigError as error:
        raise _blame(workload, error, checks, probes) from None


def _read_probe(workload: Workload, key: str, node: yaml.Node) -> OldProbe:
    data = build_data(node, workload.source)
    if not isinstance(data, dict):
        raise workload.refuse(node, f"{key}: must be a mapping")
    handlers = [kind for kind in (*_CONVERTED, EXEC) if data.get(kind) is not None]
    if len(handlers) != 1:
        flaw = f"more than one handler, {' and '.join(handlers)}" if handlers else "no handler"
        raise workload.refuse(node, f"{key}: has {flaw}")
    if not isinstance(data[handlers[0]], dict):
        raise workload.refuse(find(node, handlers[0]), f"{key}.{handlers[0]}: must be a mapping")
    numbers = {field: _read_number(workload, node, key, field) for field in TIMING}
    return OldProbe(key, node, data, handlers[0], make_timing(numbers))


def _read_number(workload: Workload, node: yaml.Node, key: str, field: str) -> int:
    """Return a number of a probe; 0 if it is missing or null."""
    value = build_data(found, workload.source) if (found := find(node, field)) is not None else 0
    if type(value) is not int or value < 0:
        raise workload.refuse(found, f"{key}.{field}: must be a whole number, and not negative")
    return value


def _convert(workload: Workload, container: yaml.Node, probe: OldProbe) -> _Replacement:
    given = probe.data[probe.kind]
    options = {
        key: _escape(key, value) for key, value in given.items() if value is not None and value != _DEFAULTS.get(key)
    }
    options["host"] = options.get("host") or POD
    if not options.get("path", "/"):
        del options["path"]
    if "port" in options:
        options["port"] = _resolve_port(workload, container, probe, options["port"])
    groups = {probe.group, Group.STARTUP} if probe.group is Group.LIVENESS else {probe.group}
    timing = probe.timing
    return _Replacement(
        probe.group.value,
        probe.kind,
        {key: options[key] for key in sorted(options, key=lambda key: (*_ORDER, key).index(key))},
        frozenset(groups),
        choose_period(timing),
        timing.timeout,
        choose_threshold(timing),
    )


def _escape(key: str, value: Any) -> Any:
    """Return the value of an option in which `$(NAME)` stays a text, as it does in a probe."""
    referring = key in ("host", "path") and isinstance(value, str)
    return _REFERENCE.sub(lambda match: f"${match[0]}", value) if referring else value


def _resolve_port(workload: Workload, container: yaml.Node, probe: OldProbe, port: Any) -> Any:
    """Return a port as a number; a name is that of a port of the container, as in ResolveContainerPort."""
    if not isinstance(port, str):
        return port
    numbers = {find_text(item, "name"): find(item, "containerPort") for item in list_items(container, "ports")}
    if (number := numbers.get(port)) is not None:
        return build_data(number, workload.source)
    if port.isdecimal() and port.isascii() and len(port) <= MAX_DIGITS:
        return int(port)
    names = ", ".join(filter(None, numbers)) or "(none)"
    message = f"{probe.key}.{probe.kind}.port: the container has no port with this name; its names are: {names}"
    raise workload.refuse(find(probe.node, probe.kind, "port"), message)


def _merge(checks: Sequence[_Replacement]) -> list[_Replacement]:
    """Return the checks, with one for several that look at the same thing in the same way."""
    merged: dict[str, _Replacement] = {}
    for check in checks:
        handler = json.dumps([check.kind, check.options, check.timeout], sort_keys=True)
        first = merged.setdefault(handler, check)
        merged[handler] = replace(
            first,
            groups=first.groups | check.groups,
            period=min(first.period, check.period),
            failure_threshold=min(first.failure_threshold, check.failure_threshold),
        )
    return list(merged.values())


def _list_options(check: _Replacement) -> dict[str, Any]:
    return {
        "name": check.name,
        check.kind: check.options,
        "periodSeconds": check.period,
        "timeoutSeconds": check.timeout,
        "failureThreshold": check.failure_threshold,
        "groups": [group.value for group in Group if group in check.groups],
    }


def _blame(
    workload: Workload, error: ConfigError, checks: Sequence[_Replacement], probes: Mapping[str, OldProbe]
) -> ConfigError:
    """Return the complaints about a configuration as complaints about the probes that it comes from."""
    complaints = []
    for complaint in error.complaints:
        index = complaint.path[1] if len(complaint.path) > 1 else 0
        name = checks[index].name if isinstance(index, int) else checks[0].name
        probe = next(probe for probe in probes.values() if probe.group.value == name)
        node = find(probe.node, *(key for key in complaint.path[2:4] if isinstance(key, str))) or probe.node
        path = ".".join(map(str, (probe.key, *complaint.path[2:])))
        complaints += workload.refuse(node, f"{path}: {complaint.message}").complaints
    return ConfigError(complaints)


def _list_notes(workload: Workload, probes: Sequence[OldProbe]) -> Iterator[Complaint]:
    for probe in probes:
        headers = probe.data[probe.kind].get("httpHeaders")
        names = [header.get("name") for header in headers if isinstance(header, dict)] if type(headers) is list else []
        if any(SECRET_HEADER.search(str(name)) for name in names):
            yield workload.note(f"warning: {probe.key}: a header may be a secret, which the ConfigMap now shows too")
