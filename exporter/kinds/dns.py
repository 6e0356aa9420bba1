"""The kind `dns`: what a name server answers."""

import socket
from functools import cache
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.net.dial import RESOLVER, DialError, connect
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, Port

RESOLV_CONF = "/etc/resolv.conf"


class Dns(Probe):
    """Asks a name server, by UDP, and by TCP where the answer is too long for that.

    The name is asked for as it is, without the search list. Any answer but NOERROR fails with the reason `dns`, too few
    answers or one that is missing with `missing`.
    """

    measures: ClassVar = {**LATENCY, "dns_answers": "Records of the type asked for, as of the latest run."}
    needs: ClassVar = {"dns": "dns"}
    examples: ClassVar = (
        "- name: shop\n  dns: {name: shop.example.com}",
        "- name: mail\n  dns: {name: example.com, type: MX, server: 10.0.0.10, expect: [10 mail.example.com]}",
    )

    name: Annotated[str, Field(min_length=1)]
    """Name to ask for."""
    type: Literal["A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "SVCB", "TXT"] = "A"
    """Type of records to ask for."""
    server: Host | None = None
    """Address or name of the server to ask; by default the system's, one after the other until one answers."""
    port: Port = 53
    """The server's port."""
    expect: tuple[str, ...] = ()
    """Records that must be among the answers, as in a zone file; for TXT the text itself."""
    min_answers: Annotated[int, Field(ge=0, strict=True)] = 1
    """Number of records that there must be."""

    @model_validator(mode="after")
    def _written(self) -> Self:
        library = _library()
        try:
            library.query(self.name, self.type)
        except library.errors:
            raise ValueError(f"{self.name!r} is no name that can be asked for") from None
        for each in self.expect:
            try:
                self._record(each)
            except library.errors as error:
                raise ValueError(f"{each!r} is no record of type {self.type}: {error}") from None
        return self

    @property
    def target(self) -> str:
        return f"{self.name} {self.type}" + (f" from {self.server}" if self.server else "")

    def liveness_risk(self) -> str | None:
        return "a name server's answer is not mended by a restart here"

    def probe(self, deadline: Deadline, resolv_conf: str = RESOLV_CONF) -> Outcome:
        query = _library().query(self.name, self.type)
        servers = [self.server] if self.server else _servers(resolv_conf)
        timer = LatencyTimer()
        try:
            answer = _ask(query, servers, self.port, deadline)
        except DialError as error:
            return Outcome.failed(error.reason, f"{self.target}: {error}")
        latency = timer.stop()
        return self._conclude(answer, latency)

    def _conclude(self, answer: Any, latency: Measurement) -> Outcome:
        said = _library().rcode(answer.rcode())
        if said != "NOERROR":
            return Outcome.failed(Reason.DNS, f"{self.target}: the answer is {said}", latency)
        records = [record for each in answer.answer if each.rdtype == answer.question[0].rdtype for record in each]
        count = Measurement("dns_answers", len(records))
        held = {_value(each) for each in records}
        if lost := next((each for each in self.expect if self._record(each) not in held), None):
            return Outcome.failed(Reason.MISSING, f"{self.target}: {lost} is not among the answers", latency, count)
        if len(records) < self.min_answers:
            few = f"{len(records)} answers, expected at least {self.min_answers}"
            return Outcome.failed(Reason.MISSING, f"{self.target}: {few}", latency, count)
        return Outcome.passed(f"{self.target}: {len(records)} answers", latency, count)

    def _record(self, text: str) -> Any:
        """An expected record, in a form in which records can be compared."""
        return text.encode() if self.type == "TXT" else _library().record(self.type, text)


def _value(record: Any) -> Any:
    return b"".join(record.strings) if hasattr(record, "strings") else record


def _servers(resolv_conf: str) -> list[str]:
    library = _library()
    try:
        return [str(each) for each in library.resolver(resolv_conf).nameservers]
    except library.errors:
        raise ProbeError(Reason.MISSING, f"{resolv_conf} names no server") from None


def _ask(query: Any, servers: list[str], port: int, deadline: Deadline) -> Any:
    """The answer of the first server that gives one, each with its share of the time. Raises DialError."""
    first: DialError | None = None
    for index, server in enumerate(servers):
        share = Deadline(deadline.clock() + deadline.remaining() / (len(servers) - index), deadline.clock)
        try:
            return _by_udp(query, server, port, share) or _by_tcp(query, server, port, share)
        except DialError as error:
            first = first or error
    assert first is not None, "a resolver's configuration names at least one server or is an error"
    raise first


def _by_udp(query: Any, server: str, port: int, deadline: Deadline) -> Any:
    """The answer, or None where it is too long. What answers something else is not heeded: anybody can send that.

    Raises DialError.
    """
    family, address = RESOLVER.resolve(server, port, deadline)[0]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(address)
            sock.send(query.to_wire())
            while (remaining := deadline.remaining()) > 0:
                sock.settimeout(remaining)
                answer, truncated = _read(sock.recv(65535))
                if answer is not None and query.is_response(answer):
                    return None if truncated else answer
    except TimeoutError:
        pass
    except OSError as error:
        raise DialError(Reason.CONNECT, f"{server}: {error.strerror}") from None
    raise DialError(Reason.TIMEOUT, f"{server} did not answer in time")


def _by_tcp(query: Any, server: str, port: int, deadline: Deadline) -> Any:
    """The answer. Raises DialError."""
    wire = query.to_wire()
    with connect(server, port, deadline) as sock, sock.makefile("rb") as stream:
        sock.sendall(len(wire).to_bytes(2) + wire)
        size = int.from_bytes(stream.read(2))
        answer, _ = _read(stream.read(size))
    if answer is None or not query.is_response(answer):
        raise DialError(Reason.STATUS, f"{server} answers what is no answer")
    return answer


def _read(wire: bytes) -> tuple[Any, bool]:
    """A message, or None, and whether it is only the beginning of one."""
    library = _library()
    try:
        return library.message(wire, raise_on_truncation=True), False
    except library.truncated as error:
        return error.message(), True
    except library.errors:
        return None, False


@cache
def _library() -> Any:
    """What dnspython knows of messages and records. Its own queries measure their time on the wall clock."""
    import dns.exception
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdata
    import dns.resolver

    return SimpleNamespace(
        query=lambda name, kind: dns.message.make_query(name, kind, use_edns=0, payload=1232),
        message=dns.message.from_wire,
        truncated=dns.message.Truncated,
        rcode=dns.rcode.to_text,
        record=lambda kind, text: dns.rdata.from_text("IN", kind, text, origin=dns.name.root, relativize=False),
        resolver=dns.resolver.Resolver,
        errors=(dns.exception.DNSException, ValueError, LookupError, OSError),
    )
