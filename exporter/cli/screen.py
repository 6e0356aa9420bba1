"""The terminal that a command writes to: its width, colors, and a line of progress."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Collection
from typing import TextIO

from exporter.render.columns import cut

DELAY = 1.0  # seconds without a line of progress: most commands end earlier
MIN_WIDTH = 40  # columns; on a narrower terminal, lines wrap


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether the stream is a terminal that can move its cursor. It is None if the parent has closed it."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def use_color() -> bool:
    """Return whether to use color.

    By default on a terminal that supports it. NO_COLOR turns it off (no-color.org), and FORCE_COLOR or CLICOLOR_FORCE
    on, also in a pipe.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return is_terminal(sys.stdout)


def find_width() -> int | None:
    """Return the columns of the terminal that standard output is; None if it is a file or a pipe."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return max(MIN_WIDTH, shutil.get_terminal_size().columns)


class ProgressLine:
    """A line on standard error with the checks that are still running. Only on a terminal, and only after a while."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._start = time.monotonic()
        self._shown = False

    def show(self, running: Collection[str], done: int) -> None:
        """Show which checks are running."""
        elapsed = time.monotonic() - self._start
        if elapsed < DELAY:
            return
        text = f"{done} of {self._total} checks have run. Running for {elapsed:.0f} s: {', '.join(running)}"
        self._write(f"\r\x1b[K{cut(text, shutil.get_terminal_size().columns - 1)}")
        self._shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
