"""What a text contains that its author cannot see, or did not mean to write: flaws that survive copy and paste."""

import re

# Cf is the category of format characters: zero-width spaces and joiners, marks of direction, the byte order mark. A
# joiner belongs to some scripts and emoji, but not next to ASCII. The others are spaces that are wider or narrower.
_INVISIBLE = re.compile(
    "[\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
    "|(?<![^ -~])[\u200c\u200d]|[\u200c\u200d](?![^ -~])"
)
_SPACE = re.compile("[\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\x85]")
_QUOTES = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\xab\xbb\u2039\u203a"


def find_hidden(text: str) -> str | None:
    """Return which character of the text cannot be seen, or cannot be told from a plain space; None if all can."""
    if text.isascii():
        return None
    if match := _INVISIBLE.search(text):
        return f"contains the invisible character {_name(match[0])}: delete it"
    if match := _SPACE.search(text):
        return f"contains {_name(match[0])} instead of a plain space"
    return None


def find_typographic_quote(text: str) -> str | None:
    """Return which quotation mark the text begins or ends with that YAML does not know; None if there is none.

    Around words of another language it may be meant, such as in the text that a page must contain.
    """
    if not text.strip(_QUOTES).isascii():
        return None
    edge = next((character for character in (text[:1], text[-1:]) if character and character in _QUOTES), None)
    return f"""{edge} is part of the value: YAML's quotation marks are " and '""" if edge else None


def find_line_end(text: str) -> str | None:
    """Return that one line ends with a line break, as it does in a block scalar; None if not."""
    if text[-1:] in ("\n", "\r") and len(text.splitlines()) == 1:
        return "ends with a line break: write it on the line of its key, or with |- instead of |"
    return None


def find_flaw(text: str) -> str | None:
    """Return the first of these flaws; None if the text has none."""
    return find_hidden(text) or find_typographic_quote(text) or find_line_end(text)


def _name(character: str) -> str:
    import unicodedata  # a MiB, for messages only

    name = unicodedata.name(character, "").lower()
    return f"U+{ord(character):04X}{f' ({name})' if name else ''}"
