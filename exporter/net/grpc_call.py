"""A call of `grpc.health.v1.Health/Check` over a connection that is already there, as grpc-go makes it.

The call is one message in each direction over HTTP/2 (PROTOCOL-HTTP2.md in grpc/grpc). A message has a prefix of five
bytes: whether it is compressed, and its length. The status of the call is in the trailers, or in the headers of a
response without a message. Both messages have a single field, so they are encoded and decoded here (health.proto).
"""

import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import unquote

from exporter.model import Deadline, Reason
from exporter.net.errors import DialError
from exporter.net.head import MalformedError, RefusedError, SilentError
from exporter.net.request import KUBELET_USER_AGENT

MAX_RESPONSE = 64 * 1024
"""Bytes of the response's message; a HealthCheckResponse has 2."""
PROTOCOL = "h2"
"""HTTP/2, as ALPN names it. grpc-go requires that the server chooses it."""

_PREFIX = 5  # bytes
_LONGEST = 99_999_999  # milliseconds: grpc-timeout has at most eight digits
_SERVING = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}  # ServingStatus
_VARINT = 10  # bytes
# Keys in protobuf are the number of a field and the type of its value in the last three bits.
_STATUS = 1 << 3
_FIXED = {1: 8, 5: 4}  # the sizes of values, by type
_WITH_LENGTH = 2
_CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """The status of the call and its message, and if the status is OK, the ServingStatus."""

    code: str
    details: str = ""
    serving: str = ""


def call_health(sock: ssl.SSLSocket, authority: str, service: str, deadline: Deadline) -> Reply:
    """Make the call. Raises DialError if the server does not speak gRPC, or if the connection breaks."""
    from exporter.net.http2 import Http2Response  # imports h2

    if sock.selected_alpn_protocol() != PROTOCOL:
        raise DialError(Reason.TLS, "the server does not offer HTTP/2 in the TLS handshake (ALPN), which gRPC requires")
    message = b"\x0a" + _encode_varint(len(service.encode())) + service.encode() if service else b""
    body = b"\0" + len(message).to_bytes(_PREFIX - 1) + message
    try:
        with closing(Http2Response(sock, "POST", _make_fields(authority, deadline), body)) as response:
            content = response.read(_PREFIX + MAX_RESPONSE + 1)
            return _read_reply(response.status, {**response.headers, **response.trailers}, content)
    except (SilentError, RefusedError) as error:
        raise DialError(Reason.CONNECT, str(error)) from None
    except MalformedError as error:
        raise DialError(Reason.STATUS, f"does not speak gRPC: {error}") from None


def _make_fields(authority: str, deadline: Deadline) -> list[tuple[bytes, bytes]]:
    milliseconds = min(_LONGEST, max(1, int(deadline.remaining() * 1000)))
    fields = {
        ":method": "POST",
        ":scheme": "https",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": KUBELET_USER_AGENT,
        "grpc-timeout": f"{milliseconds}m",
    }
    return [(name.encode(), value.encode()) for name, value in fields.items()]


def _read_reply(status: int, fields: Mapping[bytes, bytes], content: bytes) -> Reply:
    """Return the reply. Raises MalformedError if it is not one of gRPC."""
    code = fields.get(b"grpc-status", b"")
    if status != 200:
        raise MalformedError(f"it returned {status} over HTTP/2")
    if len(content) > _PREFIX + MAX_RESPONSE:
        return Reply("RESOURCE_EXHAUSTED", "the response is too long")
    if not code.isdigit() or len(code) > 2:
        raise MalformedError("the response has no grpc-status")
    if int(code):
        name = _CODES[int(code)] if int(code) < len(_CODES) else f"code {int(code)}"
        return Reply(name, unquote(fields.get(b"grpc-message", b"").decode("utf-8", "replace")))
    if len(content) < _PREFIX or content[0] or len(content) != _PREFIX + int.from_bytes(content[1:_PREFIX]):
        raise MalformedError("the response is not a single message")
    return Reply("OK", serving=name_serving(_decode_serving(content[_PREFIX:])))


def name_serving(number: int) -> str:
    """Return the name of a ServingStatus, or a number that has none."""
    return _SERVING.get(number, str(number))


def _decode_serving(message: bytes) -> int:
    """Return the first field of a HealthCheckResponse; 0 if it is missing. Others are skipped."""
    serving = at = 0
    try:
        while at < len(message):
            key, at = _decode_varint(message, at)
            if key & 7 in _FIXED:
                at += _FIXED[key & 7]
                continue
            value, at = _decode_varint(message, at)
            if key == _STATUS:
                serving = value
            at += value if key & 7 == _WITH_LENGTH else 0
    except IndexError:
        at = len(message) + 1
    if at > len(message):
        raise MalformedError("the message is not a HealthCheckResponse")
    return serving


def _decode_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at an index, and the index after it. Raises IndexError if it has no end."""
    size = 1
    while data[at + size - 1] >= 0x80:
        size += 1
        if size > _VARINT:
            raise IndexError
    return sum((data[at + index] & 0x7F) << 7 * index for index in range(size)), at + size


def _encode_varint(number: int) -> bytes:
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80]) + _encode_varint(number >> 7)
