"""Errors in a configuration: Complaint, one error and its place, and ConfigError, which carries all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.redaction import show_key
from exporter.text import replace_unprintable

Keys = tuple[str | int, ...]
"""The path from the root of a document to a place in it: the keys of mappings and the indexes of lists."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong, and where: `file:line: path: message`.

    As text, it is one line that cannot control a terminal.

    Neither the path nor the message shows a value that may be a secret in the wrong place: see redaction.py.
    """

    source: str
    line: int | None
    path: Keys
    message: str

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        return replace_unprintable(f"{where}: {self.text}")

    @property
    def text(self) -> str:
        """The path and the message, without the place in the file."""
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{show_key(key)}" for key in self.path)
        return replace_unprintable(f"{path.removeprefix('.')}: {self.message}" if path else self.message)


class ConfigError(ValueError):
    """A configuration that cannot be used. Carries every complaint, file by file in the order of the lines."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        files = {source: place for place, source in enumerate(dict.fromkeys(found.source for found in complaints))}
        self.complaints = sorted(set(complaints), key=lambda found: (files[found.source], found.line or 0, str(found)))
        super().__init__("\n".join(map(str, self.complaints)))


class UnreadableError(ConfigError):
    """A file that cannot be read now. A later attempt may succeed, even if the file does not change."""
