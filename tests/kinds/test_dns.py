"""The kind `dns` against a small name server, whose messages dnspython makes."""

import socket
import threading
from collections.abc import Iterator

import dns.message
import dns.rcode
import pytest
from kinds.daemons import run_probe
from kinds.name_servers import name_server, zone
from kinds.servers import drip, serving
from pydantic import ValidationError
from support import free_port

from exporter.kinds.dns import Dns
from exporter.model import Reason, Status


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
        ("nothing.example", {"min_answers": 0}, Reason.DNS, "the response is NXDOMAIN"),
        (
            "shop.example",
            {"expect_rcode": ["NXDOMAIN", "REFUSED"]},
            Reason.DNS,
            "the response is NOERROR with 2 records, expected NXDOMAIN or REFUSED",
        ),
        ("shop.example", {"expect_rcode": ["NOERROR", "NXDOMAIN"], "min_answers": 3}, Reason.MISSING, "2 records"),
        ("broken.example", {}, Reason.DNS, "the response is SERVFAIL"),
        ("empty.example", {}, Reason.MISSING, "0 records, expected at least 1"),
        ("shop.example", {"min_answers": 3}, Reason.MISSING, "2 records, expected at least 3"),
        (
            "shop.example",
            {"expect": ["192.0.2.1", "192.0.2.9"]},
            Reason.MISSING,
            '192.0.2.9 is missing; received "192.0.2.',
        ),
        (
            "example",
            {"type": "MX", "expect": ["30 mail.example"]},
            Reason.MISSING,
            "30 mail.example is missing; received ",
        ),
        (
            "example",
            {"type": "TXT", "expect": ["v=spf1 +all"]},
            Reason.MISSING,
            'the record v=spf1 +all is missing; received "v=spf1 include:other.example -all',
        ),
    ],
    ids=[
        "no such name",
        "no such name, although no record is required",
        "a name that must not exist",
        "too few, although the name need not exist",
        "broken",
        "empty",
        "too few",
        "another address",
        "another preference",
        "another text",
    ],
)
def test_an_error_or_a_missing_record_fails(server, name, options, reason, words):
    outcome = run_query(server, name, **options)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason)
    assert words in outcome.summary


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("nothing.example", ["NXDOMAIN"]),
        ("nothing.example", ["NOERROR", "NXDOMAIN"]),
        ("shop.example", ["NOERROR", "NXDOMAIN"]),
        ("broken.example", ["SERVFAIL"]),
    ],
)
def test_an_expected_response_code_passes(server, name, codes):
    outcome = run_query(server, name, expect_rcode=codes)

    assert outcome.status is Status.PASS, outcome.summary
    assert [measurement.name for measurement in outcome.measurements] == ["endpoint_latency_seconds", "dns_answers"]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_the_name_of_an_address_is_queried_in_the_reverse_zone(server, address):
    outcome = run_query(server, address, type="PTR", expect=["shop.example"])

    assert outcome.status is Status.PASS, outcome.summary
    assert outcome.summary == f"{address} PTR from 127.0.0.1: 1 record"


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
    port = free_port()
    outcome = run_probe(Dns(name="shop.example", server="127.0.0.1", port=port), timeout=20)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert outcome.summary == f"shop.example A from 127.0.0.1: 127.0.0.1:{port}: Connection refused"


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


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": ""},
        {"name": "a..b"},
        {"name": "a" * 64},
        {"name": "https://shop.example"},
        {"name": "192.0.2.1"},
        {"name": "2001:db8::1", "type": "AAAA"},
        {"name": "shop.example", "type": "ANY"},
        {"name": "shop.example", "expect": ["shop.example"]},
        {"name": "shop.example", "type": "MX", "expect": ["mail.example"]},
        {"name": "shop.example", "min_answers": -1},
        {"name": "shop.example", "server": "http://10.0.0.1"},
        {"name": "shop.example", "expect_rcode": []},
        {"name": "shop.example", "expect_rcode": ["BADVERS"]},
        {"name": "shop.example", "expect_rcode": ["NXDOMAIN"], "expect": ["192.0.2.1"]},
        {"name": "shop.example", "expect_rcode": ["NXDOMAIN"], "min_answers": 1},
    ],
    ids=str,
)
def test_invalid_options_are_refused(options):
    with pytest.raises(ValidationError):
        Dns(**options)
