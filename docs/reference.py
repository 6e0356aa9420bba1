"""Writes the reference pages beside this file from the code: `make docs`. A test keeps them in step."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exporter.config.checks import schema
from exporter.evaluation.settle import settle
from exporter.kinds import kinds
from exporter.model import Group, Measurement, Outcome, Reason, Result, Snapshot, Spec, State, Vitals
from exporter.render.metrics import TEXT, exposition

HERE = Path(__file__).parent
NOTE = "<!-- Written by docs/reference.py from the code: change it there, then `make docs`. -->\n"


def pages() -> dict[str, str]:
    """Every page's text by its file name."""
    return {
        "kinds.md": "".join(_kinds()),
        "configuration.md": "".join(_configuration()),
        "metrics.md": "".join(_metrics()),
    }


def _kinds() -> Iterator[str]:
    yield f"{NOTE}# Kinds of checks\n\nEach kind is a key of a check, and its options stand inside it.\n"
    definitions = schema()["$defs"]
    for name, kind in kinds().items():
        yield f"\n## {name}\n\n{_prose(kind.__doc__ or '')}\n"
        for extra in sorted(set(kind.needs.values())):
            yield f"\nNeeds the extra `{extra}`: `pip install 'health-exporter[{extra}]'`.\n"
        yield from _options(definitions[kind.__name__], definitions)
        if kind.measures:
            yield "\n| metric | |\n|---|---|\n"
            yield from (f"| `health_{name}` | {help_text} |\n" for name, help_text in kind.measures.items())
        for example in kind.examples:
            yield f"\n```yaml\n{example.strip()}\n```\n"


def _configuration() -> Iterator[str]:
    yield f"{NOTE}# Configuration\n\nA YAML file with one key, `checks`: a list of checks.\n"
    described = schema()
    check = described["$defs"]["Check"]
    own = {key: value for key, value in check["properties"].items() if key not in kinds()}
    yield "\nEach check has one kind ([kinds.md](kinds.md)) and, beside it:\n"
    yield from _options({**check, "properties": own}, described["$defs"])


def _options(described: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    properties = described.get("properties", {})
    if not properties:
        return
    yield "\n| option | type | default | |\n|---|---|---|---|\n"
    for name, option in properties.items():
        required = name in described.get("required", ())
        default = "required" if required else _code(option.get("default"))
        text = _prose(option.get("description", "")).replace("\n", " ").replace("|", "\\|")
        yield f"| `{name}` | {_type(option, definitions)} | {default} | {text} |\n"


def _type(option: dict[str, Any], definitions: dict[str, Any]) -> str:
    match option:
        case {"anyOf": alternatives}:
            return " or ".join(_type(each, definitions) for each in alternatives if each.get("type") != "null")
        case {"$ref": reference}:
            return _type(definitions[reference.rpartition("/")[2]], definitions)
        case {"enum": values}:
            return ", ".join(f"`{each}`" for each in values)
        case {"type": "array", "items": items}:
            return f"list of {_type(items, definitions)}"
        case {"type": "object", "properties": properties}:
            return "{" + ", ".join(f"`{name}`" for name in properties) + "}"
    return str(option.get("type", "anything"))


def _code(default: Any) -> str:
    if default is None:
        return ""
    return f"`[{', '.join(map(str, default))}]`" if isinstance(default, list) else f"`{default}`"


def _metrics() -> Iterator[str]:
    yield f"{NOTE}# Metrics\n\n"
    yield "| family | type | labels | |\n|---|---|---|---|\n"
    for block in re.split(r"^# HELP ", exposed().decode(), flags=re.MULTILINE)[1:]:
        head, kind, *samples = block.splitlines()
        name, _, help_text = head.partition(" ")
        labels = ", ".join(f"`{label}`" for label in re.findall(r'(\w+)="', samples[0]))
        yield f"| `{name}` | {kind.rpartition(' ')[2]} | {labels} | {help_text} |\n"
    yield "| `health_<measurement>_limit` | gauge | `check`, `kind`, `level` | "
    yield "Limit at which the measurement makes the check warn or fail, where there is one. |\n"


def exposed() -> bytes:
    """An exposition with every family there is."""
    return exposition(_example(), Vitals(running=True), {(Group.LIVENESS, 200): 1}, content_type=TEXT)


def _example() -> Snapshot:
    """One check of each kind, which failed with every measurement it can make."""
    states = {}
    for name, kind in kinds().items():
        measurements = tuple(Measurement(each, 1) for each in kind.measures)
        outcome = Outcome.failed(Reason.ERROR, "", *measurements)
        spec = Spec(name, name, failure_threshold=1, depends_on=tuple(states)[:1], latency_buckets=(0.1,))
        states[name] = settle(
            settle(State(spec), Result(Outcome.passed("", *measurements), 1, 1, 1)), Result(outcome, 1, 1, 1)
        )
    return Snapshot(1, 1, states)


def _prose(text: str) -> str:
    """A docstring as Markdown: its lines without their indentation."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


if __name__ == "__main__":
    for file_name, text in pages().items():
        (HERE / file_name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"written: {', '.join(pages())}\n")
