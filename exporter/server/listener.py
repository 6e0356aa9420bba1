"""Hypercorn, configured so that half-open, dripping and silent clients do no harm."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config, Sockets
from hypercorn.protocol.h11 import H11Protocol

from exporter.server.routes import PROBE_PATHS
from exporter.server.sockets import CLIENT_TIMEOUT, ListeningSocket
from exporter.server.wsgi import WSGI, to_asgi

GRACE = 3.0  # seconds for answers in progress when the listeners close


class Listener:
    """Sockets, and the application that they serve."""

    def __init__(self, sockets: Sequence[ListeningSocket], app: WSGI, tls: ssl.SSLContext | None = None) -> None:
        self.urls = [sock.url("https" if tls else "http") for sock in sockets]
        self._sockets = sockets
        self._app = app
        self._config = _Config(sockets, tls)

    async def run(self, threads: ThreadPoolExecutor, until: Callable[[], Awaitable[Any]]) -> None:
        """Serve until `until` returns, then finish the answers in progress, for at most GRACE seconds."""

        async def shutdown() -> None:
            await until()
            for sock in self._sockets:
                asyncio.get_running_loop().call_later(GRACE, sock.close_connections)

        app = to_asgi(self._app, tuple(PROBE_PATHS), threads)
        await serve(app, self._config, shutdown_trigger=shutdown, mode="asgi")


class _Config(Config):
    def __init__(self, sockets: Sequence[ListeningSocket], tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self.read_timeout = CLIENT_TIMEOUT  # type: ignore[assignment]  # passed to asyncio.wait_for, which takes floats
        self.ssl_handshake_timeout = CLIENT_TIMEOUT
        self.graceful_timeout = GRACE + 1  # by then every connection has been shut down
        self.backlog = 1024
        self.include_server_header = False
        self.accesslog = None
        self.errorlog = logging.getLogger("hypercorn.error")
        self.errorlog.setLevel(logging.WARNING)
        self._sockets = sockets
        self._tls = tls

    @property
    def ssl_enabled(self) -> bool:
        return self._tls is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return self._tls

    def create_sockets(self) -> Sockets:
        sockets: list[socket.socket] = [*self._sockets]
        return Sockets(sockets, [], []) if self.ssl_enabled else Sockets([], sockets, [])


async def _refuse_upgrade(_protocol: H11Protocol, _request: object) -> None:
    """Never leave HTTP/1.1: over HTTP/2 a client can keep a connection open forever, with thousands of streams.

    Hypercorn checks for an upgrade to h2c, and for HTTP/2 with prior knowledge, in this method, and has no option to
    turn that off.
    """


H11Protocol._check_protocol = _refuse_upgrade  # type: ignore[assignment, method-assign]  # noqa: SLF001
