"""STARTTLS: TLS on a connection that begins without it, at the client's request.

Theory of operation. `start` speaks the protocol up to the request, and returns once the server has agreed; the caller
then starts TLS on the same connection. A server sends nothing between its agreement and the handshake. Bytes that
arrive there may have been inserted by somebody else, to be taken for a part of the encrypted conversation
(CVE-2011-0411), so they are an error.
"""

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from exporter.model import Reason
from exporter.net.errors import DialError
from exporter.net.sockets import Socket
from exporter.redaction import quote

MAX_RESPONSE = 10 * 1024
"""Bytes that a server may send before TLS starts."""

# Each step: the line to send, a pattern of the lines to skip, and one of the line that agrees.
_Steps = Sequence[tuple[bytes, bytes, bytes]]
_NOTHING = rb"(?!)"
_SMTP: _Steps = (  # RFC 3207
    (b"", rb"220-", rb"220"),
    (b"EHLO localhost\r\n", rb"250-", rb"250"),
    (b"STARTTLS\r\n", rb"220-", rb"220"),
)
_IMAP: _Steps = ((b"", _NOTHING, rb"\* OK"), (b"a STARTTLS\r\n", rb"\* ", rb"a OK"))  # RFC 9051, 6.2.1
_POP3: _Steps = ((b"", _NOTHING, rb"\+OK"), (b"STLS\r\n", _NOTHING, rb"\+OK"))  # RFC 2595, 4

# ExtendedRequest with the OID of StartTLS, in BER                                                    (RFC 4511, 4.14.1)
_LDAP = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
# LDAPMessage with the same ID, and an ExtendedResponse whose resultCode is success. Lengths may have several bytes.
_LENGTH = rb"(?:[\x00-\x7f]|\x81.|\x82..|\x83...|\x84....)"
_LDAP_SUCCESS = re.compile(rb"\x30%b\x02\x01\x01\x78%b\x0a\x01\x00" % (_LENGTH, _LENGTH), re.DOTALL)

_POSTGRESQL = struct.pack(">II", 8, 80877103)  # SSLRequest, to which the server responds with a single byte

_MYSQL_SSL = 0x800  # CLIENT_SSL
_MYSQL = struct.pack("<IIB23x", 0x200 | _MYSQL_SSL | 0x8000, 2**24 - 1, 45)  # SSLRequest of protocol 4.1, in utf8mb4


def start(sock: Socket, protocol: str) -> None:
    """Ask the server to start TLS. Raises DialError if it does not agree."""
    sock.allowance = MAX_RESPONSE
    PROTOCOLS[protocol](sock)


def _start_by_lines(steps: _Steps, sock: Socket) -> None:
    buffer = b""
    for request, skipped, agreed in steps:
        if request:
            sock.sendall(request)
        line, buffer = _read_line(sock, buffer)
        while re.match(skipped, line):
            line, buffer = _read_line(sock, buffer)
        if not re.match(agreed, line):
            text = f"the server refused {request.decode().strip()}" if request else "the server sent no greeting"
            raise _refuse(Reason.TLS if request else Reason.STATUS, text, line)
    if buffer:
        raise _refuse(Reason.TLS, "the server sent more than a response before the TLS handshake", buffer)


def _start_ldap(sock: Socket) -> None:
    sock.sendall(_LDAP)
    head = _read(sock, 2)
    size = head[1] & 0x7F
    extra = _read(sock, size) if head[1] & 0x80 else b""
    response = head + extra + _read(sock, int.from_bytes(extra) if extra else size)
    if not _LDAP_SUCCESS.match(response):
        raise _refuse(Reason.TLS, "the server refused StartTLS", response)


def _start_postgresql(sock: Socket) -> None:
    sock.sendall(_POSTGRESQL)
    response = _read(sock, 1)
    if response != b"S":
        raise _refuse(Reason.TLS, "the server refused the SSLRequest", response)


def _start_mysql(sock: Socket) -> None:
    size = int.from_bytes(_read(sock, 4)[:3], "little")
    greeting = _read(sock, min(size, MAX_RESPONSE))
    # The version ends with NUL; 4 bytes of the thread, 8 of the scramble and 1 of filler precede the capabilities.
    _, _, rest = greeting.partition(b"\0")
    if not greeting.startswith(b"\n") or len(rest) < 15:
        raise _refuse(Reason.STATUS, "the server sent no greeting", greeting)
    if not int.from_bytes(rest[13:15], "little") & _MYSQL_SSL:
        raise DialError(Reason.TLS, "the server does not support TLS")
    sock.sendall(struct.pack("<I", len(_MYSQL) | 1 << 24) + _MYSQL)


PROTOCOLS: Mapping[str, Callable[[Socket], None]] = {
    "smtp": partial(_start_by_lines, _SMTP),
    "imap": partial(_start_by_lines, _IMAP),
    "pop3": partial(_start_by_lines, _POP3),
    "ldap": _start_ldap,
    "postgresql": _start_postgresql,
    "mysql": _start_mysql,
}
"""What the client does in each protocol until the server has agreed."""


def _read_line(sock: Socket, buffer: bytes) -> tuple[bytes, bytes]:
    """Return the next line, and what arrived after it."""
    while b"\n" not in buffer:
        buffer += _receive(sock, MAX_RESPONSE)
    line, _, rest = buffer.partition(b"\n")
    return line, rest


def _read(sock: Socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += _receive(sock, size - len(data))
    return data


def _receive(sock: Socket, size: int) -> bytes:
    data = sock.recv(size)
    if not data:
        raise DialError(Reason.CONNECT, "the server closed the connection before TLS started")
    return data


def _refuse(reason: Reason, text: str, received: bytes) -> DialError:
    return DialError(reason, f"{text}; received {quote(received)}")
