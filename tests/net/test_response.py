"""Responses from memory: any bytes give a Response or a MalformedError.

Which bytes are accepted is tested over real connections, in tests/kinds/test_http_get_responses.py.
"""

import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.net.head import MAX_LINE, MAX_LINES, MalformedError, SilentError
from exporter.net.response import MAX_CHUNKS, Response


def read(data: bytes, limit: int = 10240) -> tuple[int, bytes]:
    response = Response(io.BufferedReader(io.BytesIO(data)))
    return response.status, response.read(limit)


PIECES = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.0 302 F", b"HTTP/1.1 103 H", b"HTTP/1.1 204 N", b"HTTP/1.1 ", b"200"),
        *(b"\r\n", b"\n", b"\r\n\r\n", b"\r", b" ", b"\t", b":", b"\0", b"\xff", b";", b"0", b"5", b"a"),
        *(b"Content-Length: 5", b"Content-Length: x", b"Transfer-Encoding: chunked", b"Location: /b", b"X-A: b"),
        *(b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nX-A: b\r\n\r\n", b"ffffffffffffffff\r\n"),
    ]
)


@given(st.binary(max_size=200) | st.lists(PIECES, max_size=20).map(b"".join))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" % (b"9" * 5000))
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000)
def test_any_bytes_are_a_response_or_malformed(data):
    try:
        status, body = read(data)
    except MalformedError:
        return
    assert 0 <= status <= 999
    assert len(body) <= 10240
    assert status == 101 or not 100 <= status <= 199


@given(st.binary(max_size=3000), st.integers(1, 2000), st.lists(st.integers(1, 700), max_size=20))
def test_a_body_is_the_same_however_it_is_framed(body, limit, sizes):
    chunks, rest = b"", body
    for size in [*sizes, len(body)]:
        if rest:
            part, rest = rest[:size], rest[size:]
            chunks += b"%x\r\n%s\r\n" % (len(part), part)
    framed = (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % chunks,
        b"HTTP/1.1 200 OK\r\n\r\n" + body,
    )

    assert [read(data, limit) for data in framed] == [(200, body[:limit])] * 3


@given(st.integers(0, 60))
def test_a_response_that_ends_early_is_malformed(kept):
    whole = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 20\r\n\r\n" + b"a" * 20
    with pytest.raises(MalformedError):
        read(whole[:kept])


def test_a_connection_closed_without_a_response_is_silent():
    with pytest.raises(SilentError):
        read(b"")
    with pytest.raises(SilentError):
        read(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_the_first_location_counts():
    data = b"HTTP/1.1 302 F\r\nX: 1\r\nlocation:  /b \r\nLocation: /c\r\n\r\n"

    assert Response(io.BufferedReader(io.BytesIO(data))).location == "/b"


@pytest.mark.parametrize("size", [MAX_LINE - 30, MAX_LINE + 30])
def test_a_location_is_whole_or_is_refused(size):
    data = b"HTTP/1.1 302 F\r\nLocation: /%s\r\n\r\n" % (b"a" * size)
    if size > MAX_LINE:
        with pytest.raises(MalformedError, match="too long"):
            read(data)
    else:
        location = Response(io.BufferedReader(io.BytesIO(data))).location
        assert re.fullmatch(r"/a+", location)
        assert len(location) == size + 1


FLOODS = {
    "headers": (b"HTTP/1.1 200 OK\n", b"a:\n"),
    "a folded header": (b"HTTP/1.1 200 OK\na: b\n", b" \n"),
    "a long folded header": (b"HTTP/1.1 200 OK\na: " + b"b" * MAX_LINE, b" c\n"),
    "interim responses": (b"", b"HTTP/1.1 103\n\n"),
    "headers of interim responses": (b"", b"HTTP/1.1 103\na: b\n\n"),
}


@pytest.mark.parametrize(("start", "line"), FLOODS.values(), ids=FLOODS)
def test_a_flood_of_short_lines_is_not_read_to_its_end(start, line):
    stream = io.BufferedReader(io.BytesIO(start + line * 1_000_000))
    with pytest.raises(MalformedError, match="has too many lines"):
        Response(stream)

    assert stream.tell() < 2 * MAX_LINE


def test_a_head_has_a_maximum_number_of_lines():
    """The status line and the empty line count."""
    most = b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * (MAX_LINES - 2)

    assert MAX_LINES == 1000
    assert read(most + b"\r\nwell") == (200, b"well")
    with pytest.raises(MalformedError, match="has too many lines"):
        read(most + b"X-A: b\r\n\r\nwell")


def test_a_body_has_a_maximum_number_of_chunks():
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    last = b"0\r\n\r\n"

    assert read(start + b"1\r\na\r\n" * (MAX_CHUNKS - 1) + last, limit=2**20) == (200, b"a" * (MAX_CHUNKS - 1))
    with pytest.raises(MalformedError, match="too little data"):
        read(start + b"1\r\na\r\n" * MAX_CHUNKS + last, limit=2**20)


def test_the_body_that_the_kubelet_reads_may_have_chunks_of_one_byte():
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 10240

    assert read(body) == (200, b"a" * 10240)
