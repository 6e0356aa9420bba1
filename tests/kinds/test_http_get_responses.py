"""Which bytes the kind `httpGet` accepts as a response and as a complete body, and that it keeps its deadline.

Each row of a table is what a server does, and what the kubelet's prober concludes from it.
"""

import gzip
import socket
import tracemalloc
from pathlib import Path

import pytest
from kinds.pages import OK, Case, check, check_case, chunked, fails, headers, passes, redirect, response, unknown
from kinds.servers import drip, flood, hang, pause, reset, serving
from support import free_port

from exporter.evaluation.run import run
from exporter.kinds.http_get import HttpGet
from exporter.model import Reason, Spec, Status
from exporter.probe.check import Check

GOOD = (200, 201, 202, 203, 204, 205, 206, 226, 250, 299, 300, 301, 304, 305, 306, 309, 310, 399)
BAD = (400, 401, 403, 404, 408, 418, 429, 451, 499, 500, 501, 502, 503, 504, 511, 599, 600, 999)
STATUSES = {code: passes(response(f"{code} Word")) for code in GOOD} | {
    code: fails(response(f"{code} Word")) for code in BAD
}


@pytest.mark.parametrize("case", STATUSES.values(), ids=STATUSES)
def test_a_status_from_200_to_399_passes(case):
    check_case(case)


HEADS = {
    "no reason phrase": passes(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    "two spaces before the status": passes(b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
    "HTTP/1.0": passes(b"HTTP/1.0 200 OK\r\n\r\nok"),
    "HTTP/1.2": passes(b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "HTTP/2.0": passes(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "http in lower case": fails(b"http/1.1 200 OK\r\n\r\n"),
    "HTTP/1": fails(b"HTTP/1 200 OK\r\n\r\n"),
    "HTTP/11.1": fails(b"HTTP/11.1 200 OK\r\n\r\n"),
    "another protocol": fails(b"ICY 200 OK\r\n\r\n"),
    "a greeting": fails(b"220 mail.example ESMTP\r\n"),
    "bytes": fails(bytes(range(256)) * 4),
    "an empty line first": fails(b"\r\nHTTP/1.1 200 OK\r\n\r\n"),
    "HTTP/0.9": fails(b"<html>well</html>"),
    "status of two digits": fails(b"HTTP/1.1 20 OK\r\n\r\n"),
    "status of two digits and a cut body": fails(b"HTTP/1.1 20 OK\r\nContent-Length: 9\r\n\r\n"),
    "status of four digits": fails(b"HTTP/1.1 2000 OK\r\n\r\n"),
    "status in words": fails(b"HTTP/1.1 abc OK\r\n\r\n"),
    "no status": fails(b"HTTP/1.1\r\n\r\n"),
    "status and a tab": fails(b"HTTP/1.1 200\tOK\r\n\r\n"),
    "status 999": fails(response("999 Word")),
    "status 099": fails(response("099 Word")),
    "status 000": fails(response("000 Word")),
    "nothing": fails(reason="connect"),
    "a reset": fails(reset, reason="connect"),
    "a broken status line": fails(b"HTTP/1.1 20"),
    "a broken head": fails(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "a head without its empty line": fails(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"),
    "a reset within the head": fails(b"HTTP/1.1 200 OK\r\n", pause(0.1), reset, reason="connect"),
    "bare line feeds": passes(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    "mixed line ends": passes(b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\nok"),
    "100 before it": passes(b"HTTP/1.1 100 Continue\r\n\r\n" + OK),
    "102 before it": passes(b"HTTP/1.1 102 Processing\r\n\r\n" + OK),
    "103 with headers before it": passes(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK),
    "199 before it": passes(b"HTTP/1.1 199 Word\r\n\r\n" + OK),
    "many interim responses": passes(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" * 20 + OK),
    "interim, then 500": fails(b"HTTP/1.1 103 Hints\r\n\r\n" + response("500 Word")),
    "only an interim response": fails(b"HTTP/1.1 100 Continue\r\n\r\n", reason="connect"),
    "a broken interim response": fails(b"HTTP/1.1 103 Hints\r\nnothing\r\n\r\n" + OK),
    "101": fails(b"HTTP/1.1 101 Switching\r\n\r\n", hang),
    "101 to another protocol": fails(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "no headers": passes(b"HTTP/1.1 200 OK\r\n\r\nok"),
    "150 headers": passes(headers(*(f"X-{n}: {n}" for n in range(150)), "Content-Length: 0")),
    "900 headers": passes(headers(*(f"X-{n}: {n}" for n in range(900)), "Content-Length: 0")),
    "the same header 900 times": passes(headers(*["X-A: 1"] * 900, "Content-Length: 0")),
    # Go accepts these two; here the number of lines is limited too (net/head.py).
    "20,000 headers": fails(headers(*(f"X-{n}: {n}" for n in range(20_000)), "Content-Length: 0")),
    "the same header 5,000 times": fails(headers(*["X-A: 1"] * 5000, "Content-Length: 0")),
    "a header of 200 kB": passes(headers("X-A: " + "a" * 200_000, "Content-Length: 0")),
    "a header of 9 MB": passes(headers("X-A: " + "a" * 9_000_000, "Content-Length: 0")),
    "a head of 11 MB": fails(headers("X-A: " + "a" * 11_000_000, "Content-Length: 0")),
    "interim heads of 11 MB": fails(b"HTTP/1.1 103 Hints\r\nX-A: %s\r\n\r\n" % (b"a" * 1_000_000) * 11 + OK),
    "a long header with a control character": fails(headers("X-A: " + "a" * 200_000 + "\0", "Content-Length: 0")),
    "a header without a colon": fails(headers("Content-Length: 0", "nothing")),
    "a header without a name": fails(headers(": x", "Content-Length: 0")),
    "a header without a value": passes(headers("X-A:", "Content-Length: 0")),
    "a header without a space": passes(headers("X-A:b", "Content-Length:0")),
    "a space in a name": passes(headers("X A: b", "Content-Length: 0")),
    "a space before the colon hides a header": passes(headers("Content-Length : 9") + b"ok"),
    "a tab in a name": fails(headers("X\tA: b", "Content-Length: 0")),
    "a name beyond ASCII": fails(headers("X-\xe9: b", "Content-Length: 0")),
    "a value beyond ASCII": passes(headers("X-A: \xe9\xff", "Content-Length: 0")),
    "NUL in a value": fails(headers("X-A: a\0b", "Content-Length: 0")),
    "CR in a value": fails(headers("X-A: a\rb", "Content-Length: 0")),
    "a folded header": passes(headers("X-A: a", "  b", "\tc", "Content-Length: 0")),
    "a folded length": fails(headers("Content-Length: 1", " 2")),
    "the first header folded": fails(headers(" X-A: a", "Content-Length: 0")),
    "two equal lengths": passes(headers("Content-Length: 2", "Content-Length: 2 ") + b"ok"),
    "two lengths": fails(headers("Content-Length: 2", "Content-Length: 3") + b"okk"),
    "two lengths in one": fails(headers("Content-Length: 2, 2") + b"ok"),
    "lengths 2 and 02": fails(headers("Content-Length: 2", "Content-Length: 02") + b"ok"),
    "length 002": passes(headers("Content-Length: 002") + b"ok"),
    "length in capitals": passes(headers("CONTENT-LENGTH: 2") + b"ok"),
    "length in words": fails(headers("Content-Length: two") + b"ok"),
    "negative length": fails(headers("Content-Length: -1") + b"ok"),
    "length +2": fails(headers("Content-Length: +2") + b"ok"),
    "length 0x2": fails(headers("Content-Length: 0x2") + b"ok"),
    "empty length": fails(headers("Content-Length:") + b"ok"),
    "the greatest length": passes(headers("Content-Length: 9223372036854775807") + b"a" * 10240, hang),
    "a greater length": fails(headers("Content-Length: 9223372036854775808") + b"a" * 10240, hang),
    "length of 5,000 digits": fails(headers("Content-Length: " + "9" * 5000) + b"ok"),
    "a bad length of 204": fails(b"HTTP/1.1 204 No\r\nContent-Length: x\r\n\r\n"),
    "transfer encoding gzip": fails(headers("Transfer-Encoding: gzip") + b"ok"),
    "transfer encoding identity": fails(headers("Transfer-Encoding: identity") + b"ok"),
    "transfer encoding gzip, chunked": fails(headers("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    "transfer encoding twice": fails(headers("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")),
    "transfer encoding empty": fails(headers("Transfer-Encoding:") + b"0\r\n\r\n"),
    "transfer encoding in capitals": passes(headers("Transfer-Encoding: CHUNKED") + b"2\r\nok\r\n0\r\n\r\n"),
    "transfer encoding in HTTP/1.0": passes(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"),
    "chunked wins over a length": passes(
        headers("Content-Length: 99", "Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n"
    ),
    "chunked and a bad length": fails(headers("Content-Length: x", "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
}


@pytest.mark.parametrize("case", HEADS.values(), ids=HEADS)
def test_a_head_is_accepted_or_refused_as_by_gos_client(case):
    check_case(case)


TEN = b"a" * 10240
BODIES = {
    "none": passes(headers("Content-Length: 0")),
    "by length": passes(OK),
    "by length, and the connection stays open": passes(OK, hang),
    "until the end": passes(headers() + b"ok"),
    "until the end, empty": passes(headers()),
    "in one chunk": passes(chunked(b"2\r\nok\r\n0\r\n\r\n")),
    "in chunks, and the connection stays open": passes(chunked(b"2\r\nok\r\n1\r\n!\r\n0\r\n\r\n"), hang),
    "chunks with extensions": passes(chunked(b"2;a=b\r\nok\r\n0;c\r\n\r\n")),
    "spaces after the size of a chunk": passes(chunked(b"2 \t\r\nok\r\n0\r\n\r\n")),
    "a chunk size in capitals": passes(chunked(b"A\r\n0123456789\r\n0\r\n\r\n")),
    "a chunk size with zeros": passes(chunked(b"0002\r\nok\r\n000\r\n\r\n")),
    "a trailer": passes(chunked(b"2\r\nok\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n")),
    "more than announced": passes(OK + b"surplus" * 1000),
    "204": passes(b"HTTP/1.1 204 No\r\n\r\n", hang),
    "204 with a length": passes(b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", hang),
    "204 in chunks": passes(b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", hang),
    "304 with a length": passes(b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", hang),
    "gzip that is not valid": passes(response("200 OK", "Content-Encoding: gzip", body=b"not gzip")),
    "10,240 bytes, then silence": passes(headers("Content-Length: 20000") + TEN, hang),
    "10,240 bytes until the end, then silence": passes(headers() + TEN, hang),
    "10,240 bytes in a chunk, then silence": passes(chunked(b"2800\r\n" + TEN), hang),
    "10,240 bytes in a greater chunk, then silence": passes(chunked(b"10000\r\n" + TEN), hang),
    "10,240 bytes, then the end": passes(headers("Content-Length: 20000") + TEN),
    "a megabyte": passes(response("200 OK", body=b"a" * 1_000_000)),
    "a megabyte in chunks": passes(chunked(b"400\r\n%s\r\n" % (b"a" * 1024) * 1000 + b"0\r\n\r\n")),
    "an endless body": passes(headers(), flood(TEN)),
    "an endless body of 500": fails(b"HTTP/1.1 500 Word\r\n\r\n", flood(TEN)),
    "in parts": passes(headers("Content-Length: 4") + b"o", pause(0.05), b"k", pause(0.05), b"ok"),
    "10,239 bytes, then silence": unknown(
        headers("Content-Length: 20000") + TEN[1:], hang, reason="timeout", timeout=1.0
    ),
    "10,239 bytes until the end, then silence": unknown(headers() + TEN[1:], hang, reason="timeout", timeout=1.0),
    "10,239 bytes in a chunk, then silence": unknown(
        chunked(b"2800\r\n" + TEN[1:]), hang, reason="timeout", timeout=1.0
    ),
    "silence after the head": unknown(headers("Content-Length: 1"), hang, reason="timeout", timeout=1.0),
    "silence after the last chunk": unknown(chunked(b"2\r\nok\r\n"), hang, reason="timeout", timeout=1.0),
    "silence after the last chunk's size": unknown(chunked(b"2\r\nok\r\n0\r\n"), hang, reason="timeout", timeout=1.0),
    "silence of 500": unknown(b"HTTP/1.1 500 Word\r\nContent-Length: 1\r\n\r\n", hang, reason="timeout", timeout=1.0),
    "cut": unknown(headers("Content-Length: 10") + b"12345"),
    "cut at the head": unknown(headers("Content-Length: 10")),
    "cut of 500": unknown(b"HTTP/1.1 500 Word\r\nContent-Length: 10\r\n\r\n12345"),
    "cut of 404": unknown(b"HTTP/1.1 404 Word\r\nContent-Length: 10\r\n\r\n12345"),
    "cut of a redirect that is not followed": unknown(
        b"HTTP/1.1 302 Found\r\nLocation: http://other.example/\r\nContent-Length: 10\r\n\r\n12345"
    ),
    "cut of 300": unknown(b"HTTP/1.1 300 Word\r\nContent-Length: 10\r\n\r\n12345"),
    "reset": unknown(headers("Content-Length: 10") + b"12345", pause(0.1), reset),
    "reset until the end": unknown(headers() + b"12345", pause(0.1), reset),
    "cut in a chunk": unknown(chunked(b"5\r\nok")),
    "cut after a chunk": unknown(chunked(b"2\r\nok\r\n")),
    "cut after the last chunk": unknown(chunked(b"2\r\nok\r\n0\r\n")),
    "cut in the trailer": unknown(chunked(b"2\r\nok\r\n0\r\nX-A: b\r\n")),
    "a bad chunk size": unknown(chunked(b"zz\r\nok\r\n0\r\n\r\n")),
    "a negative chunk size": unknown(chunked(b"-2\r\nok\r\n0\r\n\r\n")),
    "a signed chunk size": unknown(chunked(b"+2\r\nok\r\n0\r\n\r\n")),
    "a chunk size 0x2": unknown(chunked(b"0x2\r\nok\r\n0\r\n\r\n")),
    "an empty chunk size": unknown(chunked(b"\r\nok\r\n0\r\n\r\n")),
    "a space before the size of a chunk": unknown(chunked(b" 2\r\nok\r\n0\r\n\r\n")),
    "a space before a chunk's extension": unknown(chunked(b"2 ;a\r\nok\r\n0\r\n\r\n")),
    "a chunk size of 17 digits": unknown(chunked(b"00000000000000002\r\nok\r\n0\r\n\r\n")),
    "a chunk size of 5,000 digits": unknown(chunked(b"0" * 5000 + b"2\r\nok\r\n0\r\n\r\n")),
    "a bare line feed after a chunk size": unknown(chunked(b"2\nok\r\n0\r\n\r\n")),
    "a CR in a chunk's extension": unknown(chunked(b"2;a\rb\r\nok\r\n0\r\n\r\n")),
    "a chunk without its end": unknown(chunked(b"2\r\nok0\r\n\r\n")),
    "a chunk with another end": unknown(chunked(b"2\r\nokXY0\r\n\r\n")),
    "a longer chunk than announced": unknown(chunked(b"1\r\nok\r\n0\r\n\r\n")),
    "a trailer without a colon": unknown(chunked(b"2\r\nok\r\n0\r\nnothing\r\n\r\n")),
    "a trailer of 5,000 bytes": unknown(chunked(b"2\r\nok\r\n0\r\nX-A: " + b"a" * 5000 + b"\r\n\r\n")),
    "chunks that hold too little": unknown(chunked(b"1;%s\r\na\r\n" % (b"b" * 4000) * 10 + b"0\r\n\r\n")),
}


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
def test_a_body_is_read_as_far_as_by_the_kubelet(case):
    check_case(case)


@pytest.mark.parametrize(
    ("name", "attempts"), [("cut", 3), ("cut of 500", 3), ("reset", 3), ("silence of 500", 1), ("by length", 1)]
)
def test_a_body_that_breaks_off_is_requested_three_times_within_one_deadline(name, attempts):
    server, _ = check_case(BODIES[name])

    assert server.accepted == attempts


def test_the_first_attempt_with_a_whole_body_counts():
    with serving((headers("Content-Length: 9"),), (response("500 Word"),)) as server:
        outcome = check(server.port).outcome

        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
        assert server.accepted == 2


def test_a_failure_is_not_repeated():
    server, _ = check_case(fails(response("503 Word")))

    assert server.accepted == 1


ENDLESS = {
    "silence": fails(hang, reason="timeout"),
    "a dripping status line": fails(drip(b"HTTP/1.1 200 OK "), reason="timeout"),
    "dripping headers": fails(b"HTTP/1.1 200 OK\r\n", drip(b"X-A: b\r\n"), reason="timeout"),
    "a dripping folded header": fails(b"HTTP/1.1 200 OK\r\nX-A: b\r\n", drip(b" c\r\n"), reason="timeout"),
    "dripping interim responses": fails(drip(b"HTTP/1.1 103 Hints\r\n\r\n", 0.002), reason="timeout"),
    "a dripping body": unknown(headers("Content-Length: 9999"), drip(b"a"), reason="timeout"),
    "a dripping body until the end": unknown(headers(), drip(b"a"), reason="timeout"),
    "dripping chunks": unknown(chunked(b""), drip(b"1\r\na\r\n"), reason="timeout"),
    "a dripping chunk size": unknown(chunked(b""), drip(b"0"), reason="timeout"),
    "a dripping trailer": unknown(chunked(b"0\r\n"), drip(b"X-A: b\r\n"), reason="timeout"),
    "a dripping body of a redirect": fails(b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n", drip(b"a"), reason="timeout"),
}


@pytest.mark.parametrize("case", ENDLESS.values(), ids=ENDLESS)
def test_the_deadline_holds_against_a_server_that_drips(case):
    check_case(Case(case.script, case.status, case.reason, timeout=1.0))


FLOODS = {
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 5000),
    "Locations": (b"HTTP/1.1 200 OK\r\n", b"Location: /b\r\n" * 5000),
    "one header": (b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 65536),
    "one folded header": (b"HTTP/1.1 200 OK\r\nX-A: b\r\n", b" c\r\n" * 5000),
    "a status line": (b"HTTP/1.1 200 ", b"a" * 65536),
    "a body": (headers(), b"a" * 65536),
    "a body of gzip": (headers("Content-Encoding: gzip"), b"\x1f\x8b" + b"\0" * 65536),
    "chunks of nothing": (chunked(b""), b"1;%s\r\na\r\n" % (b"b" * 4000)),
    "a chunk size": (chunked(b""), b"0" * 65536),
    "a trailer": (chunked(b"0\r\n"), b"X-A: b\r\n" * 5000),
    "a body of a redirect": (b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n", b"a" * 65536),
}


@pytest.mark.parametrize(("start", "data"), FLOODS.values(), ids=FLOODS)
def test_a_flood_ends_at_the_deadline_and_costs_little_memory(start, data):
    """Without a deadline most of these would never end."""
    with serving((start, flood(data))) as server:
        probe = HttpGet(port=server.port)
        tracemalloc.start()
        try:
            run(Check(Spec("page", "httpGet", timeout=1.0), probe))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak < 4_000_000


def test_a_gzip_bomb_is_never_decoded():
    bomb = gzip.compress(b"\0" * 10_000_000)
    with serving((response("200 OK", "Content-Encoding: gzip", body=bomb),)) as server:
        tracemalloc.start()
        try:
            assert check(server.port).outcome.status is Status.PASS
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


def test_a_listener_that_never_accepts_fails_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = check(listener.getsockname()[1], 0.4)

    assert (result.outcome.status, result.outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert result.duration >= 0.4


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_hundred_probes_of_every_sort_leave_nothing_open():
    before = open_files()
    scripts = [(OK,), (response("500 Word"),), (headers("Content-Length: 9"),), (b"x",), (), (reset,), (redirect("/"),)]
    for script in scripts:
        with serving(script) as server:
            for _ in range(15):
                check(server.port, 2.0)
    for _ in range(15):
        check(free_port(), 2.0)

    assert open_files() <= before
