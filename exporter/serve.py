"""Serving: listeners, signals, drain, reload.

Hypercorn on one event loop in the main thread, with Flask mounted on it. What is answered from memory in well under a
millisecond is answered on the loop itself, so no slow reader and no burst of scrapes keeps a probe waiting.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve as hypercorn
from hypercorn.config import Config as Hypercorn

from exporter.web import PATHS

CLIENT_TIMEOUT = 5.0  # seconds for a client's handshake, for its request, and for taking the next part of an answer
GRACE = 3.0  # seconds for answers under way when the listeners close
THREADS = 4  # for what is not answered on the loop: expositions, pages, passwords, reloads
CHUNK = 64 * 1024  # bytes of an answer in one client's buffer
TICK = 1.0  # seconds between looks at the clock and at files

WSGI = Callable[..., Iterable[bytes]]

_log = logging.getLogger(__name__)


class ListenError(Exception):
    """An address that cannot be listened on."""


def listen(address: str) -> socket.socket:
    """A listening socket on HOST:PORT, [HOST]:PORT or :PORT, the last on every interface. Raises ListenError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ListenError(f"{address}: an address is HOST:PORT or :PORT, for example 127.0.0.1:4584")
    host = host.removeprefix("[").removesuffix("]")
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=1024)
    except OSError as error:
        raise ListenError(f"{address}: cannot listen: {error.strerror or error}") from None


def url(sock: socket.socket, scheme: str = "http") -> str:
    """The address at which this machine reaches a listening socket."""
    host, port = sock.getsockname()[:2]
    host = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


class Reloader:
    """Keeps what runs in step with the configuration file; a bad file changes nothing and is told of."""

    def __init__(self, path: Path | None, apply: Callable[[], int], wall: Callable[[], float] = time.time) -> None:
        """`apply` reads the configuration, puts it to work and returns the number of checks; it raises ValueError."""
        self._path = path
        self._apply = apply
        self._wall = wall
        self._lock = threading.Lock()
        self._loaded = self._seen = self._signature()
        self.ok = True
        self.time = wall()

    def reload(self) -> str | None:
        """Load the file now. Returns what is wrong with it, or None."""
        with self._lock:
            self._loaded = self._seen = self._signature()
            try:
                checks = self._apply()
            except ValueError as error:
                self.ok = False
                for complaint in str(error).splitlines():
                    _log.error("configuration not loaded, the old one goes on", extra={"fields": {"error": complaint}})
                return str(error)
            self.ok, self.time = True, self._wall()
            _log.info("configuration loaded", extra={"fields": {"checks": checks}})
            return None

    def poll(self) -> None:
        """Load the file if it has changed and then stayed the same from one poll to the next."""
        signature = self._signature()
        if signature != self._loaded and signature == self._seen:
            self.reload()
        self._seen = signature

    def _signature(self) -> object:
        """Changes with the file's content and, as in a ConfigMap volume, with the file that a link leads to."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError as error:
            return error.errno
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


class Listener:
    """Sockets, and the application they serve."""

    def __init__(self, sockets: Sequence[socket.socket], app: WSGI, tls: ssl.SSLContext | None = None) -> None:
        self.urls = [url(sock, "https" if tls else "http") for sock in sockets]
        self._app = app
        self._config = _Hypercorn(sockets, tls)

    def serve(self, threads: ThreadPoolExecutor, until: Callable[[], Awaitable[Any]]) -> Awaitable[None]:
        """Serve until `until` returns, then finish the answers under way."""
        return hypercorn(mounted(self._app, threads), self._config, shutdown_trigger=until, mode="asgi")


class _Hypercorn(Hypercorn):
    """Hypercorn with the limits under which half-open, dripping and silent clients were measured to do no harm."""

    def __init__(self, sockets: Iterable[socket.socket], tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self.bind = [f"fd://{sock.detach()}" for sock in sockets]
        self.read_timeout = CLIENT_TIMEOUT  # type: ignore[assignment]  # passed to asyncio.wait_for, which takes floats
        self.ssl_handshake_timeout = CLIENT_TIMEOUT
        self.graceful_timeout = GRACE
        self.backlog = 1024
        self.include_server_header = False
        self.accesslog = None
        self.errorlog = logging.getLogger("hypercorn.error")
        self.errorlog.setLevel(logging.WARNING)
        self._tls = tls

    @property
    def ssl_enabled(self) -> bool:
        return self._tls is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return self._tls


def mounted(app: WSGI, threads: ThreadPoolExecutor) -> Callable[..., Awaitable[None]]:
    """The WSGI application as an ASGI one.

    Hypercorn's own WSGI adapter holds a thread while a slow client takes its answer, and answers 500 where the body is
    empty (HEAD).
    """

    async def application(scope: dict[str, Any], _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return
        call = partial(_call, app, _environ(scope))
        if scope["path"].startswith(tuple(PATHS)):
            status, headers, body = call()
        else:
            status, headers, body = await asyncio.get_running_loop().run_in_executor(threads, call)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for start in range(0, len(body), CHUNK):
            await send({"type": "http.response.body", "body": body[start : start + CHUNK], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return application


def _call(app: WSGI, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], Any]:
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        started[:] = int(status.partition(" ")[0]), encoded
        return lambda _: None

    chunks = app(environ, start_response)
    try:
        body = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    status, headers = started
    return status, headers, body


def _environ(scope: dict[str, Any]) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of an ASGI scope. Requests with a body are answered without reading it."""
    server, client = scope.get("server") or ("localhost", 80), scope.get("client")
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0] if client else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        name = f"HTTP_{raw_name.decode('latin-1').upper().replace('-', '_')}"
        value = raw_value.decode("latin-1")
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    return environ


def serve(
    listeners: Sequence[Listener],
    *,
    reloader: Reloader,
    tick: Callable[[], object],
    drain: Callable[[], object],
    shutdown_delay: float,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return. A second signal ends the drain at once.

    `tick` is called about once a second, `drain` once when the end begins; neither may block.
    """
    asyncio.run(_serve(listeners, reloader, tick, drain, shutdown_delay))


async def _serve(
    listeners: Sequence[Listener],
    reloader: Reloader,
    tick: Callable[[], object],
    drain: Callable[[], object],
    shutdown_delay: float,
) -> None:
    loop = asyncio.get_running_loop()
    asked, insisted, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def end() -> None:
        (insisted if asked.is_set() else asked).set()

    async def draining() -> None:
        await asked.wait()
        drain()
        _log.info("shutting down: readiness is false from now on", extra={"fields": {"delay": shutdown_delay}})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(insisted.wait(), shutdown_delay)
        over.set()

    async def ticking() -> None:
        while not over.is_set():
            tick()
            await loop.run_in_executor(threads, reloader.poll)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), TICK)

    with ThreadPoolExecutor(THREADS, "web") as threads:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        loop.add_signal_handler(signal.SIGHUP, lambda: loop.run_in_executor(threads, reloader.reload))
        for listener in listeners:
            _log.info("listening", extra={"fields": {"address": " ".join(listener.urls), "pid": os.getpid()}})
        await asyncio.gather(draining(), ticking(), *(each.serve(threads, over.wait) for each in listeners))
    _log.info("stopped")
