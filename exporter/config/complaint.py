"""What is wrong with a configuration, where, and in words that say what to do."""

import difflib
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Keys = tuple[str | int, ...]
"""The way from the root of a document to a place in it."""

SHOWN = 50  # characters of a wrong value or key
_CREDENTIALS = re.compile(r"//[^/\s]*@")
_WORD = re.compile(r"[\w$~<-]+\Z")
_TEXTS = {
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
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
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


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong, and where."""

    source: str
    line: int | None
    path: Keys
    message: str

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{_word(key)}" for key in self.path)
        return f"{where}: {path.removeprefix('.')}: {self.message}" if path else f"{where}: {self.message}"


class ConfigError(ValueError):
    """A configuration that cannot be used. Carries every complaint there is, in the order of the lines."""

    def __init__(self, complaints: list[Complaint]) -> None:
        self.complaints = sorted(set(complaints), key=lambda each: (each.line or 0, str(each)))
        super().__init__("\n".join(map(str, self.complaints)))


def message(model: type[BaseModel], error: ErrorDetails) -> str:
    """One of pydantic's errors, in words for whoever writes the file."""
    match error["type"]:
        case "extra_forbidden":
            return _unknown(model, error["loc"])
        case "missing":
            return "is required"
        case "verbatim":
            return error["msg"]
        case "model_type" | "dict_type":
            return _no_mapping(error["input"], root=not error["loc"])
    return _no_value(error)


def _no_value(error: ErrorDetails) -> str:
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind in ("string_too_short", "too_short") and context["min_length"] == 1:
        return "must not be empty"
    numbers = {key: f"{value:g}" if isinstance(value, float) else value for key, value in context.items()}
    text = _TEXTS[kind].format_map(numbers) if kind in _TEXTS else _first_lower(error["msg"])
    if given is None:
        return f"is empty, and {text}"
    if isinstance(given, dict | list) and kind not in _TEXTS:
        return text
    quotes = ": put it in quotes" if kind == "string_type" and isinstance(given, int | float) else ""
    return f"{text}, not {_shown(given)}{quotes}"


def _no_mapping(given: Any, *, root: bool) -> str:
    """Does not show what was given: somebody may have written the secret itself where its place was asked for."""
    if given is None:
        return "is empty" if root else "is empty, and must be a mapping of keys to values"
    what = "a list" if isinstance(given, list) else "text" if isinstance(given, str) else "a number"
    return f"must be a mapping of keys to values, not {what}"


def _shown(value: Any) -> str:
    """A value as it stands in YAML, shortened."""
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return str(value).lower()
        case float() if not math.isfinite(value):
            return str(value).replace("inf", ".inf").replace("nan", ".nan")
    return _cut(_CREDENTIALS.sub("//...@", repr(value)))


def near(key: str, known: Collection[str]) -> str | None:
    """The known key that this one was probably meant to be."""
    return _near(key[:SHOWN], tuple(known))


def misspelt(model: type[BaseModel], errors: list[ErrorDetails]) -> set[Keys]:
    """The places of keys that are there under a name that is near theirs: that they are missing goes without saying."""
    unknown = [each["loc"] for each in errors if each["type"] == "extra_forbidden"]
    return {(*loc[:-1], meant) for loc in unknown if (meant := near(str(loc[-1]), _keys(_model_at(model, loc[:-1]))))}


def _unknown(model: type[BaseModel], path: Keys) -> str:
    key, there = str(path[-1]), _model_at(model, path[:-1])
    if meant := near(key, _keys(there)):
        return f"unknown key, did you mean {meant}?"
    if inside := [name for name, inner in _inner(there) if key in _keys(inner)]:
        return f"unknown key here, it belongs inside {' or '.join(inside)}"
    if len(path) > 1 and key in _keys(_model_at(model, path[:-2])):
        return f"unknown key here, it belongs beside {path[-2]}"
    return "unknown key"


@lru_cache(1000)
def _near(key: str, known: tuple[str, ...]) -> str | None:
    plain = {_plain(each): each for each in known}
    close = difflib.get_close_matches(_plain(key), plain, 1, 0.75)
    begun = [each for each in plain if len(key) > 2 and each.startswith(_plain(key))]
    return next((plain[each] for each in (*close, *begun)), None)


def _plain(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


def _model_at(model: type[BaseModel], path: Keys) -> type[BaseModel]:
    """The part of the model that describes a place; every place on the way is described by one."""
    for key in path:
        if isinstance(key, str):
            model = dict(_inner(model))[key]
    return model


def _inner(model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """The keys of a model under which there is another, or a list of another."""
    fields = [(each.alias or name, each.annotation) for name, each in model.model_fields.items()]
    return [(key, inner) for key, annotation in fields if (inner := _described(annotation))]


def _described(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_described, get_args(annotation))), None)


def _keys(model: type[BaseModel]) -> list[str]:
    return [each.alias or name for name, each in model.model_fields.items()]


def _first_lower(text: str) -> str:
    text = text.removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return text[:1].lower() + text[1:]


def _word(key: str) -> str:
    return key if _WORD.match(key) and len(key) <= SHOWN else _cut(repr(key))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
