"""The kind `dns` against servers and networks that lose, reject and garble queries, and against BIND."""

import re
import socket

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset
import pytest
from kinds.daemons import as_user, folder, run_probe
from kinds.name_servers import name_server, zone
from support import Process, command, ended, free_port, within

from exporter.kinds.dns import Dns
from exporter.model import ProbeError, Reason, Status
from exporter.net import datagrams
from exporter.net.resolver import Resolver


def query(server, name="shop.example", timeout=20.0, **options):
    return run_probe(Dns(name=name, server="127.0.0.1", port=server.port, **options), timeout)


class Lossy:
    """Loses the first queries of each protocol, and then responds."""

    def __init__(self, lost: int) -> None:
        self.lost = lost
        self.queries: list[dns.message.Message] = []

    def __call__(self, query, *, tcp):
        self.queries.append(query)
        return zone(query, tcp=tcp) if len(self.queries) > self.lost else None


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_datagram_is_not_a_failure(lost):
    respond = Lossy(lost)
    with name_server(respond) as server:
        outcome = query(server, timeout=3.0)

    assert outcome.status is Status.PASS, outcome.summary
    assert len({message.id for message in respond.queries}) == 1  # so a late response to the first one counts


def test_a_silent_server_is_queried_three_times():
    respond = Lossy(1000)
    with name_server(respond) as server:
        outcome = query(server, timeout=3.0)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert outcome.summary.endswith(f": 127.0.0.1:{server.port} did not respond in time")
    assert len(respond.queries) == datagrams.ROUNDS


def test_bytes_after_the_message_are_ignored():
    with name_server(lambda query, tcp: zone(query, tcp=tcp).to_wire(max_size=65535) + b"\0\1\2\3") as server:
        assert query(server).status is Status.PASS
        assert query(server, "many.example").status is Status.PASS  # over TCP


def without_edns(code):
    """A server that rejects EDNS with this code. Its response has a header only, as that of some old servers."""

    def respond(query, *, tcp):
        if query.edns < 0:
            return zone(query, tcp=tcp)
        response = dns.message.Message(id=query.id)
        response.flags |= dns.flags.QR
        response.set_rcode(code)
        if code is not dns.rcode.BADVERS:  # this one is in the OPT record itself
            response.use_edns(False)
            response.question = [] if code is dns.rcode.FORMERR else query.question
        else:
            response.question = query.question
        return response

    return respond


@pytest.mark.parametrize("code", [dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS], ids=str)
@pytest.mark.parametrize("name", ["shop.example", "many.example"])
def test_a_server_that_rejects_edns_is_queried_without_it(code, name):
    with name_server(without_edns(code)) as server:
        outcome = query(server, name)

    assert outcome.status is Status.PASS, outcome.summary


def test_a_server_behind_a_firewall_that_drops_edns_is_queried_without_it():
    def respond(query, *, tcp):
        return dns.message.make_response(query) if query.edns < 0 else None

    with name_server(respond) as server:
        outcome = query(server, timeout=3.0, min_answers=0)

    assert outcome.status is Status.PASS, outcome.summary


@pytest.mark.parametrize("code", ["FORMERR", "NOTIMP"])
def test_a_server_that_rejects_every_query_fails(code):
    def respond(query, *, tcp):
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.from_text(code))
        return response

    with name_server(respond) as server:
        outcome = query(server)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.DNS)
    assert f"the response is {code}" in outcome.summary
    assert server.protocols == ["udp", "udp"]


def garbled(change):
    """The zone's response after a change, or what the change returns in its place."""

    def respond(query, *, tcp):
        response = zone(query, tcp=tcp)
        return change(response) or response

    return respond


def test_a_datagram_beyond_the_maximum_is_ignored():
    """It would be longer than the query permits."""

    def respond(query, *, tcp):
        response = zone(query, tcp=tcp)
        addresses = [f"10.0.{number // 256}.{number % 256}" for number in range(300)]
        response.answer = [dns.rrset.from_text("many.example.", 60, "IN", "A", *addresses)]
        response.flags &= ~dns.flags.TC
        return response.to_wire(max_size=65535)

    with name_server(respond) as server:
        outcome = query(server, "many.example", timeout=1.0)

    assert outcome.reason is Reason.TIMEOUT, outcome.summary
    assert "3 datagrams were ignored, the last one because it is not a DNS message" in outcome.summary


FLAWS = {
    "junk": (lambda response: b"junk", "is not a DNS message"),
    "cut": (lambda response: response.to_wire()[:-3], "is not a DNS message"),
    "id": (lambda response: setattr(response, "id", response.id ^ 1), "has a different ID"),
    "query": (lambda response: setattr(response, "flags", 0), "is not a response"),
    "question": (
        lambda response: setattr(response, "question", dns.message.make_query("a.example", "A").question),
        "is for a different question",
    ),
}


@pytest.mark.parametrize(("change", "words"), FLAWS.values(), ids=FLAWS)
def test_at_the_deadline_unusable_responses_are_counted_and_explained(change, words):
    with name_server(garbled(change)) as server:
        outcome = query(server, timeout=1.0)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    pattern = rf"did not respond in time \([23] datagrams were ignored, the last one because it {words}\)"
    assert re.search(pattern, outcome.summary)


def test_why_a_response_over_tcp_is_missing():
    def respond(query, *, tcp):
        return [] if tcp else zone(query, tcp=tcp)

    with name_server(respond) as server:
        outcome = query(server, "many.example")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert "too long for UDP, and over TCP it failed: the server closed the connection" in outcome.summary


# Several addresses


def addresses(*hosts):
    """A resolver that knows one name, `dns.example`."""
    return Resolver(lambda host, *_, **__: [found for address in hosts for found in numeric(address)])


def numeric(address):
    return socket.getaddrinfo(address, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)


@pytest.mark.parametrize("first", [lambda query, tcp: None, None], ids=["silent", "closed"])
def test_every_address_of_a_server_is_queried(first):
    resolver = addresses("127.0.0.2", "127.0.0.1")
    with name_server(zone) as server:
        probe = Dns(name="shop.example", server="dns.example", port=server.port)
        if first:
            with name_server(first, "127.0.0.2", server.port):
                outcome = probe.probe(within(3), resolver=resolver)
        else:
            outcome = probe.probe(within(20), resolver=resolver)

    assert outcome.status is Status.PASS, outcome.summary


def test_a_failure_names_each_address():
    port = free_port()
    probe = Dns(name="shop.example", server="dns.example", port=port)
    outcome = probe.probe(within(20), resolver=addresses("127.0.0.2", "127.0.0.1"))

    assert outcome.summary == (
        f"shop.example A from dns.example: 127.0.0.2:{port} (dns.example): Connection refused; "
        f"127.0.0.1:{port} (dns.example): Connection refused"
    )


def test_the_addresses_of_a_server_are_limited():
    resolver = addresses(*(f"127.0.0.{number}" for number in range(1, 100)))
    peers = datagrams.find_peers(["dns.example"], 53, (b"", b""), within(20), resolver)

    assert [peer.host for peer in peers] == [f"127.0.0.{number}" for number in range(1, datagrams.MAX_ADDRESSES + 1)]


# The system's servers


def query_system(tmp_path, port, content, timeout=20.0, **options):
    configuration = tmp_path / "resolv.conf"
    configuration.write_bytes(content)
    probe = Dns(name="shop.example", port=port, **options)
    return probe.probe(within(timeout), resolv_conf=str(configuration))


def test_the_servers_of_the_system_are_queried_until_one_responds(tmp_path):
    with name_server(zone) as server:
        outcome = query_system(tmp_path, server.port, b"nameserver 127.0.0.2\nnameserver 127.0.0.1\nsearch a.example\n")

    assert outcome.status is Status.PASS
    assert outcome.summary == "shop.example A: 2 records"


def refusing(code):
    def respond(query, *, tcp):
        response = dns.message.make_response(query)
        response.set_rcode(code)
        return response

    return respond


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP], ids=str)
def test_after_an_error_of_a_server_the_next_one_is_queried(tmp_path, code):
    with name_server(zone) as server, name_server(refusing(code), "127.0.0.2", server.port):
        content = b"nameserver 127.0.0.2\nnameserver 127.0.0.1\n"

        assert query_system(tmp_path, server.port, content).status is Status.PASS
        if code is not dns.rcode.NOTIMP:
            expected = query_system(tmp_path, server.port, content, expect_rcode=[code.name])
            assert expected.status is Status.PASS, "an expected code is final"


def referring(flags=0):
    """A server without records of the name, with these flags in its response."""

    def respond(query, *, tcp):
        response = dns.message.make_response(query)
        response.flags |= flags
        response.authority.append(dns.rrset.from_text("example.", 60, "IN", "NS", "ns.example."))
        return response

    return respond


def test_after_a_referral_the_next_server_is_queried(tmp_path):
    with name_server(zone) as server, name_server(referring(), "127.0.0.2", server.port):
        one = query_system(tmp_path, server.port, b"nameserver 127.0.0.2\n")
        both = query_system(tmp_path, server.port, b"nameserver 127.0.0.2\nnameserver 127.0.0.1\n")

    assert (one.status, one.reason) == (Status.FAIL, Reason.MISSING)
    assert both.status is Status.PASS


@pytest.mark.parametrize("flag", [dns.flags.AA, dns.flags.RA], ids=str)
def test_a_response_without_records_is_final_from_an_authority_and_from_a_resolver(tmp_path, flag):
    with name_server(zone) as server, name_server(referring(flag), "127.0.0.2", server.port):
        outcome = query_system(tmp_path, server.port, b"nameserver 127.0.0.2\nnameserver 127.0.0.1\n")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)


@pytest.mark.parametrize(
    ("records", "count"),
    [
        (["other.example. A 192.0.2.9"], 0),
        (["shop.example. CNAME a.example.", "b.example. A 192.0.2.9"], 0),
        (["shop.example. CNAME a.example.", "a.example. CNAME shop.example."], 0),
        (["b.example. A 192.0.2.9", "a.example. CNAME b.example.", "SHOP.example. CNAME A.example."], 1),
        (["shop.example. A 192.0.2.1", "other.example. A 192.0.2.9"], 1),
    ],
)
def test_only_records_of_the_name_and_its_aliases_count(records, count):
    def respond(query, *, tcp):
        response = dns.message.make_response(query)
        for record in records:
            name, kind, value = record.split()
            response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, value))
        return response

    with name_server(respond) as server:
        outcome = query(server)

    assert {measurement.name: measurement.value for measurement in outcome.measurements}["dns_answers"] == count
    assert outcome.status is (Status.PASS if count else Status.FAIL)


def test_a_name_that_does_not_exist_is_final(tmp_path):
    with name_server(zone) as server, name_server(refusing(dns.rcode.NXDOMAIN), "127.0.0.2", server.port):
        outcome = query_system(tmp_path, server.port, b"nameserver 127.0.0.2\nnameserver 127.0.0.1\n")

    assert "the response is NXDOMAIN" in outcome.summary


@pytest.mark.parametrize("content", [None, b"search example\n", b"nameserver\nnameserver ns.example\n"], ids=str)
def test_without_a_server_the_probe_raises(tmp_path, content):
    configuration = tmp_path / "resolv.conf"
    if content:
        configuration.write_bytes(content)
    with pytest.raises(ProbeError, match=r"resolv\.conf") as raised:
        Dns(name="shop.example").probe(within(20), resolv_conf=str(configuration))

    assert raised.value.reason is Reason.MISSING


# A real server

NAMED = """
options {{
    directory "{folder}"; pid-file none; session-keyfile none; listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; empty-zones-enable no;
}};
controls {{}};
zone "example" {{ type primary; file "{folder}/example"; }};
zone "2.0.192.in-addr.arpa" {{ type primary; file "{folder}/reverse"; }};
"""
ZONE = """\
$TTL 60
@ IN SOA ns.example. root.example. 1 60 60 60 60
@ IN NS ns.example.
{records}
"""
RECORDS = "ns A 127.0.0.1\nshop A 192.0.2.1\nlong TXT " + " ".join(f'"{"x" * 250}"' for _ in range(8))


@pytest.fixture(scope="module")
def named():
    command("named")
    with folder("bind") as path:
        port = free_port()
        (path / "named.conf").write_text(NAMED.format(folder=path, port=port))
        (path / "example").write_text(ZONE.format(records=RECORDS))
        (path / "reverse").write_text(ZONE.format(records="1 PTR shop.example."))
        for file in path.iterdir():
            file.chmod(0o644)
        arguments = as_user("bind", command("named"), "-g", "-c", str(path / "named.conf"), "-n", "1", "-U", "1")
        with ended(Process(arguments, cwd=path)) as process:
            process.line(" running$")
            yield port


@pytest.mark.parametrize(
    ("name", "options", "status"),
    [
        ("shop.example", {"expect": ["192.0.2.1"]}, Status.PASS),
        ("long.example", {"type": "TXT"}, Status.PASS),
        ("192.0.2.1", {"type": "PTR", "expect": ["shop.example"]}, Status.PASS),
        ("nothing.example", {}, Status.FAIL),
        ("nothing.example", {"expect_rcode": ["NXDOMAIN"]}, Status.PASS),
        ("shop.example", {"type": "AAAA", "min_answers": 0}, Status.PASS),
        ("elsewhere.test", {"expect_rcode": ["REFUSED"]}, Status.PASS),
    ],
    ids=str,
)
def test_bind_is_queried(named, name, options, status):
    outcome = run_probe(Dns(name=name, server="127.0.0.1", port=named, **options))

    assert outcome.status is status, outcome.summary
