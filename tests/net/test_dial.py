"""Connections and TLS handshakes by a deadline, over one address or several."""

import os
import resource
import socket
import ssl
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinds.pages import tls
from kinds.servers import drip, hang, reset, serving, wait_for
from net.reaching import failure
from support import eventually, free_port, within

from exporter.model import ProbeError, Reason
from exporter.net.dial import connect, connect_unix, secure, wrap
from exporter.net.errors import DialError
from exporter.net.sockets import Socket
from exporter.net.tls import make_client_context, make_inspection_context


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_an_address_is_connected_to(address):
    with serving((), address=address) as server, connect(address, server.port, within(5)) as sock:
        assert sock.getpeername()[:2] == (address, server.port)


def test_a_name_is_connected_to():
    with serving(()) as server, connect("localhost", server.port, within(5)) as sock:
        assert sock.getpeername()[1] == server.port


def test_a_refused_connection_fails_and_names_the_endpoint():
    port = free_port()
    error = failure(connect, "127.0.0.1", port, within(60))

    assert (error.reason, str(error)) == (Reason.CONNECT, f"127.0.0.1:{port}: Connection refused")
    assert error.where == f"127.0.0.1:{port}"


def test_a_connection_that_is_not_completed_fails_at_the_deadline(blackhole):
    deadline = within(0.3)
    error = failure(connect, "127.0.0.1", blackhole, deadline)

    assert error.reason is Reason.TIMEOUT
    assert str(error).startswith(f"127.0.0.1:{blackhole} did not accept the connection within ")
    assert deadline.remaining() <= 0


@pytest.mark.parametrize("host", ["255.255.255.255", "::ffff:255.255.255.255", "0.0.0.0", "::"])
def test_odd_addresses_raise_nothing_but_a_dial_error(host):
    with suppress(DialError):
        connect(host, free_port(), within(1)).close()


@pytest.mark.parametrize("port", [0, 65536, 10**10])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_invalid_port_fails(host, port):
    assert failure(connect, host, port, within(5)).reason is Reason.CONNECT


def test_a_deadline_that_has_passed_fails_without_a_connection():
    with serving(()) as server:
        error = failure(connect, "127.0.0.1", server.port, within(-1))

        assert (error.reason, str(error)) == (Reason.TIMEOUT, f"127.0.0.1:{server.port} was not reached in time")
        assert server.accepted == 0


def test_without_a_free_file_descriptor_the_probe_itself_fails():
    """A ProbeError, not a DialError: it is no evidence about the target."""
    with ExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        last = os.dup(0)
        stack.callback(os.close, last)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (last, hard))
        with pytest.raises(ProbeError, match="cannot open a socket: Too many open files"):
            connect("127.0.0.1", 1, within(1))


def test_a_unix_socket_is_connected_to(tmp_path):
    path = str(tmp_path / "app.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with connect_unix(path, within(5)) as sock:
            assert sock.getpeername() == path


def test_a_missing_unix_socket_fails_and_names_its_path(tmp_path):
    error = failure(connect_unix, str(tmp_path / "app.sock"), within(5))

    assert (error.reason, str(error)) == (Reason.CONNECT, f"{tmp_path}/app.sock: No such file or directory")


def secured(port: int, seconds: float = 10.0, host: str = "127.0.0.1") -> ssl.SSLSocket:
    deadline = within(seconds)
    return secure(connect(host, port, deadline), make_inspection_context(), host)


def test_a_handshake_gives_a_socket_that_speaks_tls():
    with serving((b"well",), tls=tls(), listens=False) as server, secured(server.port) as sock:
        assert sock.recv(10) == b"well"


@pytest.mark.parametrize(
    "script",
    [(hang,), (drip(b"\x16\x03\x03\x40\x00" + b"\x02\0\x3f\xfc" + b"\0" * 16384),)],
    ids=["silent", "dripping"],
)
def test_a_handshake_that_never_ends_fails_at_the_deadline(script):
    with serving(script, listens=False) as server:
        error = failure(secured, server.port, 0.5)

        assert (error.reason, str(error)) == (Reason.TIMEOUT, "the TLS handshake did not end in time")
        assert not server.gave_up.is_set()


def test_a_peer_that_resets_before_the_handshake_fails():
    connected = threading.Event()
    with serving((wait_for(connected), reset), listens=False) as server:
        deadline = within(60)
        sock = connect("127.0.0.1", server.port, deadline)
        connected.set()
        eventually(lambda: sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) != 1, within=60, what="the reset")
        error = failure(secure, sock, make_inspection_context(), "127.0.0.1")

        assert error.reason in (Reason.CONNECT, Reason.TLS)


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_failed_handshakes_leave_nothing_open():
    with serving((b"nonsense",), listens=False) as server:
        before = open_files()
        for _ in range(20):
            assert failure(secured, server.port).reason in (Reason.TLS, Reason.CONNECT)

        eventually(lambda: open_files() <= before, within=60)


INVALID_NAMES = (".example.com", "a..b", "x" * 64, "a\0b", "\ud800", "", ".", "\u00fc" * 60, ".".join(["a" * 60] * 5))


def wrapped(name: str, context: ssl.SSLContext) -> None:
    left, right = socket.socketpair()
    with right:
        wrap(Socket(fileno=left.detach()), context, name).close()


@pytest.mark.parametrize("name", INVALID_NAMES, ids=ascii)
@pytest.mark.parametrize("make", [make_inspection_context, make_client_context])
def test_a_name_that_is_not_valid_in_tls_fails(make, name):
    error = failure(wrapped, name, make())

    assert error.reason is Reason.TLS
    assert "is not a valid name for a server" in str(error)


@given(st.text(st.characters()) | st.from_regex(r"[-_.a-z0-9%:\u00df\u00fc]+", fullmatch=True))
def test_no_name_raises_anything_else(name):
    for context in (make_inspection_context(), make_client_context()):
        with suppress(DialError):
            wrapped(name, context)
