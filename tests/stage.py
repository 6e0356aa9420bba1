"""The HTTP surface on real sockets inside the test's own process, over a Store that the test fills by hand."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from make import LETTERS, check, in_groups, result
from support import PATIENCE, Answer, Clock, get

from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.store import Store
from exporter.model import Group, Outcome, Vitals
from exporter.probe.check import Check
from exporter.server.answers import AnswerCounter
from exporter.server.dispatch import MAX_WAITING, THREADS, Dispatcher
from exporter.server.exposition import Exposition
from exporter.server.listener import Listener
from exporter.server.probes import Probes
from exporter.server.routes import create_app
from exporter.server.sockets import listen
from exporter.server.threads import Threads
from exporter.server.users import Users
from exporter.server.wsgi import WSGI


@contextmanager
def served(dispatch: Dispatcher, tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[str]:
    """Serve on loopback as the exporter does; yields the address without a slash at the end."""
    listener = Listener([listen(f"127.0.0.1:{port}")], dispatch, tls)
    started: Future[Callable[[], Any]] = Future()

    async def serve() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        listener.start()
        started.set_result(lambda: loop.call_soon_threadsafe(over.set))
        await over.wait()
        await listener.stop()

    server = threading.Thread(target=lambda: asyncio.run(serve()))
    server.start()
    end = started.result(PATIENCE)
    try:
        yield listener.urls[0].rstrip("/")
    finally:
        end()
        server.join(PATIENCE)
        assert not server.is_alive()


@dataclass
class Stage:
    """A Store with a clock that stands still, and the parts of the HTTP surface."""

    clock: Clock = field(default_factory=Clock)
    answers: AnswerCounter = field(default_factory=AnswerCounter)
    vitals: Vitals = field(default_factory=lambda: Vitals(running=True))
    url: str = ""

    def __post_init__(self) -> None:
        self.store = Store(self.clock, lambda: 1_000_000 + self.clock.now)
        self.checks: dict[str, Check] = {}
        self.answered = AnswerLog()
        self.probes = Probes(self.store, self.answers, lambda: self.vitals, self.answered)

    def watch(self, *checks: Check) -> None:
        self.checks = {check.spec.name: check for check in self.store.configure(checks)}

    def show(self, letters: dict[str, str], *groups: Group) -> None:
        """Watch checks of these groups (all by default), settled by runs given as P, W, F and U; none is pending."""
        where = in_groups(*(groups or Group))
        self.watch(*(check(name, groups=where, failure_threshold=1) for name in letters))
        for name, runs in letters.items():
            for letter in runs:
                self.conclude(name, LETTERS[letter])

    def conclude(self, name: str, outcome: Outcome) -> None:
        self.store.record(self.checks[name], result(outcome, at=self.clock.now))

    def app(self, **options: Any) -> WSGI:
        """Return the Flask application."""
        app = create_app(
            self.store,
            self.probes,
            Exposition(self.store, self.answers, lambda: self.vitals),
            lambda: self.vitals,
            self.answered,
            **options,
        )
        wsgi: WSGI = app.wsgi_app
        return wsgi

    def dispatch(self, app: WSGI | None = None, users: Users | None = None, **options: Any) -> Dispatcher:
        """Return what the web listener serves; `app` replaces the Flask application."""
        return Dispatcher(self.store, self.probes, self._threads(), app or self.app(**options), users)

    def _threads(self) -> Threads:
        return Threads(THREADS, MAX_WAITING, "web")

    def probes_only(self) -> Dispatcher:
        """Return what a probe listener serves."""
        return Dispatcher(self.store, self.probes, self._threads())

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        return get(self.url + path, method, {name.replace("_", "-"): value for name, value in headers.items()})


def exchange(url: str, request: bytes, timeout: float = PATIENCE) -> bytes:
    """Send these bytes and return everything received until the connection ends."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=timeout) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))
