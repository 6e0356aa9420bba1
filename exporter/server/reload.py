"""Loads the configuration again when its file changes."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

_log = logging.getLogger(__name__)


class Reloader:
    """Applies the configuration file again when it changes. An invalid file is logged and changes nothing."""

    def __init__(self, path: Path | None, apply: Callable[[], int], wall: Callable[[], float] = time.time) -> None:
        """`apply` loads the configuration, puts it into effect, and returns the number of checks.

        Whatever it raises counts as a failed reload: ValueError for an invalid file, RuntimeError if the system cannot
        start another thread, and anything at all from the code of a plugin.
        """
        self._path = path
        self._apply = apply
        self._wall = wall
        self._lock = threading.Lock()
        self._loaded = self._latest = self._read_signature()
        self.ok = True
        self.time = wall()

    def reload(self) -> str | None:
        """Load the file now. Returns the errors in it, or None."""
        with self._lock:
            self._loaded = self._latest = self._read_signature()
            try:
                checks = self._apply()
            except Exception as error:  # noqa: BLE001  # the code of a plugin's kind runs while the file is loaded
                self.ok = False
                return _report(error)
            self.ok, self.time = True, self._wall()
            _log.info("configuration loaded", extra={"fields": {"checks": checks}})
            return None

    def poll(self) -> None:
        """Load the file if it has changed and then stayed the same from one poll to the next."""
        signature = self._read_signature()
        if signature != self._loaded and signature == self._latest:
            self.reload()
        self._latest = signature

    def _read_signature(self) -> object:
        """Return a value that changes with the content, and with a symbolic link's target, as in a ConfigMap volume."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError as error:
            return error.errno
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _report(error: Exception) -> str:
    """Log why the configuration was not loaded, and return it."""
    expected = isinstance(error, (ValueError, RuntimeError))
    text = str(error) if expected else f"{type(error).__name__}: {error}"
    for complaint in text.splitlines():
        _log.error("configuration not loaded; keeping the previous one", extra={"fields": {"error": complaint}})
    if not expected:
        _log.debug("the configuration could not be loaded", exc_info=error)
    return text
