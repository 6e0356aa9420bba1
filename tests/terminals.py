"""The exporter on a terminal."""

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support import PATIENCE


@contextmanager
def terminal(*arguments: object, **env: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], bytes]]]:
    """The exporter on a terminal of 80 columns, and what reads from the terminal: nothing once it is closed."""
    controller, own = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM", "COLUMNS")}
    termios.tcsetwinsize(own, (24, 80))
    child = subprocess.Popen(
        [sys.executable, "-m", "exporter", *map(str, arguments)],
        stdin=own,
        stdout=own,
        stderr=own,
        env={**environment, "TERM": "xterm", **env},
    )
    os.close(own)

    def read() -> bytes:
        try:
            return os.read(controller, 65536)
        except OSError:  # the other end is closed
            return b""

    try:
        yield child, read
    finally:
        child.kill()
        child.wait(PATIENCE)
        os.close(controller)


def on_a_terminal(*arguments: object, **env: str) -> tuple[int, str]:
    """The exit code, and the output on a terminal."""
    seen = b""
    with terminal(*arguments, **env) as (child, read):
        while data := read():
            seen += data
        return child.wait(PATIENCE), seen.decode().replace("\r\n", "\n")
