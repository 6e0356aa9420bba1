"""Text of an exception that a probe raised, without values that may be secrets.

The message of an exception is written by other code, such as an HTTP client that repeats the URL or a driver that
repeats how it connects. So nothing of it is shown that it has in common with the options of the check, except for the
target, which is public.
"""

import traceback
from collections.abc import Iterable
from typing import Any

from exporter.probe.check import Check
from exporter.probe.options import Options
from exporter.probe.secret import hide
from exporter.redaction import mask_urls, redact

MAX_CHAIN = 10  # exceptions of a traceback: the one that was raised and those that led to it


def describe(error: BaseException, check: Check, secrets: Iterable[str]) -> str:
    """Return the type and the message of an exception, even if its `__str__` fails. `secrets` are those it read."""
    text = "".join(traceback.format_exception_only(error)).strip()
    return mask_urls(redact(hide(text, *secrets), _list_values(check.probe), check.spec.target))


def format_traceback(error: BaseException, check: Check, secrets: Iterable[str]) -> str:
    """Return the traceback of an exception and of those that led to it, each with its message as in `describe`."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < MAX_CHAIN:
        frames = "".join(traceback.format_tb(cause.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{describe(cause, check, secrets)}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n\n".join(reversed(parts))


def _list_values(value: Any) -> Any:
    """Return the values of options as plain data."""
    match value:
        case Options():
            return [_list_values(item) for item in vars(value).values()]
        case tuple() | list() | set() | frozenset():
            return [_list_values(item) for item in value]
    return value
