"""Sockets whose operations share one deadline: without it, each of these servers would block its client forever."""

import socket
import threading
from collections.abc import Callable
from contextlib import closing

import pytest
from kinds.pages import tls
from kinds.servers import drip, flood, hang, reset, serving, wait_for
from net.reaching import failure
from support import within

from exporter.model import Reason
from exporter.net.dial import connect, secure
from exporter.net.tls import make_inspection_context

SECONDS = 0.5


def open_plain(port: int) -> socket.socket:
    return connect("127.0.0.1", port, within(SECONDS))


def open_tls(port: int) -> socket.socket:
    """A TLS socket whose deadline begins after the handshake, so that a slow handshake does not use it up."""
    deadline = within(60)
    sock = secure(connect("127.0.0.1", port, deadline), make_inspection_context(), "127.0.0.1")
    sock.deadline = within(SECONDS)
    return sock


def receive_all(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


def read_as_file(sock: socket.socket) -> None:
    with sock.makefile("rb") as file:
        while file.read(65536):
            pass


def send_much(sock: socket.socket) -> None:
    sock.sendall(b"a" * 50_000_000)


SERVERS = {"silent": (hang,), "dripping": (drip(b"a"),), "flooding": (flood(b"a" * 65536),)}
OPENERS = {"plain": (open_plain, {}), "tls": (open_tls, {"tls": tls()})}


@pytest.mark.parametrize(("opener", "options"), OPENERS.values(), ids=OPENERS)
@pytest.mark.parametrize("receive", [receive_all, read_as_file])
@pytest.mark.parametrize("script", SERVERS.values(), ids=SERVERS)
def test_receiving_ends_at_the_deadline(opener, options, receive: Callable[[socket.socket], None], script):
    with serving(script, listens=False, **options) as server, closing(opener(server.port)) as sock:
        error = failure(receive, sock)

        assert (error.reason, str(error)) == (Reason.TIMEOUT, "no complete response in time")
        assert not server.gave_up.is_set()


@pytest.mark.parametrize(("opener", "options"), OPENERS.values(), ids=OPENERS)
def test_sending_to_a_peer_that_does_not_read_ends_at_the_deadline(opener, options):
    with serving((hang,), listens=False, **options) as server, closing(opener(server.port)) as sock:
        assert failure(send_much, sock).reason is Reason.TIMEOUT
        assert not server.gave_up.is_set()


def test_a_reset_is_a_dial_error():
    """The server waits until the client has connected: a reset before that is an error of `connect`."""
    connected = threading.Event()

    script = (wait_for(connected), reset)
    with serving(script, listens=False) as server, connect("127.0.0.1", server.port, within(60)) as sock:
        connected.set()
        error = failure(sock.recv, 10)

        assert (error.reason, str(error)) == (Reason.CONNECT, "Connection reset by peer")


def test_more_bytes_than_the_allowance_are_refused():
    with serving((b"a" * 100, hang), listens=False) as server, connect("127.0.0.1", server.port, within(10)) as sock:
        sock.allowance = 50
        error = failure(receive_all, sock)

        assert (error.reason, str(error)) == (Reason.STATUS, "the response is too long")


def test_a_tls_connection_may_end_without_close_notify():
    with serving((b"well",), tls=tls(), listens=False) as server, closing(open_tls(server.port)) as sock:
        sock.deadline = within(10)
        assert sock.makefile("rb").read() == b"well"
