"""The kind `dns` against a small name server, whose messages dnspython makes."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from kinds.daemons import run_probe
from kinds.servers import drip, serving
from pydantic import ValidationError
from support import free_port

from exporter.kinds.dns import Dns
from exporter.model import Deadline, ProbeError, Reason, Status

MANY = [f"192.0.2.{number}" for number in range(200)]
RECORDS = {
    ("shop.example.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("shop.example.", "AAAA"): ["2001:db8::1"],
    ("example.", "MX"): ["10 mail.example.", "20 Mail2.Example."],
    ("example.", "TXT"): ['"v=spf1 " "include:other.example -all"'],
    ("example.", "NS"): ["ns.example."],
    ("_sip._tcp.example.", "SRV"): ["10 60 5060 sip.example."],
    ("1.2.0.192.in-addr.arpa.", "PTR"): ["shop.example."],
}


def zone(query: dns.message.Message, *, tcp: bool) -> dns.message.Message:
    """The response of this zone."""
    response = dns.message.make_response(query)
    name, kind = str(query.question[0].name).lower(), query.question[0].rdtype.name
    if name == "www.example.":  # an alias of shop.example.
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "shop.example."))
        name = "shop.example."
    if records := RECORDS.get((name, kind)):
        response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *records))
    elif name == "nothing.example.":
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif name == "broken.example.":
        response.set_rcode(dns.rcode.SERVFAIL)
    elif name == "many.example." and tcp:
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *MANY))
    elif name == "many.example.":
        response.flags |= dns.flags.TC
    return response


class NameServer:
    """Responds over UDP and, on the same port, over TCP.

    `respond` makes the messages for a query: one or a list, each a message, bytes or None.
    """

    def __init__(self, respond=zone) -> None:
        self._respond = respond
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self.protocols: list[str] = []
        self._threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for sock in (self._udp, self._tcp):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()

    def _wires(self, wire: bytes, tcp: bool) -> list[bytes]:
        self.protocols.append("tcp" if tcp else "udp")
        messages = self._respond(dns.message.from_wire(wire), tcp=tcp)
        messages = messages if isinstance(messages, list) else [messages]
        return [
            message if isinstance(message, bytes) else message.to_wire(max_size=65535)
            for message in messages
            if message is not None
        ]

    def _serve_udp(self) -> None:
        with suppress(OSError):
            while True:
                wire, address = self._udp.recvfrom(65535)
                if not wire:
                    return
                for message in self._wires(wire, tcp=False):
                    self._udp.sendto(message, address)

    def _serve_tcp(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                with connection, connection.makefile("rb") as stream:
                    wire = stream.read(int.from_bytes(stream.read(2)))
                    for message in self._wires(wire, tcp=True):
                        connection.sendall(len(message).to_bytes(2) + message)


@contextmanager
def name_server(respond):
    server = NameServer(respond)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def server():
    with name_server(zone) as started:
        yield started


def run_query(server, name: str, **options):
    return run_probe(
        Dns(name=name, server="127.0.0.1", port=server.port, **options), timeout=options.pop("timeout", 20.0)
    )


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("shop.example", "A", 2),
        ("shop.example.", "A", 2),
        ("SHOP.example", "AAAA", 1),
        ("www.example", "A", 2),
        ("www.example", "CNAME", 1),
        ("example", "MX", 2),
        ("example", "TXT", 1),
        ("example", "NS", 1),
        ("_sip._tcp.example", "SRV", 1),
        ("1.2.0.192.in-addr.arpa", "PTR", 1),
    ],
)
def test_a_name_with_records_passes(server, name, kind, count):
    outcome = run_query(server, name, type=kind)

    assert outcome.status is Status.PASS, outcome.summary
    latency, records = outcome.measurements
    assert (records.name, records.value) == ("dns_answers", count)
    assert latency.name == "endpoint_latency_seconds"
    assert latency.value > 0


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("shop.example", "A", "192.0.2.2"),
        ("shop.example", "AAAA", "2001:0db8:0::1"),
        ("example", "MX", "20 mail2.example"),
        ("example", "MX", "10 MAIL.example."),
        ("example", "TXT", "v=spf1 include:other.example -all"),
        ("_sip._tcp.example", "SRV", "10 60 5060 sip.example"),
        ("www.example", "CNAME", "shop.example"),
    ],
)
def test_an_expected_record_passes(server, name, kind, expected):
    assert run_query(server, name, type=kind, expect=[expected]).status is Status.PASS


@pytest.mark.parametrize(
    ("name", "options", "reason", "words"),
    [
        ("nothing.example", {}, Reason.DNS, "the response is NXDOMAIN"),
        ("broken.example", {}, Reason.DNS, "the response is SERVFAIL"),
        ("empty.example", {}, Reason.MISSING, "0 records, expected at least 1"),
        ("shop.example", {"min_answers": 3}, Reason.MISSING, "2 records, expected at least 3"),
        ("shop.example", {"expect": ["192.0.2.1", "192.0.2.9"]}, Reason.MISSING, "the record 192.0.2.9 is missing"),
        (
            "example",
            {"type": "MX", "expect": ["30 mail.example"]},
            Reason.MISSING,
            "30 mail.example is missing",
        ),
    ],
    ids=["no such name", "broken", "empty", "too few", "another address", "another preference"],
)
def test_an_error_or_a_missing_record_fails(server, name, options, reason, words):
    outcome = run_query(server, name, **options)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason)
    assert words in outcome.summary


def test_an_empty_response_passes_if_no_record_is_required(server):
    assert run_query(server, "empty.example", min_answers=0).status is Status.PASS


def test_a_response_too_long_for_udp_is_fetched_over_tcp():
    with name_server(zone) as server:
        outcome = run_query(server, "many.example")

    assert outcome.status is Status.PASS
    assert outcome.measurements[1].value == 200
    assert server.protocols == ["udp", "tcp"]


def test_a_silent_server_fails_at_the_deadline():
    with name_server(lambda query, tcp: None) as server:
        outcome = run_probe(Dns(name="shop.example", server="127.0.0.1", port=server.port), timeout=0.3)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


def test_a_response_over_tcp_that_never_ends_fails_at_the_deadline():
    with serving((b"\xff\xff", drip(b"a")), listens=False) as slow:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", slow.port))

        def truncate() -> None:
            wire, address = udp.recvfrom(65535)
            udp.sendto(zone(dns.message.from_wire(wire), tcp=False).to_wire(), address)

        thread = threading.Thread(target=truncate)
        thread.start()
        outcome = run_probe(Dns(name="many.example", server="127.0.0.1", port=slow.port), timeout=0.4)
        thread.join(5)
        udp.close()

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


def test_a_closed_port_fails():
    outcome = run_probe(Dns(name="shop.example", server="127.0.0.1", port=free_port()), timeout=2)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert outcome.summary == "shop.example A from 127.0.0.1: 127.0.0.1: Connection refused"


def junk_first(query: dns.message.Message, *, tcp: bool) -> list:
    """Messages that do not respond to this query, and then the response."""
    forged = zone(query, tcp=tcp)
    forged.id ^= 1
    forged.set_rcode(dns.rcode.NXDOMAIN)
    another = zone(dns.message.make_query("nothing.example", "A", id=query.id), tcp=tcp)
    return [b"", b"junk", forged, another, zone(query, tcp=tcp)]


def test_messages_that_do_not_respond_to_the_query_are_ignored():
    with name_server(junk_first) as server:
        assert run_query(server, "shop.example").status is Status.PASS


def test_a_flood_of_junk_fails_at_the_deadline():
    stop = threading.Event()

    def flood() -> Iterator[bytes]:
        while not stop.is_set():
            yield b"junk"

    with name_server(zone) as server:
        server._wires = lambda wire, tcp: flood()
        outcome = run_probe(Dns(name="shop.example", server="127.0.0.1", port=server.port), timeout=0.5)
        stop.set()

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


@pytest.mark.parametrize("script", [(), (b"\0\4junk",), (b"\0\0",)], ids=["closing", "junk", "empty"])
def test_an_invalid_response_over_tcp_fails(script):
    with serving(script, listens=False) as server:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", server.port))

        def truncate() -> None:
            wire, address = udp.recvfrom(65535)
            udp.sendto(zone(dns.message.from_wire(wire), tcp=False).to_wire(), address)

        thread = threading.Thread(target=truncate)
        thread.start()
        outcome = run_probe(Dns(name="many.example", server="127.0.0.1", port=server.port))
        thread.join(5)
        udp.close()

    assert outcome.status is Status.FAIL
    assert outcome.reason in (Reason.STATUS, Reason.CONNECT)


def test_the_servers_of_the_system_are_tried_until_one_responds(server, tmp_path):
    configuration = tmp_path / "resolv.conf"
    configuration.write_text("nameserver 127.0.0.2\nnameserver 127.0.0.1\nsearch nothing.example\n")
    probe = Dns(name="shop.example", port=server.port)

    outcome = probe.probe(Deadline(time.monotonic() + 2), resolv_conf=str(configuration))

    assert outcome.status is Status.PASS
    assert outcome.summary == "shop.example A: 2 records"


@pytest.mark.parametrize("content", [None, "search example\n"], ids=["no file", "no server"])
def test_without_a_server_the_probe_raises(tmp_path, content):
    configuration = tmp_path / "resolv.conf"
    if content:
        configuration.write_text(content)
    with pytest.raises(ProbeError) as raised:
        Dns(name="shop.example").probe(Deadline(time.monotonic() + 1), resolv_conf=str(configuration))

    assert raised.value.reason is Reason.MISSING


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": ""},
        {"name": "a..b"},
        {"name": "a" * 64},
        {"name": "shop.example", "type": "ANY"},
        {"name": "shop.example", "expect": ["shop.example"]},
        {"name": "shop.example", "type": "MX", "expect": ["mail.example"]},
        {"name": "shop.example", "min_answers": -1},
        {"name": "shop.example", "server": "http://10.0.0.1"},
    ],
    ids=str,
)
def test_invalid_options_are_refused(options):
    with pytest.raises(ValidationError):
        Dns(**options)
