"""Reaps orphaned processes, which is the task of PID 1."""

import contextlib
import os

OWN_CHILDREN = 0x20000000  # __WNOTHREAD (linux/wait.h), which `os` does not name


def reap() -> None:
    """Reap the orphaned processes that have ended. Call it in the main thread.

    As PID 1 of a container, the exporter becomes the parent of every process that an exec check, or a command run in
    the container, leaves behind. The kernel gives orphans to the main thread, while checks run in the threads of the
    schedule. Only the main thread's children are reaped here, so no check loses the exit status of its command.
    """
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG | OWN_CHILDREN)[0]:
            pass
