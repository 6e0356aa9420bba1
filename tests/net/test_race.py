"""Names with several addresses: which one is connected to, when each one is tried, and what a failure names."""

import json
import os
import resource
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from itertools import product
from pathlib import Path

import pytest
from faults.namespaces import Namespaces, namespaces
from kinds.servers import serving
from net.reaching import failure, resolving
from support import Clock, command, eventually, free_port, within

from exporter.kinds.tcp_socket import TcpSocket
from exporter.model import Deadline, ProbeError, Reason, Status
from exporter.net.dial import connect
from exporter.net.errors import DialError
from exporter.net.race import FALLBACK_DELAY
from exporter.net.resolver import Resolver
from exporter.net.stopwatch import Stopwatch
from exporter.text import format_endpoint

LONG = 600.0
"""A deadline beyond the timeout of a test: a test that would wait for it fails."""


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_the_second_address_is_tried_when_the_first_refuses():
    resolver = resolving("127.0.0.1", "127.0.0.2")
    with serving((), address="127.0.0.2") as server, connect("it", server.port, within(60), resolver) as sock:
        assert sock.getpeername()[0] == "127.0.0.2"


def test_the_first_address_comes_first():
    """By a clock that stands still, FALLBACK_DELAY is never over."""
    clock = Clock()
    with serving(()) as server, socket.create_server(("::1", server.port), family=socket.AF_INET6):
        deadline = Deadline(clock.now + LONG, clock)
        with connect("it", server.port, deadline, resolving("::1", "127.0.0.1")) as sock:
            assert sock.getpeername()[0] == "::1"


def test_the_other_family_is_tried_as_soon_as_the_first_has_failed():
    """By a clock that stands still, FALLBACK_DELAY is never over."""
    clock = Clock()
    resolver = resolving("::1", "::1", "127.0.0.1")
    with serving(()) as server, connect("it", server.port, Deadline(clock.now + LONG, clock), resolver) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


def test_the_other_family_is_tried_after_a_delay_while_the_first_is_silent(blackhole):
    resolver, watch, before = resolving("127.0.0.1", "::1"), Stopwatch(), open_files()
    with (
        socket.create_server(("::1", blackhole), family=socket.AF_INET6),
        connect("it", blackhole, within(LONG), resolver, watch) as sock,
    ):
        assert sock.getpeername()[0] == "::1"
        assert sock.detour.startswith(f"; 127.0.0.1:{blackhole} did not accept the connection within ")
    assert watch.seconds["connect"] >= FALLBACK_DELAY
    assert open_files() <= before


def test_a_response_that_is_late_because_of_a_silent_address_names_it(blackhole):
    with (
        socket.create_server(("::1", blackhole), family=socket.AF_INET6),
        connect("it", blackhole, within(LONG), resolving("127.0.0.1", "::1")) as sock,
    ):
        sock.deadline = within(0.1)
        error = failure(sock.recv, 1)

    assert str(error).startswith(
        f"no complete response in time; 127.0.0.1:{blackhole} did not accept the connection within "
    )


class Silent:
    """A port on which no connection completes, because the queue is full, until a thread calls `accept`."""

    def __init__(self, address: str, port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=0)
        self.port = self._listener.getsockname()[1]
        self._clients = [socket.socket(family) for _ in range(8)]
        for client in self._clients:
            client.setblocking(False)
            client.connect_ex((address, self.port))

    def accept(self) -> None:
        with suppress(OSError):  # until the listener is closed
            while True:
                self._listener.accept()[0].close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for sock in (self._listener, *self._clients):
            sock.close()


def test_the_first_family_can_still_win_after_the_delay():
    with closing(Silent("127.0.0.1")) as first, closing(Silent("::1", first.port)):
        files = open_files()

        def release() -> None:
            eventually(lambda: open_files() >= files + 3, what="two sockets and a selector")
            first.accept()

        thread = threading.Thread(target=release)
        thread.start()
        with connect("it", first.port, within(LONG), resolving("127.0.0.1", "::1")) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
            assert sock.detour == ""
    thread.join()


def test_an_address_of_the_other_family_that_refuses_does_not_end_the_wait_for_the_first():
    with closing(Silent("127.0.0.1")) as silent:
        deadline = within(0.5)
        error = failure(connect, "it", silent.port, deadline, resolving("127.0.0.1", "::1"))

    first, second = str(error).split("; ")
    assert error.reason is Reason.TIMEOUT
    assert first.startswith(f"127.0.0.1:{silent.port} did not accept the connection within ")
    assert second in (f"[::1]:{silent.port}: Connection refused", f"[::1]:{silent.port} was not reached in time")
    assert deadline.remaining() <= 0


def test_a_silent_address_leaves_the_next_one_its_share_of_the_time(blackhole):
    resolver, watch = resolving("127.0.0.1", "127.0.0.2"), Stopwatch()
    with (
        socket.create_server(("127.0.0.2", blackhole)),
        connect("it", blackhole, within(5.0), resolver, watch) as sock,
    ):
        assert sock.getpeername()[0] == "127.0.0.2"
    assert watch.seconds["connect"] >= 2.4  # half of the time went to the silent one


def test_a_share_is_not_too_short_to_connect(blackhole):
    """A third of 2.5 s is less than an address gets at least, so none is left for the third one."""
    resolver = resolving("127.0.0.1", "127.0.0.1", "127.0.0.2")
    with socket.create_server(("127.0.0.2", blackhole)):
        error = failure(connect, "it", blackhole, within(2.5), resolver)

    assert error.reason is Reason.TIMEOUT
    assert str(error).endswith(f"127.0.0.2:{blackhole} was not reached in time")


def test_if_all_addresses_fail_each_of_them_is_named():
    port = free_port()
    error = failure(connect, "it", port, within(60), resolving("127.0.0.3", "::1", "127.0.0.2"))

    refused = [f"{address}:{port}: Connection refused" for address in ("127.0.0.3", "127.0.0.2", "[::1]")]
    assert (error.reason, str(error)) == (Reason.CONNECT, "; ".join(refused))


def test_many_silent_addresses_fail_at_the_deadline(blackhole):
    deadline, files = within(0.4), open_files()
    error = failure(connect, "it", blackhole, deadline, resolving(*["127.0.0.1"] * 20))

    assert error.reason is Reason.TIMEOUT
    assert deadline.remaining() <= 0
    assert open_files() <= files


def test_without_a_file_descriptor_for_a_selector_the_probe_itself_fails(blackhole):
    """A ProbeError, not a DialError: it is no evidence about the target."""
    with ExitStack() as stack, closing(Silent("::1", blackhole)):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        last = stack.enter_context(socket.socket())
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 3, hard))
        with pytest.raises(ProbeError, match="Too many open files"):
            connect("it", blackhole, within(LONG), resolving("127.0.0.1", "::1"))


PORT = 8080
ADDRESSES = {
    "accepts": ("2001:db8::1", "10.77.0.1"),
    "refuses": ("2001:db8::2", "10.77.0.2"),
    "drops": ("2001:db8::3", "10.77.0.3"),
}
"""What an IPv6 and an IPv4 address do with a packet for PORT. Both Go and the C library put IPv6 addresses first."""
SECONDS = {("drops", "drops"): 1.0, ("drops", "refuses"): 1.0, ("refuses", "drops"): 5.0}
"""The time limit of names that are never connected to; for all others it is LONG."""


@pytest.fixture(scope="module")
def dial_as_go(tmp_path_factory) -> Path:
    """A program that dials with Go's dialer: dial.go in this folder."""
    program = tmp_path_factory.mktemp("go") / "dial"
    arguments = [command("go"), "build", "-o", str(program), str(Path(__file__).parent / "dial.go")]
    built = subprocess.run(arguments, env=os.environ | {"GO111MODULE": "off"}, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return program


@pytest.fixture
def dual_stack(tmp_path: Path) -> Iterator[Namespaces]:
    """A network with these addresses, and with the name FIRST-SECOND for each pair of an IPv6 and an IPv4 address."""
    names = [
        f"{addresses[index]} {first}-{second}\n"
        for first in ADDRESSES
        for second in ADDRESSES
        for index, addresses in enumerate((ADDRESSES[first], ADDRESSES[second]))
    ]
    (tmp_path / "hosts").write_text("".join(names))
    with namespaces("network", "mounts") as inside, ExitStack() as stack:
        inside.run("mount", "--bind", str(tmp_path / "hosts"), "/etc/hosts")
        for six, four in ADDRESSES.values():
            inside.run("ip", "address", "add", f"{six}/64", "dev", "lo", "nodad")
            inside.run("ip", "address", "add", f"{four}/24", "dev", "lo")
        for program, address in zip(("ip6tables", "iptables"), ADDRESSES["drops"], strict=True):
            inside.run(program, "-A", "INPUT", "-d", address, "-j", "DROP")
        for family, address in zip((socket.AF_INET6, socket.AF_INET), ADDRESSES["accepts"], strict=True):
            stack.enter_context(inside(partial(socket.create_server, (address, PORT), family=family)))
        yield inside


PAIRS = [pair for pair in product(ADDRESSES, repeat=2) if pair != ("accepts", "accepts")]
"""If both accept the connection, the second one can win on a busy machine."""


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_addresses_are_tried_as_by_gos_dialer(dual_stack, dial_as_go, first, second):
    seconds = SECONDS.get((first, second), LONG)
    printed = dual_stack.run(str(dial_as_go), f"{first}-{second}:{PORT}", str(seconds))
    found = json.loads(printed)
    address, error, took = dual_stack(dial, f"{first}-{second}", seconds)

    assert (address, error) == (found["Address"], found["Error"])
    if (first, second) == ("drops", "accepts"):
        assert min(took, found["Seconds"]) >= FALLBACK_DELAY


def test_the_latency_of_a_check_includes_the_time_for_a_silent_address(dual_stack):
    outcome = dual_stack(TcpSocket(host="drops-accepts", port=PORT).probe, within(LONG), Resolver())

    assert outcome.status is Status.PASS
    assert outcome.measurements[0].value >= FALLBACK_DELAY


def dial(host: str, seconds: float) -> tuple[str, str, float]:
    """What dial.go prints, by our own dialer."""
    watch = Stopwatch()
    try:
        with connect(host, PORT, within(seconds), Resolver(), watch) as sock:
            return format_endpoint(*sock.getpeername()[:2]), "", watch.seconds["connect"]
    except DialError as error:
        return error.where, str(error.reason), 0.0
