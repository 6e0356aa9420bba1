"""A mapping of another tool's file that is read key by key, so that no key is left out without a note."""

import re
from collections.abc import Mapping
from typing import Any

from exporter.config.complaint import Complaint, Keys
from exporter.config.document import Document

_TRUE = re.compile(r"true|yes|on|y", re.IGNORECASE)
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_EMPTY: tuple[Any, ...] = (None, "", [], {})


class Section:
    """A mapping at a path of a document, and the notes about it. What nobody has taken is left over."""

    def __init__(self, document: Document, path: Keys, notes: list[Complaint]) -> None:
        self._document = document
        self._path = path
        self._notes = notes
        self._taken: set[str] = set()
        data = document.data
        for key in path:
            data = data.get(key) if isinstance(data, dict) else None
        self._data: Mapping[str, Any] = data if isinstance(data, dict) else {}

    def take(self, key: str) -> Any:
        """Return the value of a key; None if it is missing or empty."""
        self._taken.add(key)
        value = self._data.get(key)
        return None if value in _EMPTY else value

    def take_text(self, key: str) -> str | None:
        """Return the text of a scalar."""
        value = self.take(key)
        return None if value is None or isinstance(value, dict | list) else str(value)

    def take_list(self, key: str) -> list[Any]:
        """Return a list; empty if the value is not one."""
        value = self.take(key)
        return value if isinstance(value, list) else []

    def take_mapping(self, key: str) -> dict[str, Any]:
        """Return a mapping; empty if the value is not one."""
        value = self.take(key)
        return value if isinstance(value, dict) else {}

    def take_flag(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean, also one in the words of YAML 1.1."""
        value = self.take(key)
        return default if value is None else is_true(value)

    def take_section(self, key: str) -> "Section":
        """Return the mapping below a key."""
        self._taken.add(key)
        return Section(self._document, (*self._path, key), self._notes)

    def __bool__(self) -> bool:
        return bool(self._data)

    def note(self, message: str, *keys: str | int) -> None:
        """Write a note about a place in this mapping, or about the mapping itself."""
        self._notes.append(self._document.make_complaint((*self._path, *keys), message))

    def note_in_general(self, message: str) -> None:
        """Write a note that does not depend on what this mapping contains. Equal notes are one."""
        self._notes.append(self._document.make_complaint((), message))

    def has_unreadable(self, key: str) -> bool:
        """Return whether a value below this key is unknown, such as one with a tag."""
        place = (*self._path, key)
        return any(path[: len(place)] == place for path in self._document.unreadable)

    def make_variable(self, key: str) -> str:
        """Return the name of an environment variable for a secret of the module, such as `HTTP_LOGIN_PASSWORD`."""
        return re.sub(r"[^A-Z0-9]+", "_", f"{self._path[1]}_{key}".upper()).lstrip("_0123456789")

    def close(self, hints: Mapping[str, str], defaults: Mapping[str, Any]) -> None:
        """Write a note about every key that nobody has taken, unless its value is empty, false or the default.

        `hints` has the reason for some of the keys.
        """
        for key, value in self._data.items():
            absent = value in (*_EMPTY, defaults.get(key, False)) and not self.has_unreadable(key)
            if key not in self._taken and not absent:
                self.note(f"left out: {hints.get(key, 'there is no equivalent')}", key)


def is_literal(pattern: str) -> bool:
    """Return whether a regular expression matches only itself."""
    return not _SPECIAL.search(pattern)


def is_true(value: Any) -> bool:
    """Return whether a value is true, also in the words of YAML 1.1."""
    return _TRUE.fullmatch(str(value)) is not None
