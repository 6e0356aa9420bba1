"""The relay between a server and a library that reads as much as it can get."""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from kinds.servers import Server, flood, hang, serving
from net.reaching import failure
from support import free_port, within

from exporter.model import Deadline, Reason
from exporter.net.relay import ADDRESS, PORTION, Relay

ECHO = (lambda _, connection: connection.sendall(connection.recv(100)),)


@contextmanager
def relaying(server: Server, seconds: float = 60.0, max_bytes: int = 2**20) -> Iterator[tuple[Relay, socket.socket]]:
    """A relay to the server, and a library's connection to it."""
    with (
        closing(Relay("127.0.0.1", server.port, within(seconds), max_bytes)) as relay,
        socket.create_connection((ADDRESS, relay.port)) as library,
    ):
        library.setblocking(False)
        yield relay, library


def receive(relay: Relay, library: socket.socket) -> bytes:
    """What the library gets when its socket is readable: everything that is there."""
    relay.wait(library.fileno(), selectors.EVENT_READ)
    parts: list[bytes] = []
    while True:
        try:
            parts.append(library.recv(2**20))
        except BlockingIOError:
            return b"".join(parts)
        if not parts[-1]:
            return b"".join(parts)


def test_bytes_are_carried_in_both_directions():
    with serving(ECHO, listens=False) as server, relaying(server) as (relay, library):
        relay.wait(library.fileno(), selectors.EVENT_WRITE)
        library.sendall(b"ping")
        assert receive(relay, library) == b"ping"
        assert receive(relay, library) == b""  # the server has closed the connection


def test_a_flood_is_carried_in_portions_up_to_a_maximum():
    sizes: list[int] = []

    def receive_all(relay: Relay, library: socket.socket) -> None:
        while True:
            sizes.append(len(receive(relay, library)))

    with serving((flood(b"x" * 65536),), listens=False) as server, relaying(server, max_bytes=2**18) as connection:
        error = failure(receive_all, *connection)

    assert max(sizes) <= PORTION
    assert 2**18 - PORTION <= sum(sizes) <= 2**18
    assert (error.reason, str(error)) == (Reason.STATUS, "the response is too long")


def test_a_silent_server_is_waited_for_until_the_deadline():
    with serving((hang,), listens=False) as server, relaying(server, seconds=0.3) as (relay, library):
        error = failure(receive, relay, library)

        assert (error.reason, str(error)) == (Reason.TIMEOUT, "no complete response in time")
        assert not server.gave_up.is_set()


def test_a_server_that_is_not_reached_is_an_error_and_leaves_nothing_open():
    port = free_port()
    with (
        closing(Relay("127.0.0.1", port, within(60), 100)) as relay,
        socket.create_connection((ADDRESS, relay.port)) as library,
    ):
        error = failure(receive, relay, library)

    assert (error.reason, str(error)) == (Reason.CONNECT, f"127.0.0.1:{port}: Connection refused")


def test_the_last_words_of_the_library_reach_the_server():
    heard = threading.Event()

    def listen(_: Server, connection: socket.socket) -> None:
        connection.sendall(connection.recv(100))
        if connection.recv(100) == b"goodbye":
            heard.set()

    with serving((listen,), listens=False) as server:
        with relaying(server) as (relay, library):
            library.sendall(b"ping")
            assert receive(relay, library) == b"ping"
            library.sendall(b"goodbye")
            library.close()
        assert heard.wait(60)


def test_a_second_connection_of_the_library_is_one_to_the_server_too():
    """Libpq connects again without TLS if TLS fails."""
    with serving(ECHO, listens=False) as server, relaying(server) as (relay, library):
        library.sendall(b"one")
        assert receive(relay, library) == b"one"
        with socket.create_connection((ADDRESS, relay.port)) as second:
            second.setblocking(False)
            second.sendall(b"two")
            assert receive(relay, second) == b"two"
        assert server.accepted == 2


def test_a_connection_of_anyone_else_is_closed():
    with serving(ECHO, listens=False) as server, relaying(server) as (relay, library):
        with socket.create_connection((ADDRESS, relay.port)) as stranger:
            stranger.sendall(b"hello")
            library.sendall(b"ping")
            assert receive(relay, library) == b"ping"
            with pytest.raises(ConnectionResetError):
                stranger.recv(100)
        assert server.accepted == 1


def test_the_deadline_is_that_of_the_relay():
    with (
        closing(Relay("127.0.0.1", 1, Deadline(0, lambda: 1), 100)) as relay,
        socket.create_connection((ADDRESS, relay.port)) as library,
    ):
        assert failure(relay.wait, library.fileno(), selectors.EVENT_WRITE).reason is Reason.TIMEOUT
