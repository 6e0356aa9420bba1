"""The head of an HTTP/1 response, read as Go's client does: net/http and net/textproto (reader.go)."""

import io
import re
from collections.abc import Iterable

MAX_HEAD = 10 << 20
"""Bytes of all heads before the body, those of interim responses included (Transport.MaxResponseHeaderBytes)."""
MAX_LINES = 1000
"""Lines of all heads before the body.

Go has no such maximum, but millions of short lines would cost seconds of CPU time here.
"""
MAX_LINE = 64 << 10
"""Bytes of one header line that are kept. The rest is only checked, so that a flood of headers costs no memory.

Go keeps the whole line. For the three headers that are used, a longer line is an error here.
"""

# status-line = HTTP-version SP status-code SP [ reason-phrase ]              (RFC 9112, 4)
# ReadResponse and ParseHTTPVersion: several spaces may precede the status, and a missing reason phrase needs no space.
# Go reads the three characters of the status with Atoi, which accepts a sign too; such a status fails either way.
_STATUS_LINE = re.compile(rb"HTTP/(\d\.\d) +(\d{3})(?: .*)?", re.DOTALL)

# field-line = field-name ":" OWS field-value OWS, field-name = token         (RFC 9112, 5)
# Reader.ReadMIMEHeader and canonicalMIMEHeaderKey: beyond the RFC, a name may contain spaces.
_FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z ]+):([\t\x20-\x7e\x80-\xff]*)")

# field-vchar = VCHAR / obs-text, with SP and HTAB                            (RFC 9110, 5.5)
# validHeaderValueByte (reader.go).
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

# Content-Length = 1*DIGIT                                                    (RFC 9110, 8.6)
# parseContentLength (transfer.go): a decimal number of 63 bits. The length of the text is checked before it is
# converted, as Python takes long for a number of many digits.
_CONTENT_LENGTH = re.compile(rb"0*[0-9]{1,19}")
_MAX_CONTENT_LENGTH = (1 << 63) - 1

_USED_FIELDS = (b"content-length", b"location", b"transfer-encoding")
_DESCRIPTIVE_FIELDS = (b"content-encoding", b"content-type")

# The beginning of a TLS alert (RFC 8446, 5.1), and of a SETTINGS frame, the first one of HTTP/2 (RFC 9113, 4.1).
_OTHER_PROTOCOLS = (
    (re.compile(rb"\x15\x03[\x00-\x04]"), "TLS: the server expects it (scheme: HTTPS)"),
    (re.compile(rb"\x00[\x00-\xff]{2}\x04\x00\x00\x00\x00\x00"), "HTTP/2: the server does not speak HTTP/1.1"),
)


class MalformedError(Exception):
    """The bytes are not an HTTP response, or they break off.

    `beginning` has the first bytes of a response in an unknown protocol.
    """

    def __init__(self, message: str, beginning: bytes = b"") -> None:
        super().__init__(message)
        self.beginning = beginning


class SilentError(MalformedError):
    """The connection was closed before the first byte of a response."""


class RefusedError(MalformedError):
    """The server has not processed the request, which may be repeated on a new connection (RFC 9113, 8.7)."""


class Head:
    """A status line, headers, and what marks the end of the body. Raises MalformedError for bytes that Go refuses.

    `names`, in lower case, are those of further headers to keep.
    """

    def __init__(self, lines: "Lines", names: Iterable[bytes] = ()) -> None:
        beginning = lines.peek()
        if not beginning:
            raise SilentError("closed the connection without a response")
        if beginning[:5] != b"HTTP/"[: len(beginning)]:
            raise _make_protocol_error(beginning)
        line = lines.read_line()
        status = _STATUS_LINE.fullmatch(line)
        if not status:
            raise _make_protocol_error(line)
        self.version = status[1]
        self.status = int(status[2])
        self.values: dict[bytes, bytes | None] = dict.fromkeys(names)
        """The values of the headers with these names, joined if they are repeated; None for one that is missing."""
        self.headers = lines.read_fields(self.values)
        """The headers that are used, by their names in lower case."""
        self.location = self.headers.get(b"location", b"").decode("utf-8", "surrogateescape")
        self.chunked = self._is_chunked(status[1])
        self.length = self._find_body_length()

    def _is_chunked(self, version: bytes) -> bool:
        """Return whether the body comes in chunks (parseTransferEncoding).

        The header is ignored before HTTP/1.1, except in version 0.0, which Go reads as 1.1 (readTransfer).
        """
        encoding = self.headers.get(b"transfer-encoding")
        if encoding is None or b"0.0" < version < b"1.1":
            return False
        if encoding.lower() != b"chunked":
            raise MalformedError("the response has an unknown transfer encoding")
        return self._has_body()

    def _find_body_length(self) -> int | None:
        """Return the length of the body if it is known (fixLength): chunks take precedence over a Content-Length."""
        length = self.headers.get(b"content-length")
        if length is not None and not (_CONTENT_LENGTH.fullmatch(length) and int(length[-19:]) <= _MAX_CONTENT_LENGTH):
            raise MalformedError("the Content-Length of the response is not a number")
        if not self._has_body():
            return 0
        return None if length is None or self.chunked else int(length[-19:])

    def _has_body(self) -> bool:
        """Return whether a response with this status may have a body (bodyAllowedForStatus)."""
        return self.status // 100 != 1 and self.status not in (204, 304)


class Lines:
    """The lines of one or more heads, with a maximum number of bytes and lines for all of them."""

    def __init__(self, stream: io.BufferedReader, max_bytes: int = MAX_HEAD, max_lines: int = MAX_LINES) -> None:
        self._stream = stream
        self._bytes_left = max_bytes
        self._lines_left = max_lines

    def peek(self) -> bytes:
        """Return the next bytes, at least one unless the stream has ended."""
        return self._stream.peek(1)

    def read_line(self) -> bytes:
        """Return a line without its end, which may lack the CR (Reader.ReadLine).

        Only the beginning of a very long line is returned.

        Raises MalformedError if the head breaks off, is too long, or has a forbidden character in a long line.
        """
        self._lines_left -= 1
        if self._lines_left < 0:
            raise MalformedError("the head of the response has too many lines")
        line = part = self._read_part()
        while not part.endswith(b"\n"):
            part = self._read_part()
            if not _FIELD_VALUE.fullmatch(part.rstrip(b"\r\n")):
                raise MalformedError("the response has a malformed header line")
        if line is not part:
            return line
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]

    def read_fields(self, values: dict[bytes, bytes | None] | None = None) -> dict[bytes, bytes]:
        """Read the header lines up to the empty line, and return the headers that are used. Complete `values`.

        A line that begins with white space continues the one before (obs-fold in RFC 9112, 5.2;
        Reader.readContinuedLineSlice), so the first one must not (Reader.ReadMIMEHeader). Raises MalformedError for
        lines that Go refuses.
        """
        fields: dict[bytes, bytes] = {}
        line = self.read_line()
        if line.startswith((b" ", b"\t")):
            raise MalformedError("the first header of the response begins with a space")
        while line:
            following = self.read_line()
            while following.startswith((b" ", b"\t")):
                line = (line.rstrip(b" \t") + b" " + following.strip(b" \t"))[:MAX_LINE]
                following = self.read_line()
            _add_field(line, fields, values or {})
            line = following
        return fields

    def _read_part(self) -> bytes:
        part = self._stream.readline(min(self._bytes_left, MAX_LINE))
        if not part:
            raise MalformedError("the head of the response " + ("breaks off" if self._bytes_left else "is too long"))
        self._bytes_left -= len(part)
        return part


def _add_field(line: bytes, fields: dict[bytes, bytes], values: dict[bytes, bytes | None]) -> None:
    field = _FIELD_LINE.fullmatch(line)
    if not field:
        raise MalformedError("the response has a malformed header line")
    name, value = field[1].lower(), field[2].strip(b" \t")
    if name in values:
        values[name] = join_values(values[name], value)
    if name in _DESCRIPTIVE_FIELDS:
        fields.setdefault(name, value)
    if name not in _USED_FIELDS:
        return
    if len(line) >= MAX_LINE:
        raise MalformedError("the response has a header that is too long")
    if name not in fields:
        fields[name] = value
    elif name == b"transfer-encoding":
        fields[name] = b"more than one"
    elif name == b"content-length" and value != fields[name]:
        raise MalformedError("the response has two different lengths")


def join_values(first: bytes | None, second: bytes) -> bytes:
    """Return the value of a repeated header (RFC 9110, 5.3), up to a maximum length."""
    return (second if first is None else first + b", " + second)[:MAX_LINE]


def _make_protocol_error(beginning: bytes) -> MalformedError:
    for pattern, name in _OTHER_PROTOCOLS:
        if pattern.match(beginning):
            return MalformedError(f"the response is {name}")
    return MalformedError("the response is not HTTP", beginning)
