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
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve as hypercorn
from hypercorn.config import Config as Hypercorn
from hypercorn.config import Sockets
from hypercorn.protocol.h11 import H11Protocol

from exporter.server.doors import CLIENT_TIMEOUT, Door
from exporter.server.mount import WSGI, mounted
from exporter.server.routes import PATHS

GRACE = 3.0  # seconds for answers under way when the listeners close
THREADS = 4  # for what is not answered on the loop: expositions, pages, passwords, reloads
TICK = 1.0  # seconds between looks at the clock and at files
OWN_CHILDREN = 0x20000000  # __WNOTHREAD (linux/wait.h), which `os` does not name

_log = logging.getLogger(__name__)


class Reloader:
    """Keeps what runs in step with the configuration file; a bad file changes nothing and is told of."""

    def __init__(self, path: Path | None, apply: Callable[[], int], wall: Callable[[], float] = time.time) -> None:
        """`apply` reads the configuration, puts it to work and returns the number of checks.

        It raises ValueError for a bad file, and RuntimeError where the system has no more threads to give.
        """
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
            except (ValueError, RuntimeError) as error:
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

    def __init__(self, doors: Sequence[Door], app: WSGI, tls: ssl.SSLContext | None = None) -> None:
        self.urls = [door.url("https" if tls else "http") for door in doors]
        self._doors = doors
        self._app = app
        self._config = _Hypercorn(doors, tls)

    async def serve(self, threads: ThreadPoolExecutor, until: Callable[[], Awaitable[Any]]) -> None:
        """Serve until `until` returns, then finish the answers under way, for a bounded time."""

        async def over() -> None:
            await until()
            for door in self._doors:
                asyncio.get_running_loop().call_later(GRACE, door.cut)

        await hypercorn(mounted(self._app, tuple(PATHS), threads), self._config, shutdown_trigger=over, mode="asgi")


class _Hypercorn(Hypercorn):
    """Hypercorn with the limits under which half-open, dripping and silent clients were measured to do no harm."""

    def __init__(self, doors: Sequence[Door], tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self.read_timeout = CLIENT_TIMEOUT  # type: ignore[assignment]  # passed to asyncio.wait_for, which takes floats
        self.ssl_handshake_timeout = CLIENT_TIMEOUT
        self.graceful_timeout = GRACE + 1  # by then every connection has been cut
        self.backlog = 1024
        self.include_server_header = False
        self.accesslog = None
        self.errorlog = logging.getLogger("hypercorn.error")
        self.errorlog.setLevel(logging.WARNING)
        self._doors = doors
        self._tls = tls

    @property
    def ssl_enabled(self) -> bool:
        return self._tls is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return self._tls

    def create_sockets(self) -> Sockets:
        doors: list[socket.socket] = [*self._doors]
        return Sockets(doors, [], []) if self.ssl_enabled else Sockets([], doors, [])


async def _no_upgrade(_protocol: H11Protocol, _request: object) -> None:
    """Never leave HTTP/1.1: over HTTP/2 a client holds a connection for good, and thousands of streams on it at once.

    Hypercorn looks here for the upgrade to h2c and for HTTP/2 without one, and cannot be told not to.
    """


H11Protocol._check_protocol = _no_upgrade  # type: ignore[assignment, method-assign]  # noqa: SLF001


def reap() -> None:
    """Let go of the ended processes that were left to this thread; to be called in the main thread.

    As process 1 of a container the exporter inherits whatever an exec check, or a command that somebody runs in the
    container, leaves in the background. The system gives orphans to the main thread, while checks run in the threads of
    the schedule: the children of those stay theirs, and no exit status of a check is lost.
    """
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG | OWN_CHILDREN)[0]:
            pass


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
            if os.getpid() == 1:
                reap()
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
