"""Corrects what a process can inherit from the one that started it: signals and standard streams.

It imports only what every Python process has loaded, because the first lines of the process use it.

- With SIGCHLD ignored, the kernel discards the exit status of every child, and Python reports success instead.
- With SIGTERM blocked or ignored, nothing but SIGKILL stops the process.
- With a standard stream closed, the next socket gets its number, and whatever writes to stderr writes to a client.

SIGHUP and SIGINT stay ignored if they are: `nohup` and the `&` of a shell ask for that. `serve` handles both anyway.
"""

import os

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # `signal` imports enum, which costs more memory than the keeper's own code


def reset() -> None:
    """Receive all signals, learn the exit status of children, and open closed standard streams as /dev/null."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    if _signal.getsignal(_signal.SIGTERM) == _signal.SIG_IGN:
        _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    for stream in (0, 1, 2):
        _open_if_closed(stream)


def _open_if_closed(stream: int) -> None:
    try:
        os.fstat(stream)
    except OSError:
        descriptor = os.open(os.devnull, os.O_RDWR)
        os.dup2(descriptor, stream)
        os.set_inheritable(stream, True)  # noqa: FBT003  # takes no keyword; dup2 leaves it out if the numbers are equal
        if descriptor != stream:
            os.close(descriptor)
