"""YAML text -> nodes with their lines: the grammar, its errors in plain words, and the maximum size.

A hostile text costs no more than one of the maximum size. data.py interprets the nodes.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from exporter.config.complaint import Complaint, ConfigError

MAX_DEPTH = 20  # levels; a configuration needs seven
MAX_VALUES = 200_000  # values and keys in a text; 5,000 checks have half as many

_T = TypeVar("_T")

UNRESOLVED = "?"
"""The tag of a scalar without quotes and without a tag, as in YAML 1.2.2, section 3.3.2: its text decides its type."""

# The complement of YAML's printable characters, without the byte order mark (YAML 1.2.2, section 5.1):
#   c-printable ::= x09 | x0A | x0D | [x20-x7E] | x85 | [xA0-xD7FF] | [xE000-xFFFD] | [x10000-x10FFFF]
_FORBIDDEN = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
# A byte order mark, or two ASCII characters of two bytes each (YAML 1.2.2, section 5.2).
_UTF_16 = re.compile(rb"\xff\xfe|\xfe\xff|\0[^\0]\0[^\0]|[^\0]\0[^\0]\0")
_QUOTATION = re.compile(r"\"..+\"|'..+'")  # in an error, a piece of the text: a single character is left
_TABS = "indentation must use spaces, not tabs"
_PROBLEMS = {
    "did not find expected ',' or '}'": "a '{' is not closed, or a ',' is missing",
    "did not find expected ',' or ']'": "a '[' is not closed, or a ',' is missing",
    "found unexpected end of stream": "a quote is not closed",
    "did not find expected '-' indicator": "a line is not indented like the lines around it",
    "did not find expected key": "a line is not indented like the lines around it",
    "could not find expected ':'": "a key has no ':'",
    "found a tab character that violates indentation": _TABS,
    "found unknown escape character": "an unknown escape; in single quotes, \\ has no special meaning",
    "found invalid Unicode character escape code": "an escape that is not a valid character",
    "mapping values are not allowed in this context": "an unexpected ':', or a line that is indented too far; "
    "put text that contains ': ' in quotes",
}
"""libyaml's errors, each with a message that helps to correct it."""


class _TextError(Exception):
    """The text as a whole is invalid; the line is None if it is unknown."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line


def compose(content: bytes, source: str) -> yaml.Node | None:
    """Return the root node of a file's only document; None if it is empty.

    `source` is the file's name in the complaint. Raises ConfigError if the content is not valid YAML.
    """
    with _report(source):
        root = _compose(_decode(content), lambda text: _Loader(text).get_single_node())
    return None if isinstance(root, yaml.ScalarNode) and not root.value else root


def compose_all(content: bytes, source: str, max_depth: int, max_values: int) -> list[yaml.Node]:
    """Return the root nodes of a file's documents, without the empty ones. Raises ConfigError as `compose` does."""
    with _report(source):
        roots = _compose(_decode(content), lambda text: list(_Loader(text, max_depth, max_values).get_nodes()))
    return [root for root in roots if not (isinstance(root, yaml.ScalarNode) and not root.value)]


@contextmanager
def _report(source: str) -> Iterator[None]:
    try:
        yield
    except _TextError as error:
        raise ConfigError([Complaint(source, error.line, (), str(error))]) from None


def _decode(content: bytes) -> str:
    """Return the text of a file, with or without a byte order mark."""
    if _UTF_16.match(content):
        raise _TextError(1, "UTF-16 text, as `>` in Windows PowerShell writes it: save the file as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8 text: contains the byte {content[error.start]:#04x}; save the file as UTF-8"
        raise _TextError(line, message) from None
    if match := _FORBIDDEN.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise _TextError(line, f"not YAML: contains the character U+{ord(match.group()):04X}; remove it")
    return text


def _compose(text: str, load: Callable[[str], _T]) -> _T:
    try:
        return load(text)
    except yaml.MarkedYAMLError as error:
        raise _explain(error, text) from None


def _explain(error: yaml.MarkedYAMLError, text: str) -> _TextError:
    """Return PyYAML's error, in words that help to correct it if its cause is known."""
    start, mark, problem = error.context_mark, error.problem_mark or error.context_mark, error.problem or "not readable"
    if mark is None:
        return _TextError(None, f"not YAML: {_QUOTATION.sub('...', problem)}")
    line = min(mark.line, text.rstrip().count("\n")) + 1  # an unexpected end is reported on the last line
    if problem == "but found another document":
        return _TextError(line, "a second YAML document begins here; only one is allowed")
    if "cannot start any token" in problem:
        first = "".join(text.split("\n")[mark.line : mark.line + 1])[mark.column :][:1]
        hint = _TABS if first == "\t" else f"put a value that begins with {first} in quotes"
        return _TextError(line, f"not YAML: {hint}")
    context = f", in the part that begins on line {start.line + 1}" if start and start.line + 1 < line else ""
    if problem.startswith("found undefined alias"):
        return _TextError(line, "not YAML: an alias without its anchor; put a value that begins with * in quotes")
    return _TextError(line, f"not YAML: {_PROBLEMS.get(problem) or _QUOTATION.sub('...', problem)}{context}")


class _PythonParser(Reader, Scanner, Parser):
    """The parser for a PyYAML that was built without libyaml: it does the same, ten times slower."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)


try:
    from yaml.cyaml import CParser as _Parser  # type: ignore[attr-defined]
except ImportError:
    _Parser = _PythonParser  # type: ignore[assignment,misc]


class _Loader(Composer, BaseResolver, _Parser):
    """libyaml's parser, but not its composer, which recurses on `[[[[...` until the process dies."""

    def __init__(self, text: str, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES) -> None:
        _Parser.__init__(self, text)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = self._values = 0
        self._max_depth = max_depth
        self._max_values = max_values

    def get_nodes(self) -> Iterator[yaml.Node]:
        """Yield the root node of each document."""
        while self.check_node():
            yield cast("yaml.Node", self.get_node())

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        self._values += 1
        if self._depth > self._max_depth:
            event: Any = self.peek_event()
            raise _TextError(event.start_mark.line + 1, f"nested deeper than {self._max_depth} levels")
        if self._values > self._max_values:
            raise _TextError(None, f"has more than {self._max_values} values, which is too many")
        if not self.check_event(yaml.AliasEvent):
            # YAML allows an anchor to be defined again; PyYAML's composer does not.
            self.anchors.pop(getattr(self.peek_event(), "anchor", None), None)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: tuple[bool, bool]) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            return UNRESOLVED
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]
