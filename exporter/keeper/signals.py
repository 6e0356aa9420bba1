"""Signals: how they wake the keeper's loop, and their names."""

import os

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Iterator
else:
    import _signal  # `signal` imports enum, which costs more memory than the keeper's own code

SIGINT, SIGHUP, SIGKILL = _signal.SIGINT, _signal.SIGHUP, _signal.SIGKILL


class Signals:
    """The signals for the keeper: SIGTERM, SIGINT and SIGHUP. SIGCHLD only wakes the loop."""

    def __init__(self) -> None:
        self._arrived: list[int] = []
        self.woken, self._wake = os.pipe()  # `woken` is readable after a signal
        for descriptor in (self.woken, self._wake):
            os.set_blocking(descriptor, False)  # by position only
        _signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (_signal.SIGTERM, SIGINT, SIGHUP):
            _signal.signal(number, lambda number, _: self._arrived.append(number))
        _signal.signal(_signal.SIGCHLD, lambda *_: None)

    def sleep(self) -> None:
        """Make `woken` unreadable until the next signal."""
        os.read(self.woken, 512)

    def take(self) -> "Iterator[int]":
        """Yield the numbers of the signals that have arrived, once each."""
        while self._arrived:
            yield self._arrived.pop(0)

    def release(self) -> None:
        """Let go of the signals in a process that has just been forked."""
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        os.close(self.woken)
        os.close(self._wake)


def end_at_sigterm() -> None:
    """End with 0 at SIGTERM from now on. As PID 1, a process without a handler does not receive the signal at all."""
    _signal.signal(_signal.SIGTERM, lambda *_: os._exit(0))


def name(number: int) -> str:
    """Return the name of a signal, such as `SIGSEGV`."""
    names = (name for name in dir(_signal) if name.startswith("SIG") and not name.startswith("SIG_"))
    return next((name for name in names if getattr(_signal, name) == number), str(number))
