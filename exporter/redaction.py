"""Redaction: what a message may show of a value that may be a secret in the wrong place.

The rule does not depend on a list of fields, because a secret in the wrong place can be anywhere, also as a key:

- A message shows the type of a value and the length of a text, not the value (`describe`).
- A number is shown only where a number is expected, and a key only if it looks like one (`show_key`).
- A text of other code, such as the message of an exception, is shown without anything that it has in common with the
  values at hand (`redact`), and without the credentials and queries of URLs (`mask_urls`).
- Of what a target sent, a message shows the beginning, without the credentials and queries of URLs (`quote`).
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

MASK = "***"
MIN_PIECE = 4  # characters that two texts must have in common; fewer are a coincidence, and too short for a secret
MAX_REDACTED = 4096  # characters of a text that is redacted; the rest is cut off
MAX_QUOTED = 80  # characters of what a target sent

# A string of SQL or PromQL, also one that is not closed. Names and numbers of a query are no secrets.
_STRING = re.compile(r"""'[^']*'?|"[^"]*"?|`[^`]*`?|[$]([A-Za-z_]*)[$].*?(?:[$]\1[$]|\Z)""", re.DOTALL)
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,40}")
_NUMBER = re.compile(r"[0-9][0-9.]*[0-9]")
_RUN = re.compile(rb"\x01+|\x00+")


def describe(value: Any) -> str:
    """Return the type of a value in YAML's words, and the length of a text. True and false are shown."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return "a number"
        case str():
            return f"text of {_count_characters(value)}" if value else "empty text"
        case dict():
            return "a mapping"
        case list() | tuple() | set() | frozenset():
            return "a list"
    return type(value).__name__


def show_key(key: str) -> str:
    """Return the key of a mapping if it looks like one, otherwise its length: it may be a value in the wrong place."""
    if not _KEY.fullmatch(key):
        return f"<{_count_characters(key)}>"
    return repr(key) if "." in key else key


def redact(text: str, values: Any, public: str = "") -> str:
    """Return the text with a mask for each piece that it has in common with a text in the values.

    A piece has at least MIN_PIECE characters, so that a value is also found if it was cut, quoted or put in lower case.
    A number of as many digits is masked only as a whole. `values` can have any depth. What is in `public` is shown.
    """
    text = text[:MAX_REDACTED]
    scalars = list(_list_scalars(values))
    haystack = "\0".join(scalar for scalar in scalars if isinstance(scalar, str)).casefold()
    numbers = {str(scalar) for scalar in scalars if not isinstance(scalar, str)}
    shown = public.casefold()
    hidden = bytearray(len(text))
    for start in range(len(text) - MIN_PIECE + 1):
        end = start + MIN_PIECE
        piece = text[start:end].casefold()
        if piece in haystack and piece not in shown:
            hidden[start:end] = b"\1" * MIN_PIECE
    for number in _NUMBER.finditer(text):
        if len(number[0]) >= MIN_PIECE and number[0] in numbers:
            hidden[number.start() : number.end()] = b"\1" * len(number[0])
    runs = _RUN.finditer(hidden)
    return "".join(MASK if hidden[run.start()] else text[run.start() : run.end()] for run in runs)


def find_strings(query: str) -> list[str]:
    """Return the strings in a query, which may be secrets; of a single word, the word itself.

    A server's error repeats parts of the query.
    """
    strings = [match[0].strip("'\"`") for match in _STRING.finditer(query)]
    return strings if re.search(r"\s", query.strip()) else [*strings, query]


def mask_urls(text: str) -> str:
    """Return the text without the credentials and query strings of URLs, whether or not they have a scheme.

    The password may contain any character but white space, also `/` and `@`.
    """
    if "@" not in text and "?" not in text:
        return text
    return "".join(_mask_word(word) for word in re.split(r"(\s+)", text))


def quote(data: bytes, secrets: Any = (), public: str = "") -> str:
    r"""Return the beginning of what a target sent, in quotes, without what it has in common with secrets (`redact`).

    Control characters and bytes that are not UTF-8 are shown as escapes, such as `\n` and `\xff`.
    """
    text = redact(data[: MAX_QUOTED * 8].decode("utf-8", "backslashreplace"), secrets, public)
    masked = "".join(_mask_word(word) if _may_be_url(word) else word for word in re.split(r"(\s+)", text))
    escaped = "".join(map(_escape, masked[: MAX_QUOTED + 1]))
    return f'"{escaped}"' if len(escaped) <= MAX_QUOTED else f'"{escaped[: MAX_QUOTED - 1]}…"'


def _may_be_url(word: str) -> bool:
    """Return whether the word may have the credentials or the query of a URL; `<?xml` and `up?` have neither."""
    return "@" in word or "=" in word.partition("?")[2]


def _escape(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _has_text(value: Any) -> bool:
    """Return whether the type of an object says how it is written, so that its text is not only an address."""
    method: Any = type(value).__str__
    return method is not object.__str__


def _mask_word(word: str) -> str:
    credentials, at, rest = word.rpartition("@")
    path, question, query = rest.partition("?")
    return f"{MASK if credentials else ''}{at}{path}{question}{MASK if query else ''}"


def _count_characters(text: str) -> str:
    return "1 character" if len(text) == 1 else f"{len(text)} characters"


def _list_scalars(value: Any) -> Iterator[str | int | float]:
    """Yield the texts and numbers in a value, and the keys that do not look like keys.

    Another object, such as a path or a URL, counts as its text, if its type has one.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if not _KEY.fullmatch(str(key)):
                yield str(key)
            yield from _list_scalars(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _list_scalars(item)
    elif isinstance(value, str | int | float):
        yield value
    elif _has_text(value):
        with suppress(Exception):  # the `__str__` of a plugin's type
            yield str(value)
