"""Pasted pieces of other tools' files: the message shows the check that they are here, or names the command for it.

It has the numbers of the pasted text, and `...` in place of other values, which may be secrets. A probe of a Kubernetes
manifest is recognized anywhere; a module of blackbox_exporter and a healthcheck of Compose in a file of their own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from exporter.config.complaint import Complaint, Keys
from exporter.config.document import Document
from exporter.config.synonyms import SYNONYMS, parse_duration
from exporter.kinds import kinds
from exporter.model import Group

_FORM = "write checks: [{name: NAME, httpGet: {path: ..., port: ...}}]"
_COMMAND = "`health-exporter convert FILE` prints all of them"
PROBES = {"livenessProbe": Group.LIVENESS, "readinessProbe": Group.READINESS, "startupProbe": Group.STARTUP}
"""The probes of a container in a manifest, each with the group of the same question."""
TIMING = ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold")
"""The numbers of a probe."""


def find_pasted_file(document: Document) -> list[Complaint]:
    """Return complaints about a file that belongs to another tool as a whole; none if it may be a configuration."""
    if isinstance(document.data, list):
        message = "must be a mapping of keys to values, not a list: write checks: above the list"
        return [document.make_complaint((), message)]
    root = document.find_mapping()
    if "checks" in root:
        return []
    probes = list(find_probes(root))
    if {"apiVersion", "kind"} <= root.keys():
        probes = [(path, f"{message}; {_COMMAND}") for path, message in probes]
    found = [*probes, *_find_modules(document), *_find_healthchecks(document)]
    if not found and (kind := next((key for key in root if key in kinds()), None)):
        found = [((kind,), f"belongs in the list checks: {_write_check(root)}")]
    if not found and {"apiVersion", "kind"} <= root.keys():
        found = [((), f"is a Kubernetes manifest without a probe; {_FORM}")]
    if not found and "scrape_configs" in root:
        found = [((), f"is a configuration of Prometheus; {_FORM}")]
    return [document.make_complaint(path, message) for path, message in found]


def find_probes(value: Any, path: Keys = ()) -> Iterator[tuple[Keys, str]]:
    """Yield the place of each probe of a manifest in a value, with the message about it."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from find_probes(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in PROBES:
                yield from find_probes(item, (*path, key))
            elif isinstance(item, dict):
                check = _write_check({**item, "groups": (PROBES[key].value,)})
                yield (*path, key), f"is a probe of a manifest; write it as a check: {check}"


def _find_modules(document: Document) -> Iterator[tuple[Keys, str]]:
    for name, module in document.find_mapping("modules").items():
        if isinstance(module, dict) and "prober" in module:
            yield ("modules", name), f"is a module of blackbox_exporter; write a check for each target; {_COMMAND}"


def _find_healthchecks(document: Document) -> Iterator[tuple[Keys, str]]:
    services = {("services", name): service for name, service in document.find_mapping("services").items()}
    for path, service in ({(): document.find_mapping()} | services).items():
        healthcheck = service.get("healthcheck") if isinstance(service, dict) else None
        if isinstance(healthcheck, dict):
            test = healthcheck.get("test")
            shell = isinstance(test, str) or (isinstance(test, list) and test[:1] == ["CMD-SHELL"])
            command = ("sh", "-c", "...") if shell else ("...",)
            check = _write_check({"exec": {"command": command}, **_convert_timing(healthcheck)})
            yield (*path, "healthcheck"), f"is a healthcheck of Compose; write it as a check: {check}"


def _convert_timing(options: Mapping[str, Any]) -> dict[str, int]:
    """Return the timing of another tool in the options of a check, as far as it is readable."""
    numbers = {known: parse_duration(options.get(name)) for name, known in SYNONYMS.items() if name in options}
    return {known: number for known, number in numbers.items() if number is not None}


def _write_check(options: Mapping[str, Any]) -> str:
    """Return a check in one line, with those of its options that are known."""
    kind = next((key for key in options if key in kinds()), None)
    form: dict[str, Any] = {}
    if kind:
        known = {field.alias or name for name, field in kinds()[kind].model_fields.items()}
        values = options[kind] if isinstance(options[kind], dict) else {}
        form[kind] = {key: value for key, value in values.items() if key in known}
    form |= {key: options[key] for key in (*TIMING, "groups") if key in options}
    return f"- {{name: NAME, {_write(form)[1:]}"


def _write(value: Any) -> str:
    """Return a value as YAML in one line: a number as it is, `...` for a text. A tuple is our own text."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case tuple():
            return f"[{', '.join(value)}]"
        case list():
            return f"[{', '.join(map(str, value))}]" if value and all(type(item) is int for item in value) else "[...]"
        case dict():
            return f"{{{', '.join(f'{key}: {_write(item)}' for key, item in value.items())}}}"
    return "..."
