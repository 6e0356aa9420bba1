"""Log lines on standard output: logfmt, as the Prometheus family writes it, or JSON.

Records pass through a bounded queue to one writing thread. A reader of standard output that has stopped reading costs
lines, which are counted, and never blocks a check or an answer.
"""

import json
import logging
import os
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

BACKLOG = 1000  # records
FLUSH = 1.0  # seconds that the end of the process waits for the last lines
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@+,")


def start(level: str, form: str, stream: TextIO | None = sys.stdout) -> "Writer":
    """Send this process's log records to the stream. `level` is debug, info, warn or error; `form` logfmt or json.

    The stream is None where whoever started the process has closed it.
    """
    writer = Writer(stream, Json() if form == "json" else Logfmt())
    root = logging.getLogger()
    root.handlers[:] = [writer]
    root.setLevel({"warn": "WARNING"}.get(level, level.upper()))
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings name the URLs it was given
    return writer


class Writer(logging.Handler):
    """Hands records to a thread that writes them, and drops and counts what that thread cannot keep up with."""

    def __init__(self, stream: TextIO | None, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.dropped = 0
        # Not the stream itself: its lock, held while nobody reads, would keep the process from ending.
        self._descriptor = stream.fileno() if stream else os.open(os.devnull, os.O_WRONLY)
        self._lines: queue.Queue[str | None] = queue.Queue(BACKLOG)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what is left, for a bounded time."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(FLUSH)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            dropped, self.dropped = self.dropped, 0
            if dropped:
                line += f"\n{self.format(logging.makeLogRecord(_lost(dropped)))}"
            rest = f"{line}\n".encode()
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:  # nobody reads any more; the exporter's work goes on
                self.dropped += dropped + 1


class _Formatter(logging.Formatter):
    def pairs(self, record: logging.LogRecord) -> dict[str, Any]:
        """What a record says, in the order to show it."""
        level = {"warning": "warn", "critical": "error"}.get(record.levelname.lower(), record.levelname.lower())
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        pairs = {"ts": time, "level": level, "msg": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info:
            pairs["exception"] = self.formatException(record.exc_info)
        return {key: value for key, value in pairs.items() if value is not None}


class Logfmt(_Formatter):
    """key=value pairs on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_quoted(str(value))}" for key, value in self.pairs(record).items())


class Json(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.pairs(record), default=str)


def _quoted(text: str) -> str:
    return text if text and _BARE.issuperset(text) else json.dumps(text)


def _lost(count: int) -> dict[str, Any]:
    return {"levelname": "WARNING", "levelno": logging.WARNING, "msg": f"{count} log lines were dropped"}
