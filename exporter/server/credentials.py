"""The credentials of HTTP basic authentication, parsed from the bytes of a header."""

import base64
import binascii
from typing import NamedTuple

MAX_HEADER = 4096  # bytes of an Authorization header; bcrypt reads 72 bytes of a password
_CONTROLS = frozenset(range(0x20)) | {0x7F}


class Credentials(NamedTuple):
    """A user name, and a password in the bytes that the client has sent."""

    user: str
    password: bytes


def parse(header: bytes | None) -> Credentials | None:
    """Return the credentials in the value of an Authorization header; None if it is missing or malformed.

    RFC 7617: the scheme in any case, Base64, UTF-8, no control characters, and no colon in the name.
    """
    if header is None or len(header) > MAX_HEADER:
        return None
    scheme, _, encoded = header.strip(b" \t").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(encoded.lstrip(b" "), validate=True)
        name, colon, password = decoded.partition(b":")
        user = name.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    if not colon or not _CONTROLS.isdisjoint(decoded):
        return None
    return Credentials(user, password)
