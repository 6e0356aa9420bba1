"""A manifest as YAML nodes: reading and changing it without changing the meaning of any other part.

Plain data would lose how a scalar is written, and with it what it means: Kubernetes reads `0644`, `on` and `"8080"`
according to YAML 1.1, and this project according to YAML 1.2. Nodes keep the text, the quotes and the tag of every
scalar, so that kubectl reads the output as it would have read the input.

Comments and the layout are lost. Anchors stay, except in a document that is changed: there, `copy_node` replaces each
alias and each merge key by a copy of its value.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from yaml.resolver import BaseResolver, Resolver

from exporter.config.complaint import Complaint, ConfigError
from exporter.config.data import Builder, imply_tag
from exporter.config.nodes import UNRESOLVED

MAX_DEPTH = 100  # levels; the schema in a CustomResourceDefinition may have 50
MAX_VALUES = 1_000_000  # values and keys in a stream, and in a document with the copies of its aliases

_STR, _MAP, _SEQ = (
    BaseResolver.DEFAULT_SCALAR_TAG,
    BaseResolver.DEFAULT_MAPPING_TAG,
    BaseResolver.DEFAULT_SEQUENCE_TAG,
)
_MERGE = "<<"
_NOWHERE = yaml.Mark("", 0, 0, 0, None, 0)
_resolver = Resolver()


def refuse(source: str, node: yaml.Node | None, message: str) -> ConfigError:
    """Return the error about a node of the file with this name."""
    mark = node.start_mark if node is not None else None
    return ConfigError([Complaint(source, None if mark is None else mark.line + 1, (), message)])


def find(node: yaml.Node | None, *keys: str) -> yaml.Node | None:
    """Return the value that the keys lead to; None if it is missing or null."""
    for key in keys:
        values = node.value if isinstance(node, yaml.MappingNode) else ()
        node = next((value for name, value in values if name.value == key), None)
    return None if is_null(node) else node


def find_text(node: yaml.Node | None, *keys: str) -> str:
    """Return the text of the scalar that the keys lead to; empty if it is missing or not a scalar."""
    value = find(node, *keys)
    return value.value if isinstance(value, yaml.ScalarNode) else ""


def list_items(node: yaml.Node | None, *keys: str) -> list[yaml.Node]:
    """Return the entries of the list that the keys lead to; none if it is missing or not a list."""
    value = find(node, *keys)
    return value.value if isinstance(value, yaml.SequenceNode) else []


def is_null(node: yaml.Node | None) -> bool:
    """Return whether a value is missing or null, which is the same to Kubernetes."""
    return node is None or (node.tag == UNRESOLVED and node.value in ("", "~", "null", "Null", "NULL"))


def assign(mapping: yaml.Node, key: str, value: yaml.Node) -> None:
    """Set a key of a mapping, in its place if the mapping has it, otherwise at the end."""
    for index, (name, _) in enumerate(mapping.value):
        if name.value == key:
            mapping.value[index] = (name, value)
            return
    mapping.value.append((make_node(key), value))


def remove(mapping: yaml.Node | None, key: str) -> None:
    """Remove a key of a mapping, if the mapping has it."""
    if isinstance(mapping, yaml.MappingNode):
        mapping.value = [(name, value) for name, value in mapping.value if name.value != key]


def require(mapping: yaml.Node, key: str, empty: dict[str, Any] | list[Any]) -> yaml.Node:
    """Return the mapping or list at a key. It is created if it is missing or null."""
    value, created = find(mapping, key), make_node(empty, mapping.start_mark)
    if isinstance(value, type(created)):
        return value
    assign(mapping, key, created)
    return created


def build_data(node: yaml.Node, source: str) -> Any:
    """Return a node as plain data. Raises ConfigError if it has a value that JSON does not have."""
    builder = Builder(source)
    data = builder.build(node)
    if builder.complaints:
        raise ConfigError(builder.complaints)
    try:
        json.dumps(data, allow_nan=False)
    except ValueError:
        raise refuse(source, node, "has a number that JSON does not have, such as .inf or .nan") from None
    return data


def make_node(value: Any, mark: yaml.Mark = _NOWHERE) -> yaml.Node:
    """Return plain data as nodes, in the style of kubectl: text has quotes only if it needs them.

    `mark` is the place in the file that the data comes from, if any.
    """
    match value:
        case Mapping():
            pairs = [(make_node(key, mark), make_node(item, mark)) for key, item in value.items()]
            return yaml.MappingNode(_MAP, pairs, mark)
        case str():
            style = "|" if "\n" in value else '"' if _needs_quotes(value) else None
            return yaml.ScalarNode(_STR if style else UNRESOLVED, value, mark, style=style)
        case Sequence():
            return yaml.SequenceNode(_SEQ, [make_node(item, mark) for item in value], mark)
    return yaml.ScalarNode(UNRESOLVED, json.dumps(value), mark)


def _needs_quotes(text: str) -> bool:
    """Return whether a text without quotes would be another value, in YAML 1.1 or in YAML 1.2."""
    tag = _resolver.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return tag != _STR or imply_tag(text) != _STR


def copy_node(node: yaml.Node, source: str) -> yaml.Node:
    """Return a copy of a document without aliases and merge keys. Raises ConfigError if it is not a manifest."""
    return _Copier(source).copy(node)


class _Copier:
    def __init__(self, source: str) -> None:
        self._source = source
        self._values = self._depth = 0

    def copy(self, node: yaml.Node) -> yaml.Node:
        self._values += 1
        if self._values > MAX_VALUES or self._depth > MAX_DEPTH:
            raise refuse(self._source, node, "has too many values or levels, counting those that aliases repeat")
        if isinstance(node, yaml.ScalarNode):
            return yaml.ScalarNode(node.tag, node.value, node.start_mark, node.end_mark, node.style)
        self._depth += 1
        value = self._copy_pairs(node) if isinstance(node, yaml.MappingNode) else list(map(self.copy, node.value))
        self._depth -= 1
        return type(node)(node.tag, value, node.start_mark, node.end_mark)

    def _copy_pairs(self, node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
        """Return the pairs of a mapping, and after them those that it merges and does not have itself."""
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                message = "a key must be text; if this is a template's {{ }}, render the template first"
                raise refuse(self._source, key, message)
            if key.tag == UNRESOLVED and key.value == _MERGE:
                merged += self._list_merged(value)
            elif key.value in pairs:
                raise refuse(self._source, key, "duplicate key")
            else:
                pairs[key.value] = (self.copy(key), self.copy(value))
        for key, value in merged:
            if key.value not in pairs:
                pairs[key.value] = (self.copy(key), self.copy(value))
        return list(pairs.values())

    def _list_merged(self, value: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
        """Return the pairs that a merge key merges; the first with a key counts, as in the merge key's definition."""
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(mapping, yaml.MappingNode) for mapping in sources):
            raise refuse(self._source, value, "<< must be followed by an alias of a mapping, or a list of them")
        self._depth += 1  # a mapping that merges itself
        pairs = [pair for mapping in sources for pair in self.copy(mapping).value]
        self._depth -= 1
        return pairs
