"""Parses JSON that a target sent, with bounded work and memory, and compares its values."""

import json
import math
import re
from itertools import accumulate
from typing import Any, NoReturn

MAX_VALUES = 100_000
"""Values in a text. Python takes up to 250 bytes for each, so a MiB of them would take many times its size."""
MAX_DEPTH = 100
"""Levels of arrays and objects. Python's parser uses some of the thread's stack for each, and a stack never shrinks."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # also one that does not end
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def parse_json(text: bytes) -> Any:
    """Return the content of a JSON text, whose numbers are all finite.

    NaN and Infinity are not JSON (RFC 8259, section 6), although Python's parser accepts them by default. Raises
    ValueError with a message that begins with a verb, such as "is not valid JSON".
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise ValueError(f"has more than {MAX_VALUES} values")
    if _find_depth(text) > MAX_DEPTH:
        raise ValueError("is nested too deeply")
    try:
        return json.loads(text, parse_constant=_reject_constant, parse_float=_parse_float)
    except RecursionError:  # in UTF-16, which Python accepts, `_find_depth` can take brackets for part of a string
        raise ValueError("is nested too deeply") from None
    except OverflowError as error:
        raise ValueError(str(error)) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError("is not valid JSON") from None
    except ValueError:  # from int
        raise ValueError("has a number with too many digits") from None


def is_equal(one: Any, other: Any) -> bool:
    """Compare as JSON does: true is not 1. Raises RecursionError for values that are nested too deeply."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(is_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def is_less(one: Any, other: Any) -> bool:
    """Compare two numbers or two strings; other values have no order."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return bool(one < other) if numbers or (isinstance(one, str) and isinstance(other, str)) else False


def _find_depth(text: bytes) -> int:
    """Return the number of levels of arrays and objects, or 0 if there cannot be more than MAX_DEPTH."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return 0
    brackets = _STRING.sub(b"", text).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _reject_constant(name: str) -> NoReturn:
    raise OverflowError(f"is not valid JSON: {name} is not a number in JSON")


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise OverflowError("has a number that is out of range")
    return value
