"""The kind `dns`: whether a name server returns the expected records."""

import socket
from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.net.dial import connect
from exporter.net.errors import DialError
from exporter.net.resolver import RESOLVER
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Count, Host, Port, Text
from exporter.redaction import redact

RESOLV_CONF = "/etc/resolv.conf"


class Dns(Probe):
    """Queries a name server over UDP, and over TCP if the response is too long for UDP.

    The name is queried exactly as written, without the search list. Any response code other than NOERROR fails with the
    reason `dns`. If there are too few records, or an expected one is missing, the check fails with the reason
    `missing`.
    """

    measures: ClassVar = {**LATENCY, "dns_answers": "Number of records of the queried type in the latest run."}
    needs: ClassVar = {"dns": "dns"}
    examples: ClassVar = (
        "- name: shop\n  dns: {name: shop.example.com}",
        "- name: mail\n  dns: {name: example.com, type: MX, server: 10.0.0.10, expect: [10 mail.example.com]}",
    )

    name: Text
    """Name to query."""
    type: Literal["A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "SVCB", "TXT"] = "A"
    """Type of the records to query."""
    server: Host | None = None
    """Address or name of the server. By default, the system's servers are tried in order until one responds."""
    port: Port = 53
    """Port of the server."""
    expect: tuple[str, ...] = ()
    """Fails when one of these records is missing, written as in a zone file; for TXT, the text itself."""
    min_answers: Count = 1
    """Fails when there are fewer records than this."""

    @model_validator(mode="after")
    def _validate_records(self) -> Self:
        library = _import_library()
        try:
            library.query(self.name, self.type)
        except library.errors:
            raise ValueError("name is not a name that can be queried") from None
        for index, record in enumerate(self.expect):
            try:
                self._parse_record(record)
            except library.errors as error:
                cause = redact(str(error), record)
                raise ValueError(f"expect[{index}] is not a record of type {self.type}: {cause}") from None
        return self

    @property
    def target(self) -> str:
        return f"{self.name} {self.type}" + (f" from {self.server}" if self.server else "")

    def liveness_risk(self) -> str | None:
        return "restarting this application cannot change a name server's response"

    def probe(self, deadline: Deadline, resolv_conf: str = RESOLV_CONF) -> Outcome:
        query = _import_library().query(self.name, self.type)
        servers = [self.server] if self.server else _read_servers(resolv_conf)
        timer = LatencyTimer()
        try:
            response = _query(query, servers, self.port, deadline)
        except DialError as error:
            return Outcome.failed(error.reason, f"{self.target}: {error}")
        latency = timer.stop()
        return self._conclude(response, latency)

    def _conclude(self, response: Any, latency: Measurement) -> Outcome:
        code = _import_library().rcode(response.rcode())
        if code != "NOERROR":
            return Outcome.failed(Reason.DNS, f"{self.target}: the response is {code}", latency)
        queried = response.question[0].rdtype
        records = [record for rrset in response.answer if rrset.rdtype == queried for record in rrset]
        count = Measurement("dns_answers", len(records))
        values = {_normalize(record) for record in records}
        missing = next((record for record in self.expect if self._parse_record(record) not in values), None)
        if missing:
            return Outcome.failed(Reason.MISSING, f"{self.target}: the record {missing} is missing", latency, count)
        if len(records) < self.min_answers:
            cause = f"{len(records)} records, expected at least {self.min_answers}"
            return Outcome.failed(Reason.MISSING, f"{self.target}: {cause}", latency, count)
        return Outcome.passed(f"{self.target}: {len(records)} records", latency, count)

    def _parse_record(self, text: str) -> Any:
        """Return an expected record, in the form that `_normalize` returns."""
        return text.encode() if self.type == "TXT" else _import_library().record(self.type, text)


def _normalize(record: Any) -> Any:
    """Return a record in a form that can be compared: for TXT, the whole text, however it is split."""
    return b"".join(record.strings) if hasattr(record, "strings") else record


def _read_servers(resolv_conf: str) -> list[str]:
    library = _import_library()
    try:
        return [str(server) for server in library.resolver(resolv_conf).nameservers]
    except library.errors:
        raise ProbeError(Reason.MISSING, f"{resolv_conf} does not name a server") from None


def _query(query: Any, servers: list[str], port: int, deadline: Deadline) -> Any:
    """Return the response of the first server that sends one; each gets its share of the time. Raises DialError."""
    first: DialError | None = None
    for index, server in enumerate(servers):
        share = Deadline(deadline.clock() + deadline.remaining() / (len(servers) - index), deadline.clock)
        try:
            return _query_udp(query, server, port, share) or _query_tcp(query, server, port, share)
        except DialError as error:
            first = first or error
    assert first is not None, "a resolver's configuration names at least one server or is an error"
    raise first


def _query_udp(query: Any, server: str, port: int, deadline: Deadline) -> Any:
    """Return the response, or None if it is too long. Raises DialError.

    Datagrams that are not a response to this query are ignored, because anyone can send them.
    """
    family, address = RESOLVER.resolve(server, port, deadline)[0]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            sock.send(query.to_wire())
            while (remaining := deadline.remaining()) > 0:
                sock.settimeout(remaining)
                response, truncated = _parse_message(sock.recv(65535))
                if response is not None and query.is_response(response):
                    return None if truncated else response
    except TimeoutError:
        pass
    except OSError as error:
        raise DialError(Reason.CONNECT, f"{server}: {error.strerror}", server) from None
    raise DialError(Reason.TIMEOUT, f"{server} did not respond in time", server)


def _query_tcp(query: Any, server: str, port: int, deadline: Deadline) -> Any:
    """Return the response. Raises DialError."""
    wire = query.to_wire()
    with connect(server, port, deadline) as sock, sock.makefile("rb") as stream:
        sock.sendall(len(wire).to_bytes(2) + wire)
        size = int.from_bytes(stream.read(2))
        response, _ = _parse_message(stream.read(size))
    if response is None or not query.is_response(response):
        raise DialError(Reason.STATUS, f"{server} sent something that is not a response to the query", server)
    return response


def _parse_message(wire: bytes) -> tuple[Any, bool]:
    """Return the message, or None if it is not a DNS message, and whether it is truncated."""
    library = _import_library()
    try:
        return library.message(wire, raise_on_truncation=True), False
    except library.truncated as error:
        return error.message(), True
    except library.errors:
        return None, False


@cache
def _import_library() -> Any:
    """Import the messages and records of dnspython. Its own queries are not used: they use the wall clock."""
    import dns.exception
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdata
    import dns.resolver

    return SimpleNamespace(
        query=lambda name, rdtype: dns.message.make_query(name, rdtype, use_edns=0, payload=1232),
        message=dns.message.from_wire,
        truncated=dns.message.Truncated,
        rcode=dns.rcode.to_text,
        record=lambda rdtype, text: dns.rdata.from_text("IN", rdtype, text, origin=dns.name.root, relativize=False),
        resolver=dns.resolver.Resolver,
        errors=(dns.exception.DNSException, ValueError, LookupError, OSError),
    )
