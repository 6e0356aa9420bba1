"""The body of an HTTP response: whether it meets the expectations, and what a message shows of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from exporter.model import Deadline
from exporter.probe.decoding import decode
from exporter.probe.expect import JsonExpectation, matches
from exporter.probe.jsonvalue import parse_json
from exporter.redaction import quote

# media-type = type "/" subtype parameters, parameter = name "=" ( token / quoted-string )     (RFC 9110, 8.3.1)
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,80}", re.ASCII)
_CHARSET = re.compile(r""";\s*charset="?([\w.:-]+)""", re.ASCII | re.IGNORECASE)
_CODING = re.compile(r"[\w-]{1,20}", re.ASCII)

# Charsets other than UTF-8 that responses still have, and Python's names for them. It knows more, but some of those,
# such as `punycode`, take time that grows with the square of the length. Clients read ISO-8859-1 as windows-1252
# (https://encoding.spec.whatwg.org/#names-and-labels).
_CODECS = {
    **dict.fromkeys(("iso-8859-1", "latin1", "windows-1252"), "cp1252"),
    **{name: name for name in ("iso-8859-2", "iso-8859-15", "windows-1250", "windows-1251", "koi8-r", "utf-16")},
    **{name: name for name in ("shift_jis", "euc-jp", "gbk", "gb2312", "gb18030", "big5", "euc-kr")},
}


@dataclass(frozen=True)
class BodyExpectations:
    """What a body must be like. All of it must apply; None expects nothing."""

    contains: str | None = None
    matches: str | None = None
    not_contains: str | None = None
    not_matches: str | None = None
    json_path: tuple[JsonExpectation, ...] = ()


@dataclass(frozen=True)
class Body:
    """A response's body as far as it was read, with its Content-Type and Content-Encoding."""

    content: bytes
    maximum: int
    """The number of bytes that are read at most, and of those that these are decoded to."""
    content_type: str = ""
    encoding: str = ""
    quote: Callable[[bytes], str] = quote
    """How a message shows the beginning of it."""

    @cached_property
    def text(self) -> str:
        """The text, by the charset of the Content-Type; what cannot be decoded becomes U+FFFD."""
        return self._decoded.decode(self._codec, "replace")

    def describe(self) -> str:
        """Return the body's beginning, length and media type, as a noun for a message."""
        if not self.content:
            return "an empty body"
        details = [f"{len(self.content)} bytes{' or more' if self._is_cut else ''}"]
        details += [match[0]] if (match := _MEDIA_TYPE.match(self.content_type)) else []
        if self._obstacle:
            return f"a body compressed with {self._coding} ({', '.join(details)})"
        details += [self._coding] if self._coding else []
        shown = self.quote(self._decoded if self._codec == "utf-8" else self.text.encode())
        return f"{shown} ({', '.join(details)})"

    def find_fault(self, expected: BodyExpectations, deadline: Deadline) -> str | None:
        """Return why the body does not meet the expectations; None if it does.

        Raises TimeoutError if the deadline passes before that is known.
        """
        if self._obstacle and expected != BodyExpectations():
            return self._obstacle
        fault = self._find_text_fault(expected) or self._find_json_fault(expected.json_path, deadline)
        return f"{fault}; received {self.describe()}" if fault else None

    def _find_text_fault(self, expected: BodyExpectations) -> str | None:
        searched = f"; only its first {self.maximum // 2**20} MiB was searched" if self._is_cut else ""
        if expected.contains is not None and expected.contains not in self.text:
            return f"the body does not contain the expected text{searched}"
        if expected.matches is not None and not matches(expected.matches, self.text):
            return f"the body does not match {expected.matches}{searched}"
        if expected.not_contains is not None and expected.not_contains in self.text:
            return "the body contains the text that it must not contain"
        if expected.not_matches is not None and matches(expected.not_matches, self.text):
            return f"the body matches {expected.not_matches}"
        return None

    def _find_json_fault(self, expectations: tuple[JsonExpectation, ...], deadline: Deadline) -> str | None:
        if not expectations:
            return None
        if self._is_cut:
            return f"the body is too long for jsonPath, which reads less than {self.maximum // 2**20} MiB"
        try:
            content = parse_json(self._decoded)
        except ValueError as error:
            return f"the body {error}"
        return next(filter(None, (expectation.find_fault(content, deadline) for expectation in expectations)), None)

    @property
    def _decoded(self) -> bytes:
        """The content without its compression; as it is if it cannot be decoded."""
        return self._decoding[0]

    @property
    def _obstacle(self) -> str:
        """Why the content cannot be decoded; empty if it can."""
        return self._decoding[1]

    @cached_property
    def _decoding(self) -> tuple[bytes, str]:
        if not self._coding or not self.content:
            return self.content, ""
        try:
            decoded = decode(self.content, self._coding, self.maximum)
        except ValueError as error:
            return self.content, f"the body {error}"
        if decoded is None:
            return self.content, f"the body is compressed ({self._coding}) and is not decoded"
        return decoded, ""

    @property
    def _is_cut(self) -> bool:
        """Whether the body may be longer than what was read or decoded."""
        return max(len(self.content), len(self._decoded)) >= self.maximum

    @property
    def _codec(self) -> str:
        charset = _CHARSET.search(self.content_type)
        return _CODECS.get(charset[1].lower(), "utf-8") if charset else "utf-8"

    @property
    def _coding(self) -> str:
        """The name of the compression; empty if the body is not compressed."""
        if self.encoding.lower() in ("", "identity"):
            return ""
        coding = _CODING.fullmatch(self.encoding)
        return coding[0] if coding else "an unknown method"
