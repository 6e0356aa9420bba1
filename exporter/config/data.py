"""YAML nodes -> plain dicts, lists and scalars, with the line of every place and complaints about invalid nodes.

The scalars are those of YAML 1.2's core schema, not PyYAML's 1.1: `on`, `yes` and `1:30` are strings, and `010` is ten.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from yaml.resolver import BaseResolver

from exporter.config.complaint import Complaint, ConfigError, Keys
from exporter.config.nodes import MAX_DEPTH, MAX_VALUES, UNRESOLVED

_EXACT = 2**53  # from here on, a float may stand for another whole number
MAX_DIGITS = 40  # of a whole number; Python takes quadratic time to read one

_YAML = "tag:yaml.org,2002:"
_STR, _INT, _FLOAT, _MERGE = f"{_YAML}str", f"{_YAML}int", f"{_YAML}float", f"{_YAML}merge"
# Without the tag, which may be a password that begins with an exclamation mark.
_UNSUPPORTED_TAG = "has an unsupported tag: remove it, or put a value that begins with ! in quotes"
# Both can come from an escape, although libyaml itself rejects the escape of an unpaired surrogate.
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
# The type of a scalar by its text (YAML 1.2.2, section 10.3.2), and the merge key of YAML 1.1:
#   null | Null | NULL | ~ | (empty)                                        null
#   true | True | TRUE | false | False | FALSE                              bool
#   [-+]? [0-9]+  |  0o [0-7]+  |  0x [0-9a-fA-F]+                          int
#   [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?      float
#   [-+]? ( \.inf | \.Inf | \.INF )  |  \.nan | \.NaN | \.NAN               float
_CORE_SCHEMA = re.compile(
    r"""(?:(?P<null>~|null|Null|NULL|)
    |(?P<bool>true|True|TRUE|false|False|FALSE)
    |(?P<int>[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)
    |(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))
    |(?P<merge><<))\Z""",
    re.VERBOSE,
)


class Count:
    """The number of values so far."""

    def __init__(self) -> None:
        self.values = 0

    @property
    def full(self) -> bool:
        """Whether there are too many."""
        return self.values > MAX_VALUES


class Builder:
    """Turns the nodes of one document into plain data. `source` is the file's name in complaints.

    `count` counts the values of several documents together.
    """

    def __init__(self, source: str, count: Count | None = None) -> None:
        self._source = source
        self._ancestors: list[yaml.Node] = []
        self._count = count or Count()
        self._together = ", together with the files before it" if self._count.values else ""
        self.lines: dict[Keys, int] = {}
        """The line of every place."""
        self.complaints: list[Complaint] = []
        self.unreadable: set[Keys] = set()
        """Places whose value is unknown; a complaint says why."""

    def build(self, node: yaml.Node, path: Keys = ()) -> Any:
        """Return the value of a node; None, with a complaint, if it is unknown.

        Raises ConfigError if there are too many values or levels.
        """
        self.lines.setdefault(path, _find_line(node))
        self._count.values += 1
        if self._count.full:
            message = f"has more than {MAX_VALUES} values, counting those that aliases repeat{self._together}"
            self._refuse(node, message)
        if isinstance(node, yaml.ScalarNode):
            return self._build_scalar(node, path)
        if node in self._ancestors:
            return self._skip(node, path, "contains itself through an alias; remove the alias")
        if node.tag not in (BaseResolver.DEFAULT_MAPPING_TAG, BaseResolver.DEFAULT_SEQUENCE_TAG):
            return self._skip(node, path, _UNSUPPORTED_TAG)
        with self._descend(node):
            if isinstance(node, yaml.MappingNode):
                return self._build_mapping(node, path)
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]

    def _build_scalar(self, node: yaml.ScalarNode, path: Keys) -> Any:
        try:
            return _construct(node)
        except ValueError as error:
            return self._skip(node, path, str(error))

    def _build_mapping(self, node: yaml.MappingNode, path: Keys) -> dict[str, Any]:
        """Return a mapping's own keys and those that it merges. Its own keys win, wherever the `<<` is."""
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if _find_tag(key) == _MERGE:
                merged = self._merge(value, path) | merged
        return merged | self._build_own_keys(node, path)

    def _build_own_keys(self, node: yaml.MappingNode, path: Keys) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if _find_tag(key) == _MERGE:
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._skip(key, path, "a key must be text; if this is a template's {{ }}, render the template first")
                continue
            inner = (*path, key.value)
            if key.value in mapping:
                self._complain(key, inner, f"duplicate key, first used on line {self.lines[inner]}")
            self.lines[inner] = _find_line(key)
            mapping[key.value] = self.build(value, inner)
        return mapping

    def _merge(self, node: yaml.Node, path: Keys) -> dict[str, Any]:
        """Return the keys that `<<` adds: those of a mapping, or of a list of mappings, of which the first wins."""
        if isinstance(node, yaml.SequenceNode):
            with self._descend(node):
                return self._merge_all(node.value, path)
        return self._merge_all([node], path)

    def _merge_all(self, nodes: list[yaml.Node], path: Keys) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for node in nodes:
            if isinstance(node, yaml.MappingNode):
                merged = (self.build(node, path) or {}) | merged
            else:
                self._skip(node, path, "'<<' takes a mapping or a list of mappings")
        return merged

    @contextmanager
    def _descend(self, node: yaml.Node) -> Iterator[None]:
        """Build what is inside this node. Aliases and `<<` can nest nodes more deeply than the text does."""
        if len(self._ancestors) >= MAX_DEPTH:
            self._refuse(node, f"nested deeper than {MAX_DEPTH} levels, counting aliases")
        self._ancestors.append(node)
        yield
        self._ancestors.pop()

    def _complain(self, node: yaml.Node, path: Keys, message: str) -> None:
        self.complaints.append(Complaint(self._source, _find_line(node), path, message))

    def _skip(self, node: yaml.Node, path: Keys, message: str) -> None:
        self._complain(node, path, message)
        self.unreadable.add(path)

    def _refuse(self, node: yaml.Node, message: str) -> None:
        raise ConfigError([*self.complaints, Complaint(self._source, _find_line(node), (), message)])


def _find_line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _find_tag(node: yaml.Node) -> str:
    """Return the tag of a node: the explicit one, or the one that its text implies."""
    return imply_tag(node.value) if node.tag == UNRESOLVED else str(node.tag)


def imply_tag(text: str) -> str:
    """Return the tag of a scalar without quotes and without a tag."""
    match = _CORE_SCHEMA.match(text)
    return f"{_YAML}{match.lastgroup}" if match else _STR


def _construct(node: yaml.ScalarNode) -> bool | int | float | str | None:
    """Return the value of a scalar. Raises ValueError with the message of a complaint."""
    text, tag = str(node.value), _find_tag(node)
    if tag in (_STR, _MERGE):
        if match := _UNUSABLE.search(text):
            character = f"U+{ord(match.group()):04X}"
            raise ValueError(f"contains the character {character}, which no name, path or argument can contain")
        return text
    if tag not in _CONSTRUCTORS:
        raise ValueError(_UNSUPPORTED_TAG)
    if imply_tag(text) not in (tag, _INT if tag == _FLOAT else tag):
        raise ValueError(f"does not match its tag {tag.replace(_YAML, '!!')}: correct the value, or remove the tag")
    return _CONSTRUCTORS[tag](text)


def _parse_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"must have at most {MAX_DIGITS} digits, not {len(text)}")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _parse_float(text: str) -> int | float:
    """Return a number; as a whole one, what has an exponent and is whole: Helm writes 2147483648 as 2.147483648e+09."""
    value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    whole = "e" in text.lower() and abs(value) < _EXACT and value.is_integer()
    return int(value) if whole else value


_CONSTRUCTORS: dict[str, Callable[[str], bool | int | float | None]] = {
    f"{_YAML}null": lambda _: None,
    f"{_YAML}bool": lambda text: text[0] in "tT",
    _INT: _parse_int,
    _FLOAT: _parse_float,
}
