"""Runs the server: listeners, signals, the drain, and the tasks of every second.

Hypercorn runs on one event loop in the main thread. Probes are answered from memory on the loop itself, in well under
a millisecond, so neither a slow reader nor a burst of scrapes delays them.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from exporter.server.listener import Listener
from exporter.server.pid1 import reap
from exporter.server.reload import Reloader

THREADS = 4  # for requests that the loop does not answer itself: metrics, status page, passwords, reloads
TICK = 1.0  # seconds

_log = logging.getLogger(__name__)


class Run:
    """One run of the server, from its start until a signal ends it.

    The first SIGTERM or SIGINT starts the drain: `drain` is called and it keeps serving for `shutdown_delay` seconds.
    A second signal ends the drain at once. SIGHUP reloads. `tick` is called about once a second; neither it nor
    `drain` may block.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        reloader: Reloader,
        tick: Callable[[], object],
        drain: Callable[[], object],
        shutdown_delay: float,
    ) -> None:
        self._listeners = listeners
        self._reloader = reloader
        self._tick = tick
        self._drain = drain
        self._shutdown_delay = shutdown_delay
        self._stopping, self._hurry, self._over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._threads = ThreadPoolExecutor(THREADS, "web")

    def until_stopped(self) -> None:
        """Serve until the drain is over."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        with self._threads:
            self._handle_signals()
            for listener in self._listeners:
                _log.info("listening", extra={"fields": {"address": " ".join(listener.urls), "pid": os.getpid()}})
            serving = (listener.run(self._threads, self._over.wait) for listener in self._listeners)
            await asyncio.gather(self._drain_when_stopping(), self._tick_until_over(), *serving)
        _log.info("stopped")

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _stop(self) -> None:
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    def _reload(self) -> None:
        asyncio.get_running_loop().run_in_executor(self._threads, self._reloader.reload)

    async def _drain_when_stopping(self) -> None:
        await self._stopping.wait()
        self._drain()
        _log.info("shutting down; /readyz now returns 503", extra={"fields": {"delay": self._shutdown_delay}})
        await _wait(self._hurry, self._shutdown_delay)
        self._over.set()

    async def _tick_until_over(self) -> None:
        while not self._over.is_set():
            self._tick()
            if os.getpid() == 1:
                reap()
            await asyncio.get_running_loop().run_in_executor(self._threads, self._reloader.poll)
            await _wait(self._over, TICK)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
