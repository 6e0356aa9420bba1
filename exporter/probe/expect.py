"""What a text must hold: expectations on an answer's body, for the kinds that read one.

Regular expressions are RE2's, whose time is linear in the text, because Python's can take for ever on a text that an
attacker chose. JSONPath is RFC 9535.
"""

import json
from functools import cache
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from exporter.probe.check import require
from exporter.probe.options import Options

SHOWN = 60  # characters of a value that was found


def _pattern(text: str) -> str:
    try:
        _compiled(text)
    except ValueError as error:
        raise ValueError(f"is no regular expression of RE2's syntax: {error}") from None
    return text


def _path(text: str) -> str:
    try:
        _query(text)
    except ValueError as error:
        raise ValueError(f"is no JSONPath: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression in RE2's syntax, found anywhere in the text."""
JsonPath = Annotated[str, AfterValidator(_path)]
"""A JSONPath of RFC 9535, without its functions match and search, which are not bounded."""
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class JsonExpectation(Options):
    """What the values at a JSONPath must be. All that are found must be so, and at least one must be found."""

    path: JsonPath
    """For example `$.status` or `$.checks[*].up`."""
    equals: Any = None
    """The value itself, of any JSON type."""
    matches: Pattern | None = None
    """A regular expression for a string."""
    min: _Number | None = None
    """The least number that is right."""
    max: _Number | None = None
    """The greatest number that is right."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not be above max")
        return self

    def complaint(self, document: Any) -> str | None:
        """What is wrong with this document, or None."""
        found = _query(self.path).findall(document)
        if not found:
            return f"{self.path} is not in the answer"
        return next(
            (f"{self.path} is {_shown(value)}, {wrong}" for value in found if (wrong := self._wrong(value))), None
        )

    def _wrong(self, value: Any) -> str | None:
        if "equals" in self.model_fields_set and not _same(value, self.equals):
            return f"expected {_shown(self.equals)}"
        if self.matches is not None and not (isinstance(value, str) and _compiled(self.matches).search(value)):
            return f"which does not match {self.matches}"
        if self.min is None and self.max is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "which is no number"
        if self.min is not None and value < self.min:
            return f"below {self.min:g}"
        return f"above {self.max:g}" if self.max is not None and value > self.max else None


def body_complaint(
    body: bytes, contains: str | None, matches: str | None, expectations: tuple[JsonExpectation, ...]
) -> str | None:
    """What is wrong with an answer's body, or None."""
    text = body.decode("utf-8", "replace")
    if contains is not None and contains not in text:
        return "the body does not contain what it should"
    if matches is not None and not _compiled(matches).search(text):
        return f"the body does not match {matches}"
    if not expectations:
        return None
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return "the body is no JSON"
    return next((wrong for each in expectations if (wrong := each.complaint(document))), None)


def found(pattern: str, text: str) -> bool:
    """Whether the regular expression is found anywhere in the text."""
    return _compiled(pattern).search(text) is not None


@cache
def _compiled(pattern: str) -> Any:
    re2 = require("re2", "expect")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        message = error.args[0]
        raise ValueError(message.decode() if isinstance(message, bytes) else message) from None


@cache
def _query(path: str) -> Any:
    jsonpath = require("jsonpath", "expect")
    environment = jsonpath.JSONPathEnvironment(strict=True)
    for unbounded in ("match", "search"):
        environment.function_extensions.pop(unbounded, None)
    try:
        return environment.compile(path)
    except jsonpath.JSONPathError as error:
        raise ValueError(str(error).splitlines()[0]) from None


def _same(found: Any, wanted: Any) -> bool:
    """JSON's equality: true is not 1."""
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
