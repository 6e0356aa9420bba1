"""An HTTP/1 response, read as Go's client does.

Its rules are followed closely because they decide whether a check fails: bytes that are not a response fail it, and a
body that breaks off is not evidence. The Go functions named below are in net/http (response.go, transfer.go,
internal/chunked.go, transport.go) and net/textproto (reader.go). http.client differs: it skips no interim response but
100, refuses more than 100 headers or a line of 64 kB, and overlooks a header without a colon or a Content-Length that
is not a number.
"""

import io
import re
from collections.abc import Sequence

from exporter.net.head import Head, Lines, MalformedError

MAX_CHUNK_LINE = 4096
"""Bytes of the line before a chunk, and of the trailer (maxLineLength in chunked.go, bufio's buffer size)."""
MAX_EXCESS = 16 * 1024
"""Bytes of chunk lines beyond a fair share for the data they announce (chunkedReader.beginChunk)."""
MAX_CHUNKS = 64 * 1024
"""Chunks of a body. Go has no such maximum, but the kubelet reads only 10 KiB, which cannot have that many."""

# chunk-size [ chunk-ext ] CRLF, chunk-size = 1*HEXDIG                        (RFC 9112, 7.1)
# readChunkLine, removeChunkExtension and parseHexUint (chunked.go): at most 16 digits; white space may follow them at
# the end of the line, but not precede an extension, as it may in the RFC.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*|;[^\r]*)\r\n")


class Response:
    """A response whose head has been read; its body can be read once.

    Interim responses before it are skipped. `names` are those of headers to keep, as in Head. Raises MalformedError for
    bytes that Go's client refuses.
    """

    def __init__(self, stream: io.BufferedReader, method: str = "GET", names: Sequence[bytes] = ()) -> None:
        lines = Lines(stream)
        head = Head(lines, names)
        while 100 <= head.status <= 199 and head.status != 101:
            head = Head(lines, names)
        self._stream = stream
        self.version = head.version
        self.status = head.status
        self.headers = head.headers
        self.values = head.values
        self.location = head.location
        """The first Location header; empty if there is none."""
        self.chunked = head.chunked and method != "HEAD"
        self.length = 0 if method == "HEAD" else head.length
        """Bytes of the body; None if its end is marked by a last chunk or by the end of the connection."""

    def read(self, max_bytes: int) -> bytes:
        """Return the first `max_bytes` bytes of the body. Raises MalformedError if it breaks off before their end."""
        if self.chunked:
            return self._read_chunks(max_bytes)
        return self._stream.read(max_bytes) if self.length is None else self._read_exactly(min(max_bytes, self.length))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def _read_exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise MalformedError("the body broke off")
        return data

    def _read_chunks(self, max_bytes: int) -> bytes:
        body = bytearray()
        excess = chunks = 0
        while len(body) < max_bytes:
            line = self._stream.readline(MAX_CHUNK_LINE)
            size = _CHUNK_LINE.fullmatch(line)
            if not size:
                raise MalformedError("the body broke off between chunks")
            length = int(size[1], 16)
            excess = max(0, excess + len(line) - 16 - 2 * length)
            chunks += 1
            if excess > MAX_EXCESS or chunks > MAX_CHUNKS:
                raise MalformedError("the chunks of the body hold too little data")
            if not length:
                self._read_trailer()
                break
            body += self._read_exactly(min(length, max_bytes - len(body)))
            if len(body) < max_bytes and self._read_exactly(2) != b"\r\n":
                raise MalformedError("a chunk of the body is longer than announced")
        return bytes(body)

    def _read_trailer(self) -> None:
        """Read the header lines after the last chunk, which must fit in one buffer (body.readTrailer)."""
        trailer = self._stream.readline(MAX_CHUNK_LINE)
        while trailer != b"\r\n" and not trailer.endswith(b"\r\n\r\n"):
            line = self._stream.readline(MAX_CHUNK_LINE)
            trailer += line
            if not line or len(trailer) > MAX_CHUNK_LINE:
                raise MalformedError("the trailer of the body does not end")
        Lines(io.BufferedReader(io.BytesIO(trailer)), len(trailer)).read_fields()
