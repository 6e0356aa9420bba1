"""A YAML document that knows its lines, so that a complaint can say where.

YAML 1.2's core schema rather than PyYAML's 1.1: `on` and `1:30` are strings, as a reader expects. Duplicate keys,
alias bombs, foreign tags and files larger than any sane configuration are complaints, never a traceback.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

SIZE_LIMIT = 4 * 2**20  # bytes; a ConfigMap ends at 1 MiB
DEPTH_LIMIT = 20  # levels; a configuration needs seven
ALIAS_LIMIT = 20_000  # nodes reached through aliases

Model = TypeVar("Model", bound=BaseModel)
Keys = tuple[str | int, ...]
"""The way from the root of a document to a place in it."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong, and where."""

    source: str
    line: int | None
    path: Keys
    message: str

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path).removeprefix(".")
        return f"{where}: {path}: {self.message}" if path else f"{where}: {self.message}"


class ConfigError(ValueError):
    """A configuration that cannot be used. Carries every complaint there is, in the order of the lines."""

    def __init__(self, complaints: list[Complaint]) -> None:
        self.complaints = sorted(set(complaints), key=lambda each: (each.line or 0, str(each)))
        super().__init__("\n".join(map(str, self.complaints)))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """libyaml's parser where it is there, with the resolvers of YAML 1.2's core schema."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}


for _tag, _pattern, _first in (
    ("null", "~|null|Null|NULL|", "~nN"),
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(0|[1-9][0-9]{0,30})|0x[0-9a-fA-F]{1,16}", "-+0123456789"),
    ("float", r"[-+]?((0|[1-9][0-9]{0,30})(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][-+]?[0-9]{1,3})?", "-+.0123456789"),
    ("merge", "<<", "<"),
):
    _starts = [*_first, ""] if _tag == "null" else [*_first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _starts)


@dataclass(slots=True)
class Document:
    """What a file says, as plain dicts, lists and scalars, with the line of every place in it."""

    source: str
    data: Any = None
    lines: dict[Keys, int] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read a file. Raises ConfigError when it cannot be read or is no YAML."""
        try:
            with path.open("rb") as file:
                content = file.read(SIZE_LIMIT + 1)
        except OSError as error:
            raise ConfigError([Complaint(str(path), None, (), f"cannot be read: {error.strerror}")]) from None
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: bytes, source: str) -> "Document":
        """Parse a file's content. Raises ConfigError when it is no YAML; smaller faults are left in `complaints`."""
        if len(content) > SIZE_LIMIT:
            message = f"larger than {SIZE_LIMIT // 2**20} MiB: not a configuration"
            raise ConfigError([Complaint(source, None, (), message)])
        document = cls(source)
        try:
            text = content.decode("utf-8-sig")
            loader = _Loader(text)
            _Builder(document, loader).build(loader.get_single_node())
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ConfigError([Complaint(source, line, (), "not UTF-8 text")]) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = ", ".join(each for each in (error.context, error.problem) if each)
            raise ConfigError(
                [Complaint(source, mark.line + 1 if mark else None, (), f"not YAML: {problem}")]
            ) from None
        except yaml.YAMLError as error:  # the reader's: a character that no YAML may hold
            message = f"not YAML: {str(error).splitlines()[0]}"
            raise ConfigError([Complaint(source, None, (), message)]) from None
        return document

    def line(self, path: Keys) -> int | None:
        """The line of a place, or of the nearest place around it that is written down."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def complaint(self, path: Keys, message: str) -> Complaint:
        """A complaint about a place in this document."""
        return Complaint(self.source, self.line(path), path, message)

    def validated(self, model: type[Model], further: Iterable[Complaint] = ()) -> Model:
        """The document as this model. Raises ConfigError with its own complaints, the model's and the further ones."""
        complaints = [*self.complaints, *further]
        try:
            value = model.model_validate(self.data)
        except ValidationError as error:
            complaints += [self.complaint(_keys(each), _message(model, each)) for each in error.errors()]
        if complaints:
            raise ConfigError(complaints)
        return value


class _Builder:
    """Turns YAML nodes into plain data, noting lines and complaining of what YAML allows and nobody means."""

    def __init__(self, document: Document, loader: yaml.SafeLoader) -> None:
        self._document = document
        self._loader = loader
        self._seen: set[int] = set()
        self._repeated = 0

    def build(self, node: yaml.Node | None) -> None:
        if node is not None:
            self._document.data = self._value(node, ())

    def _value(self, node: yaml.Node, path: Keys) -> Any:
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        self._bound(node, path)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(child, (*path, index)) for index, child in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except (yaml.constructor.ConstructorError, ValueError):
            return self._complain(node, path, f"the tag {node.tag} is not supported")

    def _mapping(self, node: yaml.MappingNode, path: Keys) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = self._merged(value_node, path) | merged
                continue
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                self._complain(key_node, path, "a key must be a word")
                continue
            inner = (*path, key)
            if key in own:
                self._complain(key_node, inner, f"duplicate key, first in line {self._document.lines[inner]}")
            self._document.lines[inner] = key_node.start_mark.line + 1
            own[key] = self._value(value_node, inner)
        return merged | own

    def _merged(self, node: yaml.Node, path: Keys) -> dict[Any, Any]:
        self._bound(node, path)
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[Any, Any] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self._complain(source, path, "'<<' takes a mapping or a list of mappings")
                continue
            merged = self._value(source, path) | merged
        return merged

    def _bound(self, node: yaml.Node, path: Keys) -> None:
        """Keep what aliases multiply within limits."""
        self._repeated += id(node) in self._seen
        self._seen.add(id(node))
        if self._repeated > ALIAS_LIMIT:
            self._refuse(node, path[:1], "too much of this file is aliases")
        if len(path) > DEPTH_LIMIT:
            self._refuse(node, path[:1], f"nested deeper than {DEPTH_LIMIT} levels")

    def _complain(self, node: yaml.Node, path: Keys, message: str) -> None:
        self._document.complaints.append(Complaint(self._document.source, node.start_mark.line + 1, path, message))

    def _refuse(self, node: yaml.Node, path: Keys, message: str) -> None:
        self._complain(node, path, message)
        raise ConfigError(self._document.complaints)


def _keys(error: ErrorDetails) -> Keys:
    return tuple(key for key in error["loc"] if key != "[key]")


def _message(model: type[BaseModel], error: ErrorDetails) -> str:
    match error["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            key = str(error["loc"][-1])
            near = difflib.get_close_matches(key, _keys_at(model, error["loc"][:-1]), 1)
            return f"unknown key{f', did you mean {near[0]}?' if near else ''}"
        case "string_pattern_mismatch" if error["loc"][-1] == "name":
            text = "must be letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
        case "model_type" | "model_attributes_type" | "dict_type":
            text = "must be a mapping of keys to values"
        case "int_type" | "int_from_float":
            text = "must be a whole number"
        case _:
            text = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
            text = text[0].lower() + text[1:]
    given = error["input"]
    return f"{text}, not {given!r:.60}" if isinstance(given, str | int | float) or given is None else text


def _keys_at(model: type[BaseModel], path: Keys) -> list[str]:
    """The keys that may stand at a place of the model."""
    current: Any = model
    for key in path:
        if isinstance(key, str):
            current = next(
                each.annotation for name, each in current.model_fields.items() if key == (each.alias or name)
            )
        while not (isinstance(current, type) and hasattr(current, "model_fields")):
            current = next(arg for arg in get_args(current) if arg is not type(None))
    return [each.alias or name for name, each in current.model_fields.items()]
