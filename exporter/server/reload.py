"""Loads the configuration again when its files change, or on request.

At the start the files may be invalid too. Then there is no configuration until a later load succeeds.

Theory of operation. All loading happens in one daemon thread, which polls the files once a second. A request wakes the
thread and waits for the result, but not longer than MAX_WAIT, and only one request waits at a time: a file or a plugin
that hangs occupies one thread of the server, never all of them.

If a file is invalid, nothing is loaded again until a file changes. A load that failed because the system lacked a
resource, such as threads, is repeated until it succeeds, with a back-off.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.config.complaint import UnreadableError
from exporter.config.files import sign_files
from exporter.server.poller import Poller

MAX_WAIT = 10.0
"""Seconds that a request waits for the result of its reload."""
MAX_PAUSE = 32
"""Polls from one attempt to the next, while the system lacks a resource."""

MAX_ERRORS = 20
"""Errors of a file that the log and the page show."""

KEEPING = "keeping the previous one"
WITHOUT = "/readyz returns 503 until it is valid"
"""What follows from a failed load, with and without a configuration in effect."""

_log = logging.getLogger(__name__)


class ReloadBusyError(Exception):
    """A reload was requested while another request waits, or it takes longer than MAX_WAIT."""


class _Request:
    """Someone who waits for the result of a reload."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.errors: str | None = None


class Reloader:
    """Applies the configuration files again when they change. An invalid file is logged and changes nothing.

    `reload` and `request` are for any thread, and work after `start`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        apply: Callable[[], int],
        wall: Callable[[], float] = time.time,
        reject: Callable[[str], object] = lambda _: None,
    ) -> None:
        """`apply` loads the configuration, puts all of it or nothing into effect, and returns the number of checks.

        Whatever it raises counts as a failed reload: ConfigError for an invalid file, RuntimeError, MemoryError or
        OSError if the system lacks a resource. `reject` is called with the errors.
        """
        self._paths = paths
        self._apply = apply
        self._wall = wall
        self._reject = reject
        self._poller = Poller("reload", self.poll)
        self._lock = threading.Lock()
        self._loading = threading.Lock()  # held during a load
        self._waiting: _Request | None = None
        self._requests = 0
        self.served = 0
        """How many calls of `request` have been followed by a load."""
        self._loaded = self._latest = self._read_signature()
        self._complaint: str | None = None
        self.complaint_time: float | None = None
        """When the latest load failed, or the first of several in a row that failed alike."""
        self._pause = self._polls_to_wait = 0  # 0 unless the system lacked a resource
        self.ok = True
        self.time: float | None = wall()

    @property
    def complaint(self) -> str | None:
        """Why the latest load failed, or None."""
        return self._complaint

    def load_first(self, use_previous: Callable[[], object] | None, *, strict: bool) -> None:
        """Load the files at the start. If that fails, call `use_previous`, if there is an earlier configuration.

        If `strict`, and there is no earlier one, it raises what the load raises.
        """
        with self._loading:
            try:
                self._apply()
            except Exception as error:
                if strict and use_previous is None:
                    raise
                self.ok = False
                self.time = self.time if use_previous and _succeeds(use_previous) else None
                self._report(error, retry=False)

    def start(self) -> None:
        """Begin to poll. Raises RuntimeError if the system cannot start another thread."""
        self._poller.start()

    def stop(self) -> None:
        """Load nothing more. Does not wait for a reload that is under way."""
        self._poller.stop()

    def request(self) -> None:
        """Load the files soon. Does not wait."""
        with self._lock:
            self._requests += 1
        self._poller.wake()

    def reload(self, wait: float = MAX_WAIT) -> str | None:
        """Load the files now, and return the errors in it, or None.

        Raises ReloadBusyError at once if another caller is waiting, or if there is no result after so many seconds.
        """
        with self._lock:
            if self._waiting is not None:
                raise ReloadBusyError("another reload is in progress")
            self._waiting = request = _Request()
        self._poller.wake()
        if not request.done.wait(wait):
            raise ReloadBusyError("the reload is still in progress")
        return request.errors

    def poll(self) -> None:
        """Load the files on request, if they have changed and stayed the same for two polls, or if a retry is due."""
        with self._lock:
            request, requests = self._waiting, self._requests
        if request is not None:
            try:
                request.errors = self._load()
            finally:
                with self._lock:
                    self._waiting = None
                request.done.set()
        elif requests != self.served:
            self._load()
        else:
            self._load_changes()
        self.served = requests

    def _load_changes(self) -> None:
        signature = self._read_signature()
        changed = signature != self._loaded and signature == self._latest
        self._latest = signature
        self._polls_to_wait = max(0, self._polls_to_wait - 1)
        if changed:
            self._load()
        elif self._pause and not self._polls_to_wait:
            self._load(retry=True)

    def _load(self, *, retry: bool = False) -> str | None:
        with self._loading:
            self._loaded = self._latest = self._read_signature()
            try:
                checks = self._apply()
            except Exception as error:  # noqa: BLE001  # whatever it is, the previous configuration stays
                self.ok = False
                return self._report(error, retry=retry)
            self.ok, self.time = True, self._wall()
            self._complaint, self.complaint_time, self._pause = None, None, 0
        _log.info("configuration loaded", extra={"fields": {"checks": checks}})
        return None

    def _report(self, error: Exception, *, retry: bool) -> str:
        """Return why the configuration was not loaded. Log it, unless a retry has failed like the attempt before."""
        expected = isinstance(error, (ValueError, RuntimeError))
        text = _shorten(str(error) if expected else f"{type(error).__name__}: {error}")
        passing = isinstance(error, (RuntimeError, MemoryError, OSError, UnreadableError))
        repeated = retry and text == self._complaint
        self._pause = self._polls_to_wait = min(2 * self._pause or 1, MAX_PAUSE) if passing else 0
        self._complaint = text
        if not repeated:
            self.complaint_time = self._wall()
            self._reject(text)
            message = f"configuration not loaded; {KEEPING if self.time is not None else WITHOUT}"
            for complaint in text.splitlines():
                _log.error(message, extra={"fields": {"error": complaint}})
            if not expected:
                _log.debug("the configuration could not be loaded", exc_info=error)
        return text

    def _read_signature(self) -> object:
        return sign_files(self._paths)


def _shorten(text: str) -> str:
    """Return the first errors of a text. The log and the page must stay readable, and small for every client."""
    errors = text.splitlines()
    more = len(errors) - MAX_ERRORS
    return "\n".join(
        errors[:MAX_ERRORS] + [f"and {more} more: health-exporter validate lists all of them"] * (more > 0)
    )


def _succeeds(use: Callable[[], object]) -> bool:
    try:
        use()
    except Exception as error:  # noqa: BLE001  # without threads or memory, for example
        _log.error("the previous configuration not loaded", extra={"fields": {"error": str(error)}})
        return False
    return True
