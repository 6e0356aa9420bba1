"""The configuration of an injected exporter: what a manifest needs to know about it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from exporter.config.advice import give_advice
from exporter.config.complaint import Complaint
from exporter.config.document import Document
from exporter.config.texts import HERE
from exporter.kinds import kinds
from exporter.manifests.conversion import load_elsewhere
from exporter.manifests.timing import Timing, make_timing
from exporter.model import Group
from exporter.probe.reference import find_unset

Checks = Mapping[Group, Collection[Timing]]
"""The numbers of the checks in each group."""
_SCRAPE_INTERVAL = 0  # no advice about it: the livenessProbe of `inject` adds at least 30 s


@dataclass(frozen=True, slots=True)
class Configuration:
    """A valid configuration."""

    text: str
    checks: Checks
    startup_first: bool
    """Whether every check in `liveness` is also in `startup`."""
    variables: tuple[str, ...]
    """The environment variables that it reads, except POD_IP."""
    extras: tuple[str, ...]
    """The extras that the image must have."""
    advice: tuple[Complaint, ...] = ()
    """What `validate` advises, except about this machine; nothing if an extra is missing here."""


def parse(content: bytes, source: str) -> Configuration:
    """Read a configuration as the exporter does. Raises ConfigError.

    A missing extra is not an error, because the exporter runs in another image.
    """
    loaded = load_elsewhere(content, source)
    advice = [] if isinstance(loaded, list) else give_advice(loaded, _SCRAPE_INTERVAL)
    given = (replace(item, message=f"{item.message} (advice)") for item in advice if HERE not in item.message)
    return replace(examine(content, source), advice=tuple(given))


def examine(content: bytes, source: str) -> Configuration:
    """Return what a manifest needs to know about a valid configuration, without advice."""
    data = Document.parse(content, source).data
    checks = [(make_timing(entry), *_read_kind(entry)) for entry in data["checks"]]
    return Configuration(
        content.decode("utf-8-sig").replace("\r\n", "\n"),
        {group: tuple(timing for timing, groups, _ in checks if group in groups) for group in Group},
        all(Group.STARTUP in groups for _, groups, _ in checks if Group.LIVENESS in groups),
        tuple(dict.fromkeys(name for name in _find_variables(data) if name != "POD_IP")),
        tuple(sorted({extra for _, _, extras in checks for extra in extras})),
    )


def _read_kind(entry: Mapping[str, Any]) -> tuple[Collection[str], Collection[str]]:
    """Return the groups of a check, by default those of its kind, and the extras that the kind needs."""
    kind = next(kinds()[key] for key in entry if key in kinds())
    groups: list[str] | None = entry.get("groups")
    return kind.default_groups if groups is None else groups, kind.needs.values()


def _find_variables(value: Any) -> Iterator[str]:
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
