"""An HTTP/1 answer, read by the rules of Go's client.

They are those of net/http (response.go, transfer.go, internal/chunked.go) and net/textproto (reader.go), and followed
because whether the bytes are an answer decides what a check concludes. http.client differs: it skips no interim answer
but 100, refuses more than 100 headers or a line of 64 kB, and overlooks a header without a colon or a Content-Length
that is no number.
"""

import io
import re

HEAD_LIMIT = 10 << 20
"""Bytes of all heads before the answer's body, interim ones included (net/http, Transport.MaxResponseHeaderBytes)."""
LINE_KEPT = 64 << 10
"""Bytes of one header line that are kept; the rest is only checked, so that a flood of headers costs no memory."""
CHUNK_LINE_LIMIT = 4096  # bytes
EXCESS_LIMIT = 16 * 1024  # bytes

_STATUS_LINE = re.compile(rb"HTTP/(\d\.\d) +(\d{3})(?: .*)?", re.DOTALL)
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z ]+):([\t\x20-\x7e\x80-\xff]*)")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_LENGTH = re.compile(rb"0*[0-9]{1,19}")
_LENGTH_LIMIT = 1 << 63
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*|;[^\r]*)\r\n")
_KEPT = (b"content-length", b"location", b"transfer-encoding")


class MalformedError(Exception):
    """What came is not an answer, or breaks off."""


class SilentError(MalformedError):
    """The connection was closed without a byte of an answer."""


class Answer:
    """An answer of which the head has been read; its body can be read once.

    Interim answers before it are skipped. Raises MalformedError for what Go's client does not take for an answer.
    """

    reason = ""  # requests wants one

    def __init__(self, stream: io.BufferedReader, method: str = "GET") -> None:
        head = _Head(stream, HEAD_LIMIT)
        while 100 <= head.status <= 199 and head.status != 101:
            head = _Head(stream, head.left)
        self._stream = stream
        self.status = head.status
        self.headers = {"Location": head.location} if head.location else {}
        self.chunked = head.chunked and method != "HEAD"
        self.length = 0 if method == "HEAD" else head.length
        """Bytes of the body; None where chunks or the end of the connection tell its end."""

    def read(self, limit: int) -> bytes:
        """The body up to a limit. Raises MalformedError where it breaks off before."""
        if self.chunked:
            return self._chunks(limit)
        return self._stream.read(limit) if self.length is None else self._exactly(min(limit, self.length))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise MalformedError("the body broke off")
        return data

    def _chunks(self, limit: int) -> bytes:
        body = bytearray()
        excess = 0  # bytes that carry no data: a flood of them is refused
        while len(body) < limit:
            line = self._stream.readline(CHUNK_LINE_LIMIT)
            size = _CHUNK_SIZE.fullmatch(line)
            if not size:
                raise MalformedError("the body broke off between chunks")
            length = int(size[1], 16)
            excess = max(0, excess + len(line) - 16 - 2 * length)
            if excess > EXCESS_LIMIT:
                raise MalformedError("the body's chunks hold too little")
            if not length:
                self._trailer()
                break
            body += self._exactly(min(length, limit - len(body)))
            if len(body) < limit and self._exactly(2) != b"\r\n":
                raise MalformedError("the body's chunks are longer than they say")
        return bytes(body)

    def _trailer(self) -> None:
        trailer = self._stream.readline(CHUNK_LINE_LIMIT)
        while trailer != b"\r\n" and not trailer.endswith(b"\r\n\r\n"):
            line = self._stream.readline(CHUNK_LINE_LIMIT)
            trailer += line
            if not line or len(trailer) > CHUNK_LINE_LIMIT:
                raise MalformedError("the body's trailer does not end")
        _Lines(io.BufferedReader(io.BytesIO(trailer)), len(trailer)).fields()


class _Head:
    """A status line and headers, and how the body's end will be known."""

    def __init__(self, stream: io.BufferedReader, left: int) -> None:
        if not stream.peek(1):
            raise SilentError("closed the connection without an answer")
        lines = _Lines(stream, left)
        status = _STATUS_LINE.fullmatch(lines.line())
        if not status:
            raise MalformedError("the answer is not HTTP")
        self.status = int(status[2])
        self._fields = lines.fields()
        self.left = lines.left
        self.location = self._fields.get(b"location", b"").decode("utf-8", "surrogateescape")
        self.chunked = self._is_chunked(status[1])
        self.length = self._body_length()

    def _is_chunked(self, version: bytes) -> bool:
        encoding = self._fields.get(b"transfer-encoding")
        if encoding is None or b"0.0" < version < b"1.1":
            return False
        if encoding.lower() != b"chunked":
            raise MalformedError("the answer has an unknown transfer encoding")
        return self._has_body()

    def _body_length(self) -> int | None:
        length = self._fields.get(b"content-length")
        if length is not None and not (_LENGTH.fullmatch(length) and int(length[-19:]) < _LENGTH_LIMIT):
            raise MalformedError("the answer's length is no number")
        if not self._has_body():
            return 0
        return None if length is None or self.chunked else int(length[-19:])

    def _has_body(self) -> bool:
        return self.status // 100 != 1 and self.status not in (204, 304)


class _Lines:
    """Lines of a head, of which only so many bytes may come."""

    def __init__(self, stream: io.BufferedReader, left: int) -> None:
        self._stream = stream
        self.left = left

    def line(self) -> bytes:
        """A line without its end, of a very long one only the beginning."""
        line = part = self._part()
        while not part.endswith(b"\n"):
            part = self._part()
            if not _VALUE.fullmatch(part.rstrip(b"\r\n")):
                raise MalformedError("the answer has a header line that is none")
        if line is not part:
            return line
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]

    def fields(self) -> dict[bytes, bytes]:
        """The headers up to the empty line; of their values those that say how to go on."""
        kept: dict[bytes, bytes] = {}
        line = self.line()
        if line.startswith((b" ", b"\t")):
            raise MalformedError("the answer's first header begins with a space")
        while line:
            following = self.line()
            while following.startswith((b" ", b"\t")):  # the line before goes on
                line = (line.rstrip(b" \t") + b" " + following.strip(b" \t"))[:LINE_KEPT]
                following = self.line()
            _keep(line, kept)
            line = following
        return kept

    def _part(self) -> bytes:
        part = self._stream.readline(min(self.left, LINE_KEPT))
        if not part:
            raise MalformedError("the answer's head breaks off" if self.left else "the answer's head is too long")
        self.left -= len(part)
        return part


def _keep(line: bytes, kept: dict[bytes, bytes]) -> None:
    field = _FIELD.fullmatch(line)
    if not field:
        raise MalformedError("the answer has a header line that is none")
    name, value = field[1].lower(), field[2].strip(b" \t")
    if name not in _KEPT:
        return
    if len(line) >= LINE_KEPT:
        raise MalformedError("the answer has a header that is too long")
    if name not in kept:
        kept[name] = value
    elif name == b"transfer-encoding":
        kept[name] = b"more than one"
    elif name == b"content-length" and value != kept[name]:
        raise MalformedError("the answer has two lengths")
