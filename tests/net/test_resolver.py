"""Name resolution by a deadline, with a lookup that fails, or that never returns."""

import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kinds.servers import serving
from net.reaching import SlowLookup, failure
from support import PATIENCE, eventually, within

from exporter.model import ProbeError, Reason
from exporter.net.dial import connect
from exporter.net.errors import DialError
from exporter.net.resolver import MAX_THREADS, MAX_ZONES, RESERVE, SHARED, Resolver


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
        (OSError(111, "Connection refused"), "Connection refused"),
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


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_lookup_without_a_descriptor_or_memory_shows_nothing_about_the_name(number):
    def look_up(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    with pytest.raises(ProbeError, match=f"cannot look up it.example: {os.strerror(number)}") as raised:
        connect("it.example", 80, within(10), Resolver(look_up))
    assert raised.value.reason is Reason.ERROR


def hang(resolver: Resolver, *names: str) -> None:
    """Begin to resolve these names, and give up."""
    for name in names:
        with pytest.raises((DialError, ProbeError)):
            resolver.resolve(name, 80, within(0))


def dead(count: int, zones: int = 1) -> list[str]:
    """Names that no server ever returns anything for, spread over so many zones."""
    return [f"{number}.evil{number % zones}.test" for number in range(count)]


class Lookup(SlowLookup):
    """A lookup that returns at once for the names in `good`, and for others when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.good = {"good.example.test", "good.evil0.test"}

    def __call__(self, host: str, port: None, **options: Any) -> list[Any]:
        if host in self.good:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
        return super().__call__(host, port, **options)


@pytest.fixture
def some_hang() -> Iterator[Lookup]:
    lookup = Lookup()
    yield lookup
    lookup.release.set()


@pytest.mark.parametrize(("count", "zones"), [(12, 1), (200, 1), (200, 50), (63, 63), (20_000, 63)])
def test_no_number_of_dead_names_holds_up_a_name_of_another_zone(some_hang, count, zones):
    resolver = Resolver(some_hang)
    hang(resolver, *dead(count, zones))

    for _ in range(3):
        assert resolver.resolve("good.example.test", 80, within(60)) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert len(some_hang.threads) < MAX_THREADS
    assert not some_hang.release.is_set()


def test_dead_names_do_not_hold_up_a_new_name_of_their_own_zone(some_hang):
    resolver = Resolver(some_hang)
    hang(resolver, *dead(SHARED))

    assert resolver.resolve("good.evil0.test", 80, within(60))


@pytest.mark.parametrize("zones", [1, 200])
def test_new_names_do_not_hold_up_one_that_was_resolved_before(some_hang, zones):
    resolver = Resolver(some_hang)
    assert resolver.resolve("good.evil0.test", 80, within(60))
    hang(resolver, *dead(200, zones))

    for _ in range(3):
        assert resolver.resolve("good.evil0.test", 80, within(60))


def test_names_of_a_zone_that_dies_do_not_hold_up_another_zone(some_hang):
    names = dead(200, 50)
    resolver = Resolver(some_hang)
    some_hang.good |= set(names)
    for name in (*names, "good.example.test"):
        assert resolver.resolve(name, 80, within(60))
    some_hang.good -= set(names)
    hang(resolver, *names)

    assert resolver.resolve("good.example.test", 80, within(60))
    assert not some_hang.release.is_set()


def test_a_lookup_that_has_to_wait_shows_nothing_about_its_name(some_hang):
    resolver = Resolver(some_hang)
    hang(resolver, *dead(200))
    with pytest.raises(ProbeError) as raised:
        resolver.resolve("good.evil0.test", 80, within(0.01))

    assert raised.value.reason is Reason.ERROR
    assert str(raised.value) == "the lookup of good.evil0.test had to wait, because too many others have not ended"
    some_hang.release.set()
    assert resolver.resolve("good.evil0.test", 80, within(60))


def test_lookups_hold_a_bounded_number_of_threads(some_hang):
    names = dead(1000, 100)
    resolver = Resolver(some_hang)
    some_hang.good |= set(names)
    for name in names:
        resolver.resolve(name, 80, within(60))
    some_hang.good.clear()
    before = threading.active_count()
    hang(resolver, *names, *dead(2000, 200))

    eventually(lambda: len(some_hang.names) == MAX_THREADS, what="all threads look up a name")
    assert len(some_hang.threads) == MAX_THREADS == MAX_ZONES + SHARED + RESERVE
    assert threading.active_count() <= before + MAX_THREADS


def test_all_lookups_that_waited_are_made_when_the_others_end(some_hang):
    resolver = Resolver(some_hang)
    names = dead(1000, 100)
    hang(resolver, *names)
    some_hang.release.set()

    eventually(lambda: sorted(some_hang.names) == sorted(names), what="every name is looked up")


def resolver_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "resolver"}


def test_a_thread_that_is_not_needed_ends_and_another_one_follows(some_hang):
    others = resolver_threads()
    resolver = Resolver(some_hang, idle_seconds=0.01)
    for _ in range(3):
        assert resolver.resolve("good.example.test", 80, within(60))
        eventually(lambda: resolver_threads() <= others, what="the thread ends")


def test_one_thread_does_the_work_while_nothing_hangs(some_hang):
    resolver = Resolver(some_hang, idle_seconds=60)
    some_hang.release.set()
    for number in range(20):
        resolver.resolve(f"{number}.example", 80, within(60))
        eventually(lambda: resolver._idle, what="the thread is idle")

    assert len(some_hang.threads) == 1


def test_a_thread_that_cannot_be_started_leaves_nothing_behind(some_hang, monkeypatch):
    """RuntimeError is what `start` raises if the system has no more threads."""
    resolver = Resolver(some_hang)

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(3):
            with pytest.raises(ProbeError, match=r"^cannot start a thread to look up good\.example\.test$"):
                resolver.resolve("good.example.test", 80, within(60))

    assert resolver.resolve("good.example.test", 80, within(60))


FORK = """
import os, sys, threading
from exporter.model import Deadline
from exporter.net import resolver

hanging, release = threading.Event(), threading.Event()

def look_up(host, port, **_):
    if host == "dead.example" and os.getpid() == parent:
        hanging.set()
        release.wait()
    return [(2, 1, 6, "", ("192.0.2.1", 0))]

def resolve(name):
    return resolver.RESOLVER.resolve(name, 80, Deadline(resolver_clock() + 60))

from time import monotonic as resolver_clock
parent = os.getpid()
resolver.RESOLVER._look_up = look_up
print(resolve("good.example"))
threading.Thread(target=resolve, args=("dead.example",), daemon=True).start()
hanging.wait()
with resolver.RESOLVER._lock:  # as if another thread held it at this moment
    child = os.fork()
if not child:
    assert resolve("good.example") == resolve("dead.example") == [(2, ("192.0.2.1", 80))]
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_resolves_names_with_threads_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=PATIENCE)

    assert done.stdout.splitlines() == ["[(2, ('192.0.2.1', 80))]", "7"], done.stderr


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
