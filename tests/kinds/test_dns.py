"""The kind `dns` against a small name server, whose answers are dnspython's."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from daemons import LATE, look
from kinds.servers import drip, serving
from pydantic import ValidationError
from support import free_port

from exporter.kinds.dns import Dns
from exporter.model import Deadline, ProbeError, Reason, Status

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
    """What the zone of these tests answers."""
    answer = dns.message.make_response(query)
    name, kind = str(query.question[0].name).lower(), query.question[0].rdtype.name
    if name == "www.example.":  # another name of shop.example.
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "shop.example."))
        name = "shop.example."
    if records := RECORDS.get((name, kind)):
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *records))
    elif name == "nothing.example.":
        answer.set_rcode(dns.rcode.NXDOMAIN)
    elif name == "broken.example.":
        answer.set_rcode(dns.rcode.SERVFAIL)
    elif name == "many.example." and tcp:
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *(f"192.0.2.{each}" for each in range(200))))
    elif name == "many.example.":
        answer.flags |= dns.flags.TC
    return answer


class NameServer:
    """Answers over UDP, and over TCP on the same port: `answers` makes the messages, bytes or nothing."""

    def __init__(self, answers=zone) -> None:
        self._answers = answers
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self.asked: list[str] = []
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._by_udp, self._by_tcp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for each in (self._udp, self._tcp):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()

    def _wires(self, wire: bytes, tcp: bool) -> list[bytes]:
        self.asked.append("tcp" if tcp else "udp")
        answers = self._answers(dns.message.from_wire(wire), tcp=tcp)
        answers = answers if isinstance(answers, list) else [answers]
        return [
            each if isinstance(each, bytes) else each.to_wire(max_size=65535) for each in answers if each is not None
        ]

    def _by_udp(self) -> None:
        with suppress(OSError):
            while True:
                wire, address = self._udp.recvfrom(65535)
                if not wire:
                    return
                for each in self._wires(wire, tcp=False):
                    self._udp.sendto(each, address)

    def _by_tcp(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                with connection, connection.makefile("rb") as stream:
                    wire = stream.read(int.from_bytes(stream.read(2)))
                    for each in self._wires(wire, tcp=True):
                        connection.sendall(len(each).to_bytes(2) + each)


@contextmanager
def answering(answers):
    server = NameServer(answers)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def server():
    with answering(zone) as started:
        yield started


def ask(server, name: str, **options):
    return look(Dns(name=name, server="127.0.0.1", port=server.port, **options), timeout=options.pop("timeout", 2.0))


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
    outcome = ask(server, name, type=kind)

    assert outcome.status is Status.PASS, outcome.summary
    latency, answers = outcome.measurements
    assert (answers.name, answers.value) == ("dns_answers", count)
    assert latency.name == "endpoint_latency_seconds"
    assert 0 < latency.value < 2


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
def test_an_expected_record_that_is_there_passes(server, name, kind, expected):
    assert ask(server, name, type=kind, expect=[expected]).status is Status.PASS


@pytest.mark.parametrize(
    ("name", "options", "reason", "words"),
    [
        ("nothing.example", {}, Reason.DNS, "the answer is NXDOMAIN"),
        ("broken.example", {}, Reason.DNS, "the answer is SERVFAIL"),
        ("empty.example", {}, Reason.MISSING, "0 answers, expected at least 1"),
        ("shop.example", {"min_answers": 3}, Reason.MISSING, "2 answers, expected at least 3"),
        ("shop.example", {"expect": ["192.0.2.1", "192.0.2.9"]}, Reason.MISSING, "192.0.2.9 is not among the answers"),
        ("example", {"type": "MX", "expect": ["30 mail.example"]}, Reason.MISSING, "is not among the answers"),
    ],
    ids=["no such name", "broken", "empty", "too few", "another address", "another preference"],
)
def test_what_is_not_as_expected_fails(server, name, options, reason, words):
    outcome = ask(server, name, **options)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason)
    assert words in outcome.summary


def test_no_answers_pass_where_none_are_wanted(server):
    assert ask(server, "empty.example", min_answers=0).status is Status.PASS


def test_an_answer_too_long_for_udp_comes_by_tcp():
    with answering(zone) as server:
        outcome = ask(server, "many.example")

    assert outcome.status is Status.PASS
    assert outcome.measurements[1].value == 200
    assert server.asked == ["udp", "tcp"]


def test_a_silent_server_fails_at_the_deadline():
    with answering(lambda query, tcp: None) as server:
        outcome = look(Dns(name="shop.example", server="127.0.0.1", port=server.port), timeout=0.3)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


def test_a_server_that_never_ends_its_answer_by_tcp_fails_at_the_deadline():
    with serving((b"\xff\xff", drip(b"a")), listens=False) as slow:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", slow.port))

        def truncate() -> None:
            wire, address = udp.recvfrom(65535)
            udp.sendto(zone(dns.message.from_wire(wire), tcp=False).to_wire(), address)

        thread = threading.Thread(target=truncate)
        thread.start()
        outcome = look(Dns(name="many.example", server="127.0.0.1", port=slow.port), timeout=0.4)
        thread.join(5)
        udp.close()

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


def test_a_port_where_nobody_listens_fails():
    outcome = look(Dns(name="shop.example", server="127.0.0.1", port=free_port()), timeout=2)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert outcome.summary == "shop.example A from 127.0.0.1: 127.0.0.1: Connection refused"


def other(query: dns.message.Message, *, tcp: bool) -> list:
    """Answers that are none to this question, and the right one behind them."""
    forged = zone(query, tcp=tcp)
    forged.id ^= 1
    forged.set_rcode(dns.rcode.NXDOMAIN)
    another = zone(dns.message.make_query("nothing.example", "A", id=query.id), tcp=tcp)
    return [b"", b"junk", forged, another, zone(query, tcp=tcp)]


def test_answers_to_other_questions_are_not_heeded():
    with answering(other) as server:
        assert ask(server, "shop.example").status is Status.PASS


def test_a_flood_of_junk_fails_at_the_deadline():
    def flood(query, *, tcp):
        until = time.monotonic() + 0.3 + LATE
        while time.monotonic() < until:
            yield b"junk"

    with answering(zone) as server:
        server._wires = lambda wire, tcp: flood(None, tcp=tcp)
        outcome = look(Dns(name="shop.example", server="127.0.0.1", port=server.port), timeout=0.3)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


@pytest.mark.parametrize("script", [(), (b"\0\4junk",), (b"\0\0",)], ids=["closing", "junk", "empty"])
def test_no_answer_by_tcp_fails(script):
    with serving(script, listens=False) as server:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", server.port))

        def truncate() -> None:
            wire, address = udp.recvfrom(65535)
            udp.sendto(zone(dns.message.from_wire(wire), tcp=False).to_wire(), address)

        thread = threading.Thread(target=truncate)
        thread.start()
        outcome = look(Dns(name="many.example", server="127.0.0.1", port=server.port))
        thread.join(5)
        udp.close()

    assert outcome.status is Status.FAIL
    assert outcome.reason in (Reason.STATUS, Reason.CONNECT)


def test_the_system_s_servers_are_asked_until_one_answers(server, tmp_path):
    configuration = tmp_path / "resolv.conf"
    configuration.write_text("nameserver 127.0.0.2\nnameserver 127.0.0.1\nsearch nothing.example\n")
    probe = Dns(name="shop.example", port=server.port)

    outcome = probe.probe(Deadline(time.monotonic() + 2), resolv_conf=str(configuration))

    assert outcome.status is Status.PASS
    assert outcome.summary == "shop.example A: 2 answers"


@pytest.mark.parametrize("content", [None, "search example\n"], ids=["no file", "no server"])
def test_without_a_server_it_cannot_look(tmp_path, content):
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
def test_what_cannot_be_meant_is_refused(options):
    with pytest.raises(ValidationError):
        Dns(**options)
