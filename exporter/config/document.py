"""A YAML document that knows its lines, so that a complaint can say where.

Duplicate keys, alias bombs, foreign tags and files larger than any sane configuration are complaints, never a
traceback.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from exporter.config import complaint
from exporter.config import nodes as syntax
from exporter.config.complaint import Complaint, ConfigError, Keys

__all__ = ["Complaint", "ConfigError", "Document", "Keys"]

SIZE_LIMIT = 4 * 2**20  # bytes; a ConfigMap ends at 1 MiB

Model = TypeVar("Model", bound=BaseModel)


@dataclass(slots=True)
class Document:
    """What a file says, as plain dicts, lists and scalars, with the line of every place in it."""

    source: str
    data: Any = None
    lines: dict[Keys, int] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)
    unreadable: set[Keys] = field(default_factory=set)
    """Places whose value is not known, which `complaints` tells of: what follows from that is not told as well."""

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
        document = cls(source)
        if len(content) > SIZE_LIMIT:
            message = f"larger than {SIZE_LIMIT // 2**20} MiB: not a configuration"
            raise ConfigError([Complaint(source, None, (), message)])
        try:
            root = syntax.compose(syntax.decode(content))
            if root is not None and (root.value or not isinstance(root, yaml.ScalarNode)):
                document.data = _Builder(document).value(root, ())
        except syntax.TextError as error:
            raise ConfigError([*document.complaints, Complaint(source, error.line, (), str(error))]) from None
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
        own = [each for each in further if each.path not in self.unreadable]
        complaints = [*self.complaints, *own]
        try:
            # As JSON, in which strictness is about the types that a file can hold: a list is right for a tuple.
            value = model.model_validate_json(json.dumps(self.data), strict=True, by_alias=True, by_name=False)
        except ValidationError as error:
            complaints += self._explained(model, error, {each.path for each in own})
        if complaints:
            raise ConfigError(complaints)
        return value

    def _explained(self, model: type[BaseModel], error: ValidationError, told: set[Keys]) -> Iterator[Complaint]:
        """The model's complaints, without those that follow from another fault or have been told in better words."""
        errors = error.errors(include_url=False)
        known = told | self.unreadable | complaint.misspelt(model, errors)
        for each in errors:
            path = tuple(key for key in each["loc"] if key != "[key]")
            place = path[:-1] if each["type"] == "missing" else path
            if path in known or place in self.unreadable:
                continue
            if each["type"] == "too_short" and len(each["input"]) >= each["ctx"]["min_length"]:
                continue  # only because entries of it are wrong
            yield Complaint(self.source, self.line(place), path, complaint.message(model, each))


class _Builder:
    """Turns YAML nodes into plain data, noting lines and complaining of what YAML allows and nobody means."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: list[yaml.Node] = []
        self._values = 0

    def value(self, node: yaml.Node, path: Keys) -> Any:
        """What a node says; None, with a complaint, where that is not known."""
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        self._values += 1
        if self._values > syntax.VALUE_LIMIT:
            self._refuse(node, f"holds more than {syntax.VALUE_LIMIT} values, counting what aliases repeat")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node in self._open:
            return self._unreadable(node, path, "refers to itself through an alias")
        if message := syntax.unsupported(node):
            return self._unreadable(node, path, message)
        with self._opened(node):
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]

    def _scalar(self, node: yaml.ScalarNode, path: Keys) -> Any:
        try:
            return syntax.scalar(node)
        except ValueError as error:
            return self._unreadable(node, path, str(error))

    def _mapping(self, node: yaml.MappingNode, path: Keys) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == syntax.MERGE:
                merged = self._merged(value, path) | merged
        own: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == syntax.MERGE:
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._unreadable(key, path, "a key must be a word; if this is a template's {{ }}, it was not filled in")
                continue
            inner = (*path, key.value)
            if key.value in own:
                self._complain(key, inner, f"duplicate key, first in line {self._document.lines[inner]}")
            self._document.lines[inner] = key.start_mark.line + 1
            own[key.value] = self.value(value, inner)
        return merged | own

    def _merged(self, node: yaml.Node, path: Keys) -> dict[str, Any]:
        if isinstance(node, yaml.SequenceNode):
            with self._opened(node):
                return self._all_merged(node.value, path)
        return self._all_merged([node], path)

    def _all_merged(self, nodes: list[yaml.Node], path: Keys) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for node in nodes:
            if isinstance(node, yaml.MappingNode):
                merged = (self.value(node, path) or {}) | merged
            else:
                self._unreadable(node, path, "'<<' takes a mapping or a list of mappings")
        return merged

    @contextmanager
    def _opened(self, node: yaml.Node) -> Iterator[None]:
        """Within this node. Aliases and '<<' nest what is not nested in the text."""
        if len(self._open) >= syntax.DEPTH_LIMIT:
            self._refuse(node, f"nested deeper than {syntax.DEPTH_LIMIT} levels, counting aliases")
        self._open.append(node)
        yield
        self._open.pop()

    def _complain(self, node: yaml.Node, path: Keys, message: str) -> None:
        self._document.complaints.append(Complaint(self._document.source, node.start_mark.line + 1, path, message))

    def _unreadable(self, node: yaml.Node, path: Keys, message: str) -> None:
        self._complain(node, path, message)
        self._document.unreadable.add(path)

    def _refuse(self, node: yaml.Node, message: str) -> None:
        raise syntax.TextError(node.start_mark.line + 1, message)
