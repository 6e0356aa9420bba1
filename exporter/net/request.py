"""A request as the kubelet makes it: its URL, its bytes, and the request that a redirect leads to.

The rules are those of pkg/probe/http/request.go in Kubernetes, and of Go's net/http: request.go (Request.write),
client.go (Client.do) and transfer.go.
"""

import re
from base64 import b64encode
from dataclasses import dataclass, field, replace
from functools import cached_property
from urllib.parse import unquote_to_bytes

from exporter.net.url import Url, parse
from exporter.redaction import quote

USER_AGENT = "health-exporter"
"""The User-Agent of requests that the kubelet does not make."""
KUBELET_USER_AGENT = "kube-probe/1.36"
"""The User-Agent of the kubelet's probes, over HTTP and over gRPC."""

# reqWriteExcludeHeader (request.go): Go writes these itself or not at all, whatever the configured headers contain.
_EXCLUDED = ("Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer")

# A response repeats the values of these headers in its own Content-Type. The values of others may be secrets.
_PUBLIC = ("Accept", "Content-Type")

# field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ]     (RFC 9110, 5.5)
# httpguts.ValidHeaderFieldValue: a value must not contain a control character other than a tab.
_FORBIDDEN_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# Host = uri-host [ ":" port ]                                                  (RFC 9110, 7.2)
# httpguts.ValidHostHeader, which checks only the characters. url.py's expression for the host of a URL accepts more.
_HOST_HEADER = re.compile(r"[-!$%&'()*+,.:;=\[\]_~0-9A-Za-z]*")

# OWS = *( SP / HTAB )                                                          (RFC 9110, 5.6.3)
_WHITESPACE = " \t"

# transferWriter.shouldSendContentLength (transfer.go): these methods send a length even if it is 0.
_METHODS_WITH_BODY = ("POST", "PUT", "PATCH")

# EncodeHeaders in net/http/internal/httpcommon: HTTP/2 has no connection-specific headers (RFC 9113, 8.2.2).
_EXCLUDED_FROM_HTTP2 = (
    *("Host", "User-Agent", "Content-Length", "Transfer-Encoding"),
    *("Connection", "Proxy-Connection", "Keep-Alive", "Upgrade"),
)
# checkConnHeaders: the values of these headers that are left out. Others are errors.
_HARMLESS_IN_HTTP2 = {
    "Connection": ("", "close", "keep-alive"),
    "Transfer-Encoding": ("", "chunked"),
    "Upgrade": ("", "chunked"),
}


@dataclass(frozen=True)
class Request:
    """A request: the configured headers, a Host header if it differs from the URL, the URL that redirected here."""

    url: Url
    headers: tuple[tuple[str, str], ...]
    host: str = ""
    referer: str = ""
    method: str = "GET"
    body: bytes = b""
    authorization: str = field(default="", repr=False)
    """The value for `basicAuth` or `bearerToken`; a redirect keeps it only for the same scheme, host and port."""

    @classmethod
    def from_headers(cls, url: Url, headers: tuple[tuple[str, str], ...]) -> "Request":
        """Return the first request. If there are several Host headers, the first one counts."""
        canonical = tuple((_canonicalize(name), value) for name, value in headers)
        return cls(url, canonical, next((value for name, value in canonical if name == "Host"), ""))

    @cached_property
    def wire(self) -> bytes:
        """The bytes to send (Request.write). Raises ValueError for a header that cannot be sent."""
        fields = self._make_fields()
        if any(has_control_character(value) for values in fields.values() for value in values):
            raise ValueError("the value of a header contains a control character")
        lines = [f"{self.method} {self.url.target} HTTP/1.1", f"Host: {_encode_host(self.host or self.url.host)}"]
        if agent := fields["User-Agent"][0].strip(_WHITESPACE):
            lines.append(f"User-Agent: {agent}")
        names = sorted(name for name in fields if name not in _EXCLUDED)
        lines += [f"{name}: {value.strip(_WHITESPACE)}" for name in names for value in fields[name]]
        if _adds_close(fields):
            lines.append("Connection: close")
        if self.body or self.method in _METHODS_WITH_BODY:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + self.body

    @property
    def http2_fields(self) -> list[tuple[bytes, bytes]]:
        """The headers to send over HTTP/2 (EncodeHeaders). Raises ValueError for a header that cannot be sent."""
        fields = self._make_fields()
        for name, harmless in _HARMLESS_IN_HTTP2.items():
            values = fields.get(name, [""])
            if values[0].lower() not in harmless or (len(values) > 1 and name != "Upgrade"):
                raise ValueError(f"the server uses HTTP/2, which does not permit this {name} header")
        authority = _encode_host(self.host or self.url.host)
        if not authority:
            raise ValueError("the Host header is invalid")
        pseudo = {":authority": authority, ":method": self.method, ":path": self.url.target, ":scheme": self.url.scheme}
        pairs = list(pseudo.items())
        names = sorted(name for name in fields if name not in _EXCLUDED_FROM_HTTP2)
        pairs += [(name.lower(), value) for name in names for value in fields[name]]
        if agent := fields["User-Agent"][0]:
            pairs.append(("user-agent", agent))
        if self.body or self.method in _METHODS_WITH_BODY:
            pairs.append(("content-length", str(len(self.body))))
        return [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in pairs]

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols to offer by ALPN; none for a WebSocket, which needs HTTP/1.1 (Request.requiresHTTP1)."""
        first = dict(reversed(self.headers))
        tokens = re.split(r"[ ,\t]", first.get("Connection", "").lower())
        needs_http1 = "upgrade" in tokens and first.get("Upgrade", "").lower() == "websocket"
        return () if needs_http1 else ("h2", "http/1.1")

    def follow(self, location: str, status: int) -> "Request":
        """Return the next request after a redirect (Client.do, redirectBehavior and refererForURL).

        A configured Host is lost if the Location names a scheme. Raises ValueError for a Location that is not a URL.
        """
        reference = parse(location)
        following = self.url.join(reference)
        keeps_host = self.host != self.url.host and not reference.scheme
        downgrades = self.url.scheme == "https" and following.scheme == "http"
        same_server = (following.scheme, following.host) == (self.url.scheme, self.url.host)
        request = replace(
            self,
            url=following,
            host=self.host if keeps_host else "",
            referer="" if downgrades else str(replace(self.url, user=None)),
            authorization=self.authorization if same_server else "",
        )
        if status in (307, 308) or self.method in ("GET", "HEAD"):
            return request
        return replace(request, method="GET", body=b"")

    def quote(self, data: bytes) -> str:
        """Return the beginning of a response for a message, without what it repeats of the request."""
        secrets = [self.url.target, self.url.user or "", self.body.decode(), self.authorization]
        public = [self.url.public]
        for name, value in self.headers:
            (public if name in _PUBLIC else secrets).append(value)
        return quote(data, secrets, "\0".join(public))

    def _make_fields(self) -> dict[str, list[str]]:
        """Return the values of each header, with the kubelet's defaults."""
        fields: dict[str, list[str]] = {}
        for name, value in self.headers:
            fields.setdefault(name, []).append(value)
        fields.setdefault("User-Agent", [KUBELET_USER_AGENT])
        if not fields.setdefault("Accept", ["*/*"])[0]:
            del fields["Accept"]
        if self.authorization:
            fields["Authorization"] = [self.authorization]
        if self.url.user is not None and not fields.get("Authorization", [""])[0]:
            name, _, password = self.url.user.partition(":")
            fields["Authorization"] = [encode_basic_authorization(unquote_to_bytes(name), unquote_to_bytes(password))]
        if self.referer and not fields.get("Referer", [""])[0]:
            fields["Referer"] = [self.referer]
        return fields


def has_control_character(value: str) -> bool:
    """Return whether the value of a header contains a character that must not be sent."""
    return _FORBIDDEN_IN_VALUE.search(value) is not None


def encode_basic_authorization(name: bytes, password: bytes) -> str:
    """Return the value of the Authorization header for a name and a password (RFC 7617)."""
    return f"Basic {b64encode(name + b':' + password).decode()}"


def _canonicalize(name: str) -> str:
    """Return a header's name as Go writes it (textproto.CanonicalMIMEHeaderKey)."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _encode_host(host: str) -> str:
    """Return the value of Host in Punycode (httpguts.PunycodeHostPort); empty if it is invalid."""
    name = host if host.isascii() else host.encode("idna").decode()
    return name if _HOST_HEADER.fullmatch(name) else ""


def _adds_close(fields: dict[str, list[str]]) -> bool:
    """Return whether Go adds `Connection: close`: not if a header already has it, nor for an upgrade."""
    values = fields.get("Connection", ())
    tokens = {token.strip(_WHITESPACE).lower() for value in values for token in value.split(",")}
    return "close" not in tokens and not ("upgrade" in tokens and fields.get("Upgrade", [""])[0])
