"""A request as the kubelet makes it: what is asked, the bytes of it, and where a redirect leads.

The rules are those of pkg/probe/http/request.go and of Go's net/http (request.go, client.go).
"""

import re
from base64 import b64encode
from dataclasses import dataclass, field, replace
from functools import cached_property
from urllib.parse import unquote_to_bytes

from exporter.net.url import Url, parse

USER_AGENT = "kube-probe/1.36"

_UNSENT = ("Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer")  # not as they are given
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(r"[-!$%&'()*+,.:;=\[\]_~0-9A-Za-z]*")
_SPACE = " \t"
_WITH_BODY = ("POST", "PUT", "PATCH")  # say their length even if it is 0, as Go does


@dataclass(frozen=True)
class Request:
    """What is asked: a URL, the configured headers, a host if it is not the URL's, and the page that led here."""

    url: Url
    headers: tuple[tuple[str, str], ...]
    host: str = ""
    referer: str = ""
    method: str = "GET"
    body: bytes = b""
    authorization: str = field(default="", repr=False)
    """Our own Authorization, which a redirect takes along only to the same scheme, host and port."""

    @classmethod
    def configured(cls, url: Url, headers: tuple[tuple[str, str], ...]) -> "Request":
        """The first request. Of several Host headers the first one counts."""
        named = tuple((_canonical(name), value) for name, value in headers)
        return cls(url, named, next((value for name, value in named if name == "Host"), ""))

    @cached_property
    def sent(self) -> bytes:
        """The bytes that are sent. Raises ValueError for what cannot be sent."""
        fields = self._fields()
        if any(_UNSENDABLE.search(value) for values in fields.values() for value in values):
            raise ValueError("the value of a header has a control character in it")
        lines = [f"{self.method} {self.url.target} HTTP/1.1", f"Host: {_host(self.host or self.url.host)}"]
        if agent := fields["User-Agent"][0].strip(_SPACE):
            lines.append(f"User-Agent: {agent}")
        sent = sorted(name for name in fields if name not in _UNSENT)
        lines += [f"{name}: {value.strip(_SPACE)}" for name in sent for value in fields[name]]
        if _says_close(fields):
            lines.append("Connection: close")
        if self.body or self.method in _WITH_BODY:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + self.body

    def redirected(self, location: str, status: int) -> "Request":
        """The next request. A configured Host is lost where the Location names a scheme.

        Raises ValueError for a Location that is no URL.
        """
        reference = parse(location)
        following = self.url.joined(reference)
        own_host = self.host != self.url.host and not reference.scheme
        downgraded = self.url.scheme == "https" and following.scheme == "http"
        referer = "" if downgraded else str(replace(self.url, user=None))
        kept = (following.scheme, following.host) == (self.url.scheme, self.url.host)
        request = replace(
            self,
            url=following,
            host=self.host if own_host else "",
            referer=referer,
            authorization=self.authorization if kept else "",
        )
        if status in (307, 308) or self.method in ("GET", "HEAD"):
            return request
        return replace(request, method="GET", body=b"")

    def _fields(self) -> dict[str, list[str]]:
        """The values of each header, with the kubelet's defaults."""
        fields: dict[str, list[str]] = {}
        for name, value in self.headers:
            fields.setdefault(name, []).append(value)
        fields.setdefault("User-Agent", [USER_AGENT])
        if not fields.setdefault("Accept", ["*/*"])[0]:
            del fields["Accept"]
        if self.authorization:
            fields["Authorization"] = [self.authorization]
        if self.url.user is not None and not fields.get("Authorization", [""])[0]:
            name, _, password = self.url.user.partition(":")
            fields["Authorization"] = [basic(unquote_to_bytes(name), unquote_to_bytes(password))]
        if self.referer and not fields.get("Referer", [""])[0]:
            fields["Referer"] = [self.referer]
        return fields


def _canonical(name: str) -> str:
    """A header's name as Go writes it."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _host(host: str) -> str:
    """The value of Host: empty for what cannot be one."""
    name = host if host.isascii() else host.encode("idna").decode()
    return name if _HOST.fullmatch(name) else ""


def _says_close(fields: dict[str, list[str]]) -> bool:
    """Whether a Connection header of our own is sent: not beside one that says close, nor with an upgrade."""
    tokens = {token.strip(_SPACE).lower() for value in fields.get("Connection", ()) for token in value.split(",")}
    return "close" not in tokens and not ("upgrade" in tokens and fields.get("Upgrade", [""])[0])


def basic(name: bytes, password: bytes) -> str:
    """An Authorization by name and password (RFC 7617)."""
    return f"Basic {b64encode(name + b':' + password).decode()}"
