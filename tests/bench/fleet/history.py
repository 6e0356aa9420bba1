"""The past of a fleet, written to Prometheus by remote write: nobody waits hours for the windows of the rules to fill.

Every series was constant. A query reads as many samples of it as of any other series.
"""

import http.client
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

SLAB = 3600  # seconds; Prometheus refuses a sample that is more than an hour older than its latest
LARGE = 1 << 22  # bytes of a request
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


@dataclass(frozen=True)
class Past:
    """A series that has had this value for `span` seconds, with a sample each `interval` seconds."""

    labels: tuple[tuple[str, str], ...]
    value: float
    interval: int
    span: int


def write(url: str, pasts: Iterable[Past]) -> int:
    """Write the past of these series until now, the oldest samples first. Return the number of samples."""
    encoded = [(past, b"".join(_encode(1, _encode_label(*pair)) for pair in past.labels)) for past in pasts]
    start = began = int(time.time()) - max(past.span for past, _ in encoded)
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=600)
    written = 0
    while (end := min(start + SLAB, int(time.time()))) > start + 15:
        for request, count in _make_requests(encoded, began, start, end):
            connection.request("POST", "/api/v1/write", _compress(request), HEADERS)
            response = connection.getresponse()
            text = response.read()
            assert response.status == 204, text
            written += count
        start = end
    connection.close()
    return written


def _make_requests(encoded: list[tuple[Past, bytes]], began: int, start: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Yield requests with the samples of a slab, and their number."""
    longest = max(past.span for past, _ in encoded)
    samples: dict[tuple[float, int], tuple[bytes, int]] = {}  # many series have the same value
    request, count, size = [], 0, 0
    for past, labels in encoded:
        if end <= began + longest - past.span:
            continue
        key = past.value, past.interval
        if key not in samples:
            times = range(start - start % -past.interval, end, past.interval)
            samples[key] = b"".join(_encode(2, _encode_sample(past.value, time)) for time in times), len(times)
        text, number = samples[key]
        request.append(_encode(1, labels + text))
        count, size = count + number, size + len(request[-1])
        if size > LARGE:
            yield b"".join(request), count
            request, count, size = [], 0, 0
    yield b"".join(request), count


def _encode_label(name: str, value: str) -> bytes:
    return _encode(1, name.encode()) + _encode(2, value.encode())


def _encode_sample(value: float, seconds: int) -> bytes:
    return b"\x09" + struct.pack("<d", value) + b"\x10" + _encode_number(seconds * 1000)


def _encode(field: int, content: bytes) -> bytes:
    """Return a field of a protocol buffer that has a length."""
    return bytes([field << 3 | 2]) + _encode_number(len(content)) + content


def _encode_number(number: int) -> bytes:
    """Return a varint."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _compress(data: bytes) -> bytes:
    """Return data in the format of Snappy, as one literal: it stays as large as it is."""
    return _encode_number(len(data)) + b"\xfc" + struct.pack("<I", len(data) - 1) + data
