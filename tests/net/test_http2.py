"""HTTP/2 responses from memory: any bytes give a response or a MalformedError, and nothing exceeds its limit.

Which frames are accepted is tested over real connections, in tests/kinds/test_http_get_http2.py.
"""

import io
import subprocess
import sys
from contextlib import ExitStack

import hpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kinds.frames import (
    END_HEADERS,
    HEADERS,
    OK2,
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
from kinds.pages import OK, tls
from kinds.servers import hang, serving

from exporter.model import Reason
from exporter.net.errors import DialError
from exporter.net.head import MAX_LINES, MalformedError
from exporter.net.http2 import MAX_FRAME, MAX_FRAMES, MAX_HEADERS, MAX_SETTINGS, Http2Response
from exporter.net.request import Request
from exporter.net.url import build

FIELDS = Request(build("https", "shop.example", 443, "/"), ()).http2_fields


class Peer:
    """Stands for a socket: the peer reads everything, and has sent these bytes before it closes the connection."""

    def __init__(self, response: bytes) -> None:
        self._response = response
        self.sent = b""

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._response))

    def sendall(self, data: bytes) -> None:
        self.sent += data


def receive(response: bytes, max_bytes: int = 10240, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of a response."""
    received = Http2Response(Peer(response), "GET", FIELDS, body)
    return received.status, received.read(max_bytes)


PIECES = st.sampled_from(
    [
        *(OK2, SETTINGS_FRAME, settings((4, 0)), settings((4, 2**31)), settings((1, 0)), head(), head(100), head(500)),
        *(head(end=True), headers(("x-a", "b"), end=True), frame(HEADERS, block((":status", "200")))),
        *(continuation(block(("x-a", "b")), True), continuation(b"\xff"), data(), data(b"ok"), data(b"ok", True)),
        *(goaway(), goaway(1), reset_stream(0), reset_stream(7), ping(), window_update(0), window_update(2**31 - 1)),
        *(frame(5, b"\0\0\0\2", END_HEADERS), frame(0, b"\x09ok", 8), frame(2, b"\0\0\0\1\x10"), b"\0", b"HTTP/1.1"),
    ]
)
FRAME = st.builds(frame, st.integers(0, 12), st.binary(max_size=20), st.integers(0, 255), st.integers(0, 2**31))


@given(st.lists(PIECES | FRAME, max_size=12), st.sampled_from([b"", b"ping" * 40_000]))
@example([SETTINGS_FRAME, head(200, ("content-length", "9" * 5000))], b"")
def test_any_frames_are_a_response_or_malformed(pieces, body):
    try:
        status, received = receive(SETTINGS_FRAME + b"".join(pieces), 100, body)
    except MalformedError:
        return
    assert 0 <= status <= 999
    assert not 100 <= status <= 199
    assert len(received) <= 100


@given(st.binary(max_size=200))
def test_any_bytes_are_malformed_or_a_response(response):
    with pytest.raises(MalformedError):
        receive(response)


@given(st.binary(max_size=3000), st.integers(1, 2000), st.lists(st.integers(0, 700), max_size=20))
def test_a_body_is_the_same_however_it_is_framed(body, limit, sizes):
    frames, rest = b"", body
    for size in sizes:
        frames += data(rest[:size])
        rest = rest[size:]

    assert receive(SETTINGS_FRAME + head() + frames + data(rest, end=True), limit) == (200, body[:limit])


@given(st.integers(0, len(OK2) - 1))
def test_a_response_that_ends_early_is_malformed(kept):
    with pytest.raises(MalformedError):
        receive(OK2[:kept])


@pytest.mark.parametrize("kept", [0, 1])
def test_a_response_has_a_maximum_number_of_frames(kept):
    frames = SETTINGS_FRAME * (MAX_FRAMES - 2 + kept) + head(204, end=True)
    if kept:
        assert_too_much(SETTINGS_FRAME + frames)
    else:
        assert receive(SETTINGS_FRAME + frames) == (204, b"")


def test_a_frame_has_a_maximum_size():
    assert receive(SETTINGS_FRAME + head() + data(b"a" * MAX_FRAME, True), 10**6) == (200, b"a" * MAX_FRAME)
    assert_too_much(SETTINGS_FRAME + head() + data(b"a" * (MAX_FRAME + 1), True))


def test_settings_have_a_maximum_number():
    """The settings of all frames count, also unknown ones, which h2 keeps."""
    half = MAX_SETTINGS // 2
    known = settings(*[(4, 65_535)] * half)
    unknown = settings(*[(1000 + number, 0) for number in range(MAX_SETTINGS - half)])
    assert receive(known + unknown + SETTINGS_FRAME + head(204, end=True)) == (204, b"")
    assert_too_much(known + unknown + settings((4, 65_535)) + head(204, end=True))


def test_header_frames_have_a_maximum_size():
    """Interim responses count too."""
    interim = head(103, ("x-a", "a" * 16_000))
    assert receive(SETTINGS_FRAME + interim * 60 + head(204, end=True)) == (204, b"")
    assert_too_much(SETTINGS_FRAME + interim * (MAX_HEADERS // 16_000 + 1) + head(204, end=True))


def test_a_header_list_has_a_maximum_size():
    """A few bytes refer to a long header again and again."""

    def repeat(times: int) -> bytes:
        fields = [(":status", "204"), *[("x-a", "a" * 3900)] * times]
        return SETTINGS_FRAME + frame(HEADERS, hpack.Encoder().encode(fields), END_HEADERS | 1)

    assert receive(repeat(250)) == (204, b"")
    with pytest.raises(MalformedError):
        receive(repeat(300))


@pytest.mark.parametrize(("number", "fits"), [(MAX_LINES, True), (MAX_LINES + 1, False)])
def test_the_heads_have_a_maximum_number_of_headers(number, fits):
    interim = head(103, *[("x-a", "b")] * (number - 1 - 1))
    if fits:
        assert receive(SETTINGS_FRAME + interim + head(204, end=True)) == (204, b"")
    else:
        with pytest.raises(MalformedError, match="too many lines"):
            receive(SETTINGS_FRAME + interim + head(204, end=True))


def assert_too_much(response: bytes) -> None:
    with pytest.raises(MalformedError, match="too many frames, headers or settings"):
        receive(response)


LONG = b"~" * 70_000  # longer than what may be sent without permission


def test_a_response_above_299_ends_the_sending_of_a_body():
    """As in Go, others do not: this server never permits the rest of the body."""
    assert receive(SETTINGS_FRAME + head(413) + data(b"no", end=True), body=LONG) == (413, b"no")
    with pytest.raises(MalformedError):
        receive(SETTINGS_FRAME + head(200) + data(b"ok"), body=LONG)


def test_a_response_up_to_299_does_not_end_the_sending_of_a_body():
    room = window_update(5000) + window_update(5000, 1)
    peer = Peer(SETTINGS_FRAME + head(200) + room + data(b"ok", end=True))

    assert Http2Response(peer, "POST", FIELDS, LONG).read(100) == b"ok"
    assert peer.sent.count(b"~") == len(LONG)


def test_a_server_that_has_responded_may_have_closed_the_connection():
    class Closed(Peer):
        def sendall(self, data: bytes) -> None:
            raise DialError(Reason.CONNECT, "Broken pipe")

    assert Http2Response(Closed(OK2), "GET", FIELDS, b"").read(100) == b"ok"


SCRIPT = """
import sys, time
from exporter.kinds.http_get import HttpGet
from exporter.model import Deadline

for port in sys.argv[1:]:
    outcome = HttpGet(port=int(port), scheme="HTTPS").probe(Deadline(time.monotonic() + 60))
    print(outcome.status, sorted({"h2", "hpack", "hyperframe"} & sys.modules.keys()))
"""


def test_h2_is_imported_only_when_a_server_has_chosen_http_2():
    with ExitStack() as stack:
        scripts = (((OK,), tls()), ((OK,), tls2("http/1.1")), ((OK2, hang), tls2()))
        ports = [str(stack.enter_context(serving(script, tls=context)).port) for script, context in scripts]
        done = subprocess.run([sys.executable, "-c", SCRIPT, *ports], capture_output=True, text=True, timeout=120)

    assert done.stdout.splitlines() == ["pass []", "pass []", "pass ['h2', 'hpack', 'hyperframe']"], done.stderr
