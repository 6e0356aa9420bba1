"""YAML text -> nodes that know their lines, and nodes -> scalars.

The scalars are those of YAML 1.2's core schema rather than PyYAML's 1.1: `on`, `yes` and `1:30` are strings, and `010`
is ten. No text, however hostile, costs more than the limits allow.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

DEPTH_LIMIT = 20  # levels; a configuration needs seven
VALUE_LIMIT = 200_000  # values and keys in a text; 5,000 checks have half of that
DIGIT_LIMIT = 40  # digits of a whole number

MERGE = "tag:yaml.org,2002:merge"
_CORE = "tag:yaml.org,2002:"
_ODD = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_PLAIN = re.compile(
    r"""(?:(?P<null>~|null|Null|NULL|)
    |(?P<bool>true|True|TRUE|false|False|FALSE)
    |(?P<int>[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)
    |(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))
    |(?P<merge><<))\Z""",
    re.VERBOSE,
)


class TextError(Exception):
    """A text that is no YAML, or none that a configuration can be; the line, where there is one."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line


def decode(content: bytes) -> str:
    """The text of a file, with or without a byte order mark. Raises TextError when it is none."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TextError(line, f"not UTF-8 text: there is a byte {content[error.start]:#04x}") from None
    if odd := _ODD.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise TextError(line, f"not YAML: there is a character U+{ord(odd.group()):04X}")
    return text


def compose(text: str) -> yaml.Node | None:
    """The root of a text's one document; None where there is nothing but space and comments. Raises TextError."""
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _explained(error, text) from None


def scalar(node: yaml.ScalarNode) -> bool | int | float | str | None:
    """What a scalar says. Raises ValueError with a message for people."""
    text: str = node.value
    if node.tag in (BaseResolver.DEFAULT_SCALAR_TAG, MERGE):
        if "\0" in text:
            raise ValueError("holds the character U+0000, which no name, path or argument can hold")
        return text
    kind = node.tag.removeprefix(_CORE)
    if kind not in _CONSTRUCT:
        raise ValueError(unsupported(node))
    seen = _PLAIN.match(text)
    if seen is None or seen.lastgroup not in (kind, "int" if kind == "float" else kind):
        raise ValueError(f"is not the {kind} that its tag announces")
    return _CONSTRUCT[kind](text)


def unsupported(node: yaml.Node) -> str:
    """What is wrong with a node's tag; empty when it is the one that YAML gives to every mapping or sequence."""
    if node.tag in (BaseResolver.DEFAULT_MAPPING_TAG, BaseResolver.DEFAULT_SEQUENCE_TAG):
        return ""
    return f"the tag {node.tag.replace(_CORE, '!!')} is not supported: leave it out"


def _int(text: str) -> int:
    if len(text) > DIGIT_LIMIT:
        raise ValueError(f"must be a smaller number: this one has {len(text)} digits")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_CONSTRUCT: dict[str, Callable[[str], bool | int | float | None]] = {
    "null": lambda _: None,
    "bool": lambda text: text[0] in "tT",
    "int": _int,
    "float": _float,
}


_PROBLEMS = {
    "did not find expected ',' or '}'": "a '{' is not closed, or a ',' is missing",
    "did not find expected ',' or ']'": "a '[' is not closed, or a ',' is missing",
    "found unexpected end of stream": "a quote is not closed",
    "did not find expected '-' indicator": "a line is not indented as those around it",
    "did not find expected key": "a line is not indented as those around it",
    "could not find expected ':'": "a key has no ':'",
    "found a tab character that violates indentation": "a tab, and only spaces may indent",
    "found unknown escape character": "an unknown escape; in single quotes a \\ is just a \\",
    "found invalid Unicode character escape code": "an escape that is no character",
    "mapping values are not allowed in this context": "a ':' too many, or a line indented too far; text with ': ' "
    "has to stand in quotes",
}
"""What libyaml says, and what helps."""


def _explained(error: yaml.MarkedYAMLError, text: str) -> TextError:
    """PyYAML's error, in words that say what to do where that is known."""
    at, began, problem = error.problem_mark or error.context_mark, error.context_mark, error.problem or "no sense in it"
    if at is None:
        return TextError(None, f"not YAML: {problem}")
    line = min(at.line, text.rstrip().count("\n")) + 1  # an end that comes too early is one of the last line
    if problem == "but found another document":
        return TextError(line, "a second document begins here: a configuration is one")
    if "cannot start any token" in problem:
        first = "".join(text.split("\n")[at.line : at.line + 1])[at.column :][:1]
        hint = _PROBLEMS["found a tab character that violates indentation"]
        quoted = f"a value that begins with {first} has to stand in quotes"
        return TextError(line, f"not YAML: {hint if first == chr(9) else quoted}")
    since = f", in what begins in line {began.line + 1}" if began and began.line + 1 < line else ""
    return TextError(line, f"not YAML: {_PROBLEMS.get(problem, problem)}{since}")


class _Pure(Reader, Scanner, Parser):
    """The parser for a PyYAML that was built without libyaml: the same, ten times slower."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)


try:
    from yaml.cyaml import CParser as _Parser  # type: ignore[attr-defined]
except ImportError:
    _Parser = _Pure  # type: ignore[assignment,misc]


class _Loader(Composer, BaseResolver, _Parser):
    """libyaml's parser, but not its composer, which recurses on `[[[[...` until the process dies."""

    def __init__(self, text: str) -> None:
        _Parser.__init__(self, text)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        self._values += 1
        if self._depth > DEPTH_LIMIT:
            event: Any = self.peek_event()
            raise TextError(event.start_mark.line + 1, f"nested deeper than {DEPTH_LIMIT} levels")
        if self._values > VALUE_LIMIT:
            raise TextError(None, f"holds more than {VALUE_LIMIT} values: not a configuration")
        if not self.check_event(yaml.AliasEvent):
            self.anchors.pop(getattr(self.peek_event(), "anchor", None), None)  # an anchor may be set anew
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: tuple[bool, bool]) -> str:
        if kind is yaml.ScalarNode and implicit[0] and (seen := _PLAIN.match(value)):
            return f"{_CORE}{seen.lastgroup}"
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]
