"""URLs as the kubelet reads them, which decides what is requested from which host.

The rules are those of Go's net/url/url.go that a probe needs. Each regular expression below names its Go function and,
if there is one, its rule in RFC 3986. urllib.parse differs: it lower-cases host names,
which a redirect compares as they are written, and it accepts URLs that Go refuses. The file is longer than others
because every rule stands next to its grammar.
"""

import re
import socket
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

# stringContainsCTLByte: no URL may contain an ASCII control character.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")

# pct-encoded = "%" HEXDIG HEXDIG                                           (RFC 3986, 2.1)
# unescape: a "%" that two hexadecimal digits do not follow is an error.
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

# unescape in the mode encodeHost: in a host only bytes beyond ASCII may be escaped, and "%25", which introduces the
# zone of an IPv6 address (RFC 6874).
_BAD_HOST_ESCAPE = re.compile(r"%(?!25|[89A-Fa-f][0-9A-Fa-f])")

# scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )                       (RFC 3986, 3.1)
# getScheme: a text that does not begin like this has no scheme, which is not an error.
_SCHEME = re.compile(r"([A-Za-z][-+.0-9A-Za-z]*):(.*)", re.DOTALL)

# pchar = unreserved / pct-encoded / sub-delims / ":" / "@"                 (RFC 3986, 3.3)
# validEncoded in the mode encodePath: a path of these characters is sent as it is. Beyond the RFC, Go leaves brackets
# unescaped.
_ENCODED_PATH = re.compile(r"[-!$%&'()*+,./:;=@\[\]_~0-9A-Za-z]*")

# shouldEscape in the mode encodePath: when any character of a path must be escaped, these and the unreserved
# characters still are not, but "!'()*[]" are.
_UNESCAPED_IN_PATH = "$&+,/:;=@"

# reg-name = *( unreserved / pct-encoded / sub-delims )                     (RFC 3986, 3.2.2)
# shouldEscape in the mode encodeHost, with ":[]" for a port and an IPv6 address. Beyond the RFC, Go accepts '"<>' and
# bytes beyond ASCII.
_HOST_IN_URL = re.compile(r"[-!\"$%&'()*+,.:;<=>\[\]_~0-9A-Za-z\x80-\U0010ffff]*")

# userinfo = *( unreserved / pct-encoded / sub-delims / ":" )               (RFC 3986, 3.2.1)
# validUserinfo, which accepts "@" too.
_USERINFO = re.compile(r"[-!$%&'()*+,.:;=@_~0-9A-Za-z]*")

# [ ":" port ], port = *DIGIT                                               (RFC 3986, 3.2.3)
# validOptionalPort: the port may be missing, and empty after its colon.
_OPTIONAL_PORT = re.compile(r"(?::[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL without its fragment. The path is escaped, as it is sent; if the query is None, there is no `?` either."""

    scheme: str = ""
    user: str | None = None
    host: str = ""  # with the port, if the URL has one
    path: str = ""
    query: str | None = None
    opaque: str = ""  # everything after a scheme that no slash follows, as in mailto:

    @property
    def hostname(self) -> str:
        """The host as it is written, without port and brackets."""
        return _split_host(self.host)[0]

    @property
    def port(self) -> int | None:
        """The port, or None if the URL has none."""
        port = _split_host(self.host)[1]
        return int(port.lstrip("0")[:6] or 0) if port else None  # any number of six digits is too great

    @property
    def public(self) -> str:
        """For people: without credentials and query string, also without one that was escaped with the path."""
        return f"{self.scheme}://{self.host}{self.path.partition('%3F')[0]}"

    @property
    def target(self) -> str:
        """The request target: path and query."""
        return (self.path or "/") + self._format_query()

    def __str__(self) -> str:
        if self.opaque:
            return f"{self.scheme}:{self.opaque}{self._format_query()}"
        user = "" if self.user is None else f"{self.user}@"
        slash = "" if self.path.startswith("/") or not self.path else "/"
        return f"{self.scheme}://{user}{self.host}{slash}{self.path}{self._format_query()}"

    def join(self, reference: "Url") -> "Url":
        """Return the URL that a reference leads to from this one (URL.ResolveReference)."""
        if reference.scheme or reference.host or reference.user is not None:
            path = _resolve_path(reference.path, "")
            return replace(reference, scheme=reference.scheme or self.scheme, path=path)
        query = reference.query
        if not reference.path and query is None:
            query = self.query
        return replace(self, path=_resolve_path(self.path, reference.path), query=query)

    def _format_query(self) -> str:
        return "" if self.query is None else f"?{self.query}"


@lru_cache(maxsize=1024)  # of a configured URL, every run asks several times
def _split_host(authority: str) -> tuple[str, str]:
    """Return host and port (splitHostPort)."""
    host, colon, port = authority.rpartition(":")
    if not colon or not _OPTIONAL_PORT.fullmatch(colon + port):
        host, port = authority, ""
    return (host[1:-1] if host.startswith("[") and host.endswith("]") else host), port


def parse(text: str) -> Url:
    """Read a URL or a reference to one (Parse). Raises ValueError for a text that Go refuses."""
    text, _, fragment = text.partition("#")
    if _CONTROL_CHARACTER.search(text) or _BAD_ESCAPE.search(fragment):
        raise ValueError("invalid URL: a control character, or a broken escape")
    if text.startswith(":"):
        raise ValueError("invalid URL: the scheme is missing")
    match = _SCHEME.fullmatch(text)
    scheme, rest = (match[1].lower(), match[2]) if match else ("", text)
    rest, question, query_ = rest.partition("?")
    query = query_ if question else None
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, query=query, opaque=rest)
        if ":" in rest.partition("/")[0]:
            raise ValueError("invalid URL: a colon in the first segment of the path")
    if not rest.startswith("//") or (not scheme and rest.startswith("///")):
        return Url(scheme, path=_escape_path(rest), query=query)
    authority, slash, path = rest[2:].partition("/")
    user, host = _parse_authority(scheme, authority)
    return Url(scheme, user, host, _escape_path(slash + path), query)


def build(scheme: str, host: str, port: int, path: str) -> Url:
    """Return the URL that a probe requests (formatURL in pkg/probe/http/request.go).

    The configured path may be a whole URL, of which path and query are kept. A path that is not a URL is escaped as a
    whole. Raises ValueError for an invalid host.
    """
    try:
        url = parse(path)
    except ValueError:
        url = Url(path=quote(path, safe=_UNESCAPED_IN_PATH, errors="surrogateescape"))
    if url.opaque:
        return replace(url, scheme=scheme, host="")
    absolute = url.path if url.path.startswith("/") or not url.path else f"/{url.path}"
    return replace(url, scheme=scheme, host=_join_host_port(host, port), path=absolute)


def _join_host_port(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address (net.JoinHostPort). Raises ValueError for an invalid host."""
    if ":" in host and _is_ipv6(host.partition("%")[0]):
        return f"[{host}]:{port}"
    if ":" in host or "[" in host or not _HOST_IN_URL.fullmatch(host):
        raise ValueError(f"{host!r} is not a host name or an address")
    return f"{host}:{port}"


def _parse_authority(scheme: str, authority: str) -> tuple[str | None, str]:
    """Return user information and host (parseAuthority): the last `@` separates them."""
    user, at, host = authority.rpartition("@")
    if not _USERINFO.fullmatch(user) or _BAD_ESCAPE.search(user):
        raise ValueError("invalid URL: bad user information")
    return user if at else None, _parse_host(scheme, host)


def _parse_host(scheme: str, text: str) -> str:
    """Return a host with or without a port, unescaped (parseHost).

    With the scheme http or https the first colon begins the port, so a second one is an error. Without, as in
    `//a:b:80/`, the last one does.
    """
    bracket = text.rpartition("]")
    if text.startswith("[") and not bracket[1]:
        raise ValueError("invalid URL: '[' without ']'")
    colon = text.find(":") if scheme in ("http", "https") else text.rfind(":")
    port = bracket[2] if text.startswith("[") else text[colon:] if colon >= 0 else ""
    if not _OPTIONAL_PORT.fullmatch(port):
        raise ValueError("invalid URL: bad port")
    if not _HOST_IN_URL.fullmatch(text) or _BAD_HOST_ESCAPE.search(text) or "[" in text[1:]:
        raise ValueError("invalid URL: bad host")
    if text.startswith("[") and not _is_ipv6(bracket[0][1:].partition("%25")[0]):
        raise ValueError("invalid URL: bad address")
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape") if "%" in text else text


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True


def _escape_path(path: str) -> str:
    """Return the path as it is sent (URL.EscapedPath): unchanged if possible, otherwise unescaped and escaped again."""
    if _BAD_ESCAPE.search(path):
        raise ValueError("invalid URL: a broken escape")
    if _ENCODED_PATH.fullmatch(path):
        return path
    return quote(unquote_to_bytes(path.encode("utf-8", "surrogateescape")), safe=_UNESCAPED_IN_PATH)


def _resolve_path(base: str, reference: str) -> str:
    """Return the path that a reference leads to from a base, without dot segments (resolvePath)."""
    if not reference:
        full = base
    elif reference.startswith("/"):
        full = reference
    else:
        full = base[: base.rfind("/") + 1] + reference
    path, first = "/", True
    segments = full.split("/") if full else []
    for segment in segments:
        if segment == "..":
            path = path[: max(1, path.rfind("/", 1))]
            first = len(path) == 1
        elif segment == ".":
            first = False
        else:
            path += segment if first else f"/{segment}"
            first = False
    if segments and segments[-1] in (".", ".."):
        path += "/"
    return (path[1:] if path.startswith("//") else path) if full else ""
