"""The manual of the configuration: what each kind checks, and its options, from the JSON Schema and the docstrings.

The reference pages and `health-exporter kinds` show it.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from exporter.config.schema import build_schema
from exporter.kinds import kinds
from exporter.probe.check import Probe

Schema = Mapping[str, Any]
_END = "...\n"  # with which PyYAML ends a document that is a bare scalar


@dataclass(frozen=True, slots=True)
class Option:
    """An option, or a key inside one, as `option.key` or `option[].key`. The type and the description are Markdown."""

    name: str
    type: str
    required: bool
    default: str | None  # as YAML; None if there is no default
    description: str


def list_kind_options(kind: str) -> Iterator[Option]:
    """Yield the options of a kind, each followed by the keys inside it."""
    document = _load_schema()
    reference = document["$defs"]["Check"]["properties"][kind]
    yield from _list_options(_resolve(reference["$ref"], document["$defs"]), document["$defs"])


def list_check_options() -> Iterator[Option]:
    """Yield the options that every check has."""
    document = _load_schema()
    check = document["$defs"]["Check"]
    options = {name: option for name, option in check["properties"].items() if name not in kinds()}
    yield from _list_options({**check, "properties": options}, document["$defs"])


def describe_kind(kind: type[Probe]) -> str:
    """Return the manual of a kind, without its options."""
    return unindent(kind.__doc__ or "")


def summarize(kind: type[Probe]) -> str:
    """Return the first sentence of a kind's manual, on one line and without its final period."""
    paragraph = describe_kind(kind).partition("\n\n")[0].replace("\n", " ")
    return re.split(r"\.(?= |$)", paragraph, maxsplit=1)[0]


def list_extras(kind: type[Probe]) -> list[str]:
    """Return the extras that a kind requires."""
    return sorted(set(kind.needs.values()))


def unindent(text: str) -> str:
    """Return a docstring as Markdown: its lines without indentation."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


@cache
def _load_schema() -> Schema:
    return build_schema()


def _list_options(model: Schema, definitions: Schema, prefix: str = "") -> Iterator[Option]:
    for name, option in model.get("properties", {}).items():
        required = name in model.get("required", ())
        default = None if required else _format_default(option.get("default"))
        text = unindent(option.get("description", "")).replace("\n", " ")
        yield Option(f"{prefix}{name}", _name_type(option, definitions), required, default, text)
        is_list, nested = _find_model(option, definitions)
        yield from _list_options(nested, definitions, f"{prefix}{name}{'[]' if is_list else ''}.")


def _find_model(option: Schema, definitions: Schema) -> tuple[bool, Schema]:
    """Return the schema of the mapping that an option holds, empty without one; and whether it holds a list of them."""
    match option:
        case {"anyOf": alternatives}:
            return next((found for other in alternatives if (found := _find_model(other, definitions))[1]), (False, {}))
        case {"$ref": reference}:
            return False, _resolve(reference, definitions)
        case {"type": "array", "items": items}:
            return True, _find_model(items, definitions)[1]
    return False, {}


def _name_type(option: Schema, definitions: Schema) -> str:
    """Return the type of an option in the words of YAML."""
    match option:
        case {"anyOf": alternatives}:
            return " or ".join(_name_type(other, definitions) for other in alternatives if other.get("type") != "null")
        case {"$ref": reference}:
            return _name_type(_resolve(reference, definitions), definitions)
        case {"enum": [*values, last]}:
            return f"{', '.join(f'`{value}`' for value in values)} or `{last}`"
        case {"type": "array", "items": items}:
            items_type = _name_type(items, definitions)
            return f"list of {items_type}" if items_type.startswith("`") else f"list of {items_type}s"
    name = str(option.get("type", "any"))
    return "mapping" if name == "object" else name


def _resolve(reference: str, definitions: Schema) -> Schema:
    """Return the definition that a `$ref` names."""
    definition: Schema = definitions[reference.rpartition("/")[2]]
    return definition


def _format_default(default: Any) -> str | None:
    if default is None:
        return None
    if default == "":
        return '""'
    text = yaml.safe_dump(default, default_flow_style=True, width=sys.maxsize)
    return text.removesuffix(_END).strip()
