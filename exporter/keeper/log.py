"""Log lines of the keeper.

A write to standard output can block for as long as its reader likes, and the keeper must not wait for it. A process of
its own writes the lines.
"""

import os
import time

from exporter.keeper.arguments import LEVELS
from exporter.lines import format_logfmt, format_time

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # `signal` imports enum, which costs more memory than the keeper's own code

MAX_LINES = 100  # that wait to be written; further lines are dropped
MAX_FLUSH = 1.0  # seconds that the keeper waits for the last lines before it ends
_WRITE_TIME = 10  # seconds after which a process that cannot write is ended
_DESCRIPTORS = 4096  # more than the keeper ever has


class Log:
    """Writes log lines like the worker's: in this form, and from this level on."""

    def __init__(self, level: str, form: str) -> None:
        self._levels = LEVELS[LEVELS.index(level) :]
        self._form = form
        self._lines: list[str] = []
        self._writer: int | None = None

    def write(self, level: str, message: str, fields: dict[str, object]) -> None:
        """Log one line."""
        if level in self._levels and len(self._lines) < MAX_LINES:
            pairs = {"ts": format_time(time.time()), "level": level, "msg": message, **fields}
            self._lines.append(_format_json(pairs) if self._form == "json" else format_logfmt(pairs, _quote))
            self._start_writer()

    def end(self, pid: int) -> None:
        """Note that a child process has ended. If it was the writer, write the lines that have come since."""
        if pid == self._writer:
            self._writer = None
            self._start_writer()

    def close(self) -> None:
        """Wait until the lines are written, but not long."""
        until = time.monotonic() + MAX_FLUSH
        while self._writer is not None and time.monotonic() < until:
            try:
                self.end(os.waitpid(self._writer, os.WNOHANG)[0])
            except ChildProcessError:
                return
            time.sleep(0.005)

    def _start_writer(self) -> None:
        if self._writer is not None or not self._lines:
            return
        text = "".join(f"{line}\n" for line in self._lines)
        try:
            self._writer = os.fork()
        except OSError:  # no process can be started now; the lines wait for the next attempt
            return
        if self._writer == 0:
            _write_and_exit(text)
        self._lines.clear()


def _write_and_exit(text: str) -> None:
    try:
        _signal.set_wakeup_fd(-1)
        os.closerange(3, _DESCRIPTORS)  # the listeners and the connections belong to the keeper
        for number in (_signal.SIGALRM, _signal.SIGTERM, _signal.SIGINT):
            _signal.signal(number, _signal.SIG_DFL)
        _signal.alarm(_WRITE_TIME)
        rest = text.encode("ascii", "backslashreplace")
        while rest:
            rest = rest[os.write(1, rest) :]
    finally:
        os._exit(0)


def _format_json(pairs: dict[str, object]) -> str:
    values = (str(value) if isinstance(value, int | float) else _quote(str(value)) for value in pairs.values())
    return "{" + ", ".join(f'"{key}": {value}' for key, value in zip(pairs, values, strict=True)) + "}"


def _quote(text: str) -> str:
    """Encode a printable text, such as the keeper writes, as a JSON string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
