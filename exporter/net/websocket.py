"""The client's side of a WebSocket (RFC 6455), by a deadline, over HTTP/1.1.

Theory of operation. The socket carries the deadline (dial.py), so it bounds the handshake and every frame, also one
that arrives byte by byte. The response to the handshake is read by the rules for any other response (response.py), and
the frames after it from the same buffer. No extension is offered, so a frame that uses one is an error. A payload is
read only as far as the caller permits, and everything after the handshake counts toward one allowance, so a server that
sends without end, pings included, is not read until the deadline.
"""

import hashlib
import math
import os
import struct
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Self

from exporter.model import Deadline, Reason
from exporter.net.errors import DialError
from exporter.net.fetch import explain, report_unsendable
from exporter.net.head import MalformedError
from exporter.net.request import Request
from exporter.net.response import Response
from exporter.net.sockets import Socket, TLSSocket

CLOSE_SECONDS = 1.0
"""Time for the server to close the connection once it has been asked to. The result of the check does not depend on it.
"""
MAX_OVERHEAD = 64 * 1024
"""Bytes that a server may send in addition to the messages that are read: frames, pings, the rest of a message."""
RESERVED = ("connection", "upgrade", "sec-websocket-extensions", "sec-websocket-key", "sec-websocket-version")
"""The headers, in lower case, that the handshake itself sends or that it must not send."""

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_NORMAL = struct.pack("!H", 1000)  # the code of a normal closure (RFC 6455, 7.4.1)
_LENGTHS = {126: struct.Struct("!H"), 127: struct.Struct("!Q")}
_NAMES = (b"connection", b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol", b"upgrade")


class WebSocket:
    """An open WebSocket. Use it in a `with` statement, which closes it, with the closing handshake unless it failed."""

    def __init__(self, sock: Socket | TLSSocket, request: Request, deadline: Deadline) -> None:
        """Make the opening handshake on a connection. Raises DialError, `status` if the server does not accept it."""
        self._sock = sock
        self._deadline = deadline
        self._stream = sock.makefile("rb")
        self.close_code = 0
        """The code of the server's Close frame: 1005 if it has none (RFC 6455, 7.1.5), 0 before it has arrived."""
        self.was_cut = False
        """Whether the last message was longer than what was read of it."""
        key = b64encode(os.urandom(16)).decode()
        try:
            self._shake_hands(request, key)
        except (DialError, MalformedError) as error:
            self._release()
            raise explain(request, error) from None
        sock.allowance = MAX_OVERHEAD

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is None:
            self._close()
        self._release()

    def send(self, text: str) -> None:
        """Send a text message. Raises DialError."""
        self._send(_TEXT, text.encode())

    def receive(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the payload of each message until the server closes the WebSocket.

        At most `max_bytes` of all messages are read; `was_cut` is then set. Raises DialError, `status` for bytes that
        do not follow the protocol.
        """
        self._sock.allowance += max_bytes
        message, unfinished, is_text = b"", False, False
        while True:
            final, code, length = self._read_head()
            if code >= _CLOSE:
                self._handle_control(code, self._read(length))
                if self.close_code:
                    return
                continue
            if (code == _CONTINUATION) is not unfinished:
                raise _make_protocol_error("a frame is out of order")
            is_text = is_text if unfinished else code == _TEXT
            part = self._read(min(length, max_bytes))
            max_bytes -= len(part)
            message += part
            self.was_cut = len(part) < length
            if final or self.was_cut:
                if is_text and not self.was_cut:
                    _require_utf_8(message)
                yield message
                message = b""
            if self.was_cut:
                return
            unfinished = not final

    def _shake_hands(self, request: Request, key: str) -> None:
        own = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
        with report_unsendable():
            data = replace(request, headers=(*request.headers, *own.items())).wire
        self._sock.sendall(data)
        response = Response(self._stream, names=_NAMES)
        where = request.url.public
        if response.status != 101:
            raise DialError(Reason.STATUS, f"{where} returned {response.status}, expected 101", where)
        if response.version == b"1.0":
            raise MalformedError("the response with the status 101 is in HTTP/1.0, which has no upgrade")
        values = {name: (value or b"").decode("latin-1") for name, value in response.values.items()}
        accepted = b64encode(hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()).decode()
        tokens = [token.strip(" \t") for token in values[b"connection"].lower().split(",")]
        if values[b"upgrade"].lower() != "websocket" or "upgrade" not in tokens:
            raise MalformedError("the response with the status 101 does not upgrade to a WebSocket")
        if values[b"sec-websocket-accept"] != accepted:
            raise MalformedError("the header Sec-WebSocket-Accept of the response does not match the request")
        if values[b"sec-websocket-extensions"]:
            raise MalformedError("the response has an extension that was not requested")
        if values[b"sec-websocket-protocol"] not in ("", *_list_subprotocols(request)):
            raise MalformedError("the response has a subprotocol that was not requested")

    def _read_head(self) -> tuple[bool, int, int]:
        """Return whether a frame is the last one of its message, its code, and the length of its payload."""
        first, second = self._read(2)
        code, length = first & 15, second & 127
        if first & 0x70:
            raise _make_protocol_error("a frame uses an extension that was not requested")
        if second & 0x80:
            raise _make_protocol_error("a frame of a server is masked")
        if code not in (_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG):
            raise _make_protocol_error("a frame has an unknown code")
        if code >= _CLOSE and (length > 125 or not first & 0x80):
            raise _make_protocol_error("a control frame is too long or fragmented")
        if form := _LENGTHS.get(length):
            (length,) = form.unpack(self._read(form.size))
        return bool(first & 0x80), code, length

    def _handle_control(self, code: int, payload: bytes) -> None:
        if code == _PING:
            self._send(_PONG, payload)
        elif code == _CLOSE:
            if len(payload) == 1:
                raise _make_protocol_error("the code of a Close frame is not complete")
            self.close_code = int.from_bytes(payload[:2]) or 1005

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise DialError(Reason.CONNECT, "the server closed the connection without a Close frame")
        return data

    def _skip(self, size: float) -> None:
        """Read and discard so many bytes, or up to the end."""
        while size > 0 and (data := self._stream.read1(int(min(size, 4096)))):
            size -= len(data)

    def _send(self, code: int, payload: bytes) -> None:
        """Send a frame. A client masks the payload (RFC 6455, 5.3)."""
        size, mask = len(payload), os.urandom(4)
        short = size if size < 126 else 126 if size < 1 << 16 else 127
        length = _LENGTHS[short].pack(size) if short in _LENGTHS else b""
        pattern = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload) ^ int.from_bytes(pattern)).to_bytes(size)
        self._sock.sendall(bytes([0x80 | code, 0x80 | short]) + length + mask + masked)

    def _close(self) -> None:
        """Send a Close frame, and wait a moment until the server has closed the connection (RFC 6455, 7.1.1).

        Otherwise data that has not been read would reset the connection, and the server might not get the frame. If the
        server has begun to close the WebSocket, `close_code` is its reason.
        """
        clock = self._deadline.clock
        with suppress(DialError):
            self._send(_CLOSE, _NORMAL)
            self._sock.deadline = Deadline(min(self._deadline.at, clock() + CLOSE_SECONDS), clock)
            while not self.close_code:
                _, code, length = self._read_head()
                if code == _CLOSE:
                    self._handle_control(code, self._read(length))
                else:
                    self._skip(length)
            self._skip(math.inf)

    def _release(self) -> None:
        self._stream.close()
        self._sock.close()


def _list_subprotocols(request: Request) -> list[str]:
    """Return the subprotocols that a request offers (RFC 6455, 4.1)."""
    values = (value for name, value in request.headers if name.lower() == "sec-websocket-protocol")
    return [token.strip() for value in values for token in value.split(",")]


def _require_utf_8(message: bytes) -> None:
    """Raise a DialError for a text message that is not in UTF-8 (RFC 6455, 8.1)."""
    try:
        message.decode()
    except UnicodeDecodeError:
        raise _make_protocol_error("a text message is not in UTF-8") from None


def _make_protocol_error(cause: str) -> DialError:
    return DialError(Reason.STATUS, f"the server does not follow the WebSocket protocol: {cause}")
