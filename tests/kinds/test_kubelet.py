"""The tables of this folder state what the kubelet's prober concludes: a Go client set up as the prober concludes it.

The program is tests/kubelet/main.go. The exporter is tested with the same tables in the files that they stand in.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from kinds.frames import Received, record, tls2
from kinds.pages import OK, authority, redirect, request_text, tls
from kinds.servers import pause, serving
from kinds.test_http_get import PATHS, REQUESTS
from kinds.test_http_get_http2 import CASES as HTTP2
from kinds.test_http_get_http2 import DIFFERENT
from kinds.test_http_get_http2_peers import HTTP2_REQUESTS
from kinds.test_http_get_redirects import SECOND_REQUESTS, TRIPS
from kinds.test_http_get_responses import BODIES, ENDLESS, HEADS, STATUSES
from kinds.test_http_get_tls import CERTIFICATES, make_old_context
from kinds.test_tcp_socket import OPEN
from support import free_port

STATUS = {"success": "pass", "warning": "pass", "failure": "fail", "error": "unknown"}
"""The status of a check for each result of the kubelet's prober."""

BEYOND_LIMITS = {"20,000 headers", "the same header 5,000 times"}
"""Heads that the kubelet accepts, and the exporter does not: see DIFFERS in test_http_get.py."""

REFUSALS = {"REFUSED_STREAM", "PROTOCOL_ERROR", "GOAWAY", "a short GOAWAY"}
"""Go's client repeats the request until the timeout."""


class Prober:
    """The Go program, which probes on request."""

    def __init__(self, program: Path) -> None:
        self._child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def probe(self, port: int, kind: str = "httpGet", **options: Any) -> str:
        """The result: success, warning, failure or error."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        fields = {"scheme": "HTTP", "host": "127.0.0.1", "path": "/", "timeout": 30.0, **options}
        self._child.stdin.write(json.dumps({"kind": kind, "port": port, **fields}) + "\n")
        self._child.stdin.flush()
        return str(json.loads(self._child.stdout.readline())["result"])

    def end(self) -> None:
        self._child.communicate(timeout=60)


@pytest.fixture(scope="module")
def kubelet(kubelet_program: Path) -> Iterator[Prober]:
    prober = Prober(kubelet_program)
    yield prober
    prober.end()


HTTP1 = {f"{code}": case for code, case in STATUSES.items()} | HEADS | BODIES | ENDLESS


@pytest.mark.parametrize("name", HTTP1)
def test_responses(kubelet, name):
    case = HTTP1[name]
    with serving(case.script) as server:
        result = kubelet.probe(server.port, timeout=min(case.timeout, 30.0 if name not in ENDLESS else 1.0))

    assert STATUS[result] == ("pass" if name in BEYOND_LIMITS else case.status), result


@pytest.mark.parametrize("trip", TRIPS.values(), ids=TRIPS)
def test_redirects(kubelet, trip):
    # Each of the kubelet's attempts has the whole timeout, so the second one would get the next response.
    responses = trip.responses[:1] if trip.status == "unknown" and trip.reason == "timeout" else trip.responses
    with serving(*responses) as server:
        result = kubelet.probe(server.port, timeout=trip.timeout, **trip.options)

        assert STATUS[result] == trip.status
        assert len(server.requests) == trip.requests or responses != trip.responses


@pytest.mark.parametrize("name", HTTP2)
def test_frames(kubelet, name):
    case = HTTP2[name]
    with serving(case.script, tls=tls2()) as server:
        result = kubelet.probe(server.port, scheme="HTTPS", timeout=1.0 if name in REFUSALS else case.timeout)

    assert STATUS[result] == case.status, result


@pytest.mark.parametrize(("case", "result"), DIFFERENT.values(), ids=DIFFERENT)
def test_frames_that_the_exporter_treats_differently(kubelet, case, result):
    with serving(case.script, tls=tls2()) as server:
        assert kubelet.probe(server.port, scheme="HTTPS") == result
    assert STATUS[result] != case.status


def list_headers(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


@pytest.mark.parametrize(("pairs", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_requests(kubelet, pairs, expected):
    with serving((OK,)) as server:
        assert kubelet.probe(server.port, headers=list_headers(pairs)) == "success"
        assert request_text(server) == expected


@pytest.mark.parametrize(("path", "expected"), PATHS.items(), ids=map(repr, PATHS))
def test_paths(kubelet, path, expected):
    with serving((OK,)) as server:
        assert kubelet.probe(server.port, path=path) == "success"
        assert request_text(server).startswith(f"GET {expected} HTTP/1.1\r\n")


@pytest.mark.parametrize(("location", "options", "expected"), SECOND_REQUESTS.values(), ids=SECOND_REQUESTS)
def test_requests_after_a_redirect(kubelet, location, options, expected):
    fields = {"path": options.get("path", "/"), "headers": options.get("http_headers", [])}
    moved = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    with serving((moved,), (OK,)) as server:
        assert kubelet.probe(server.port, **fields) == "success"
        assert request_text(server, 1) == expected


@pytest.mark.parametrize(("pairs", "expected"), HTTP2_REQUESTS.values(), ids=HTTP2_REQUESTS)
def test_requests_over_http_2(kubelet, pairs, expected):
    """Go sends the headers in random order."""
    requests: list[Received] = []
    with serving((record(requests),), tls=tls2(), listens=False) as server:
        result = kubelet.probe(server.port, scheme="HTTPS", path="/a?b", headers=list_headers(pairs))

        assert (result == "success") is (expected is not None)
        assert [sorted(received.named(server.port)) for received in requests] == (
            [sorted(expected)] if expected else []
        )


def test_a_websocket_over_http_1(kubelet):
    headers = list_headers([("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket")])
    with serving((OK,), tls=tls2("h2", "http/1.1")) as server:
        assert kubelet.probe(server.port, scheme="HTTPS", headers=headers) == "success"
        assert server.requests[0].startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("options", CERTIFICATES.values(), ids=CERTIFICATES)
def test_certificates(kubelet, options):
    with serving((OK,), tls=tls(**options)) as server:
        assert kubelet.probe(server.port, scheme="HTTPS") == "success"


def test_a_client_certificate_that_is_required(kubelet):
    context = tls(key_type=trustme.KeyType.RSA)
    context.verify_mode = context.verify_mode.CERT_REQUIRED
    authority().configure_trust(context)
    with serving((OK,), tls=context) as server:
        assert kubelet.probe(server.port, scheme="HTTPS") == "failure"


@pytest.mark.parametrize(("script", "options"), OPEN.values(), ids=OPEN)
def test_listeners(kubelet, script, options):
    with serving(script, listens=False, **options) as server:
        assert kubelet.probe(server.port, "tcpSocket", host=options.get("address", "127.0.0.1")) == "success"


def test_a_closed_port_and_one_that_does_not_respond(kubelet, blackhole):
    assert kubelet.probe(free_port(), "tcpSocket") == "failure"
    assert kubelet.probe(blackhole, "tcpSocket", timeout=0.5) == "failure"


# DIFFERS in test_http_get.py


def test_101_is_waited_for_beyond_the_timeout(kubelet):
    switching = b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    with serving((switching, pause(1.0))) as server:
        began = time.monotonic()
        assert kubelet.probe(server.port, timeout=0.2) == "failure"
        assert time.monotonic() - began >= 1.0


def test_a_location_of_more_than_64_kb_is_followed(kubelet):
    with serving((redirect("/" + "a" * 70_000),), (OK,)) as server:
        assert kubelet.probe(server.port) == "success"


def test_a_fragment_in_the_path_is_sent_in_a_referer(kubelet):
    with serving((redirect("/b"),), (OK,)) as server:
        assert kubelet.probe(server.port, path="/a#c") == "success"
        assert f"Referer: http://127.0.0.1:{server.port}/a#c\r\n".encode() in server.requests[1]


def test_an_rsa_key_below_1024_bits_fails(kubelet, tmp_path):
    context = make_old_context(tmp_path, bits=768)
    with serving((OK,), tls=context) as server:
        assert kubelet.probe(server.port, scheme="HTTPS") == "failure"
