"""Name resolution by a deadline, with a lookup that fails, or that never returns."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kinds.servers import serving
from net.reaching import SlowLookup, failure
from support import eventually, within

from exporter.model import Reason
from exporter.net.dial import connect
from exporter.net.resolver import MAX_THREADS, Resolver


@pytest.fixture
def slow() -> Iterator[SlowLookup]:
    lookup = SlowLookup()
    yield lookup
    lookup.release.set()


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "Temporary failure"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (UnicodeError("label too long"), "not a host name"),
        (ValueError("embedded null character"), "not a host name"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_the_error_of_a_lookup_names_host_and_cause(error, cause):
    def look_up(*_: Any, **__: Any) -> Any:
        raise error

    raised = failure(connect, "it.example", 80, within(10), Resolver(look_up))

    assert (raised.reason, str(raised)) == (Reason.DNS, f"the name it.example was not resolved: {cause}")
    assert raised.where == "it.example"


def test_a_memory_error_in_a_lookup_reaches_its_caller_and_ends_no_thread():
    errors = [MemoryError()]

    def look_up(*_: Any, **__: Any) -> Any:
        if errors:
            raise errors.pop()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    resolver = Resolver(look_up)
    with serving(()) as server:
        with pytest.raises(MemoryError):
            connect("it.example", server.port, within(10), resolver)
        connect("it.example", server.port, within(10), resolver).close()


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..example", "a\0b", "\ud800"])
def test_an_invalid_name_is_not_resolved(name):
    """The real resolver sends nothing over the network for these names."""
    assert failure(connect, name, 80, within(10)).reason is Reason.DNS


def test_a_lookup_that_never_returns_fails_at_the_deadline(slow):
    deadline = within(0.3)
    error = failure(connect, "it.example", 80, deadline, Resolver(slow))

    assert (error.reason, str(error)) == (Reason.DNS, "the name it.example was not resolved in time")
    assert deadline.remaining() <= 0
    assert not slow.release.is_set()


def test_lookups_that_never_return_hold_four_threads_at_most(slow):
    resolver = Resolver(slow)
    before = threading.active_count()
    for round_ in range(3):
        for number in range(10):
            failure(connect, f"{round_}.{number}.example", 80, within(0.01), resolver)

    eventually(lambda: len(slow.names) == MAX_THREADS, within=60, what="all threads look up a name")
    assert threading.active_count() <= before + MAX_THREADS
    assert len(slow.threads) == MAX_THREADS == 4


def test_one_name_holds_one_thread(slow):
    resolver = Resolver(slow)
    for _ in range(10):
        failure(connect, "it.example", 80, within(0.01), resolver)

    eventually(lambda: slow.names, within=60)
    assert slow.names == ["it.example"]
    assert len(slow.threads) == 1


def test_an_address_is_connected_to_while_every_lookup_hangs(slow):
    resolver = Resolver(slow)
    for number in range(10):
        failure(connect, f"{number}.example", 80, within(0.01), resolver)

    with serving(()) as server, connect("127.0.0.1", server.port, within(10), resolver) as sock:
        assert sock.getpeername()[1] == server.port
    assert not slow.release.is_set()


def test_resolving_works_again_when_the_lookups_return(slow):
    resolver = Resolver(slow)
    for number in range(10):
        failure(connect, f"{number}.example", 80, within(0.01), resolver)
    slow.release.set()

    with serving(()) as server:
        for number in range(12):
            connect(f"{number}.example", server.port, within(10), resolver).close()
    assert len(slow.threads) == MAX_THREADS


def test_a_name_is_looked_up_again_for_each_connection(slow):
    slow.release.set()
    resolver = Resolver(slow)
    with serving(()) as server:
        for _ in range(3):
            connect("it.example", server.port, within(10), resolver).close()

    assert slow.names == ["it.example"] * 3


class CountingResolver(Resolver):
    """Records each name that a caller waits for."""

    def __init__(self, look_up: Any) -> None:
        super().__init__(look_up)
        self.waiting: list[str] = []

    def _submit(self, host: str) -> Any:
        future = super()._submit(host)
        self.waiting.append(host)
        return future


def test_callers_with_the_same_name_share_one_lookup(slow):
    resolver = CountingResolver(slow)
    with serving(()) as first, serving(()) as second:
        connected: list[int] = []

        def open_connection(port: int) -> None:
            with connect("it.example", port, within(60), resolver) as sock:
                connected.append(sock.getpeername()[1])

        ports = (first.port, second.port, first.port)
        callers = [threading.Thread(target=open_connection, args=(port,)) for port in ports]
        for caller in callers:
            caller.start()
        eventually(lambda: len(resolver.waiting) == 3, within=60, what="all callers wait for the name")
        slow.release.set()
        for caller in callers:
            caller.join(60)

    assert sorted(connected) == sorted(ports)
    assert slow.names == ["it.example"]


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "127.0.0.01", "localhost."])
def test_only_a_whole_address_is_not_looked_up(slow, host):
    slow.release.set()
    with serving(()) as server:
        connect(host, server.port, within(10), Resolver(slow)).close()

    assert slow.names == [host]
