"""Modules of blackbox_exporter and their targets -> checks.

A module alone is not a check: each of its targets becomes one. The rules of blackbox_exporter are those of its
config/config.go and prober/*.go. `probe_success` and a run of the check agree, unless a note says that something was
left out or changed.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from exporter.config.complaint import Complaint, ConfigError
from exporter.config.document import Document
from exporter.config.synonyms import parse_duration
from exporter.manifests import http_module, modules, websocket_module
from exporter.manifests.conversion import Conversion, Converted, make_conversion
from exporter.manifests.scrapes import DEFAULT_TIMEOUT, Target, find_targets, parse_target
from exporter.manifests.section import Section
from exporter.redaction import show_key

_INTRODUCTION = (
    "Converted from blackbox_exporter. groups: [] keeps the checks out of the Kubernetes probes: as before, they only "
    "have metrics and alerts."
)
_PROBERS = {
    "http": "httpGet",
    "tcp": "tcpSocket",
    "icmp": "icmp",
    "dns": "dns",
    "grpc": "grpc",
    "websocket": "websocket",
}
"""The probers of blackbox_exporter, each with the kind that does the same."""
_BUILDERS: dict[str, Callable[[Section, Target], list[dict[str, Any]]]] = {
    "httpGet": http_module.build,
    "tcpSocket": modules.build_tcp,
    "icmp": modules.build_icmp,
    "dns": modules.build_dns,
    "grpc": modules.build_grpc,
    "websocket": websocket_module.build,
}
_NAME_LENGTH = 63
_UNUSABLE = re.compile(r"[^A-Za-z0-9_.]+")
_DEPTH = 1  # a comment leaves out the key `modules`


def convert_modules(document: Document, scrapes: Document | None, words: Sequence[str]) -> Conversion:
    """Convert the modules of a document for their targets.

    The targets are those of a Prometheus configuration and those in `words`, each `[MODULE=]TARGET`. Raises ConfigError
    if there is no target, if a target's module is missing, or if nothing can be converted.
    """
    names = tuple(document.find_mapping("modules"))
    targets, notes = find_targets(scrapes) if scrapes else ([], [])
    targets += [parse_target(word, names) for word in words]
    _require_modules(document, names, targets)
    checks: list[Converted] = []
    for target in targets:
        found: list[Complaint] = []
        options = _convert(document, target, found)
        fresh = [note for note in dict.fromkeys(found) if note not in notes]
        notes += fresh
        comments = [f"{target.public}: not converted"] if not options else []
        comments += [str(Complaint("", None, note.path[_DEPTH:], note.message))[2:] for note in fresh]
        for name, check in zip(_choose_names(target, checks), options or [{}], strict=False):
            checks.append(Converted({"name": name, **check} if check else {}, comments))
            comments = []
    if not any(check.options for check in checks):
        raise ConfigError([*notes, document.make_complaint((), "no check can be made of these modules")])
    if unused := sorted({*names} - {target.module for target in targets}):
        message = f"left out, because no target uses them: {', '.join(map(show_key, unused))}"
        notes.append(document.make_complaint(("modules",), message))
    return make_conversion(_INTRODUCTION, checks, notes)


def _require_modules(document: Document, names: Sequence[str], targets: Sequence[Target]) -> None:
    missing = {target.module for target in targets} - {*names}
    if broken := [complaint for complaint in document.complaints if complaint.path not in document.unreadable]:
        raise ConfigError(broken)
    if not targets:
        message = "has no targets: name the Prometheus configuration that has them, or targets as [MODULE=]TARGET"
        raise ConfigError([document.make_complaint((), message)])
    if missing:
        known = f"the file has {', '.join(names)}" if names else "the file has no modules"
        messages = [f"a target uses the module {name}, which is missing; {known}" for name in sorted(missing)]
        raise ConfigError([document.make_complaint(("modules",), message) for message in messages])


def _convert(document: Document, target: Target, notes: list[Complaint]) -> list[dict[str, Any]]:
    """Return the options of the checks for a target, without their names; none if no kind does the same."""
    module = Section(document, ("modules", target.module), notes)
    prober = module.take_text("prober") or ""
    kind = _PROBERS.get(prober)
    if kind is None:
        module.note(f"not converted: no kind does what the prober {prober} does; keep blackbox_exporter for it")
        return []
    timing = _make_timing(module, target)
    try:
        built = _BUILDERS[kind](module.take_section(prober), target)
    except ValueError as error:
        module.note(f"not converted: {target.public}: {error}")
        return []
    for other in ("http", "tcp", "icmp", "dns", "grpc", "unix", "websocket"):
        module.take(other)  # blackbox_exporter reads only the one that is named like the prober
    module.close({}, {})
    return [{**timing, **options} for options in built]


def _make_timing(module: Section, target: Target) -> dict[str, Any]:
    """Return the timing: Prometheus' scrape sets the period, and bounds the module's timeout (getTimeout)."""
    timeout = module.take("timeout")
    seconds = parse_duration(timeout)
    if timeout is not None and seconds is None:
        module.note("left out: not a duration of hours, minutes, seconds or milliseconds", "timeout")
    bound = target.timeout or seconds or DEFAULT_TIMEOUT
    return {"groups": [], "periodSeconds": target.interval, "timeoutSeconds": min(seconds or bound, bound)}


def _choose_names(target: Target, checks: Sequence[Converted]) -> Iterator[str]:
    """Yield names for the checks of a target: the target's, and if it is taken, with the module or a number."""
    taken = {check.options.get("name") for check in checks}
    base = _shorten(target.label)
    candidates = [base, _shorten(f"{base}-{target.module}")]
    number = 1
    while True:
        name = candidates.pop(0) if candidates else _shorten(f"{base[: _NAME_LENGTH - 6]}-{(number := number + 1)}")
        if name not in taken:
            taken.add(name)
            yield name


def _shorten(text: str) -> str:
    """Return a text as the name of a check."""
    return _UNUSABLE.sub("-", text)[:_NAME_LENGTH].strip("-_.") or "target"
