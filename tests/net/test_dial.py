"""Reaching an endpoint by a deadline: names, addresses, connections, and sockets that never outlast it."""

import os
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from kinds.pages import tls
from kinds.servers import drip, flood, hang, reset, serving
from support import eventually, free_port

from exporter.evaluation.run import run
from exporter.kinds.tcp_socket import TcpSocket
from exporter.model import Deadline, ProbeError, Reason, Spec, Status
from exporter.net.dial import RESOLVERS, DialError, Resolver, connect, secure
from exporter.probe.check import Check


def within(seconds: float) -> Deadline:
    return Deadline(time.monotonic() + seconds)


def failure(act: Callable[..., Any], *arguments: Any) -> tuple[DialError, float]:
    """The DialError that this raises, and the seconds until it came."""
    began = time.monotonic()
    with pytest.raises(DialError) as raised:
        act(*arguments)
    return raised.value, time.monotonic() - began


def resolving(*addresses: str) -> Resolver:
    """A resolver that knows these addresses for every name."""

    def look_up(_: str, __: None, **___: Any) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, 0, 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0))
            for each in addresses
        ]

    return Resolver(look_up)


# Connections.


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_an_address_is_connected_to(address):
    with serving((), address=address) as server, connect(address, server.port, within(5)) as sock:
        assert sock.getpeername()[:2] == (address, server.port)


def test_a_name_is_connected_to():
    with serving(()) as server, connect("localhost", server.port, within(5)) as sock:
        assert sock.getpeername()[1] == server.port


def test_a_refused_connection_fails_at_once():
    port = free_port()
    error, seconds = failure(connect, "127.0.0.1", port, within(5))

    assert (error.reason, str(error)) == (Reason.CONNECT, f"127.0.0.1:{port}: Connection refused")
    assert seconds < 0.25


def test_a_connection_that_is_not_completed_fails_at_the_deadline(blackhole):
    error, seconds = failure(connect, "127.0.0.1", blackhole, within(0.3))

    assert (error.reason, str(error)) == (
        Reason.TIMEOUT,
        f"127.0.0.1:{blackhole} did not accept the connection in time",
    )
    assert 0.25 < seconds < 0.55


@pytest.mark.parametrize("host", ["255.255.255.255", "::ffff:255.255.255.255", "0.0.0.0", "::"])
def test_odd_addresses_are_connected_to_or_fail(host):
    with suppress(DialError):
        connect(host, free_port(), within(1)).close()


@pytest.mark.parametrize("port", [0, 65536, 10**10])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_none_fails(host, port):
    assert failure(connect, host, port, within(1))[0].reason is Reason.CONNECT


def test_a_deadline_that_has_passed_fails_without_trying():
    with serving(()) as server:
        error, _ = failure(connect, "127.0.0.1", server.port, within(-1))

        assert (error.reason, str(error)) == (Reason.TIMEOUT, f"127.0.0.1:{server.port} was not reached in time")
        assert server.accepted == 0


def test_without_a_free_descriptor_nobody_could_look():
    with ExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        last = os.dup(0)
        stack.callback(os.close, last)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (last, hard))
        with pytest.raises(ProbeError, match="no connection can be opened: Too many open files"):
            connect("127.0.0.1", 1, within(1))


# Several addresses.


def test_the_second_address_is_tried_when_the_first_refuses():
    resolver = resolving("127.0.0.1", "127.0.0.2")
    with serving((), address="127.0.0.2") as server, connect("it", server.port, within(5), resolver) as sock:
        assert sock.getpeername()[0] == "127.0.0.2"


def test_an_address_of_the_other_family_is_tried():
    resolver = resolving("::1", "127.0.0.1")
    with serving(()) as server, connect("it", server.port, within(5), resolver) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


def test_a_silent_address_leaves_the_next_its_share_of_the_time(blackhole):
    resolver = resolving("127.0.0.1", "127.0.0.2")
    with socket.create_server(("127.0.0.2", blackhole)):
        began = time.monotonic()
        with connect("it", blackhole, within(1.0), resolver) as sock:
            assert sock.getpeername()[0] == "127.0.0.2"
        assert 0.4 < time.monotonic() - began < 1.0


def test_of_several_failures_the_first_is_told():
    port = free_port()
    error, _ = failure(connect, "it", port, within(5), resolving("127.0.0.3", "127.0.0.2", "::1"))

    assert str(error) == f"127.0.0.3:{port}: Connection refused"


def test_many_silent_addresses_fail_at_the_deadline(blackhole):
    error, seconds = failure(connect, "it", blackhole, within(0.4), resolving(*["127.0.0.1"] * 20))

    assert error.reason is Reason.TIMEOUT
    assert 0.35 < seconds < 0.65


# Names.


class Slow:
    """A resolver that answers when it is told to, and counts its threads."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.asked: list[str] = []
        self.threads: set[int] = set()

    def __call__(self, host: str, port: None, **_: Any) -> list[Any]:
        self.asked.append(host)
        self.threads.add(threading.get_ident())
        self.release.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.release.set()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "Temporary failure"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (UnicodeError("label too long"), "not a host name"),
        (ValueError("embedded null character"), "not a host name"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_name_that_is_not_resolved_is_told(error, told):
    def look_up(*_: Any, **__: Any) -> Any:
        raise error

    raised, _ = failure(connect, "it.example", 80, within(5), Resolver(look_up))

    assert (raised.reason, str(raised)) == (Reason.DNS, f"the name it.example was not resolved: {told}")


def test_a_look_up_that_breaks_is_no_evidence_and_breaks_nothing_else():
    errors = [MemoryError()]

    def look_up(*_: Any, **__: Any) -> Any:
        if errors:
            raise errors.pop()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    resolver = Resolver(look_up)
    with serving(()) as server:
        with pytest.raises(MemoryError):
            connect("it.example", server.port, within(5), resolver)
        connect("it.example", server.port, within(5), resolver).close()


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..example", "a\0b", "\ud800"])
def test_what_no_name_can_be_is_not_resolved(name):
    """By the real resolver, which is not asked over the network for these."""
    assert failure(connect, name, 80, within(5))[0].reason is Reason.DNS


def test_a_resolver_that_never_answers_fails_at_the_deadline(slow):
    error, seconds = failure(connect, "it.example", 80, within(0.3), Resolver(slow))

    assert (error.reason, str(error)) == (Reason.DNS, "the name it.example was not resolved in time")
    assert 0.25 < seconds < 0.55


def test_a_resolver_that_never_answers_holds_four_threads_at_most(slow):
    resolver = Resolver(slow)
    before = threading.active_count()
    for round_ in range(3):
        for number in range(10):
            failure(connect, f"{round_}.{number}.example", 80, within(0.01), resolver)

    assert threading.active_count() <= before + RESOLVERS
    assert len(slow.threads) == RESOLVERS == 4
    assert len(slow.asked) == RESOLVERS


def test_one_name_costs_one_thread(slow):
    resolver = Resolver(slow)
    for _ in range(10):
        failure(connect, "it.example", 80, within(0.01), resolver)

    assert slow.asked == ["it.example"]
    assert len(slow.threads) == 1


def test_addresses_need_no_resolver(slow):
    resolver = Resolver(slow)
    for number in range(10):
        failure(connect, f"{number}.example", 80, within(0.01), resolver)

    with serving(()) as server:
        result = run(Check(Spec("it", "tcpSocket", timeout=1), TcpSocket(port=server.port)))

    assert result.outcome.status is Status.PASS
    assert result.duration < 0.25


def test_resolving_recovers_when_the_resolver_does(slow):
    resolver = Resolver(slow)
    for number in range(10):
        failure(connect, f"{number}.example", 80, within(0.01), resolver)
    slow.release.set()

    with serving(()) as server:
        for number in range(12):
            connect(f"{number}.example", server.port, within(5), resolver).close()
    assert len(slow.threads) == RESOLVERS


def test_a_name_is_looked_up_anew_each_time(slow):
    slow.release.set()
    resolver = Resolver(slow)
    with serving(()) as server:
        for _ in range(3):
            connect("it.example", server.port, within(5), resolver).close()

    assert slow.asked == ["it.example"] * 3


def test_askers_for_one_name_share_one_look_up(slow):
    resolver = Resolver(slow)
    with serving(()) as first, serving(()) as second:
        connected: list[int] = []

        def ask(port: int) -> None:
            with connect("it.example", port, within(10), resolver) as sock:
                connected.append(sock.getpeername()[1])

        ports = (first.port, second.port, first.port)
        askers = [threading.Thread(target=ask, args=(port,)) for port in ports]
        for each in askers:
            each.start()
        eventually(lambda: slow.asked, what="the name is asked for")
        slow.release.set()
        for each in askers:
            each.join(10)

    assert sorted(connected) == sorted(ports)
    assert set(slow.asked) == {"it.example"}
    assert len(slow.asked) <= 2  # one asker may have come after the answer


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "127.0.0.01", "localhost."])
def test_only_whole_addresses_are_addresses(slow, host):
    slow.release.set()
    with serving(()) as server:
        connect(host, server.port, within(5), Resolver(slow)).close()

    assert slow.asked == [host]


# Sockets.


def test_receiving_ends_at_the_deadline():
    with serving((hang,), listens=False) as server, connect("127.0.0.1", server.port, within(0.3)) as sock:
        error, seconds = failure(sock.recv, 10)

        assert (error.reason, str(error)) == (Reason.TIMEOUT, "no complete answer in time")
        assert seconds < 0.55


def test_receiving_drip_by_drip_ends_at_the_deadline():
    def all_of_it(sock: socket.socket) -> None:
        while sock.recv(10):
            pass

    with serving((drip(b"a"),), listens=False) as server, connect("127.0.0.1", server.port, within(0.3)) as sock:
        error, seconds = failure(all_of_it, sock)

        assert error.reason is Reason.TIMEOUT
        assert seconds < 0.55


def test_reading_a_flood_through_a_file_ends_at_the_deadline():
    def all_of_it(sock: socket.socket) -> None:
        with sock.makefile("rb") as file:
            while file.read(65536):
                pass

    script = (flood(b"a" * 65536),)
    with serving(script, listens=False) as server, connect("127.0.0.1", server.port, within(0.3)) as sock:
        error, seconds = failure(all_of_it, sock)

    assert error.reason is Reason.TIMEOUT
    assert seconds < 0.55


def test_sending_to_one_who_does_not_read_ends_at_the_deadline():
    with serving((hang,), listens=False) as server, connect("127.0.0.1", server.port, within(0.3)) as sock:
        error, seconds = failure(sock.sendall, b"a" * 50_000_000)

        assert error.reason is Reason.TIMEOUT
        assert seconds < 0.55


def test_a_reset_is_told():
    with serving((reset,), listens=False) as server, connect("127.0.0.1", server.port, within(5)) as sock:
        eventually(lambda: server.accepted)
        error, _ = failure(sock.recv, 10)

        assert (error.reason, str(error)) == (Reason.CONNECT, "Connection reset by peer")


# TLS.


@pytest.fixture
def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def secured(port: int, context: ssl.SSLContext, seconds: float = 5.0, host: str = "127.0.0.1") -> ssl.SSLSocket:
    deadline = within(seconds)
    return secure(connect(host, port, deadline), context, host, deadline)


def test_tls_is_spoken(unverified):
    with serving((b"well",), tls=tls(), listens=False) as server, secured(server.port, unverified) as sock:
        assert sock.recv(10) == b"well"


@pytest.mark.parametrize("script", [(hang,), (drip(b"\x16\x03\x03\x40\x00" + b"\x02\0\x3f\xfc" + b"\0" * 16384),)])
def test_a_handshake_ends_at_the_deadline(unverified, script):
    with serving(script, listens=False) as server:
        error, seconds = failure(secured, server.port, unverified, 0.3)

        assert (error.reason, str(error)) == (Reason.TIMEOUT, "the TLS handshake did not end in time")
        assert seconds < 0.55


@pytest.mark.parametrize("script", [(hang,), (drip(b"a"),), (flood(b"a" * 65536),)], ids=["silence", "drips", "flood"])
def test_receiving_over_tls_ends_at_the_deadline(unverified, script):
    def all_of_it(sock: ssl.SSLSocket) -> None:
        while sock.recv(65536):
            pass

    with serving(script, tls=tls(), listens=False) as server, secured(server.port, unverified, 0.4) as sock:
        error, seconds = failure(all_of_it, sock)

        assert error.reason is Reason.TIMEOUT
        assert seconds < 0.65


def test_sending_over_tls_to_one_who_does_not_read_ends_at_the_deadline(unverified):
    with serving((hang,), tls=tls(), listens=False) as server, secured(server.port, unverified, 0.4) as sock:
        error, seconds = failure(sock.sendall, b"a" * 50_000_000)

        assert error.reason is Reason.TIMEOUT
        assert seconds < 0.65


def test_the_end_of_the_connection_is_the_end_although_tls_said_no_farewell(unverified):
    with serving((b"well",), tls=tls(), listens=False) as server, secured(server.port, unverified) as sock:
        assert sock.makefile("rb").read() == b"well"


def test_a_peer_that_was_gone_before_the_handshake_fails(unverified):
    with serving((reset,), listens=False) as server:
        deadline = within(5)
        sock = connect("127.0.0.1", server.port, deadline)
        eventually(lambda: sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) != 1, what="the reset has come")
        error, _ = failure(secure, sock, unverified, "127.0.0.1", deadline)

        assert error.reason in (Reason.CONNECT, Reason.TLS)


def test_failed_handshakes_leave_nothing_open(unverified):
    with serving((b"nonsense",), listens=False) as server:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for _ in range(20):
            assert failure(secured, server.port, unverified)[0].reason in (Reason.TLS, Reason.CONNECT)

        eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)  # noqa: PTH208
