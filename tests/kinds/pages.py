"""What the tests of the kind `httpGet` share: responses byte by byte, and the verdicts they lead to."""

import ssl
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import trustme
from kinds.servers import Server, serving

from exporter.evaluation.run import run
from exporter.kinds.http_get import HttpGet
from exporter.model import Result, Spec
from exporter.probe.check import Check

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ELSEWHERE = b"HTTP/1.1 302 Found\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n"

OWN_HOST = [{"name": "Host", "value": "shop.example"}]


def response(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return response(status, f"Location: {location}")


def headers(*lines: str) -> bytes:
    """A response with these header lines and no body."""
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode("latin-1")


def chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def check(port: int, timeout: float = 30.0, **options: Any) -> Result:
    """One run of a check, with all its attempts."""
    probe = HttpGet(port=port, **options)
    return run(Check(Spec("page", "httpGet", timeout=timeout), probe))


def request_text(server: Server, number: int = 0) -> str:
    """A request as the server received it, with PORT for the port."""
    return server.requests[number].decode().replace(str(server.port), "PORT")


def request(*lines: str, path: str = "/", host: str = "127.0.0.1:PORT") -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *lines, "Connection: close", "", ""])


AGENT, ACCEPT = "User-Agent: kube-probe/1.36", "Accept: */*"


@dataclass(frozen=True)
class Case:
    """What a server does, and the outcome of a check of it."""

    script: tuple
    status: str
    reason: str | None = None
    timeout: float = 30.0
    options: dict[str, Any] = field(default_factory=dict)


def passes(*script: Any, **more: Any) -> Case:
    return Case(script, "pass", None, **more)


def fails(*script: Any, reason: str = "status", **more: Any) -> Case:
    return Case(script, "fail", reason, **more)


def unknown(*script: Any, reason: str = "body", **more: Any) -> Case:
    return Case(script, "unknown", reason, **more)


def check_case(case: Case) -> tuple[Server, Result]:
    with serving(case.script) as server:
        result = check(server.port, case.timeout, **case.options)
    outcome = result.outcome
    assert (outcome.status, outcome.reason) == (case.status, case.reason), outcome.summary
    assert not server.gave_up.is_set(), "the deadline was not kept"
    assert outcome.summary
    return server, result


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def tls(*names: str, **options: Any) -> ssl.SSLContext:
    """A server's TLS, with a certificate for 127.0.0.1 and localhost unless other names are given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*(names or ("127.0.0.1", "localhost")), **options).configure_cert(context)
    return context
