"""The body of an HTTP response: whether it meets the expectations, and what a message shows of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from exporter.model import Deadline
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
class Body:
    """A response's body as far as it was read, with its Content-Type and Content-Encoding."""

    content: bytes
    maximum: int
    """The number of bytes that are read at most."""
    content_type: str = ""
    encoding: str = ""
    quote: Callable[[bytes], str] = quote
    """How a message shows the beginning of it."""

    @cached_property
    def text(self) -> str:
        """The text, by the charset of the Content-Type; what cannot be decoded becomes U+FFFD."""
        return self.content.decode(self._codec, "replace")

    def describe(self) -> str:
        """Return the body's beginning, length and media type, as a noun for a message."""
        if not self.content:
            return "an empty body"
        size = f"{len(self.content)} bytes{' or more' if self._is_cut else ''}"
        media_type = _MEDIA_TYPE.match(self.content_type)
        details = f"({size}, {media_type[0]})" if media_type else f"({size})"
        if self._coding:
            return f"a body compressed with {self._coding} {details}"
        return f"{self.quote(self.content if self._codec == 'utf-8' else self.text.encode())} {details}"

    def find_fault(
        self,
        contains: str | None,
        pattern: str | None,
        expectations: tuple[JsonExpectation, ...],
        deadline: Deadline,
    ) -> str | None:
        """Return why the body does not meet the expectations; None if it does.

        Raises TimeoutError if the deadline passes before that is known.
        """
        fault = self._find_text_fault(contains, pattern) or self._find_json_fault(expectations, deadline)
        if fault and self._coding:
            return f"the body is compressed ({self._coding}) and is not decoded"
        return f"{fault}; received {self.describe()}" if fault else None

    def _find_text_fault(self, contains: str | None, pattern: str | None) -> str | None:
        searched = f"; only its first {self.maximum // 2**20} MiB was searched" if self._is_cut else ""
        if contains is not None and contains not in self.text:
            return f"the body does not contain the expected text{searched}"
        if pattern is not None and not matches(pattern, self.text):
            return f"the body does not match {pattern}{searched}"
        return None

    def _find_json_fault(self, expectations: tuple[JsonExpectation, ...], deadline: Deadline) -> str | None:
        if not expectations:
            return None
        if self._is_cut:
            return f"the body is too long for jsonPath, which reads less than {self.maximum // 2**20} MiB"
        try:
            content = parse_json(self.content)
        except ValueError as error:
            return f"the body {error}"
        return next(filter(None, (expectation.find_fault(content, deadline) for expectation in expectations)), None)

    @property
    def _is_cut(self) -> bool:
        """Whether the body may be longer than what was read."""
        return len(self.content) >= self.maximum

    @property
    def _codec(self) -> str:
        charset = _CHARSET.search(self.content_type)
        return _CODECS.get(charset[1].lower(), "utf-8") if charset else "utf-8"

    @property
    def _coding(self) -> str:
        """The name of the compression; empty if the body is not compressed."""
        if self.encoding.lower() in ("", "identity"):
            return ""
        coding = _CODING.match(self.encoding)
        return coding[0] if coding else "an unknown method"
