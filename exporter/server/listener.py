"""Accepts connections, and keeps them few and short.

Theory of operation:

The event loop accepts connections in batches and reads from each at once. A request that begins like a probe's is
answered immediately. All others, and TLS handshakes, have their turn after that, a few in each round of the loop. A
burst of them delays the next probe on a plain listener by milliseconds.

The number of connections is limited. A new connection is always accepted: at the limit, the oldest one is closed, with
a 503 if its request has arrived. An honest client is done within milliseconds, so it is never the oldest for long. The
oldest are those that have sent half a request, or that do not read their response.

Each connection has a deadline, for its request and then for each part of its response.
"""

import asyncio
import contextlib
import errno
import resource
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from email.utils import formatdate

from exporter.host.descriptors import reserve
from exporter.server.connection import CLIENT_TIMEOUT, Connection, Phase
from exporter.server.dispatch import Dispatcher
from exporter.server.messages import Request
from exporter.server.probes import OWN_PATHS, PROBE_PATHS
from exporter.server.sockets import format_url

MAX_CONNECTIONS = 512
"""Connections of a listener. Beyond it, the oldest connection is closed."""
SHARE = 4
"""A listener uses at most one in so many of the files that the process may open; checks need the others."""
MAX_SENDING = 16 * 1024 * 1024
"""Bytes of different large bodies that are being sent. Beyond it, the oldest connection with one is closed."""
GRACE = 3.0
"""Seconds for responses in progress when the listeners close."""

_BATCH = 64  # connections that are accepted before those with data have their turn
_TURN = 8  # handshakes, and requests other than probes, in one round of the event loop
_SWEEP = 0.5  # seconds between two looks at the deadlines
_PAUSE = 0.1  # seconds until the next attempt to accept, if the system refuses
_URGENT = tuple(f"{method} {path}".encode() for method in ("GET", "HEAD") for path in (*PROBE_PATHS, *OWN_PATHS))
_SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Listening sockets, and the connections of their clients."""

    def __init__(
        self, sockets: Sequence[socket.socket], dispatch: Dispatcher, tls: ssl.SSLContext | None = None
    ) -> None:
        self.urls = [format_url(sock, "https" if tls else "http") for sock in sockets]
        self._sockets = sockets
        self._dispatch = dispatch
        self._tls = tls
        self._connections: dict[Connection, None] = {}  # in the order in which they were accepted
        self._deferred: deque[Callable[[], None]] = deque()
        self._bodies: dict[int, int] = {}  # the large bodies by their identity, and how many connections send them
        self._sending = 0  # bytes of these bodies
        self._second, self._date = 0, ""
        self._refusal: tuple[tuple[int, str], bytes] = (0, ""), b""
        self._over: asyncio.Event

    def start(self) -> None:
        """Accept connections on the running event loop."""
        self.loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._max_connections = min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE)
        for sock in self._sockets:
            sock.settimeout(0)
            # Linux copies this to every connection that the socket accepts.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(CLIENT_TIMEOUT * 1000))
            self.loop.add_reader(sock, self._accept, sock)
        self.loop.call_later(_SWEEP, self._sweep)

    def adopt(self, accepted: socket.socket) -> None:
        """Serve a connection that the keeper has accepted."""
        try:
            peer = accepted.getpeername()[0]
        except OSError:  # the client is gone
            accepted.close()
        else:
            self._adopt(accepted, peer)

    async def stop(self) -> None:
        """Accept no more connections, and wait up to GRACE seconds for the responses in progress."""
        for sock in self._sockets:
            self.loop.remove_reader(sock)
            sock.close()
        for connection in tuple(self._connections):
            if connection.phase in (Phase.HANDSHAKE, Phase.READING):
                connection.close()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), GRACE)
        for connection in tuple(self._connections):
            connection.close()
        self._over.set()

    def defer(self, act: Callable[[], None]) -> None:
        """Do something after the requests of probes, a few in each round of the event loop."""
        if not self._deferred:
            self.loop.call_soon(self._proceed)
        self._deferred.append(act)

    def receive(self, connection: Connection, request: Request) -> None:
        """Respond to a request, now or later."""
        self._dispatch.receive(connection, request)

    def reject(self, connection: Connection, status: int) -> None:
        """Respond to bytes that are not a request."""
        connection.respond(self._dispatch.refuse(status).to_response())

    def has_begun(self, connection: Connection) -> bool:
        """Return whether the response to a request is being made."""
        return self._dispatch.has_begun(connection)

    def forget(self, connection: Connection) -> None:
        """Forget a closed connection and its request."""
        self._dispatch.forget(connection)
        self._connections.pop(connection, None)
        if not self._connections:
            self._over.set()

    def is_urgent(self, data: bytes) -> bool:
        """Return whether these first bytes of a request are a probe's."""
        return data.startswith(_URGENT)

    def hold(self, connection: Connection, body: bytes) -> None:
        """Note that a large body is being sent. Equal requests share one."""
        self._bodies[id(body)] = self._bodies.get(id(body), 0) + 1
        self._sending += len(body) if self._bodies[id(body)] == 1 else 0
        for other in tuple(self._connections):
            if self._sending <= MAX_SENDING:
                return
            if other.phase is Phase.WRITING and other is not connection:
                other.close()

    def release(self, body: bytes) -> None:
        """Note that one connection needs this body no more."""
        self._bodies[id(body)] -= 1
        if not self._bodies[id(body)]:
            del self._bodies[id(body)]
            self._sending -= len(body)

    def date(self) -> str:
        """Return the time for the Date header (RFC 9110, section 6.6.1)."""
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
        return self._date

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                accepted, address = _accept_one(sock)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _SHORTAGE:
                    self._make_room(sock)
                return
            self._adopt(accepted, address[0])

    def _adopt(self, accepted: socket.socket, peer: str) -> None:
        if len(self._connections) >= self._max_connections:
            self._turn_away_oldest()
        try:
            accepted.settimeout(0)
            if self._tls:
                accepted = self._tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        except OSError:  # the client is gone
            accepted.close()
            return
        connection = Connection(self, accepted, peer)
        self._connections[connection] = None
        self._over.clear()
        connection.step()

    def _turn_away_oldest(self) -> None:
        next(iter(self._connections)).turn_away(self._busy())

    def _busy(self) -> bytes:
        """Return a 503. In a storm it is sent thousands of times."""
        answer = self._dispatch.refuse(503, ("Retry-After", "1"))
        known, data = self._refusal
        if known != (answer.generation, self.date()):
            response = answer.to_response()
            known, data = (answer.generation, self._date), response.render_head(self._date) + response.body
            self._refusal = known, data
        return data

    def _make_room(self, sock: socket.socket) -> None:
        """Free a descriptor by closing the oldest connection, or wait a moment."""
        if self._connections:
            self._turn_away_oldest()
            return
        self.loop.remove_reader(sock)
        self.loop.call_later(_PAUSE, self._resume, sock)

    def _resume(self, sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            self.loop.add_reader(sock, self._accept, sock)

    def _proceed(self) -> None:
        for _ in range(min(_TURN, len(self._deferred))):
            self._deferred.popleft()()
        if self._deferred:
            self.loop.call_soon(self._proceed)

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in tuple(self._connections):
            if connection.deadline < now and connection.phase is not Phase.WAITING:
                connection.close()
        self.loop.call_later(_SWEEP, self._sweep)


def _accept_one(sock: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
    """Accept a connection, from the reserve of descriptors if no other one is left. Raises OSError."""
    try:
        return sock.accept()
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    with reserve():
        return sock.accept()
