"""Queries over UDP, repeated until there is a response, because one lost datagram is not a failure.

Theory of operation. The addresses of all servers take turns, ROUNDS times, at equal intervals until the deadline. So
neither a lost datagram nor a silent server uses up the time of a query. Each address has a socket of its own, which
stays open: a slow response still counts after other addresses have been queried. The sockets are connected. So
datagrams from other senders do not arrive, and a closed port is an error at once; then the next address is queried
without a pause.
"""

import contextlib
import errno
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from exporter.model import Deadline, ProbeError, Reason
from exporter.net.errors import DialError, describe
from exporter.net.resolver import Resolver, parse_numeric
from exporter.self_connection import MAX_SELF_CONNECTIONS, discard_self_connection
from exporter.text import format_endpoint

ROUNDS = 3
"""How often each address is queried until the deadline."""
MAX_ADDRESSES = 8
"""Addresses of one server's name that are queried. Each has a socket."""
MAX_DATAGRAM = 4096
"""Bytes of a datagram that are read. A longer one exceeds what the query permits, and would take long to parse."""

_T = TypeVar("_T")


class Peer:
    """One address of a server, named in messages as `name`, and the query to send to it: in the end, `plain`."""

    def __init__(self, name: str, family: socket.AddressFamily, address: Any, query: bytes, plain: bytes) -> None:
        self.name = name
        self.query = query
        self.plain = plain
        self.error: DialError | None = None  # with an error, it is not queried again
        self._family = family
        self._address = address
        self._sock: socket.socket | None = None
        self._ignored = 0
        self._flaw = ""

    @property
    def host(self) -> str:
        """The numeric address."""
        return str(self._address[0])

    @property
    def port(self) -> int:
        """The port."""
        return int(self._address[1])

    def query_next(self, selector: selectors.BaseSelector) -> None:
        """Send the query, from a new socket the first time. Raises DialError, or ProbeError without a descriptor."""
        if self._sock is None:
            self._sock = self._open()
            selector.register(self._sock, selectors.EVENT_READ, self)
        self.send()

    def send(self) -> None:
        """Send the query. Raises DialError."""
        assert self._sock
        with self._explained(), contextlib.suppress(BlockingIOError):  # lost, like any datagram
            self._sock.send(self.query)

    def receive(self) -> bytes | None:
        """Return the next datagram, if there is one. Raises DialError."""
        assert self._sock
        with self._explained(), contextlib.suppress(BlockingIOError):
            return self._sock.recv(MAX_DATAGRAM)
        return None

    def ignore(self, flaw: str) -> None:
        """Count a datagram that is not a response, and keep the reason. Anyone can send one."""
        self._ignored += 1
        self._flaw = flaw

    def describe_silence(self) -> DialError:
        """Return the error of a server that has not responded."""
        message = f"{self.name} did not respond in time"
        if self._ignored:
            message += f" ({self._ignored} datagrams were ignored, the last one because it {self._flaw})"
        return DialError(Reason.TIMEOUT, message, self.name)

    def close(self) -> None:
        """Close the socket."""
        if self._sock is not None:
            self._sock.close()

    def _open(self) -> socket.socket:
        for _ in range(MAX_SELF_CONNECTIONS):
            sock = self._connect()
            if not discard_self_connection(sock):
                return sock
        raise self._explain(OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))

    def _connect(self) -> socket.socket:
        try:
            sock = socket.socket(self._family, socket.SOCK_DGRAM)
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT:
                raise self._explain(error) from None
            raise ProbeError(Reason.ERROR, f"cannot open a socket: {describe(error)}") from None
        sock.settimeout(0)
        try:
            sock.connect(self._address)
        except OSError as error:
            sock.close()
            raise self._explain(error) from None
        return sock

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._explain(error) from None

    def _explain(self, error: OSError) -> DialError:
        return DialError(Reason.CONNECT, f"{self.name}: {describe(error)}", self.name)


def find_peers(
    servers: Sequence[str], port: int, queries: tuple[bytes, bytes], deadline: Deadline, resolver: Resolver
) -> list[Peer]:
    """Return every address of these servers, in their order. Raises DialError or ProbeError as the resolver does."""
    return [
        Peer(_name(server, address), family, address, *queries)
        for server in servers
        for family, address in resolver.resolve(server, port, deadline)[:MAX_ADDRESSES]
    ]


def _name(server: str, address: Any) -> str:
    endpoint = format_endpoint(address[0], address[1])
    return endpoint if parse_numeric(server, 0) else f"{endpoint} ({server})"


def exchange(peers: Sequence[Peer], interpret: Callable[[Peer, bytes], _T | None], deadline: Deadline) -> _T:
    """Send the queries until `interpret` returns a response for a datagram, and return that response.

    The last round sends the plain queries.

    `interpret` returns None for a datagram to ignore, and raises DialError if the peer need not be queried again.
    Raises DialError if there is no response: its message has the error of each peer, its reason is that of the first.
    Raises ProbeError if a socket cannot be opened.
    """
    turns = deque([*peers] * ROUNDS)
    interval = deadline.remaining() / len(turns)
    due = deadline.clock()
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for peer in peers:
            stack.callback(peer.close)
        while (remaining := deadline.remaining()) > 0 and not all(peer.error for peer in peers):
            now = deadline.clock()
            if turns and now >= due:
                peer = turns.popleft()
                if len(turns) < len(peers):
                    peer.query = peer.plain
                if _query(peer, selector):
                    due += interval  # also after a delay: the last one must be sent before the deadline
                continue
            for key, _ in selector.select(min(remaining, due - now) if turns else remaining):
                response = _receive(key.data, interpret)
                if response is not None:
                    return response
                if key.data.error:
                    selector.unregister(key.fileobj)
                    due = now
    errors = [peer.error or peer.describe_silence() for peer in peers]
    raise DialError(errors[0].reason, "; ".join(map(str, errors)), errors[0].where)


def _query(peer: Peer, selector: selectors.BaseSelector) -> bool:
    """Query a peer unless it has failed, and return whether it was queried."""
    if peer.error:
        return False
    try:
        peer.query_next(selector)
    except DialError as error:
        peer.error = error
        return False
    return True


def _receive(peer: Peer, interpret: Callable[[Peer, bytes], _T | None]) -> _T | None:
    try:
        datagram = peer.receive()
        return None if datagram is None else interpret(peer, datagram)
    except DialError as error:
        peer.error = error
        return None
