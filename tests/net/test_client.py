"""The HTTP client for APIs: requests, with one deadline for every part."""

import gzip
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kinds.pages import authority, response, tls
from kinds.servers import drip, flood, hang, reset, serving
from net.reaching import SlowLookup, failure
from support import eventually, free_port, within

from exporter.model import ProbeError, Reason
from exporter.net import resolver
from exporter.net.client import Reply, open_session, send
from exporter.net.tls import make_client_context

OK = response("200 OK", body=b"well")


def get(
    port: int,
    seconds: float = 10.0,
    *,
    scheme: str = "http",
    max_body: int = 1000,
    ca_file: Path | None = None,
    **options: Any,
) -> Reply:
    """One GET of /path?secret=canary."""
    context = make_client_context(ca_file.read_bytes()) if ca_file else make_client_context()
    with open_session(within(seconds), max_body, context) as session:
        url = f"{scheme}://127.0.0.1:{port}/path?secret=canary"
        return send(session, "GET", url, **options)


@pytest.fixture
def ca_file(tmp_path):
    path = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
def test_a_response_of_any_status_is_a_reply(status):
    with serving((response(f"{status} Word"),)) as server:
        assert get(server.port) == Reply(status, b"")


def test_only_the_headers_that_are_needed_are_sent():
    with serving((OK,)) as server:
        get(server.port, params={"query": 'up{a="b"}'}, headers={"Authorization": "Bearer grün".encode()})
        request = server.requests[0].decode()

    assert request.replace(str(server.port), "PORT").splitlines() == [
        "GET /path?secret=canary&query=up%7Ba%3D%22b%22%7D HTTP/1.1",
        "Host: 127.0.0.1:PORT",
        "User-Agent: health-exporter",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: close",
        "Authorization: Bearer grün",
        "",
    ]


def test_each_request_of_a_session_has_a_connection_of_its_own():
    with (
        serving((response("200 OK", "Connection: close", body=b"well"),)) as server,
        open_session(within(10), max_body=10) as session,
    ):
        replies = [send(session, "GET", f"http://127.0.0.1:{server.port}/") for _ in range(2)]

        assert replies == [Reply(200, b"well")] * 2
        assert server.accepted == 2


def test_a_body_up_to_the_maximum_is_read_and_a_longer_one_is_refused():
    with serving((response("200 OK", body=b"a" * 2048),)) as server:
        assert len(get(server.port, max_body=2048).body) == 2048
        error = failure(lambda: get(server.port, max_body=2047))

    assert (error.reason, str(error)) == (
        Reason.BODY,
        f"http://127.0.0.1:{server.port}/path: the response is longer than 1 KiB",
    )


ENDLESS = {
    "silent": (hang,),
    "dripping a head": (b"HTTP/1.1 200 OK\r\n", drip(b"X-A: b\r\n")),
    "dripping a body": (b"HTTP/1.1 200 OK\r\n\r\n", drip(b"a")),
    "dripping chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", drip(b"1\r\na\r\n")),
    "interim responses": (flood(b"HTTP/1.1 100 Continue\r\n\r\n"),),
}


@pytest.mark.parametrize("options", [{}, {"tls": tls()}], ids=["http", "https"])
@pytest.mark.parametrize("script", ENDLESS.values(), ids=ENDLESS)
def test_a_response_that_never_ends_fails_at_the_deadline(script, options, ca_file):
    with serving(script, **options) as server:
        scheme = "https" if options else "http"
        error = failure(lambda: get(server.port, 1.0, scheme=scheme, ca_file=ca_file, max_body=2**30))

        assert error.reason is Reason.TIMEOUT
        assert str(error) == f"{scheme}://127.0.0.1:{server.port}/path: no complete response in time"
        assert not server.gave_up.is_set()


OVERHEAD = {
    "interim responses": (flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),),
    "long headers": (b"HTTP/1.1 200 OK\r\n", flood(b"X-A: %s\r\n" % (b"b" * 60_000))),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", flood(b"1\r\na\r\n" * 1000)),
    "a trailer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", flood(b"X-A: b\r\n" * 1000)),
}


@pytest.mark.parametrize("options", [{}, {"tls": tls()}], ids=["http", "https"])
@pytest.mark.parametrize("script", OVERHEAD.values(), ids=OVERHEAD)
def test_a_flood_around_the_body_is_not_read_until_the_deadline(script, options, ca_file):
    with serving(script, **options) as server:
        scheme = "https" if options else "http"
        error = failure(lambda: get(server.port, 60.0, scheme=scheme, ca_file=ca_file, max_body=50_000))

    assert (error.reason, str(error)) == (
        Reason.STATUS,
        f"{scheme}://127.0.0.1:{server.port}/path: the response is too long",
    )


def test_a_handshake_that_never_ends_fails_at_the_deadline():
    with serving((hang,), listens=False) as server:
        error = failure(lambda: get(server.port, 0.5, scheme="https"))

        assert error.reason is Reason.TIMEOUT
        assert str(error).endswith("/path: the TLS handshake did not end in time")


def test_a_connection_that_is_not_completed_fails_at_the_deadline(blackhole):
    error = failure(lambda: get(blackhole, 0.3))

    assert error.reason is Reason.TIMEOUT
    assert str(error).startswith(f"127.0.0.1:{blackhole} did not accept the connection within ")


@pytest.fixture
def slow(monkeypatch) -> Iterator[SlowLookup]:
    lookup = SlowLookup()
    monkeypatch.setattr(resolver.RESOLVER, "_look_up", lookup)
    yield lookup
    lookup.release.set()


def test_a_lookup_that_never_returns_fails_at_the_deadline(slow):
    with open_session(within(0.3), max_body=10) as session:
        error = failure(lambda: send(session, "GET", "http://it.example/"))

    assert (error.reason, str(error)) == (Reason.DNS, "the name it.example was not resolved in time")


BROKEN = {
    "nothing": ((), Reason.CONNECT, "{url} closed the connection without a response (does it expect TLS?)"),
    "a reset": ((reset,), Reason.CONNECT, "{url}: Connection reset by peer (does it expect TLS?)"),
    "another protocol": (
        (b"SSH-2.0-OpenSSH\r\n",),
        Reason.STATUS,
        '{url}: the response is not HTTP: it begins with "SSH-2.0-OpenSSH\\r\\n"',
    ),
    "an echo": (
        (b"GET /path?token=canary Authorization: Bearer canary\r\n",),
        Reason.STATUS,
        '{url}: the response is not HTTP: it begins with "GET /path?*** Authorization: ***\\r\\n"',
    ),
    "too many headers": (
        (b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 101 + b"\r\n",),
        Reason.STATUS,
        "{url}: the response is not HTTP",
    ),
    "a short body": (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234",),
        Reason.BODY,
        "{url}: the body of the response broke off",
    ),
    "a short chunk": (
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",),
        Reason.BODY,
        "{url}: the body of the response broke off",
    ),
    "a bad chunk size": (
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
        Reason.BODY,
        "{url}: the body of the response broke off",
    ),
}


@pytest.mark.parametrize(("script", "reason", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_response_is_a_dial_error_without_the_query(script, reason, message):
    with serving(script) as server:
        error = failure(lambda: get(server.port, headers={"Authorization": b"Bearer canary"}))

    assert (error.reason, str(error)) == (reason, message.format(url=f"http://127.0.0.1:{server.port}/path"))


def test_a_closed_port_is_a_dial_error():
    port = free_port()
    error = failure(lambda: get(port))

    assert (error.reason, str(error)) == (Reason.CONNECT, f"127.0.0.1:{port}: Connection refused")


def test_a_certificate_is_verified_by_the_given_authorities(ca_file):
    with serving((OK,), tls=tls()) as server:
        assert get(server.port, scheme="https", ca_file=ca_file) == Reply(200, b"well")
        error = failure(lambda: get(server.port, scheme="https"))

    assert error.reason is Reason.TLS
    assert "unable to get local issuer certificate" in str(error)


def test_a_certificate_for_another_name_fails(ca_file):
    with serving((OK,), tls=tls("other.example")) as server:
        error = failure(lambda: get(server.port, scheme="https", ca_file=ca_file))

    assert error.reason is Reason.TLS


def test_a_redirect_is_a_response_whose_body_has_the_same_maximum():
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://[bad\r\n\r\n"
    with serving((moved + b"elsewhere",)) as server:
        assert get(server.port) == Reply(302, b"elsewhere")
        assert server.accepted == 1
    with serving((moved, flood(b"a" * 65536))) as server:
        assert failure(lambda: get(server.port)).reason is Reason.BODY


def test_a_compressed_body_is_not_decompressed():
    bomb = gzip.compress(b"\0" * 10_000_000)
    with serving((response("200 OK", "Content-Encoding: gzip", body=bomb),)) as server:
        get(server.port, max_body=100_000)  # whatever is loaded at the first use is loaded
        tracemalloc.start()
        try:
            assert get(server.port, max_body=100_000).body == bomb
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


def test_cookies_are_not_kept():
    script = (response("200 OK", "Set-Cookie: a=b; Path=/", "Connection: close"),)
    with serving(script) as server, open_session(within(10), max_body=10) as session:
        for _ in range(2):
            send(session, "GET", f"http://127.0.0.1:{server.port}/")

        assert len(server.requests) == 2
        assert b"Cookie" not in server.requests[1]


def test_nothing_of_the_environment_is_used(hostile_environment, ca_file):
    with serving((OK,), tls=tls()) as server:
        assert get(server.port, scheme="https", ca_file=ca_file) == Reply(200, b"well")
        assert b"Authorization" not in server.requests[0]


@pytest.mark.parametrize("value", ["two\nlines", "a\0b", " space", b"\x7f"])
def test_a_header_that_cannot_be_sent_is_a_probe_error_without_its_value(value):
    with serving((OK,)) as server:
        with pytest.raises(ProbeError, match="the request cannot be sent") as raised:
            get(server.port, headers={"Authorization": value})

        assert raised.value.reason is Reason.ERROR
        assert "lines" not in str(raised.value)
        assert server.accepted == 0


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_nothing_is_left_open():
    before = open_files()
    with serving((OK,)) as server:
        for _ in range(20):
            get(server.port)
            failure(lambda: get(server.port, max_body=1))

    eventually(lambda: open_files() <= before, within=60)


def test_requests_is_imported_only_by_the_client():
    """It costs 9 MiB, which only a promql check needs."""
    code = "import sys, exporter.cli.main, exporter.kinds as k; k.kinds(); print('requests' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
