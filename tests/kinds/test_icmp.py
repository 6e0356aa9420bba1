"""The kind `icmp` gets replies of the kernel, and accepts only its own, with a ping socket and with a raw one."""

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from faults.namespaces import namespaces
from support import PATIENCE, within

from exporter.evaluation.run import run
from exporter.kinds.icmp import Icmp
from exporter.model import Outcome, ProbeError, Reason, Spec, Status
from exporter.net.echo import MAX_ADDRESSES, MAX_PAYLOAD
from exporter.net.resolver import Resolver
from exporter.probe.check import Check

SETTINGS = Path("/proc/sys/net/ipv4")
SOCKETS = {"ping socket": "0 2147483647", "raw socket": "1 0"}
"""Values of ping_group_range with which root gets this socket."""


@pytest.fixture(scope="module")
def loopback():
    with namespaces("network") as inside:
        yield inside


@pytest.fixture(params=SOCKETS)
def network(loopback, request):
    """A network that consists of loopback, where a check gets this kind of socket."""
    loopback((SETTINGS / "ping_group_range").write_text, SOCKETS[request.param])
    return loopback


@pytest.fixture
def silent(network):
    """The same, where the kernel does not reply."""
    network((SETTINGS / "icmp_echo_ignore_all").write_text, "1")
    yield network
    network((SETTINGS / "icmp_echo_ignore_all").write_text, "0")


def probe(seconds: float = PATIENCE, resolver: Resolver | None = None, **options: Any) -> Outcome:
    more = {"resolver": resolver} if resolver else {}
    return Icmp(**options).probe(within(seconds), **more)


@pytest.mark.parametrize("options", [{}, {"payload_bytes": 0}, {"payload_bytes": 33}, {"payload_bytes": MAX_PAYLOAD}])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_host_that_replies_passes(network, host, options):
    outcome = network(probe, host=host, **options)

    assert (outcome.status, outcome.summary) == (Status.PASS, f"{host} replied")
    assert [measurement.name for measurement in outcome.measurements] == ["endpoint_latency_seconds"]


def test_checks_of_one_host_at_the_same_time_do_not_take_replies_of_each_other(network):
    def probe_at_once() -> list[Outcome]:
        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(lambda size: probe(host="127.0.0.1", payload_bytes=size), [0, 8, 8, 56] * 8))

    assert {outcome.status for outcome in network(probe_at_once)} == {Status.PASS}


def test_a_host_that_does_not_reply_fails_at_the_deadline(silent):
    outcome = silent(probe, 0.1, host="127.0.0.1")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert outcome.summary == "127.0.0.1 did not reply in time"


def test_a_host_without_a_route_fails(network):
    outcome = network(probe, host="192.0.2.1")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert outcome.summary == "192.0.2.1: Network is unreachable"


def test_a_packet_that_must_not_be_fragmented_fails_if_it_is_too_long(network):
    network.run("ip", "link", "set", "lo", "mtu", "1500")
    try:
        long = network(probe, host="127.0.0.1", payload_bytes=1473, dont_fragment=True)
        fragmented = network(probe, host="127.0.0.1", payload_bytes=1473)
        fits = network(probe, host="127.0.0.1", payload_bytes=1472, dont_fragment=True)
    finally:
        network.run("ip", "link", "set", "lo", "mtu", "65536")

    assert (long.status, long.reason) == (Status.FAIL, Reason.CONNECT)
    assert "Message too long" in long.summary
    assert (fragmented.status, fits.status) == (Status.PASS, Status.PASS)


class Responder:
    """Sends, for the first echo request at 127.0.0.1, the messages that a function makes of it."""

    def __init__(self, respond: Callable[[bytes], list[tuple[str, bytes]]]) -> None:
        self._respond = respond
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._sock.settimeout(PATIENCE)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        packet = self._sock.recv(65536)
        while packet[20] != 8:
            packet = self._sock.recv(65536)
        for sender, message in self._respond(packet):
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
                sock.bind((sender, 0))
                sock.sendto(message, ("127.0.0.1", 0))

    def close(self) -> None:
        self._thread.join(PATIENCE)
        self._sock.close()


def probe_responder(respond: Callable[[bytes], list[tuple[str, bytes]]], seconds: float) -> Outcome:
    responder = Responder(respond)
    try:
        return probe(seconds, host="127.0.0.1", payload_bytes=8)
    finally:
        responder.close()


def make(kind: int, code: int, rest: bytes) -> bytes:
    """An ICMP message with its checksum; `rest` is everything after that."""
    words = struct.unpack(f"!{len(rest) // 2}H", rest)
    total = (kind << 8) + code + sum(words)
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!BBH", kind, code, ~total & 0xFFFF) + rest


def reply(packet: bytes, key: bytes = b"", payload: bytes = b"") -> bytes:
    return make(0, 0, (key or packet[24:28]) + (payload or packet[28:]))


WRONG = {
    "of another process": lambda packet: ("127.0.0.1", reply(packet, key=bytes([packet[24] ^ 1]) + packet[25:28])),
    "of an earlier run": lambda packet: ("127.0.0.1", reply(packet, key=packet[24:27] + bytes([packet[27] ^ 1]))),
    "with another payload": lambda packet: ("127.0.0.1", reply(packet, payload=b"somebody")),
    "with a short payload": lambda packet: ("127.0.0.1", reply(packet, payload=packet[28:34])),
    "of another host": lambda packet: ("127.0.0.2", reply(packet)),
    "without a header": lambda packet: ("127.0.0.1", b"\0\0"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_reply_that_is_not_the_own_is_ignored(silent, wrong):
    late = silent(probe_responder, lambda packet: [wrong(packet)], 0.1)
    passing = silent(probe_responder, lambda packet: [wrong(packet), ("127.0.0.1", reply(packet))], PATIENCE)

    assert (late.status, late.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert passing.status is Status.PASS


ERRORS = {
    "time exceeded": (11, 0, "the time to live was exceeded, reported by 127.0.0.3"),
    "host unreachable": (3, 1, "No route to host, reported by 127.0.0.3"),
    "prohibited": (3, 13, "No route to host, reported by 127.0.0.3"),
}


@pytest.mark.parametrize(("kind", "code", "cause"), ERRORS.values(), ids=ERRORS)
def test_an_icmp_error_fails_at_once(silent, kind, code, cause):
    outcome = silent(
        probe_responder, lambda packet: [("127.0.0.3", make(kind, code, bytes(4) + packet[:28]))], PATIENCE
    )

    assert (outcome.status, outcome.reason, outcome.summary) == (Status.FAIL, Reason.CONNECT, f"127.0.0.1: {cause}")


def test_an_icmp_error_for_another_process_is_ignored(silent):
    def respond(packet: bytes) -> list[tuple[str, bytes]]:
        foreign = packet[:24] + bytes([packet[24] ^ 1]) + packet[25:28]
        return [("127.0.0.3", make(3, 1, bytes(4) + foreign)), ("127.0.0.1", reply(packet))]

    assert silent(probe_responder, respond, PATIENCE).status is Status.PASS


def test_without_a_permission_the_check_is_unknown(loopback):
    def probe_without_capability() -> Outcome:
        drop_capability()
        return run(Check(Spec("it", "icmp", timeout=PATIENCE), Icmp(host="127.0.0.1"))).outcome

    loopback((SETTINGS / "ping_group_range").write_text, SOCKETS["raw socket"])
    with namespaces() as thread:
        outcome = thread(probe_without_capability)

    assert (outcome.status, outcome.reason) == (Status.UNKNOWN, Reason.PERMISSION)
    assert "net.ipv4.ping_group_range" in outcome.summary
    assert "NET_RAW" in outcome.summary


def drop_capability() -> None:
    """Take CAP_NET_RAW from this thread: capget(2) and capset(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    sets[0] &= ~(1 << 13)
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())


def find_addresses(*addresses: str) -> Resolver:
    return Resolver(lambda *_, **__: [(socket.AF_INET, 0, 0, "", (address, 0)) for address in addresses])


def test_the_addresses_of_a_name_are_tried_in_turn(network):
    outcome = network(probe, resolver=find_addresses("192.0.2.1", "127.0.0.2"), host="shop.example")

    assert (outcome.status, outcome.summary) == (Status.PASS, "shop.example (127.0.0.2) replied")


def test_the_addresses_that_are_tried_are_limited(network):
    addresses = [f"192.0.2.{number + 1}" for number in range(MAX_ADDRESSES + 1)]
    outcome = network(probe, resolver=find_addresses(*addresses), host="shop.example")

    assert outcome.reason is Reason.CONNECT
    assert outcome.summary.count("Network is unreachable") == MAX_ADDRESSES


def test_a_name_that_is_not_resolved_fails_with_the_reason_dns():
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    outcome = probe(resolver=Resolver(look_up), host="nowhere.example")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.DNS)


def test_without_a_descriptor_the_check_is_unknown(network, monkeypatch):
    def refuse(*_: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("exporter.net.echo.socket.socket", refuse)
    with pytest.raises(ProbeError, match="cannot open a socket: Too many open files") as error:
        network(probe, host="127.0.0.1")
    assert error.value.reason is Reason.ERROR


def test_many_runs_leave_no_descriptor_open(network):
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    network(probe, host="127.0.0.1")
    before = count()
    for _ in range(20):
        network(probe, host="127.0.0.1")
        network(probe, host="192.0.2.1")

    assert count() <= before
