"""The answers of the exporter's own endpoints, and their number."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from flask import Response

from exporter.model import Group, Snapshot

PLAIN = "text/plain; charset=utf-8"


class Answer(Response):
    """A response rendered from one Snapshot, whose generation it carries.

    `because` is the reason, for the log, if it is not 200.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        body: str | bytes,
        status: int = 200,
        *,
        content_type: str = PLAIN,
        because: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(body, status, content_type=content_type, **options)
        self.headers["Health-Generation"] = str(snapshot.generation)
        self.because = because


class AnswerCounter:
    """Counts the answers of the groups' endpoints, by group and status code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, int]] = Counter()

    def count(self, group: Group, code: int) -> None:
        """Count one answer."""
        with self._lock:
            self._counts[group, code] += 1

    def counts(self) -> dict[tuple[str, int], int]:
        """Return the number of answers by group and status code."""
        with self._lock:
            return dict(self._counts)
