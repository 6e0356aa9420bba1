"""Expectations of a text or of a JSON document that a target sends, for the kinds that read one.

Regular expressions have RE2's syntax: RE2 takes time linear in the length of the text, while Python's can take
practically forever on a text that an attacker chose. JSONPath is RFC 9535, with bounded work (jsonpath.py).
"""

import json
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, model_validator

from exporter.model import Deadline
from exporter.probe.extras import MissingExtraError, require
from exporter.probe.jsonvalue import is_equal
from exporter.probe.options import HeaderName, Number, Options, Text
from exporter.redaction import redact
from exporter.text import format_number, replace_surrogates, shorten

if TYPE_CHECKING:
    from exporter.probe.jsonpath import Path

MAX_SHOWN_VALUE = 60  # characters of a value in a summary


def _validate_pattern(text: str) -> str:
    try:
        compile_pattern(text)
    except MissingExtraError:
        raise
    except ValueError as error:
        raise ValueError(f"is not a valid RE2 regular expression: {redact(str(error), text)}") from None
    return text


def _validate_path(text: str) -> str:
    try:
        _compile_path(text)
    except MissingExtraError:
        raise
    except ValueError as error:
        raise ValueError(f"is not a valid JSONPath: {redact(str(error), text)}") from None
    return text


Pattern = Annotated[str, AfterValidator(_validate_pattern)]
"""A regular expression in RE2's syntax, which may match anywhere in the text."""
JsonPath = Annotated[str, AfterValidator(_validate_path)]
"""A JSONPath of RFC 9535, without the functions match and search, whose run time has no bound."""


class JsonExpectation(Options):
    """What the values at a JSONPath must be. There must be at least one value, and every value must match."""

    path: JsonPath
    """Path of the values, such as `$.status` or `$.checks[*].up`."""
    equals: Any = None
    """Fails when a value is not equal to this one, which can have any JSON type."""
    matches: Pattern | None = None
    """Fails when a value is not a string that matches this regular expression (RE2)."""
    min: Number | None = None
    """Fails when a value is below this number."""
    max: Number | None = None
    """Fails when a value is above this number."""

    @model_validator(mode="after")
    def _validate_range(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not be above max")
        return self

    def find_fault(self, content: Any, deadline: Deadline) -> str | None:
        """Return why the content of a JSON body does not meet the expectation; None if it does.

        Raises TimeoutError if the deadline passes before that is known.
        """
        missing = True
        try:
            for value in _compile_path(self.path).find(content, deadline):
                missing = False
                if fault := self._find_value_fault(value):
                    return f"{self.path} is {_show(value)}, {fault}"
        except ValueError as error:
            return f"{self.path} {error}"
        except RecursionError:
            return f"{self.path} compares values that are nested too deeply"
        return f"{self.path} is missing from the body" if missing else None

    def _find_value_fault(self, value: Any) -> str | None:
        if "equals" in self.model_fields_set and not is_equal(value, self.equals):
            return f"expected {_show(self.equals)}"
        if self.matches is not None and not (isinstance(value, str) and matches(self.matches, value)):
            return f"which does not match {self.matches}"
        if self.min is None and self.max is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "which is not a number"
        if self.min is not None and value < self.min:
            return f"below {format_number(self.min)}"
        return f"above {format_number(self.max)}" if self.max is not None and value > self.max else None


class HeaderExpectation(Options):
    """What a header of the response must be like. It must be there, unless only `notMatches` is set."""

    name: HeaderName
    """Name of the header. The values of a repeated header are joined by `, `."""
    contains: Text | None = None
    """Fails when the value does not contain this text."""
    matches: Pattern | None = None
    """Fails when the value does not match this regular expression (RE2)."""
    not_matches: Pattern | None = None
    """Fails when the value matches this regular expression (RE2)."""

    @property
    def key(self) -> bytes:
        """The name as responses are searched for it."""
        return self.name.lower().encode()

    def find_fault(self, value: bytes | None) -> str | None:
        """Return why the value of the header does not meet the expectation; None if it does."""
        if value is None:
            optional = self.not_matches is not None and self.contains is None and self.matches is None
            return None if optional else f"the header {self.name} is missing"
        text = value.decode("utf-8", "replace")
        if self.contains is not None and self.contains not in text:
            return f"the header {self.name} does not contain the expected text"
        if self.matches is not None and not matches(self.matches, text):
            return f"the header {self.name} does not match {self.matches}"
        if self.not_matches is not None and matches(self.not_matches, text):
            return f"the header {self.name} matches {self.not_matches}"
        return None


def matches(pattern: str, text: str) -> bool:
    """Return whether the regular expression matches anywhere in the text."""
    if not text.isascii():  # JSON can contain half of a surrogate pair, which RE2 cannot search
        text = replace_surrogates(text)
    return compile_pattern(pattern).search(text) is not None


@cache
def _compile_path(text: str) -> "Path":
    from exporter.probe.jsonpath import compile_path  # few configurations need it

    return compile_path(text)


@cache
def compile_pattern(pattern: str, *, dot_all: bool = False) -> Any:
    """Return a regular expression of RE2; `.` matches a line end only with `dot_all`. Raises ValueError."""
    re2 = require("re2", "expect")
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = dot_all
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        message = error.args[0]
        raise ValueError(message.decode() if isinstance(message, bytes) else message) from None


def _show(value: Any) -> str:
    try:
        return shorten(json.dumps(value), MAX_SHOWN_VALUE)
    except RecursionError:
        return "a deeply nested value"
