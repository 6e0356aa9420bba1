"""The server's TLS certificate, loaded again when its files change."""

import logging
import ssl

from exporter.config.web import Tls

_log = logging.getLogger(__name__)


class Rotation:
    """Keeps the served certificate up to date with its files; unusable files leave the previous one in place."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._current = self.context = tls.build_context()
        self.context.sni_callback = self._use_current
        self._seen = self._read_signature()

    def poll(self) -> None:
        """If the files have changed, use them from the next handshake on."""
        signature = self._read_signature()
        if signature == self._seen:
            return
        self._seen = signature
        try:
            # A new context: loading a new certificate without its key would break the one in use.
            self._current = self._tls.build_context()
        except OSError as error:
            _log.error("certificate not loaded; keeping the previous one", extra={"fields": {"error": str(error)}})
        else:
            _log.info("certificate loaded", extra={"fields": {"file": str(self._tls.cert_file)}})

    def _use_current(
        self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        """Give a handshake the latest context. ssl calls this in every handshake, even without a server name."""
        connection.context = self._current

    def _read_signature(self) -> object:
        try:
            seen = [path.stat() for path in self._tls.files().values()]
        except OSError as error:
            return error.errno
        return [(status.st_ino, status.st_mtime_ns) for status in seen]
