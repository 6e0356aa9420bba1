"""The server's TLS context, loaded again when its files change."""

import logging
import ssl
import time
from typing import Any, Self

from exporter.config.web import Tls
from exporter.host.reader import read_signature
from exporter.tls import describe_file_error

_log = logging.getLogger(__name__)


class Rotation:
    """Keeps the served certificate up to date with its files; unusable files leave the previous one in place.

    `contents` are those of the files that the current context was built from, by key.
    """

    def __init__(self, tls: Tls, contents: dict[str, bytes] | None = None) -> None:
        """With `contents`, begin with these instead of the files' own, as from an earlier time.

        Raises OSError or ssl.SSLError for files that cannot be used.
        """
        self._tls = tls
        self._seen = None if contents else self._read_signatures()
        self.contents = contents or tls.read_files()
        self._current = tls.build_context(self.contents)
        self.context = _Latest(self)
        self.ok = not contents
        self.error = ""
        """Why the files are not in use as they are now."""
        self.error_time: float | None = None
        """When that was first noticed."""

    @property
    def current(self) -> ssl.SSLContext:
        """The context for a handshake that begins now."""
        return self._current

    def replace(self, tls: Tls) -> None:
        """Use other files from the next handshake on. Raises OSError, and changes nothing, if they cannot be used."""
        previous, self._tls = self._tls, tls
        signatures = self._read_signatures()
        try:
            self._build()
        except OSError:
            self._tls = previous
            raise
        self._seen, self.ok, self.error = signatures, True, ""

    def poll(self) -> None:
        """If the files have changed, use them from the next handshake on."""
        signatures = self._read_signatures()
        if signatures == self._seen:
            return
        try:
            self._build()
        except OSError as error:
            self.ok = False
            text = describe_file_error(error)
            if text != self.error:
                self.error_time = time.time()
                _log.error("certificate not loaded; keeping the previous one", extra={"fields": {"error": text}})
            self.error = text
            if isinstance(error, ssl.SSLError):  # anything else may pass without a change of the files
                self._seen = signatures
        else:
            self.ok, self.error, self._seen = True, "", signatures
            _log.info("certificate loaded", extra={"fields": {"file": str(self._tls.cert_file)}})

    def _build(self) -> None:
        contents = self._tls.read_files()
        self._current, self.contents = self._tls.build_context(contents), contents

    def _read_signatures(self) -> object:
        return [read_signature(path) for path in self._tls.files().values()]


class _Latest(ssl.SSLContext):
    """A context that gives each new connection the latest context of a Rotation.

    OpenSSL keeps the sessions of clients in the context that a connection began with. A connection that began with an
    earlier context could therefore resume a session, even if the authority of the client's certificate has been
    removed since. That is why switching the context during the handshake is not enough.
    """

    def __new__(cls, _rotation: Rotation) -> Self:
        """Return a context without a certificate of its own."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, rotation: Rotation) -> None:
        self._rotation = rotation

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Return a connection that begins with the latest context."""
        return self._rotation.current.wrap_socket(*args, **options)
