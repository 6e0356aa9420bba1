"""A converted configuration: its text, and notes about everything that could not be converted as it was."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from exporter.config.checks import Config, parse
from exporter.config.complaint import Complaint, ConfigError
from exporter.config.files import Text
from exporter.probe.reference import AssumedEnvironment
from exporter.text import replace_unprintable

ASSUMED = AssumedEnvironment({"POD_IP": "127.0.0.1"})
"""The environment of the machine that will use the configuration."""
_MISSING_EXTRA = "requires the extra"
_LINE = 118  # characters of a comment
# YAML 1.2 reads more texts as numbers than PyYAML, which writes YAML 1.1.
_MAY_BE_NUMBER = re.compile(r"[-+.~0-9](?!\d*\.\d+\.\d+\.\d+\Z)")


@dataclass(frozen=True, slots=True)
class Converted:
    """One check: its options, and the comments to write above it. Without options, only the comments."""

    options: dict[str, Any]
    comments: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """The text of a configuration, and the notes for the person who converts it."""

    text: str
    notes: Sequence[Complaint] = field(default=())


def make_conversion(introduction: str, checks: Sequence[Converted], notes: Iterable[Complaint]) -> Conversion:
    """Write the configuration, and load it as `serve` does.

    A missing extra is a note, because the configuration may be for another machine. Raises ConfigError with any other
    complaint about the text.
    """
    parts = [*_comment(introduction), "checks:"]
    for check in checks:
        parts += [f"  {line}" for comment in check.comments for line in _comment(comment)]
        parts += [f"  {line}" for line in (_dump([check.options]).splitlines() if check.options else ())]
    text = "\n".join([*parts, ""])
    loaded = load_elsewhere(text.encode(), "(converted)")
    missing = loaded if isinstance(loaded, list) else []
    return Conversion(text, tuple(dict.fromkeys([*notes, *missing])))


def load_elsewhere(content: bytes, source: str) -> Config | list[Complaint]:
    """Load a configuration for another machine, or return complaints about extras that are missing on this one.

    Raises ConfigError with any other complaint.
    """
    try:
        return parse([Text(source, content)], ASSUMED)
    except ConfigError as error:
        others = [complaint for complaint in error.complaints if _MISSING_EXTRA not in complaint.message]
        if others:
            raise ConfigError(others) from None
        return error.complaints


def _comment(text: str) -> list[str]:
    """Return the text as lines of a comment."""
    lines, line = [], "#"
    for word in map(replace_unprintable, text.split()):
        if len(line) + len(word) + 1 > _LINE:
            lines.append(line)
            line = "#  "
        line += f" {word}"
    return [*lines, line]


class _Dumper(yaml.SafeDumper):
    """Writes a text in plain style only if every reader takes it for a text, and indents lists."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, False)  # noqa: FBT003


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    quoted = "\n" in text or _MAY_BE_NUMBER.match(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, '"' if quoted else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]


def _dump(value: Any) -> str:
    """Return a value as YAML: a list or mapping of scalars in one line, everything else in lines of its own."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=10_000))
