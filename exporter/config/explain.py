"""pydantic's errors -> messages for the author of the file: what is wrong, and what to write instead.

A message shows no text of the file, because it may be a secret in the wrong place. The author sees it at the line.
"""

import re
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from exporter.config.unknown_keys import explain_unknown, find_models
from exporter.probe.flaws import find_hidden
from exporter.probe.secret import Secret
from exporter.redaction import describe, redact
from exporter.text import shorten

MAX_EXPLANATION = 300  # characters of a message by the code of a plugin
_CHOICE = re.compile(r"'([^']*)'")
_UNRENDERED = re.compile(r"[$]\w|[$][({]|\{\{")
_QUOTED_NUMBER = re.compile(r"[-+]?[0-9.]+")
_NUMBER_WITH_UNIT = re.compile(r"[-+]?[0-9.]+ ?(?:ms|[smhd%])")
_NUMERIC = {
    *("int_type", "int_from_float", "int_parsing", "float_type", "float_parsing", "finite_number"),
    *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
}
"""The types of pydantic's errors about values that must be numbers. Only here is a number shown."""
_LIST_HINTS: dict[tuple[int | str, ...], str] = {
    ("exec", "command"): "write [PROGRAM, ARGUMENT, ...], or [sh, -c, COMMAND] for a shell",
    ("httpGet", "expectStatus"): "write each code, such as [200, 204]",
    ("redis", "command"): "write each word as an entry, [COMMAND, ARGUMENT, ...]",
}
_LISTS = {"list_type", "tuple_type", "set_type", "frozen_set_type"}
_REQUIREMENTS = {
    "string_type": "must be text",
    "path_type": "must be text",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
}
"""What a value must be, by the type of pydantic's error."""


def explain(model: type[BaseModel], error: ErrorDetails) -> str:
    """Return the message of a complaint about this error."""
    match error["type"]:
        case "extra_forbidden":
            flaw = find_hidden(str(error["loc"][-1]))
            return f"unknown key: it {flaw}" if flaw else explain_unknown(model, error["loc"], error["input"])
        case "unset_variable":
            return error["msg"]
        case "missing":
            return "is required"
        case "verbatim":
            return _simplify(model, error)
        case "model_type" | "dict_type":
            return _explain_mapping(error)
    return _explain_value(model, error)


def _explain_value(model: type[BaseModel], error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind in ("string_too_short", "too_short") and context["min_length"] == 1:
        return "must not be empty"
    numbers = {key: f"{number:g}" if isinstance(number, float) else number for key, number in context.items()}
    known = kind in _REQUIREMENTS
    text = _REQUIREMENTS[kind].format_map(numbers) if known else _simplify(model, error)
    if value is None:
        return f"is empty, but {text}"
    if not known and (value or not text.startswith("must be")):
        return text
    choices = _CHOICE.findall(str(context.get("expected")))
    if choice := next((choice for choice in choices if choice.lower() == str(value).lower()), None):
        return f"{text}, did you mean {choice!r}?"
    return f"{text}, not {_show(value) if kind in _NUMERIC else describe(value)}{_hint(error)}"


def _hint(error: ErrorDetails) -> str:
    """Return how to correct a value of the wrong type."""
    kind, value = error["type"], error["input"]
    if kind in _LISTS and isinstance(value, str):
        return f": {_LIST_HINTS.get(error['loc'][-2:], 'put it in brackets')}"
    if kind == "string_type" and isinstance(value, int | float):
        return ": put it in quotes"
    if kind == "bool_type" and str(value).lower() in ("true", "false"):
        return ": remove the quotes"
    return _hint_at_number(value) if kind in _NUMERIC and isinstance(value, str) else ""


def _hint_at_number(value: str) -> str:
    if _UNRENDERED.search(value):
        return ": write the number itself, not a variable or a template"
    if _QUOTED_NUMBER.fullmatch(value):
        return ": remove the quotes"
    return ": write the number without a unit" if _NUMBER_WITH_UNIT.fullmatch(value) else ""


def _explain_mapping(error: ErrorDetails) -> str:
    """Return what the value must be. Not even its length is shown: it may be a password in place of `{env: NAME}`."""
    value, secret = error["input"], error.get("ctx", {}).get("class_name") == Secret.__name__
    text = "must be {env: NAME} or {file: PATH}" if secret else "must be a mapping of keys to values"
    if value is None:
        return f"is empty, but {text}" if error["loc"] else "is empty"
    kind = "text" if isinstance(value, str) else describe(value)
    return f"{text}, not {kind}{': a secret is not written in the configuration' if secret else ''}"


def _show(value: Any) -> str:
    """Return a number in YAML's notation, and the type of any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return describe(value)
    return str(value).replace("inf", ".inf").replace("nan", ".nan")


def _simplify(model: type[BaseModel], error: ErrorDetails) -> str:
    """Return a message by pydantic or a validator in the form of the messages above.

    The messages of the exporter's own validators show no value. Those of a plugin may, and are redacted.
    """
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    text = text[:1].lower() + text[1:]
    if all(inner.__module__.startswith("exporter.") for inner in find_models(model, error["loc"])):
        return text
    return shorten(" ".join(redact(text, error["input"]).split()), MAX_EXPLANATION)
