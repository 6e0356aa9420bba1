"""An exchange over HTTP/2 as Go's client makes it (net/http/h2_bundle.go), with a server that chose it by ALPN.

Importing this module imports h2, which costs 3 MiB and some 30 ms: import it only when a server has chosen HTTP/2.

Theory of operation. h2 keeps the state of a connection and of its only stream; it does no input or output. Here the
frames are read one at a time from a socket that has a deadline. Their number and sizes are limited before h2 parses
them, and nothing is read beyond the part of the body that is needed. h2's optional checks are off, because they are
stricter than those of Go's client, which are in http2_head.py.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from exporter.net.errors import DialError
from exporter.net.head import MAX_LINES, MalformedError, RefusedError, SilentError
from exporter.net.http2_head import Http2Head, check_fields

MAX_FRAMES = 16 * 1024
"""Frames of a response. Go has no such maximum, but the 10 KiB that the kubelet reads do not need as many."""
MAX_FRAME = 16 * 1024
"""Bytes in a frame (SETTINGS_MAX_FRAME_SIZE, as Go's client announces it)."""
MAX_HEADERS = 1 << 20
"""Bytes of all header frames, and of one list of headers when it is decoded (SETTINGS_MAX_HEADER_LIST_SIZE).

Go allows 10 MiB, but decoding them costs a hundred times as much CPU time here.
"""
MAX_SETTINGS = 100
"""Settings in all frames of a response. There are fewer than ten, but h2 keeps each, also an unknown one, in 800 bytes.

Go's client has no such maximum; its server permits as many in a frame (serverConn.processSettings).
"""
_STREAM = 1  # the first stream of a client, and the only one
_FRAME_HEAD = 9  # bytes
_SETTING = 6  # bytes
_HEADERS, _SETTINGS, _GOAWAY, _CONTINUATION = 0x1, 0x4, 0x7, 0x9
_CONFIGURATION = H2Configuration(
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
)


class Http2Response:
    """A response whose head has been received; its body can be read once.

    Interim responses before it are skipped. `names` are those of headers to keep, as in Head. Raises MalformedError for
    frames that Go's client refuses, and RefusedError if the server has not processed the request.
    """

    def __init__(
        self,
        sock: socket.socket,
        method: str,
        fields: list[tuple[bytes, bytes]],
        body: bytes,
        names: Sequence[bytes] = (),
    ) -> None:
        self._sock = sock
        self._names = names
        self._stream = sock.makefile("rb")
        self._connection = _open_connection()
        self._frames = 0
        self._headers_left = MAX_HEADERS
        self._settings_left = MAX_SETTINGS
        self._lines_left = MAX_LINES
        self._head: Http2Head | None = None
        self._body = bytearray()
        self._ended = False
        self.trailers: dict[bytes, bytes] = {}
        """The headers after the body, by their names, as soon as the body has been read to its end."""
        self._connection.send_headers(_STREAM, fields, end_stream=not body)
        try:
            head = self._receive_head(body)
        except (DialError, MalformedError):
            self.close()
            raise
        self.status = head.status
        self.headers = head.headers
        self.values = head.values
        self.location = head.location
        """The first Location header; empty if there is none."""
        self.length = 0 if method == "HEAD" else head.length
        """Bytes of the body; None if they are not announced."""

    def read(self, max_bytes: int) -> bytes:
        """Return the first `max_bytes` bytes of the body. Raises MalformedError if it breaks off before their end."""
        if self.length == 0:
            return b""
        if self.length and self._ended and not self._body:
            raise MalformedError("the body is missing")
        while not self._ended and len(self._body) < max_bytes:
            self._receive()
        return bytes(self._body[:max_bytes])

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def _receive_head(self, body: bytes) -> Http2Head:
        """Send the request's body, and return the head of the response.

        A response with a status above 299 ends the sending (ClientConn.roundTrip).
        """
        while body and not self._ended and not (self._head and self._head.status > 299):
            room = min(self._connection.local_flow_control_window(_STREAM), MAX_FRAME, len(body))
            if room <= 0:
                self._receive()
            else:
                self._connection.send_data(_STREAM, body[:room], end_stream=room == len(body))
                body = body[room:]
        while self._head is None:
            self._receive()
        return self._head

    def _receive(self) -> None:
        """Send what is waiting, and receive one frame. Raises MalformedError, also if the stream is reset."""
        # A server that has sent its response may have closed the connection, so only reading shows an error.
        with suppress(DialError):
            self._sock.sendall(self._connection.data_to_send())
        kind, frame = self._read_frame()
        if kind == _GOAWAY:
            _check_goaway(frame[_FRAME_HEAD:])
            return
        try:
            for event in self._connection.receive_data(frame):
                self._accept(event)
        except H2Error as error:
            raise MalformedError(f"the response is not valid HTTP/2: {type(error).__name__}") from None

    def _read_frame(self) -> tuple[int, bytes]:
        """Return the type of the next frame, and the frame. Raises MalformedError if it breaks off or is too much."""
        head = self._stream.read(_FRAME_HEAD)
        if not head and self._head is None:
            raise SilentError("closed the connection without a response")
        if len(head) < _FRAME_HEAD:
            raise MalformedError("the response broke off")
        size, kind = int.from_bytes(head[:3]), head[3]
        if not self._frames and kind != _SETTINGS:
            raise MalformedError("the server chose HTTP/2, but sent something else")
        self._frames += 1
        self._headers_left -= size if kind in (_HEADERS, _CONTINUATION) else 0
        self._settings_left -= size // _SETTING if kind == _SETTINGS else 0
        if size > MAX_FRAME or self._frames > MAX_FRAMES or min(self._headers_left, self._settings_left) < 0:
            raise MalformedError("the response has too many frames, headers or settings, or too long ones")
        payload = self._stream.read(size)
        if len(payload) < size:
            raise MalformedError("the response broke off")
        return kind, head + payload

    def _accept(self, event: Event) -> None:
        match event:
            case InformationalResponseReceived() | ResponseReceived() | TrailersReceived():
                self._accept_headers(event)
            case DataReceived() if self._head is None:
                raise MalformedError("the body of the response precedes its head")
            case DataReceived():
                self._body += event.data
                self._connection.acknowledge_received_data(event.flow_controlled_length, _STREAM)
            case StreamEnded():
                self._ended = True
            case StreamReset():
                _raise_reset(event.error_code)

    def _accept_headers(self, event: InformationalResponseReceived | ResponseReceived | TrailersReceived) -> None:
        self._lines_left -= len(event.headers)
        if self._lines_left < 0:
            raise MalformedError("the head of the response has too many lines")
        if isinstance(event, TrailersReceived):
            if check_fields(event.headers) is not None:
                raise MalformedError("the trailer of the response has a status")
            self.trailers = dict(event.headers)
            return
        if isinstance(event, ResponseReceived):
            self._head = Http2Head(event.headers, ended=event.stream_ended is not None, names=self._names)
        elif not 100 <= Http2Head(event.headers, ended=False).status <= 199:  # h2 looks only at the first digit
            raise MalformedError("the response has no valid status")


def _open_connection() -> H2Connection:
    """Return a connection that has its first frames ready to be sent."""
    connection = H2Connection(_CONFIGURATION)
    initial = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADERS}
    connection.local_settings = Settings(client=True, initial_values=initial)
    connection.decoder.max_header_list_size = MAX_HEADERS
    connection.initiate_connection()
    return connection


def _check_goaway(payload: bytes) -> None:
    """Raise an error if the server will not respond to the request (ClientConn.setGoAway).

    A server that shuts down completes what it has begun (RFC 9113, 6.8), but h2 accepts no frame after this one.
    """
    if int.from_bytes(payload[:4]) & 0x7FFFFFFF >= _STREAM:
        return
    code = int.from_bytes(payload[4:8])
    if code == ErrorCodes.NO_ERROR:
        raise RefusedError("the server is shutting down")
    raise MalformedError(f"the server ended the connection: {_name_error(code)}")


def _raise_reset(code: int) -> None:
    """Raise the error of a stream that the server has reset (canRetryError)."""
    refused = code in (ErrorCodes.REFUSED_STREAM, ErrorCodes.PROTOCOL_ERROR)
    error = RefusedError if refused else MalformedError
    raise error(f"the server reset the stream: {_name_error(code)}")


def _name_error(code: int) -> str:
    """Return the name of an error code (RFC 9113, 7)."""
    return ErrorCodes(code).name if code in list(ErrorCodes) else f"error {code}"
