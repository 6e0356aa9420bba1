"""Decodes compressed bodies, with a limit for the result: a few bytes can stand for gigabytes."""

import zlib

MAX_MEMBERS = 100
"""Parts of a gzip file, which programs such as pigz write one after another."""
_WINDOWS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}
"""zlib's parameter wbits. For deflate, many servers leave out the frame of RFC 1950, so that is tried too."""


def decode(content: bytes, coding: str, maximum: int) -> bytes | None:
    """Return the decoded content, at most `maximum` bytes of it; None if this coding is not known.

    Content of that many bytes may be the beginning of more, and is decoded as far as it goes. Raises ValueError for
    content that is not in this coding, or that breaks off.
    """
    windows = _WINDOWS.get(coding.lower())
    if windows is None:
        return None
    for window in windows:
        try:
            return _decode(content, window, maximum)
        except zlib.error:
            continue
    raise ValueError(f"is not valid {coding}")


def _decode(content: bytes, window: int, maximum: int) -> bytes:
    data = b""
    for _ in range(MAX_MEMBERS):
        decoder = zlib.decompressobj(window)
        data += decoder.decompress(content, maximum - len(data))
        if not decoder.eof and max(len(content), len(data)) < maximum:
            raise zlib.error("the content breaks off")
        content = decoder.unused_data
        if len(data) >= maximum or not content.startswith(b"\x1f\x8b"):  # which begins the next part
            break
    return data
