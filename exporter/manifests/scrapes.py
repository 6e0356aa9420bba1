"""Targets of blackbox_exporter: those of a Prometheus configuration after relabeling, and those of a command line."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from exporter.config.complaint import Complaint
from exporter.config.document import Document
from exporter.config.synonyms import parse_duration
from exporter.net import url
from exporter.probe.expect import compile_pattern
from exporter.text import replace_surrogates

DEFAULT_INTERVAL, DEFAULT_TIMEOUT = 60, 10  # seconds: Prometheus' scrape_interval and scrape_timeout
_ANY = "(.*)"
_MAX_LABEL = 64 * 1024  # characters; rules can double a label again and again
_MAX_DIGITS = 9  # of the number of a group
DEFAULT_MODULE = "http_2xx"  # blackbox_exporter's, without the parameter `module`

_MODULE, _TARGET, _HOSTNAME = "__param_module", "__param_target", "__param_hostname"
_GROUP = re.compile(r"[$](?:(\d+)|\{(\w+)\}|([$]))")


@dataclass(frozen=True, slots=True)
class Target:
    """What a module probes, and how often. Times are in seconds."""

    module: str
    address: str
    interval: int = DEFAULT_INTERVAL
    timeout: int | None = None
    """The timeout of the scrape, which bounds that of the module; None if it is unknown."""
    hostname: str = ""
    """The parameter `hostname`: the Host header, or the name that TLS verifies."""

    @property
    def public(self) -> str:
        """For messages: without credentials and query string."""
        with suppress(ValueError):
            parsed = url.parse(self.address)
            if parsed.host:
                return parsed.public
        return self.address.rpartition("@")[2].partition("?")[0]

    @property
    def label(self) -> str:
        """For the name of the check: without the scheme."""
        return self.public.partition("://")[2] or self.public


def parse_target(word: str, modules: Sequence[str]) -> Target:
    """Read `[MODULE=]TARGET`. Without a module, it is the only one there is, or blackbox_exporter's default."""
    module, equals, address = word.partition("=")
    if equals and (module in modules or re.fullmatch(r"[\w-]+", module)):
        return Target(module, address)
    return Target(modules[0] if len(modules) == 1 else DEFAULT_MODULE, word)


def find_targets(document: Document) -> tuple[list[Target], list[Complaint]]:
    """Return the targets of all jobs that scrape blackbox_exporter, and notes about those that cannot be seen."""
    scrapes = document.find_mapping().get("scrape_configs")
    targets: list[Target] = []
    notes: list[Complaint] = []
    for index, job in enumerate(scrapes if isinstance(scrapes, list) else ()):
        if isinstance(job, dict) and _probes(job):
            found, messages = _read_job(job, document.find_mapping("global"))
            targets += [target for target in found if target not in targets]
            notes += [document.make_complaint(("scrape_configs", index), message) for message in messages]
    if document.find_mapping().get("scrape_config_files"):
        message = "left out: give the targets of these files as [MODULE=]TARGET"
        notes.append(document.make_complaint(("scrape_config_files",), message))
    return targets, notes


def _probes(job: dict[str, Any]) -> bool:
    """Return whether a job passes a module or a target to an exporter such as blackbox_exporter."""
    rules = (rule.get("target_label") for rule in _list_mappings(job.get("relabel_configs")))
    parameters = job.get("params")
    given = {f"__param_{name}" for name in parameters} if isinstance(parameters, dict) else set()
    return not {_MODULE, _TARGET}.isdisjoint({*rules, *given})


def _read_job(job: dict[str, Any], defaults: dict[str, Any]) -> tuple[list[Target], list[str]]:
    interval, timeout = _read_timing(job, defaults)
    targets: list[Target] = []
    messages: list[str] = []
    for labels, extra in _list_labels(job):
        relabeled = _relabel(labels, _list_mappings(job.get("relabel_configs")), messages)
        if relabeled is None:
            continue
        address = relabeled.get(_TARGET, "")
        if not address:
            messages.append("left out: a target without __param_target after relabeling")
            continue
        module = relabeled.get(_MODULE) or DEFAULT_MODULE
        targets.append(Target(module, address, interval, timeout, relabeled.get(_HOSTNAME, "")))
        if extra:
            messages.append(f"left out: the labels {', '.join(extra)}; add them in Prometheus")
    if dynamic := [key for key in job if key.endswith("_sd_configs")]:
        message = f"left out: the targets of {', '.join(dynamic)}; give them as [MODULE=]TARGET"
        messages.append(message)
    return targets, list(dict.fromkeys(messages))


def _read_timing(job: dict[str, Any], defaults: dict[str, Any]) -> tuple[int, int]:
    def read(key: str, default: int) -> int:
        return parse_duration(job.get(key)) or parse_duration(defaults.get(key)) or default

    interval = read("scrape_interval", DEFAULT_INTERVAL)
    return interval, math.ceil(min(read("scrape_timeout", DEFAULT_TIMEOUT), interval))


def _list_labels(job: dict[str, Any]) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield the labels of each target before relabeling, and the names of those that the file adds to it."""
    parameters = job.get("params")
    common = {"job": str(job.get("job_name", "")), "__scheme__": "http", "__metrics_path__": "/metrics"}
    for name, values in (parameters if isinstance(parameters, dict) else {}).items():
        if isinstance(values, list) and values:
            common[f"__param_{name}"] = str(values[0])
    for group in _list_mappings(job.get("static_configs")):
        labels = group.get("labels")
        extra = {name: str(value) for name, value in labels.items()} if isinstance(labels, dict) else {}
        addresses = group.get("targets")
        for address in addresses if isinstance(addresses, list) else ():
            public = [name for name in extra if not name.startswith("__") and name != "instance"]
            yield {**common, **extra, "__address__": str(address)}, public


def _relabel(labels: dict[str, str], rules: list[dict[str, Any]], messages: list[str]) -> dict[str, str] | None:
    """Return the labels after relabeling (model/relabel/relabel.go); None if the target is dropped."""
    for rule in rules:
        action = str(rule.get("action", "replace")).lower()
        separator = str(rule.get("separator", ";"))
        names = rule.get("source_labels")
        values = [labels.get(str(name), "") for name in (names if isinstance(names, list) else ())]
        try:
            value = _join(part for text in values for part in (separator, text)).removeprefix(separator)
            match = _match(str(rule.get("regex", _ANY)), value)
            if action in ("replace", "lowercase", "uppercase"):
                _replace(labels, rule, action, value, match)
        except ValueError as error:
            messages.append(f"left out: a rule of relabel_configs: {error}")
            continue
        if action in ("keep", "drop"):
            if (match is None) == (action == "keep"):
                return None
        elif action in ("replace", "lowercase", "uppercase"):
            continue
        elif action not in ("labelmap", "labeldrop", "labelkeep"):
            messages.append(f"left out: a rule of relabel_configs with the action {action}")
    return labels


def _match(pattern: str, value: str) -> Any:
    """Return the match of a whole value. Raises ValueError for a pattern that RE2 does not accept."""
    if pattern == _ANY:  # the default does without RE2, which an extra installs
        return re.fullmatch(_ANY, value, re.DOTALL)
    return compile_pattern(pattern, dot_all=True).fullmatch(replace_surrogates(value))


def _replace(labels: dict[str, str], rule: dict[str, Any], action: str, value: str, match: Any) -> None:
    target = str(rule.get("target_label", ""))
    if action == "lowercase":
        labels[target] = value.lower()
    elif action == "uppercase":
        labels[target] = value.upper()
    elif match is not None:
        labels[_expand(target, match)] = _expand(str(rule.get("replacement", "$1")), match)


def _expand(template: str, match: Any) -> str:
    """Return a template with its `$1` and `${1}` replaced (regexp.Expand). Raises ValueError if it becomes too long."""

    def find(found: "re.Match[str]") -> str:
        with suppress(IndexError):
            name = found[1] or found[2]
            return "$" if found[3] else match[int(name[:_MAX_DIGITS]) if name.isdecimal() else name] or ""
        return ""

    def split() -> Iterator[str]:
        end = 0
        for found in _GROUP.finditer(template):
            yield template[end : found.start()]
            yield find(found)
            end = found.end()
        yield template[end:]

    return _join(split())


def _join(parts: Iterable[str]) -> str:
    """Return the parts as one text. Raises ValueError if it is longer than the value of a label."""
    texts, length = [], 0
    for part in parts:
        length += len(part)
        if length > _MAX_LABEL:
            raise ValueError(f"a label has more than {_MAX_LABEL} characters")
        texts.append(part)
    return "".join(texts)


def _list_mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
