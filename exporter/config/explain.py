"""pydantic's errors -> messages for the author of the file: what is wrong, and what to write instead."""

import math
import re
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from exporter.config.complaint import MAX_SHOWN
from exporter.config.unknown_keys import explain_unknown
from exporter.probe.secret import Secret
from exporter.text import shorten

_CREDENTIALS = re.compile(r"//[^/\s]*@")
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
            return explain_unknown(model, error["loc"])
        case "missing":
            return "is required"
        case "verbatim":
            return error["msg"]
        case "model_type" | "dict_type":
            return _explain_mapping(error)
    return _explain_value(error)


def _explain_value(error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind in ("string_too_short", "too_short") and context["min_length"] == 1:
        return "must not be empty"
    numbers = {key: f"{number:g}" if isinstance(number, float) else number for key, number in context.items()}
    text = _REQUIREMENTS[kind].format_map(numbers) if kind in _REQUIREMENTS else _simplify(error["msg"])
    if value is None:
        return f"is empty, but {text}"
    if isinstance(value, dict | list) and kind not in _REQUIREMENTS:
        return text
    hint = ": put it in quotes" if kind == "string_type" and isinstance(value, int | float) else ""
    return f"{text}, not {_show(value)}{hint}"


def _explain_mapping(error: ErrorDetails) -> str:
    """Return what the value must be. It is never shown: it may be a password in place of `{env: NAME}`."""
    value, secret = error["input"], error.get("ctx", {}).get("class_name") == Secret.__name__
    text = "must be {env: NAME} or {file: PATH}" if secret else "must be a mapping of keys to values"
    if value is None:
        return f"is empty, but {text}" if error["loc"] else "is empty"
    kind = "a list" if isinstance(value, list) else "text" if isinstance(value, str) else "a number"
    return f"{text}, not {kind}{': a secret is not written in the configuration' if secret else ''}"


def _show(value: Any) -> str:
    """Return a value in YAML's notation, shortened and without credentials."""
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case float() if not math.isfinite(value):
            return str(value).replace("inf", ".inf").replace("nan", ".nan")
    return shorten(_CREDENTIALS.sub("//...@", repr(value)), MAX_SHOWN)


def _simplify(text: str) -> str:
    """Return pydantic's own message in the form of the messages above."""
    text = text.removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return text[:1].lower() + text[1:]
