"""The answers of the exporter's own endpoints, and their number."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from exporter.model import Group, Snapshot
from exporter.server.messages import Response
from exporter.text import replace_unprintable

PLAIN = "text/plain; charset=utf-8"

MAX_LOGGED_PATH = 200
"""Characters of a path in a log line."""
MAX_LOGGED_ANSWERS = 10
"""Log lines per second about verdicts, and about refused requests. Clients must not displace the other log lines."""
LOG_INTERVAL = 60
"""Seconds after which the same line is logged again. Probes and load balancers repeat their requests."""
MAX_REMEMBERED_LINES = 100
"""Lines that are recognized when they are repeated, about verdicts, and about refused requests."""
MAX_LOGGED_REASONS = 20
"""Failing checks that the log line of a verdict names."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """One response of the exporter. Every answer carries the generation that it was made from.

    `because` is the reason, for the log, if the status is not 200. `refused` means that nothing was evaluated. The
    history notes an answer with a `subject`.
    """

    status: int
    body: bytes
    generation: int
    content_type: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()
    because: tuple[str, ...] = ()
    refused: bool = False
    subject: str = ""  # of a verdict: the path, with the names of the checks that are left out

    def to_response(self) -> Response:
        """Return the answer as a response of the exporter's own server."""
        return Response(self.status, self.list_headers(), self.body)

    def list_headers(self) -> list[tuple[str, str]]:
        """Return the headers that the answer has over every server, the exporter's own or an application's."""
        return [
            ("Content-Type", self.content_type),
            ("Health-Generation", str(self.generation)),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *self.headers,
        ]


def log_failure(method: str, path: str) -> None:
    """Log the exception that is being handled: a defect of the exporter."""
    fields = {"method": method, "path": path[:MAX_LOGGED_PATH]}
    _log.exception("the request failed: %s", replace_unprintable(" ".join(fields.values())), extra={"fields": fields})


def refuse(
    snapshot: Snapshot, status: int, *headers: tuple[str, str], because: Sequence[str] = (), body: bytes = b""
) -> Answer:
    """Return an answer whose body is the name of its status code, unless there is another one."""
    body = body or f"{status} {HTTPStatus(status).phrase}\n".encode()
    return Answer(status, body, snapshot.generation, headers=headers, because=tuple(because), refused=True)


class AnswerCounter:
    """Counts the answers of the groups' endpoints, by group and status code."""

    def __init__(self, others: Callable[[], Mapping[tuple[str, int], int]] = dict) -> None:
        """`others` returns the number of answers that another process has given for this one."""
        self._others = others
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, int]] = Counter()

    def count(self, group: Group, code: int) -> None:
        """Count one answer."""
        with self._lock:
            self._counts[group, code] += 1

    def counts(self) -> dict[tuple[str, int], int]:
        """Return the number of answers by group and status code."""
        with self._lock:
            return dict(self._counts + Counter(self._others()))


class _Pace:
    """Limits log lines: MAX_LOGGED_ANSWERS per second, and one per LOG_INTERVAL while nothing changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second = 0
        self._count = 0
        self._suppressed = 0
        self._latest: dict[tuple[object, ...], tuple[float, tuple[object, ...]]] = {}

    def admit(self, subject: tuple[object, ...], line: tuple[object, ...]) -> int | None:
        """Return the number of lines suppressed before this one, or None if this one is suppressed as well."""
        now = time.monotonic()
        with self._lock:
            if int(now) != self._second:
                self._second, self._count = int(now), 0
            logged, latest = self._latest.get(subject, (0.0, None))
            if self._count >= MAX_LOGGED_ANSWERS or (line == latest and now < logged + LOG_INTERVAL):
                self._suppressed += 1
                return None
            self._count += 1
            self._latest.pop(subject, None)
            if len(self._latest) >= MAX_REMEMBERED_LINES:
                del self._latest[next(iter(self._latest))]
            self._latest[subject] = now, line
            suppressed, self._suppressed = self._suppressed, 0
            return suppressed

    def forget(self, subject: tuple[object, ...]) -> None:
        """Log the next line about this subject at once: it has changed."""
        with self._lock:
            self._latest.pop(subject, None)


_verdicts, _refusals = _Pace(), _Pace()


def log_answer(method: str, path: str, answer: Answer, client: str | None = None) -> None:
    """Log one line if the status is not 200, up to a limit. The client is logged only if the request was refused."""
    pace = _refusals if answer.refused else _verdicts
    subject = (answer.subject or path[:MAX_LOGGED_PATH], client if answer.refused else None)
    if answer.status == 200:
        pace.forget(subject)
        return
    suppressed = pace.admit(subject, (answer.status, answer.because))
    if suppressed is None:
        return
    reasons, others = answer.because[:MAX_LOGGED_REASONS], len(answer.because) - MAX_LOGGED_REASONS
    because = ", ".join([*reasons, *([f"{others} more"] if others > 0 else [])])
    fields = {
        "method": method,
        "path": path[:MAX_LOGGED_PATH],
        "client": client if answer.refused else None,
        "because": because or None,
        "generation": answer.generation,
        "suppressed": suppressed or None,
    }
    level = logging.WARNING if answer.status >= 500 else logging.INFO
    request = replace_unprintable(f"{method} {path[:MAX_LOGGED_PATH]}{f': {because}' if because else ''}")
    _log.log(level, "answered %d: %s", answer.status, request, extra={"fields": fields})
