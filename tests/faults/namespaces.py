"""Namespaces: a thread with its own network or its own mounts. The programs that it starts have them, too."""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from support import PATIENCE, Answer, command, get, unavailable

Returned = TypeVar("Returned")
FLAGS = {"mounts": 0x00020000, "network": 0x40000000}  # CLONE_NEWNS and CLONE_NEWNET of unshare(2)


class Namespaces:
    """A thread in namespaces. It calls functions for the test, such as `inside(start, yaml)`."""

    def __init__(self, *kinds: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self(_unshare, sum(FLAGS[kind] for kind in kinds))
        if "mounts" in kinds:
            self.run("mount", "--make-rprivate", "/")
        if "network" in kinds:
            self.run("ip", "link", "set", "lo", "up")

    def __call__(self, function: Callable[..., Returned], *arguments: Any, **options: Any) -> Returned:
        """Call the function in the namespaces and return its result."""
        return self._thread.submit(function, *arguments, **options).result()

    def run(self, program: str, *arguments: str) -> str:
        """Run a program in the namespaces and return its output."""
        words = [command(program), *arguments]
        done = self(subprocess.run, words, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return str(done.stdout)

    def get(self, url: str) -> Answer:
        """Send a request from inside."""
        return self(get, url)

    def close(self) -> None:
        self._thread.shutdown()


@contextmanager
def namespaces(*kinds: str) -> Iterator[Namespaces]:
    """New namespaces of these kinds, `mounts` or `network`; skips the test where none can be made."""
    if os.geteuid() != 0:
        unavailable("namespaces need root")
    try:
        inside = Namespaces(*kinds)
    except OSError as error:
        unavailable(f"no namespace can be made here: {error}")
    try:
        yield inside
    finally:
        inside.close()


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
