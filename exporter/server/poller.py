"""Does something once a second, in a thread that nothing waits for."""

import logging
import threading
from collections.abc import Callable

INTERVAL = 1.0  # seconds

_log = logging.getLogger(__name__)


class Poller:
    """Calls a function once a second in a daemon thread of its own, so that one that hangs delays nothing else.

    Requests, the tick of the server and its shutdown never wait for this thread.
    """

    def __init__(self, name: str, poll: Callable[[], object], interval: float = INTERVAL) -> None:
        self._name = name
        self._poll = poll
        self._interval = interval
        self._wake = threading.Event()
        self._stopped = False

    def start(self) -> None:
        """Begin. Raises RuntimeError if the system cannot start another thread."""
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def wake(self) -> None:
        """Call the function now, or again if a call is under way."""
        self._wake.set()

    def stop(self) -> None:
        """Make no further calls. Does not wait for one that is under way."""
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._poll()
            except BaseException:  # noqa: BLE001  # SystemExit in a plugin must not end the thread either
                _log.error("%s: unexpected error", self._name, exc_info=True)
            self._wake.wait(self._interval)
            self._wake.clear()
