"""Answers from memory: whatever bytes come, there is an Answer or a MalformedError.

What is an answer and what is none is proved over real connections, in tests/probes/test_http_get_answers.py.
"""

import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.net.response import LINE_KEPT, Answer, MalformedError, SilentError


def read(data: bytes, limit: int = 10240) -> tuple[int, bytes]:
    answer = Answer(io.BufferedReader(io.BytesIO(data)))
    return answer.status, answer.read(limit)


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
def test_whatever_comes_is_an_answer_or_is_malformed(data):
    try:
        status, body = read(data)
    except MalformedError:
        return
    assert 0 <= status <= 999
    assert len(body) <= 10240
    assert status == 101 or not 100 <= status <= 199


@given(st.binary(max_size=3000), st.integers(1, 2000), st.lists(st.integers(1, 700), max_size=20))
def test_a_body_comes_out_as_it_went_in_however_it_is_framed(body, limit, sizes):
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
def test_an_answer_that_ends_early_is_malformed(kept):
    whole = b"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 20\r\n\r\n" + b"a" * 20
    with pytest.raises(MalformedError):
        read(whole[:kept])


def test_silence_is_told_from_nonsense():
    with pytest.raises(SilentError):
        read(b"")
    with pytest.raises(SilentError):
        read(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_only_the_first_location_counts():
    data = b"HTTP/1.1 302 F\r\nX: 1\r\nlocation:  /b \r\nLocation: /c\r\n\r\n"

    assert Answer(io.BufferedReader(io.BytesIO(data))).headers == {"Location": "/b"}


@pytest.mark.parametrize("size", [LINE_KEPT - 30, LINE_KEPT + 30])
def test_a_location_is_whole_or_is_refused(size):
    data = b"HTTP/1.1 302 F\r\nLocation: /%s\r\n\r\n" % (b"a" * size)
    if size > LINE_KEPT:
        with pytest.raises(MalformedError, match="too long"):
            read(data)
    else:
        location = Answer(io.BufferedReader(io.BytesIO(data))).headers["Location"]
        assert re.fullmatch(r"/a+", location)
        assert len(location) == size + 1
