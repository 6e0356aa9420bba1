"""Runs the server: listeners, signals, the drain, and the tasks of every second.

One event loop in the main thread accepts, reads and writes. Nothing on it waits: no file, no name, no lock that a check
or a request can hold.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence

from exporter.keeper.link import BEAT, PROBE, STOP, Link
from exporter.server.listener import Listener
from exporter.server.reload import Reloader

TICK = 1.0  # seconds
SWITCH_INTERVAL = 0.0005
"""Seconds for which a thread may keep the interpreter while the event loop waits for it. Python's default is 5 ms, and
the event loop gives the interpreter up in each of the half dozen system calls of an answer."""

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
        link: Link | None = None,
        describe: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        """The web listener is the first, and the probe listener the last. The keeper of a `link` gets the signals.

        `describe` returns further fields for the log line of a listener.
        """
        self._link = link
        self._describe = describe
        self._listeners = [*listeners]
        self._reloader = reloader
        self._tick = tick
        self._drain = drain
        self._shutdown_delay = shutdown_delay
        self._stopping, self._hurry = asyncio.Event(), asyncio.Event()

    def until_stopped(self) -> None:
        """Serve until the drain is over."""
        if self._link:
            # Modules stay until the end. The garbage collector, which was off while they were imported, never looks at
            # them: that would pause all threads, and thus probes, for tens of milliseconds.
            gc.freeze()
            gc.enable()
        sys.setswitchinterval(SWITCH_INTERVAL)
        asyncio.run(self._serve())

    def open_web(self, listener: Listener) -> None:
        """Accept connections on the web listener too. To be called on the event loop, by `tick`."""
        listener.start()
        self._listeners.insert(0, listener)
        self._log_listening(listener)

    async def _serve(self) -> None:
        self._handle_signals()
        listeners = [*self._listeners]  # without one that the first tick opens
        for listener in listeners:
            listener.start()
        self._tick_forever()
        if self._link:
            self._beat(self._link)
            self._link.take_over()
        for listener in listeners:
            self._log_listening(listener)
        await self._stopping.wait()
        self._drain()
        _log.info("shutting down; /readyz now returns 503", extra={"fields": {"delay": self._shutdown_delay}})
        await _wait(self._hurry, self._shutdown_delay)
        if self._link:
            self._link.end()
        await asyncio.gather(*(listener.stop() for listener in self._listeners))
        _log.info("stopped")

    def _log_listening(self, listener: Listener) -> None:
        fields = {"address": " ".join(listener.urls), **self._describe(), **self._processes}
        _log.info("listening", extra={"fields": fields})

    @property
    def _processes(self) -> dict[str, int]:
        """The process to send signals to, and this one."""
        return {"pid": self._link.keeper, "worker": os.getpid()} if self._link else {"pid": os.getpid()}

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        if self._link:
            loop.add_reader(self._link, self._obey, self._link)
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.request)

    def _obey(self, link: Link) -> None:
        for command, sock in link.read():
            if sock:
                self._listeners[-1 if command == PROBE else 0].adopt(socket.socket(fileno=sock.detach()))
            elif command == STOP:
                self._stop()
            else:
                self._reloader.request()

    def _beat(self, link: Link) -> None:
        link.beat()
        asyncio.get_running_loop().call_later(BEAT, self._beat, link)

    def _stop(self) -> None:
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    def _tick_forever(self) -> None:
        asyncio.get_running_loop().call_later(TICK, self._tick_forever)
        self._tick()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
