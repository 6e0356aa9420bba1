"""Log lines on standard output: logfmt, as in the components of Prometheus, or JSON.

Records pass through a bounded queue to one thread that writes them. If the reader of standard output stops reading, log
lines are dropped and counted, but no check and no answer is delayed.
"""

import json
import logging
import os
import queue
import sys
import threading
from typing import Any, TextIO

from exporter.lines import format_logfmt, format_time

MAX_BACKLOG = 1000  # records
MAX_FLUSH = 1.0  # seconds that an exiting process waits for the last lines


def start(level: str, form: str, stream: TextIO | None = sys.stdout) -> "Writer":
    """Send the log records of this process to the stream.

    `level` is `debug`, `info`, `warn` or `error`. `form` is `logfmt` or `json`. The stream is None if the parent
    process has closed it.
    """
    writer = Writer(stream, Json() if form == "json" else Logfmt())
    root = logging.getLogger()
    root.handlers[:] = [writer]
    root.setLevel({"warn": "WARNING"}.get(level, level.upper()))
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings contain the URLs of the checks
    return writer


class Writer(logging.Handler):
    """Passes records to a thread that writes them. Records that do not fit into its queue are dropped and counted."""

    def __init__(self, stream: TextIO | None, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.dropped = 0
        # Not the stream itself: a write that blocks would hold its lock and keep the process from exiting.
        self._descriptor = stream.fileno() if stream else os.open(os.devnull, os.O_WRONLY)
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_BACKLOG)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write the remaining lines. Waits for at most MAX_FLUSH seconds."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(MAX_FLUSH)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            dropped, self.dropped = self.dropped, 0
            if dropped:
                line += f"\n{self.format(logging.makeLogRecord(_dropped_record(dropped)))}"
            rest = f"{line}\n".encode()
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:  # the reader has gone; the exporter continues
                self.dropped += dropped + 1


class _Formatter(logging.Formatter):
    def collect_pairs(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return the fields of a record in the order in which they are written."""
        level = {"warning": "warn", "critical": "error"}.get(record.levelname.lower(), record.levelname.lower())
        pairs = {
            "ts": format_time(record.created),
            "level": level,
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            pairs["exception"] = self.formatException(record.exc_info)
        return {key: value for key, value in pairs.items() if value is not None}


class Logfmt(_Formatter):
    """key=value pairs on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return format_logfmt(self.collect_pairs(record), json.dumps)


class Json(_Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.collect_pairs(record), default=str)


def _dropped_record(count: int) -> dict[str, Any]:
    return {"levelname": "WARNING", "levelno": logging.WARNING, "msg": f"{count} log lines were dropped"}
