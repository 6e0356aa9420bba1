"""Text in columns of a terminal: how many it occupies, and how to make it fit."""

import re
import unicodedata
from collections.abc import Iterator

ELLIPSIS = "…"


def measure(text: str) -> int:
    """Return how many columns a printable text occupies on a terminal.

    >>> measure("zoë"), measure("健康"), measure("e\u0301")
    (3, 4, 1)
    """
    return len(text) if text.isascii() else sum(map(_measure_character, text))


def pad(text: str, width: int) -> str:
    """Return the text with spaces up to this width."""
    return text + " " * (width - measure(text))


def cut(text: str, width: int) -> str:
    """Return the text, or its beginning with an ellipsis, in at most this width, which is at least 1.

    >>> cut("connection refused", 11), cut("健康健康", 6)
    ('connection…', '健康…')
    """
    return text if measure(text) <= width else _take(text, width - 1) + ELLIPSIS


def cut_middle(text: str, width: int) -> str:
    """Return the text, or its beginning and its end, in at most this width: similar names often differ at the end.

    >>> cut_middle("payments-database-replica-2", 15)
    'payment…plica-2'
    """
    if measure(text) <= width:
        return text
    tail = _take(text[::-1], (width - 1) // 2)[::-1]
    return _take(text, width - 1 - measure(tail)) + ELLIPSIS + tail


def wrap(text: str, width: int) -> Iterator[str]:
    """Yield the lines of a text in at most this width each, which is at least 2.

    They end between words if possible, and there only at plain spaces.
    """
    line = ""
    for word in filter(None, re.split("[ \n]", text)):
        if line and measure(f"{line} {word}") > width:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
        while measure(line) > width:
            head = _take(line, width)
            yield head
            line = line[len(head) :]
    if line:
        yield line


def _take(text: str, width: int) -> str:
    """Return as much of the beginning of a text as fits."""
    for index, character in enumerate(text):
        width -= _measure_character(character)
        if width < 0:
            return text[:index]
    return text


def _measure_character(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
