"""URLs as the kubelet reads them, which decides what is asked of whom.

The rules are those of Go's net/url, as far as a probe needs them. urllib.parse differs: it lower-cases host names,
which a redirect compares as they are written, and it takes for URLs what Go refuses.
"""

import re
import socket
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote_to_bytes

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BAD_HOST_ESCAPE = re.compile(r"%(?!25|[89A-Fa-f][0-9A-Fa-f])")
_SCHEME = re.compile(r"([A-Za-z][-+.0-9A-Za-z]*):(.*)", re.DOTALL)
_PATH = re.compile(r"[-!$%&'()*+,./:;=@\[\]_~0-9A-Za-z]*")  # needs no escape (validEncoded)
_PATH_SAFE = "$&+,/:;=@"  # is not escaped where another character must be (shouldEscape)
_HOST = re.compile(r"[-!\"$%&'()*+,.:;<=>\[\]_~0-9A-Za-z\x80-\U0010ffff]*")
_USER = re.compile(r"[-!$%&'()*+,.:;=@_~0-9A-Za-z]*")
_PORT = re.compile(r"(?::[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL without its fragment. The path is escaped, as it is sent; a query of None has no `?` either."""

    scheme: str = ""
    user: str | None = None
    host: str = ""  # with the port, where one is given
    path: str = ""
    query: str | None = None
    opaque: str = ""  # all that follows a scheme without a slash, as in mailto:

    @property
    def hostname(self) -> str:
        """The host as it is written, without port and brackets."""
        return self._split_host()[0]

    @property
    def port(self) -> int | None:
        """The port, where one is given."""
        port = self._split_host()[1]
        return int(port) if port else None

    @property
    def shown(self) -> str:
        """For people: without credentials and query string, also one that was escaped with the path."""
        return f"{self.scheme}://{self.host}{self.path.partition('%3F')[0]}"

    @property
    def target(self) -> str:
        """What a request line asks for."""
        return (self.path or "/") + self._question()

    def __str__(self) -> str:
        if self.opaque:
            return f"{self.scheme}:{self.opaque}{self._question()}"
        user = "" if self.user is None else f"{self.user}@"
        slash = "" if self.path.startswith("/") or not self.path else "/"
        return f"{self.scheme}://{user}{self.host}{slash}{self.path}{self._question()}"

    def joined(self, reference: "Url") -> "Url":
        """What a reference found on this page leads to (URL.ResolveReference)."""
        if reference.scheme or reference.host or reference.user is not None:
            path = _resolved(reference.path, "")
            return replace(reference, scheme=reference.scheme or self.scheme, path=path)
        query = reference.query
        if not reference.path and query is None:
            query = self.query
        return replace(self, path=_resolved(self.path, reference.path), query=query)

    def _question(self) -> str:
        return "" if self.query is None else f"?{self.query}"

    def _split_host(self) -> tuple[str, str]:
        host, colon, port = self.host.rpartition(":")
        if not colon or not _PORT.fullmatch(colon + port):
            host, port = self.host, ""
        return (host[1:-1] if host.startswith("[") and host.endswith("]") else host), port


def parse(text: str) -> Url:
    """Read a URL or a reference to one. Raises ValueError for what Go refuses."""
    text, _, fragment = text.partition("#")
    if _CONTROL.search(text) or _BAD_ESCAPE.search(fragment):
        raise ValueError("no URL: a control character, or a broken escape")
    if text.startswith(":"):
        raise ValueError("no URL: the scheme is missing")
    match = _SCHEME.fullmatch(text)
    scheme, rest = (match[1].lower(), match[2]) if match else ("", text)
    rest, question, query_ = rest.partition("?")
    query = query_ if question else None
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, query=query, opaque=rest)
        if ":" in rest.partition("/")[0]:
            raise ValueError("no URL: a colon in the first segment of the path")
    if not rest.startswith("//") or (not scheme and rest.startswith("///")):
        return Url(scheme, path=_escaped(rest), query=query)
    authority, slash, path = rest[2:].partition("/")
    user, at, host = authority.rpartition("@")
    if not _USER.fullmatch(user) or _BAD_ESCAPE.search(user):
        raise ValueError("no URL: bad user information")
    return Url(scheme, user if at else None, _host(scheme, host), _escaped(slash + path), query)


def build(scheme: str, host: str, port: int, path: str) -> Url:
    """The URL a probe asks for: of the path, which may be a whole URL, the path and the query are kept.

    That is formatURL in pkg/probe/http/request.go. A path that is no URL is escaped whole. Raises ValueError where
    the host cannot be one.
    """
    try:
        given = parse(path)
    except ValueError:
        given = Url(path=quote(path, safe=_PATH_SAFE, errors="surrogateescape"))
    if given.opaque:
        return replace(given, scheme=scheme, host="")
    absolute = given.path if given.path.startswith("/") or not given.path else f"/{given.path}"
    return replace(given, scheme=scheme, host=_joined(host, port), path=absolute)


def _joined(host: str, port: int) -> str:
    if ":" in host and _is_ipv6(host.partition("%")[0]):
        return f"[{host}]:{port}"
    if ":" in host or "[" in host or not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is no host name and no address")
    return f"{host}:{port}"


def _host(scheme: str, text: str) -> str:
    """A host with or without a port, its escapes resolved. Go minds a second colon only where the scheme is given."""
    bracket = text.rpartition("]")
    colon = text.find(":") if scheme in ("http", "https") else text.rfind(":")
    port = bracket[2] if text.startswith("[") else text[colon:] if colon >= 0 else ""
    if not _PORT.fullmatch(port):
        raise ValueError("no URL: bad port")
    if not _HOST.fullmatch(text) or _BAD_HOST_ESCAPE.search(text) or "[" in text[1:]:
        raise ValueError("no URL: bad host")
    if text.startswith("[") and not _is_ipv6(bracket[0][1:].partition("%25")[0]):
        raise ValueError("no URL: bad address")
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape") if "%" in text else text


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True


def _escaped(path: str) -> str:
    """The path as it is sent: as it stands if it can, else escaped anew (URL.EscapedPath)."""
    if _BAD_ESCAPE.search(path):
        raise ValueError("no URL: a broken escape")
    if _PATH.fullmatch(path):
        return path
    return quote(unquote_to_bytes(path.encode("utf-8", "surrogateescape")), safe=_PATH_SAFE)


def _resolved(base: str, reference: str) -> str:
    """The path that a reference leads to from a base, without dot segments (resolvePath)."""
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
