"""HTTP/2 for scripted servers (kinds.servers): frames byte by byte, and a server that records its requests."""

import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hpack
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from kinds.pages import tls
from kinds.servers import Server

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, HTTP_1_1_REQUIRED = 0, 1, 2, 7, 8, 13

Name = str | bytes


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, b"".join(struct.pack(">HI", *pair) for pair in pairs), stream=0)


def block(*fields: tuple[Name, Name]) -> bytes:
    """A block of headers that refers to no earlier one. A name may be anything."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)


def headers(*fields: tuple[Name, Name], end: bool = False) -> bytes:
    return frame(HEADERS, block(*fields), END_HEADERS | (END_STREAM if end else 0))


def head(status: int | str = 200, *fields: tuple[Name, Name], end: bool = False) -> bytes:
    return headers((":status", str(status)), *fields, end=end)


def data(payload: bytes = b"", end: bool = False) -> bytes:
    return frame(DATA, payload, END_STREAM if end else 0)


def continuation(payload: bytes = b"", end: bool = False) -> bytes:
    return frame(CONTINUATION, payload, END_HEADERS if end else 0)


def goaway(last: int = 0, code: int = NO_ERROR) -> bytes:
    return frame(GOAWAY, struct.pack(">II", last, code), stream=0)


def reset_stream(code: int, stream: int = 1) -> bytes:
    return frame(RST_STREAM, struct.pack(">I", code), stream=stream)


def window_update(increment: int, stream: int = 0) -> bytes:
    return frame(WINDOW_UPDATE, struct.pack(">I", increment), stream=stream)


def ping(payload: bytes = b"12345678") -> bytes:
    return frame(PING, payload, stream=0)


SETTINGS_FRAME = settings()
OK2 = SETTINGS_FRAME + head(200, ("content-length", "2")) + data(b"ok", end=True)


def tls2(*protocols: str) -> ssl.SSLContext:
    """A server's TLS that chooses one of these protocols by ALPN; HTTP/2 by default."""
    context = tls()
    context.set_alpn_protocols(protocols or ("h2",))
    return context


@dataclass
class Received:
    """A request over HTTP/2."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def named(self, port: int) -> list[tuple[str, str]]:
        """The fields with PORT for the port of the server."""
        return [(name, value.replace(str(port), "PORT")) for name, value in self.fields]


def record(
    requests: list[Received], status: int = 200, *fields: tuple[str, str], window: int | None = None
) -> Callable[[Server, socket.socket], None]:
    """Read a request, keep it, and respond. `window` is the room for each part of its body, in bytes."""

    def act(_: Server, connection: socket.socket) -> None:
        peer = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding="utf-8",
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
            )
        )
        if window is not None:
            peer.update_settings({4: window})
        peer.initiate_connection()
        received = Received()
        while chunk := connection.recv(65536):
            for event in peer.receive_data(chunk):
                _note(event, received, peer)
                if isinstance(event, StreamEnded):
                    requests.append(received)
                    peer.send_headers(1, [(":status", str(status)), *fields], end_stream=True)
            connection.sendall(peer.data_to_send())

    return act


def _note(event: Any, received: Received, peer: H2Connection) -> None:
    if isinstance(event, RequestReceived):
        received.fields = [(str(name), str(value)) for name, value in event.headers]
    elif isinstance(event, DataReceived):
        received.body += event.data
        peer.acknowledge_received_data(event.flow_controlled_length, 1)
