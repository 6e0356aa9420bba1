"""The kind `dns`: whether a name server returns the expected records.

The file is long because only a kind may import dnspython, so all that needs its messages is here. The queries
themselves are made by net/datagrams.py.
"""

import ipaddress
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from exporter.host.resolv_conf import read_servers
from exporter.model import Deadline, Measurement, Outcome, Reason
from exporter.net.datagrams import Peer, exchange, find_peers
from exporter.net.dial import connect
from exporter.net.errors import DialError
from exporter.net.resolver import RESOLVER, Resolver
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Count, Host, Port, Text
from exporter.redaction import quote, redact
from exporter.text import format_count

RESOLV_CONF = "/etc/resolv.conf"
_NEEDS_NO_EDNS = ("FORMERR", "NOTIMP", "BADVERS")
_LEADS_TO_NEXT = ("FORMERR", "SERVFAIL", "NOTIMP", "REFUSED")
"""Response codes after which the C library queries the next server (res_send.c)."""


class Dns(Probe):
    """Queries a name server over UDP, and over TCP if the response is too long for UDP.

    The name is queried exactly as written, without the search list. The addresses of the servers are queried in turn,
    each up to three times, until one responds. After SERVFAIL, NOTIMP or REFUSED, and after a referral to other
    servers, the next address is queried. A server that rejects EDNS, or does not respond to it, is queried again
    without it (RFC 6891). Any response code other than NOERROR fails with the reason `dns`, unless `expectRcode` lists
    it. If there are too few records, or an expected one is missing, the check fails with the reason `missing`. Only
    records of the queried name and of its aliases count.
    """

    measures: ClassVar = {**LATENCY, "dns_answers": "Number of records of the queried type in the latest run."}
    needs: ClassVar = {"dns": "dns"}
    examples: ClassVar = (
        "- name: shop\n  dns: {name: shop.example.com}",
        "- name: mail\n  dns: {name: example.com, type: MX, server: 10.0.0.10, expect: [10 mail.example.com]}",
        "- name: not-on-blocklist\n  dns: {name: 1.2.0.192.bl.example.com, expectRcode: [NXDOMAIN]}",
    )

    name: Text
    """Name to query. With the type PTR, an IP address stands for its name in `in-addr.arpa` or `ip6.arpa`."""
    type: Literal["A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "SVCB", "TXT"] = "A"
    """Type of the records to query."""
    server: Host | None = None
    """Address or name of the server; all addresses of a name are queried. By default, the servers of resolv.conf."""
    port: Port = 53
    """Port of the server."""
    expect_rcode: Annotated[
        tuple[Literal["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"], ...], Field(min_length=1)
    ] = ("NOERROR",)
    """Response codes that pass. `expect` and `minAnswers` apply only to responses with NOERROR."""
    expect: tuple[str, ...] = ()
    """Fails when one of these records is missing, written as in a zone file; for TXT, the text itself."""
    min_answers: Count = 1
    """Fails when there are fewer records than this; 0 accepts a name without records of this type."""

    @model_validator(mode="after")
    def _validate_name(self) -> Self:
        if "://" in self.name:
            raise ValueError("name must be the name alone, without a scheme or a path")
        if self.type != "PTR" and _is_address(self.name):
            raise ValueError("name is an address, which only the type PTR takes")
        return self

    @model_validator(mode="after")
    def _validate_records(self) -> Self:
        library = _import_library()
        try:
            self._make_query()
        except library.errors:
            raise ValueError("name is not a name that can be queried") from None
        for index, record in enumerate(self.expect):
            try:
                self._parse_record(record)
            except library.errors as error:
                cause = redact(str(error), record)
                raise ValueError(f"expect[{index}] is not a record of type {self.type}: {cause}") from None
        return self

    @model_validator(mode="after")
    def _validate_code(self) -> Self:
        if "NOERROR" not in self.expect_rcode and (self.expect or "min_answers" in self.model_fields_set):
            raise ValueError("expect and minAnswers require NOERROR in expectRcode, because only it comes with records")
        return self

    @property
    def target(self) -> str:
        return f"{self.name} {self.type}" + (f" from {self.server}" if self.server else "")

    def liveness_risk(self) -> str | None:
        return "restarting this application cannot change a name server's response"

    def probe(self, deadline: Deadline, resolv_conf: str = RESOLV_CONF, resolver: Resolver = RESOLVER) -> Outcome:
        servers = [self.server] if self.server else read_servers(resolv_conf, deadline)
        timer = LatencyTimer()
        lookup = _Lookup(self._make_query(), self._make_query(edns=False), self.expect_rcode, deadline)
        try:
            response = lookup.run(servers, self.port, resolver)
        except DialError as error:
            return Outcome.failed(error.reason, f"{self.target}: {error}")
        return self._conclude(response, timer.stop())

    def _make_query(self, *, edns: bool = True) -> Any:
        name: Any = self.name
        if self.type == "PTR" and _is_address(name):
            name = _import_library().reverse(str(ipaddress.ip_address(name)))
        return _import_library().query(name, self.type, edns)

    def _conclude(self, response: Any, latency: Measurement) -> Outcome:
        code = _find_code(response)
        records = _find_records(response)
        if code not in self.expect_rcode:
            expected = f", expected {' or '.join(self.expect_rcode)}" if "expect_rcode" in self.model_fields_set else ""
            found = f" with {format_count(len(records), 'record')}" if records else ""
            return Outcome.failed(Reason.DNS, f"{self.target}: the response is {code}{found}{expected}", latency)
        count = Measurement("dns_answers", len(records))
        if code != "NOERROR":
            return Outcome.passed(f"{self.target}: the response is {code}, as expected", latency, count)
        values = {_normalize(record) for record in records}
        missing = next((record for record in self.expect if self._parse_record(record) not in values), None)
        if missing:
            cause = f"the record {missing} is missing; received {_list_records(records)}"
            return Outcome.failed(Reason.MISSING, f"{self.target}: {cause}", latency, count)
        if len(records) < self.min_answers:
            cause = f"{format_count(len(records), 'record')}, expected at least {self.min_answers}"
            return Outcome.failed(Reason.MISSING, f"{self.target}: {cause}", latency, count)
        return Outcome.passed(f"{self.target}: {format_count(len(records), 'record')}", latency, count)

    def _parse_record(self, text: str) -> Any:
        """Return an expected record, in the form that `_normalize` returns."""
        return text.encode() if self.type == "TXT" else _import_library().record(self.type, text)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _normalize(record: Any) -> Any:
    """Return a record in a form that can be compared: for TXT, the whole text, however it is split."""
    return b"".join(record.strings) if hasattr(record, "strings") else record


def _list_records(records: Sequence[Any]) -> str:
    """Return the beginning of what was received, in quotes, for a summary."""
    texts = [record if isinstance(record, bytes) else record.to_text().encode() for record in map(_normalize, records)]
    return quote(b", ".join(texts)) if texts else "no record"


def _find_records(response: Any) -> Sequence[Any]:
    """Return the records of the queried type that belong to the queried name, or to the name it is an alias of.

    A resolver ignores any others (RFC 1034, section 5.3.3).
    """
    if not response.question:
        return ()
    question = response.question[0]
    name = question.name
    for _ in range(1 + len(response.answer)):  # aliases may form a circle
        if found := response.get_rrset(response.answer, name, question.rdclass, question.rdtype):
            return tuple(found)
        alias = response.get_rrset(response.answer, name, question.rdclass, _import_library().alias)
        if not alias:
            break
        name = alias[0].target
    return ()


class _Lookup:
    """One query to all addresses of the servers. It continues until one of them has a usable response."""

    def __init__(self, query: Any, plain: Any, accepted: Sequence[str], deadline: Deadline) -> None:
        """`plain` is the same query without EDNS.

        The last round sends it, because some firewalls drop queries with EDNS, and the C library sends none. Both have
        the same ID, so that a slow response to an earlier round still counts.
        """
        plain.id = query.id
        self._queries = {message.to_wire(): message for message in (query, plain)}
        self._accepted = accepted
        self._deadline = deadline
        self._peers: list[Peer] = []

    def run(self, servers: Sequence[str], port: int, resolver: Resolver) -> Any:
        """Return the response. Raises DialError."""
        query, plain = self._queries
        self._peers = find_peers(servers, port, (query, plain), self._deadline, resolver)
        return exchange(self._peers, self._interpret, self._deadline)

    def _interpret(self, peer: Peer, datagram: bytes) -> Any:
        query = self._queries[peer.query]
        response, truncated = _parse_message(datagram)
        if flaw := _find_flaw(query, response):
            peer.ignore(flaw)
            return None
        if truncated:
            response = self._query_tcp(query, peer)
        code = _find_code(response)
        if query.edns >= 0 and code in _NEEDS_NO_EDNS:
            peer.query = peer.plain
            peer.send()
            return None
        flaw = f"is {code}" if code in _LEADS_TO_NEXT and code not in self._accepted else _find_lameness(response, code)
        if flaw and self._count_waiting() > 1:
            raise DialError(Reason.DNS, f"{peer.name}: the response {flaw}", peer.name)
        return response

    def _query_tcp(self, query: Any, peer: Peer) -> Any:
        """Return the response. Raises DialError."""
        share = self._deadline.remaining() / self._count_waiting()
        try:
            return _query_tcp(query, peer, Deadline(self._deadline.clock() + share, self._deadline.clock))
        except DialError as error:
            message = f"{peer.name}: the response is too long for UDP, and over TCP it failed: {error}"
            raise DialError(error.reason, message, peer.name) from None

    def _count_waiting(self) -> int:
        return sum(peer.error is None for peer in self._peers)


def _query_tcp(query: Any, peer: Peer, deadline: Deadline) -> Any:
    wire = query.to_wire()
    with connect(peer.host, peer.port, deadline) as sock, sock.makefile("rb") as stream:
        sock.sendall(len(wire).to_bytes(2) + wire)
        size = int.from_bytes(stream.read(2))
        content = stream.read(size)
    if not content:
        raise DialError(Reason.CONNECT, "the server closed the connection without a response")
    response, _ = _parse_message(content)
    if deadline.remaining() <= 0:  # parsing 64 KiB can take most of a second
        raise DialError(Reason.TIMEOUT, "the response took too long to parse")
    if flaw := _find_flaw(query, response):
        raise DialError(Reason.STATUS, f"the response {flaw}")
    return response


def _find_flaw(query: Any, response: Any) -> str | None:
    """Return why a message is not a response to the query; None if it is one."""
    if response is None:
        return "is not a DNS message"
    if query.is_response(response):
        return None
    if response.id != query.id:
        return "has a different ID"
    return "is for a different question" if response.flags & _import_library().is_response else "is not a response"


def _find_lameness(response: Any, code: str) -> str | None:
    """Return why a response does not show that there are no records; None if it does, or if there are some.

    A server that neither is responsible for the name nor resolves it leads to the next one (res_send.c).
    """
    if code != "NOERROR" or response.answer or response.flags & _import_library().authority:
        return None
    return "only refers to other servers"


def _find_code(response: Any) -> str:
    code: str = _import_library().rcode(response.rcode())
    return code


def _parse_message(wire: bytes) -> tuple[Any, bool]:
    """Return the message, or None if it is not a DNS message, and whether it is truncated."""
    library = _import_library()
    try:
        return library.message(wire, raise_on_truncation=True, ignore_trailing=True), False
    except library.truncated as error:
        return error.message(), True
    except library.errors:
        return None, False


@cache
def _import_library() -> Any:
    """Import the messages and records of dnspython. Its own queries are not used: they use the wall clock."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdata
    import dns.rdatatype
    import dns.reversename

    return SimpleNamespace(
        query=lambda name, rdtype, edns: dns.message.make_query(
            name, rdtype, use_edns=edns, payload=1232 if edns else None
        ),
        reverse=dns.reversename.from_address,
        is_response=dns.flags.QR,
        authority=dns.flags.AA | dns.flags.RA,
        alias=dns.rdatatype.CNAME,
        message=dns.message.from_wire,
        truncated=dns.message.Truncated,
        rcode=dns.rcode.to_text,
        record=lambda rdtype, text: dns.rdata.from_text("IN", rdtype, text, origin=dns.name.root, relativize=False),
        errors=(dns.exception.DNSException, ValueError, LookupError, OSError),
    )
