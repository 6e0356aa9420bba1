"""The kind `httpGet` uses HTTP/2 if a server chooses it by ALPN, and concludes as the kubelet does (pkg/probe/http).

Each row of a table is what a server does, and what the kubelet's prober concludes from it; test_kubelet.py compares
them with a Go client. Requests and real servers are in test_http_get_http2_peers.py.
"""

import struct
import tracemalloc

import hpack
import pytest
from kinds.frames import (
    ACK,
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    HTTP_1_1_REQUIRED,
    INTERNAL_ERROR,
    NO_ERROR,
    OK2,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    SETTINGS_FRAME,
    block,
    continuation,
    data,
    frame,
    goaway,
    head,
    headers,
    ping,
    reset_stream,
    settings,
    tls2,
    window_update,
)
from kinds.pages import OK, Case, check, fails, passes, redirect, unknown
from kinds.servers import drip, flood, hang, pause, reset, serving
from support import PATIENCE

from exporter.evaluation.run import run
from exporter.kinds.http_get import HttpGet
from exporter.model import Reason, Spec
from exporter.net import http2
from exporter.net.fetch import MAX_REFUSALS
from exporter.net.http2 import MAX_FRAME
from exporter.probe.check import Check

TEN = b"a" * 10240
BOMB = hpack.Encoder().encode([(":status", "200"), *[("x-a", "a" * 4000)] * 400])
TRAILER = headers(("x-a", "b"), end=True)


def begins(*frames: bytes) -> bytes:
    """The bytes of a connection: SETTINGS, and these frames."""
    return SETTINGS_FRAME + b"".join(frames)


def ended(*fields: tuple[str | bytes, str | bytes]) -> bytes:
    """A connection with a response without a body."""
    return begins(head(200, *fields, end=True))


def split(*parts: bytes) -> bytes:
    """A connection with a response whose headers are split into these parts, after the status."""
    return begins(
        frame(HEADERS, block((":status", "200")), END_STREAM),
        *map(continuation, parts[:-1]),
        continuation(parts[-1], True),
    )


CASES = {
    "200": passes(OK2, hang),
    "204": passes(begins(head(204, end=True)), hang),
    "302 without a Location": passes(begins(head(302, end=True)), hang),
    "304": passes(begins(head(304, end=True)), hang),
    "399": passes(begins(head(399, end=True)), hang),
    "400": fails(begins(head(400, end=True)), hang),
    "500": fails(begins(head(500), data(b"broken", end=True)), hang),
    "999": fails(begins(head(999, end=True)), hang),
    "to another host": passes(begins(head(302, ("location", "http://other.example/"), end=True)), hang),
    "to mailto:": passes(begins(head(302, ("location", "mailto:a"), end=True)), hang),
    "to an invalid URL": fails(begins(head(302, ("location", "http://127.0.0.1:x/"), end=True)), hang),
    # The body
    "no length": passes(begins(head(200), data(b"ok", end=True)), hang),
    "the end in an empty frame": passes(begins(head(200), data(b"ok"), data(end=True)), hang),
    "many empty frames": passes(begins(head(200), data() * 50, data(b"ok", end=True)), hang),
    "equal lengths": passes(begins(head(200, *[("content-length", "2")] * 2), data(b"ok", end=True)), hang),
    "a length of 204": unknown(begins(head(204, ("content-length", "5"), end=True)), hang),
    "a length of 304": unknown(begins(head(304, ("content-length", "5"), end=True)), hang),
    "a length without a body": unknown(begins(head(200, ("content-length", "5"), end=True)), hang),
    "a length of 500 without a body": unknown(begins(head(500, ("content-length", "5"), end=True)), hang),
    "less than announced": unknown(begins(head(200, ("content-length", "5")), data(b"ok", end=True)), hang),
    "more than announced": unknown(begins(head(200, ("content-length", "1")), data(b"ok", end=True)), hang),
    "silence after the head": unknown(begins(head(200)), hang, reason="timeout", timeout=1.0),
    "silence of 500": unknown(begins(head(500)), hang, reason="timeout", timeout=1.0),
    "10,240 bytes, then silence": passes(begins(head(200), data(TEN)), hang),
    "10,240 bytes of more, then silence": passes(begins(head(200, ("content-length", "20000")), data(TEN)), hang),
    "10,239 bytes, then silence": unknown(begins(head(200), data(TEN[1:])), hang, reason="timeout", timeout=1.0),
    "10,240 frames of a byte": passes(begins(head(200), data(b"a") * 10240), hang),
    "cut": unknown(begins(head(200), data(b"ok")), pause(0.5)),
    "cut within a frame": unknown(begins(head(200), data(b"ok")[:-1]), pause(0.5)),
    "cut of 500": unknown(begins(head(500)), pause(0.5)),
    "reset": unknown(begins(head(200), data(b"ok")), pause(0.5), reset),
    "gzip that is not valid": passes(begins(head(200, ("content-encoding", "gzip")), data(b"ok", end=True)), hang),
    "a trailer": passes(begins(head(200), data(b"ok"), TRAILER), hang),
    "a trailer without an end": unknown(begins(head(200), data(b"ok"), headers(("x-a", "b"))), hang),
    "a trailer with a status": unknown(begins(head(200), data(b"ok"), head(200, end=True)), hang),
    "a trailer with an invalid name": unknown(begins(head(200), data(b"ok"), headers(("X-A", "b"), end=True)), hang),
    "two heads": unknown(begins(head(200), head(200, end=True)), hang),
    "padding": passes(begins(head(200), frame(DATA, b"\5ok" + b"\0" * 5, END_STREAM | PADDED)), hang),
    "only padding": passes(begins(head(200), frame(DATA, b"\5" + b"\0" * 5, END_STREAM | PADDED)), hang),
    "more padding than data": unknown(begins(head(200), frame(DATA, b"\x50ok", END_STREAM | PADDED)), hang),
    "a frame of 16 KiB": passes(begins(head(200), data(b"a" * MAX_FRAME, end=True)), hang),
    "a longer frame": unknown(begins(head(200), data(b"a" * (MAX_FRAME + 1), end=True)), hang),
    "data after the end": passes(begins(head(200), data(b"ok", end=True), data(b"ok", end=True)), hang),
    # The head
    "silence": fails(hang, reason="timeout", timeout=1.0),
    "silence after SETTINGS": fails(SETTINGS_FRAME, hang, reason="timeout", timeout=1.0),
    "nothing": fails(reason="connect"),
    "nothing after SETTINGS": fails(SETTINGS_FRAME, pause(0.5), reason="connect"),
    "a reset": fails(reset, reason="connect"),
    "HTTP/1.1": fails(OK, hang),
    "bytes": fails(bytes(64), hang),
    "a head before SETTINGS": fails(head(200, end=True), hang),
    "PING before SETTINGS": fails(ping() + ended(), hang),
    "a body before the head": fails(begins(data(b"ok", end=True)), hang),
    "100": passes(begins(head(100), head(200, end=True)), hang),
    "101": passes(begins(head(101), head(200, end=True)), hang),
    "103 thirty times": passes(begins(head(103, ("link", "</a>")) * 30, head(200, end=True)), hang),
    "103 with the end": fails(begins(head(103, end=True)), hang),
    "only 103": fails(begins(head(103)), pause(0.5), reason="connect"),
    "no status": fails(begins(headers(("x-a", "b"), end=True)), hang),
    "no headers": fails(begins(headers(end=True)), hang),
    "status in words": fails(begins(head("abc", end=True)), hang),
    "status of one digit": fails(begins(head("1", end=True)), hang),
    "status of two digits": fails(begins(head("20", end=True)), hang),
    "status of four digits": fails(begins(head("2000", end=True)), hang),
    "status 000": fails(begins(head("000", end=True)), hang),
    "two statuses": fails(begins(headers((":status", "200"), (":status", "200"), end=True)), hang),
    "a late status": fails(begins(headers(("x-a", "b"), (":status", "200"), end=True)), hang),
    "a header of a request": fails(ended((":method", "GET")), hang),
    "an unknown pseudo-header": fails(ended((":x", "b")), hang),
    "a name in capitals": fails(ended(("X-A", "b")), hang),
    "a space in a name": fails(ended(("x a", "b")), hang),
    "a name beyond ASCII": fails(ended(("x-é".encode(), "b")), hang),
    "an empty name": fails(ended(("", "b")), hang),
    "NUL in a value": fails(ended(("x-a", "a\0b")), hang),
    "a line feed in a value": fails(ended(("x-a", "a\nb")), hang),
    "a tab in a value": passes(ended(("x-a", "a\tb")), hang),
    "a value beyond ASCII": passes(ended(("x-a", b"\xe9\xff")), hang),
    "spaces around a value": passes(ended(("x-a", "  b ")), hang),
    "an empty value": passes(ended(("x-a", "")), hang),
    "headers of HTTP/1.1": passes(ended(("connection", "close"), ("transfer-encoding", "chunked")), hang),
    "900 headers": passes(ended(*((f"x-{n}", "b") for n in range(900))), hang),
    "a header of 200 kB": passes(split(*(block(("x-a", "a" * 15000)) for _ in range(13)), b""), hang),
    "headers in parts": passes(split(block(("x-a", "b")), b"", block(("x-c", "d"))), hang),
    "another frame between them": fails(begins(frame(HEADERS, block((":status", "200"))), ping()), hang),
    "a part without a beginning": fails(begins(continuation(block((":status", "200")), True)), hang),
    "invalid HPACK": fails(begins(frame(HEADERS, b"\xff" * 9, END_HEADERS | END_STREAM)), hang),
    "a reference to nothing": fails(begins(frame(HEADERS, b"\x88\xfe", END_HEADERS | END_STREAM)), hang),
    "with a priority": passes(
        begins(frame(HEADERS, b"\0\0\0\0\x10" + block((":status", "200")), END_HEADERS | END_STREAM | HAS_PRIORITY)),
        hang,
    ),
    "a padded head": passes(
        begins(frame(HEADERS, b"\5" + block((":status", "200")) + b"\0" * 5, END_HEADERS | END_STREAM | PADDED)), hang
    ),
    "the head of another stream": fails(
        begins(frame(HEADERS, block((":status", "200")), END_HEADERS | END_STREAM, 3)), hang, timeout=1.0
    ),
    # The end of a stream or a connection
    "REFUSED_STREAM": fails(begins(reset_stream(REFUSED_STREAM)), hang),
    "PROTOCOL_ERROR": fails(begins(reset_stream(PROTOCOL_ERROR)), hang),
    "CANCEL": fails(begins(reset_stream(CANCEL)), hang),
    "NO_ERROR": fails(begins(reset_stream(NO_ERROR)), hang),
    "HTTP_1_1_REQUIRED": fails(begins(reset_stream(HTTP_1_1_REQUIRED)), hang),
    "an unknown error": fails(begins(reset_stream(99)), hang),
    "NO_ERROR after the head": unknown(begins(head(200), reset_stream(NO_ERROR)), hang),
    "CANCEL in the body": unknown(begins(head(200), data(b"ok"), reset_stream(CANCEL)), hang),
    "NO_ERROR after the end": passes(begins(head(200, end=True), reset_stream(NO_ERROR)), hang),
    "GOAWAY": fails(begins(goaway()), hang),
    "GOAWAY with an error": fails(begins(goaway(code=INTERNAL_ERROR)), hang),
    "GOAWAY, then the response": passes(begins(goaway(1), head(200), data(b"ok", end=True)), hang),
    "two GOAWAY, then the response": passes(
        begins(goaway(2**31 - 1), head(200), goaway(1), data(b"ok", end=True)), hang
    ),
    "GOAWAY with an error, then the response": passes(begins(goaway(1, INTERNAL_ERROR), head(200, end=True)), hang),
    "GOAWAY, then the end": fails(begins(goaway(1)), pause(0.5), reason="connect"),
    "GOAWAY after the head": unknown(begins(head(200), goaway()), hang),
    "GOAWAY after the head, then the end": unknown(begins(head(200), goaway(1)), pause(0.5)),
    "a short GOAWAY": fails(begins(frame(GOAWAY, b"\0" * 7, stream=0)), hang),
    # Other frames
    "PING": passes(begins(ping(), head(200), ping(), data(end=True)), hang),
    "a short PING": fails(begins(ping(b"1"), head(200, end=True)), hang),
    "PING of a stream": fails(begins(frame(PING, b"12345678"), head(200, end=True)), hang),
    "PUSH_PROMISE": fails(begins(frame(PUSH_PROMISE, struct.pack(">I", 2), END_HEADERS), head(200, end=True)), hang),
    "PRIORITY": passes(begins(frame(PRIORITY, b"\0\0\0\0\x10"), head(200, end=True)), hang),
    "WINDOW_UPDATE": passes(begins(window_update(9), window_update(9, 1), head(200, end=True)), hang),
    "WINDOW_UPDATE by 0": fails(begins(window_update(0), head(200, end=True)), hang),
    "WINDOW_UPDATE beyond the maximum": fails(begins(window_update(2**31 - 1), head(200, end=True)), hang),
    "RST_STREAM of another stream": passes(begins(reset_stream(0, 3), head(200, end=True)), hang),
    "a short RST_STREAM": fails(begins(frame(RST_STREAM, b"1")), hang),
    "unknown frames": passes(begins(frame(0x77, b"abc"), frame(0x77, stream=0), head(200, end=True)), hang),
    "SETTINGS of many sorts": passes(
        settings((1, 0), (2, 0), (3, 0), (4, 0), (5, 2**24 - 1), (8, 1), *((n, n) for n in range(90, 130)))
        + head(200, end=True),
        hang,
    ),
    "SETTINGS thirty times": passes(begins(SETTINGS_FRAME * 30, head(200, end=True)), hang),
    "SETTINGS of a stream": fails(frame(SETTINGS) + head(200, end=True), hang),
    "SETTINGS of a wrong size": fails(frame(SETTINGS, b"\0", stream=0) + head(200, end=True), hang),
    "SETTINGS with an invalid value": fails(settings((5, 1)) + head(200, end=True), hang),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_frames_are_accepted_or_refused_as_by_gos_client(case):
    check_over_http2(case)


DIFFERENT = {
    "an invalid length": (fails(begins(head(200, ("content-length", "x")), data(b"ok", end=True)), hang), "success"),
    "different lengths": (
        fails(begins(head(200, ("content-length", "2"), ("content-length", "3")), data(b"ok", end=True)), hang),
        "success",
    ),
    "a status with a sign": (fails(begins(head("+200", end=True)), hang), "success"),
    "WINDOW_UPDATE of another stream": (fails(begins(window_update(9, 3), head(200, end=True)), hang), "success"),
    "a stream that depends on itself": (
        fails(begins(frame(PRIORITY, b"\0\0\0\1\x10"), head(200, end=True)), hang),
        "success",
    ),
    "SETTINGS_ENABLE_PUSH": (fails(settings((2, 1)) + head(200, end=True), hang), "success"),
    "more acknowledgments than SETTINGS": (
        passes(begins(frame(SETTINGS, flags=ACK, stream=0) * 3, head(200, end=True)), hang),
        "failure",
    ),
    "headers in 70 parts": (fails(split(*[block(("x-a", "b"))] * 70), hang), "success"),
    "2,000 headers": (fails(split(*[block(*[("x-a", "b")] * 500)] * 4), hang), "success"),
    "headers that decode to 1.6 MB": (fails(begins(frame(HEADERS, BOMB, END_HEADERS | END_STREAM)), hang), "success"),
}
"""Where the exporter differs from the kubelet: the outcome here, and the kubelet's result.

The first six break RFC 9113, and h2 refuses them; the seventh breaks it and h2 does not. The others are beyond limits.
"""


@pytest.mark.parametrize(("case", "_"), DIFFERENT.values(), ids=DIFFERENT)
def test_differs(case, _):
    check_over_http2(case)


def check_over_http2(case: Case) -> int:
    """Check the outcome, and return the number of connections."""
    with serving(case.script, tls=tls2()) as server:
        outcome = check(server.port, case.timeout, scheme="HTTPS", **case.options).outcome
        assert (outcome.status, outcome.reason) == (case.status, case.reason), outcome.summary
        assert not server.gave_up.is_set(), "the deadline was not kept"
        return server.accepted


ENDLESS = {
    "a dripping frame": fails(drip(SETTINGS_FRAME), reason="timeout"),
    "dripping PINGs": fails(SETTINGS_FRAME, drip(ping()), reason="timeout"),
    "dripping headers": fails(begins(frame(HEADERS)), drip(continuation()), reason="timeout"),
    "a dripping body": unknown(begins(head(200)), drip(data(b"a")), reason="timeout"),
}


@pytest.mark.parametrize("case", ENDLESS.values(), ids=ENDLESS)
def test_the_deadline_holds_against_a_server_that_drips(case):
    check_over_http2(Case(case.script, case.status, case.reason, timeout=1.0))


FLOODS = {
    "SETTINGS": (b"", SETTINGS_FRAME * 1000),
    "PINGs": (SETTINGS_FRAME, ping() * 1000),
    "window updates": (SETTINGS_FRAME, window_update(1) * 1000),
    "resets of other streams": (SETTINGS_FRAME, reset_stream(0, 3) * 1000),
    "unknown frames": (SETTINGS_FRAME, frame(0x77, b"a" * 16_000) * 10),
    "interim responses": (SETTINGS_FRAME, head(103, ("link", "</a>")) * 1000),
    "parts of headers": (begins(frame(HEADERS)), continuation() * 1000),
    "long parts of headers": (begins(frame(HEADERS)), continuation(b"a" * 16_000) * 10),
    "empty frames": (begins(head(200)), data() * 1000),
    "padding": (begins(head(200)), frame(DATA, b"\xff" + b"\0" * 255, PADDED) * 1000),
    "a body": (begins(head(200)), data(b"a" * 16_000) * 10),
}


@pytest.mark.parametrize(("start", "frames"), FLOODS.values(), ids=FLOODS)
def test_a_flood_ends_before_the_deadline_and_costs_little_memory(monkeypatch, start, frames):
    monkeypatch.setattr(http2, "MAX_FRAMES", http2.MAX_FRAMES // 4)  # as many would cost seconds, not memory
    with serving((start, flood(frames)), tls=tls2()) as server:
        probe = HttpGet(port=server.port, scheme="HTTPS")
        tracemalloc.start()
        try:
            outcome = run(Check(Spec("page", "httpGet", timeout=10 * PATIENCE), probe)).outcome
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert outcome.reason is not Reason.TIMEOUT
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("name", "connections"),
    [("200", 1), ("500", 1), ("cut", 3), ("silence of 500", 1), ("REFUSED_STREAM", MAX_REFUSALS), ("CANCEL", 1)],
)
def test_an_exchange_is_repeated_only_if_the_server_refused_it_or_its_body_broke_off(name, connections):
    assert check_over_http2(CASES[name]) == connections


@pytest.mark.parametrize("refusal", [reset_stream(REFUSED_STREAM), goaway()], ids=["RST_STREAM", "GOAWAY"])
def test_a_request_that_is_refused_once_is_repeated(refusal):
    with serving((begins(refusal), hang), (OK2, hang), tls=tls2()) as server:
        outcome = check(server.port, scheme="HTTPS").outcome

        assert (outcome.status, server.accepted) == ("pass", 2)


@pytest.mark.parametrize("protocols", [("http/1.1",), ("http/1.1", "h2")])
def test_a_server_that_prefers_http_1_gets_http_1(protocols):
    with serving((OK,), tls=tls2(*protocols)) as server:
        assert check(server.port, scheme="HTTPS").outcome.status == "pass"
        assert server.requests[0].startswith(b"GET / HTTP/1.1\r\n")


def test_without_tls_http_2_is_not_used():
    with serving((OK,)) as server:
        assert check(server.port).outcome.status == "pass"
        assert server.requests[0].startswith(b"GET / HTTP/1.1\r\n")


def test_a_redirect_leads_from_http_1_to_http_2_and_back():
    with serving((OK,)) as plain:
        target = f"http://127.0.0.1:{plain.port}/c"
        script = (begins(head(302, ("location", target), end=True)), hang)
        with serving(script, tls=tls2()) as secure, serving((redirect(f"https://127.0.0.1:{secure.port}/b"),)) as first:
            assert check(first.port).outcome.status == "pass"
        assert plain.requests[0].startswith(b"GET /c HTTP/1.1\r\n")


def test_every_redirect_has_a_connection_of_its_own():
    moved = begins(head(302, ("location", "/b")), data(b"moved", end=True))
    with serving((moved, hang), (moved, hang), (OK2, hang), tls=tls2()) as server:
        assert check(server.port, scheme="HTTPS").outcome.status == "pass"
        assert server.accepted == 3


SUMMARIES = {
    "500": '{url} returned 500; received "br***" (6 bytes)',
    "cut": "{url} returned 200, but its body broke off",
    "nothing": "{url} closed the connection without a response",
    "silence": "{url}: no complete response in time",
    "HTTP/1.1": "{url}: the server chose HTTP/2, but sent something else",
    "CANCEL": "{url}: the server reset the stream: CANCEL",
    "an unknown error": "{url}: the server reset the stream: error 99",
    "REFUSED_STREAM": "{url}: the server reset the stream: REFUSED_STREAM, in 10 attempts",
    "GOAWAY": "{url}: the server is shutting down, in 10 attempts",
    "GOAWAY with an error": "{url}: the server ended the connection: INTERNAL_ERROR",
    "PUSH_PROMISE": "{url}: the response is not valid HTTP/2: ProtocolError",
    "no status": "{url}: the response has no valid status",
    "a name in capitals": "{url}: the response has a malformed header name",
}


@pytest.mark.parametrize(("name", "summary"), SUMMARIES.items(), ids=SUMMARIES)
def test_the_summary_is_exact_and_contains_no_secret(name, summary):
    with serving(CASES[name].script, tls=tls2()) as server:
        outcome = check(server.port, CASES[name].timeout, scheme="HTTPS", path="/a?token=canary").outcome

        assert outcome.summary == summary.format(url=f"https://127.0.0.1:{server.port}/a")
