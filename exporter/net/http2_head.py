"""The headers of an HTTP/2 response, read as Go's client does (net/http/h2_bundle.go)."""

import re
from collections.abc import Iterable, Sequence

from exporter.net.head import MalformedError, join_values

# field-name = token, in lower case                                           (RFC 9113, 8.2.1)
# validWireHeaderFieldName.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")

# httpguts.ValidHeaderFieldValue: no control character other than a tab. Beyond the RFC, spaces may surround the value.
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")

# Atoi in handleResponse accepts a sign and other numbers of digits too, which no server sends.
_STATUS = re.compile(rb"[0-9]{3}")

# handleResponse: an invalid length does not matter, nor do several.
_CONTENT_LENGTH = re.compile(rb"0*([0-9]{1,18})")


class Http2Head:
    """Status, headers and length. Raises MalformedError for headers that Go's client refuses."""

    def __init__(self, fields: Sequence[tuple[bytes, bytes]], *, ended: bool, names: Iterable[bytes] = ()) -> None:
        status = check_fields(fields)
        if status is None or not _STATUS.fullmatch(status):
            raise MalformedError("the response has no valid status")
        self.status = int(status)
        self.headers = dict(reversed(fields))
        """The headers by their names; of repeated ones, the first."""
        self.values: dict[bytes, bytes | None] = dict.fromkeys(names)
        """The values of the headers with these names, as in head.Head."""
        for name, value in fields:
            if name in self.values:
                self.values[name] = join_values(self.values[name], value)
        self.location = self.headers.get(b"location", b"").decode("utf-8", "surrogateescape")
        lengths = [value for name, value in fields if name == b"content-length"]
        length = _CONTENT_LENGTH.fullmatch(lengths[0]) if len(lengths) == 1 else None
        self.length = int(length[1]) if length else 0 if ended and not lengths else None
        """Bytes of the body; None if they are not announced."""


def check_fields(fields: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """Return the status; None if it is missing, as in a trailer (readMetaFrame and checkPseudos).

    Raises MalformedError for an invalid name or value, and for any pseudo-header other than a status at the beginning.
    """
    for index, (name, value) in enumerate(fields):
        if not (name == b":status" and index == 0) and not _NAME.fullmatch(name):
            raise MalformedError("the response has a malformed header name")
        if not _VALUE.fullmatch(value):
            raise MalformedError("the response has a malformed header value")
    return fields[0][1] if fields and fields[0][0] == b":status" else None
