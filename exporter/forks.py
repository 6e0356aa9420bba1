"""What a forked process starts again, because threads and held locks do not survive a fork.

Python calls functions after a fork that it makes itself (os.register_at_fork). uWSGI forks without Python, so the
process ID is compared as well, before a process uses anything that may come from its parent.
"""

import os
import threading
from collections.abc import Callable

_resets: list[Callable[[], None]] = []
_lock = threading.Lock()  # only a process that has been forked takes it, so no other thread holds it at a fork
_pid = os.getpid()


def reset_after_fork(reset: Callable[[], None]) -> None:
    """Call a function in each forked process, before it is used there."""
    _resets.append(reset)


def reset_if_forked() -> None:
    """Call the functions if this process is a fork that has not called them yet."""
    global _pid  # noqa: PLW0603
    if _pid == os.getpid():
        return
    with _lock:
        if _pid != os.getpid():
            for reset in _resets:
                reset()
            _pid = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reset_if_forked)
