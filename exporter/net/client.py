"""An HTTP client for APIs, such as Prometheus': requests, bounded by a deadline.

Importing this module imports requests, which costs 9 MiB and a tenth of a second: import it in the function that needs
it.

Theory of operation. A timeout of requests bounds one operation of a socket: it bounds neither name resolution nor a
response that comes byte by byte. Here urllib3's connections are made by `dial`, so the one deadline bounds all of it,
and a DialError that a socket raises passes through urllib3 and requests unchanged. `send` turns all their own
exceptions into DialErrors. Nothing from the environment is used: no proxy, no netrc, no cookies, no certifi. A
connection carries one request, because the server may just have closed one that was kept.
"""

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from exporter.model import Deadline, ProbeError, Reason
from exporter.net import dial
from exporter.net.errors import DialError, hint_at_tls
from exporter.net.request import USER_AGENT, has_control_character
from exporter.net.url import parse
from exporter.redaction import quote

_HEADERS = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
MAX_OVERHEAD = 128 * 1024
"""Bytes of a response in addition to its body: heads, interim responses, and the lines around chunks."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of any status, with its whole body."""

    status: int
    body: bytes
    content_type: str = ""
    encoding: str = ""
    """The Content-Encoding."""


def open_session(deadline: Deadline, max_body: int, context: ssl.SSLContext | None = None) -> "_Session":
    """Return a session whose requests all share one deadline. Use it with `send`, and in a `with` statement.

    No response has a body of more than `max_body` bytes. `context` is the TLS of `https` URLs, and not needed for
    others. A redirect is a response like any other. Content is requested without compression.
    """
    return _Session(_Adapter(deadline, max_body + MAX_OVERHEAD, context), max_body)


def send(session: "_Session", method: str, url: str, **options: Any) -> Reply:
    """Send a request and read its response; the options are those of `requests.Request`.

    Raises DialError if there is no response, if its body breaks off or if it is too long. Raises ProbeError for a
    request that cannot be sent.
    """
    max_body = session.max_body
    where = parse(url).public
    request = _prepare(requests.Request(method, url, **options))
    with _translate_errors(where, Reason.STATUS, "the response is not HTTP", options.get("headers", ())):
        response = session.adapter.send(request, stream=True)
    with response, _translate_errors(where, Reason.BODY, "the body of the response broke off"):
        body = _read(response, max_body)
    if len(body) > max_body:
        raise DialError(Reason.BODY, f"{where}: the response is longer than {max_body // 1024} KiB", where)
    content_type, encoding = (response.headers.get(name, "") for name in ("Content-Type", "Content-Encoding"))
    return Reply(response.status_code, body, content_type, encoding)


def _prepare(request: requests.Request) -> requests.PreparedRequest:
    """Return the request as it is sent. The text of an error is not passed on, because it may contain a secret."""
    request.headers = {**_HEADERS, **request.headers}
    try:
        prepared = request.prepare()
    except (requests.RequestException, ValueError):
        raise ProbeError(Reason.ERROR, "the request cannot be sent: a header or the URL is invalid") from None
    values = (value.decode("latin-1") if isinstance(value, bytes) else value for value in prepared.headers.values())
    if any(has_control_character(value) for value in values):
        raise ProbeError(Reason.ERROR, "the request cannot be sent: the value of a header contains a control character")
    return prepared


def _read(response: requests.Response, max_body: int) -> bytes:
    """Return the body without decompressing it; if it is too long, up to one byte more than allowed."""
    body = bytearray()
    while len(body) <= max_body:
        part = response.raw.read(max_body + 1 - len(body), decode_content=False)
        if not part:
            break
        body += part
    return bytes(body)


@contextmanager
def _translate_errors(where: str, reason: Reason, message: str, secrets: Any = ()) -> Iterator[None]:
    """Turn exceptions of the libraries into DialErrors: `connect` if the server sent nothing, otherwise this reason.

    If the response does not begin as one of HTTP, its first line is shown without what it has in common with the
    secrets.
    """
    try:
        yield
    except DialError as error:
        if error.reason is Reason.CONNECT and not error.where and reason is Reason.STATUS:
            raise DialError(Reason.CONNECT, f"{where}: {error}{hint_at_tls(where)}", where) from None
        raise error.with_endpoint(where) from None
    except (requests.RequestException, HTTPError) as error:
        origin = _find_origin(error)
        if isinstance(origin, http.client.RemoteDisconnected):
            message = f"{where} closed the connection without a response{hint_at_tls(where)}"
            raise DialError(Reason.CONNECT, message, where) from None
        if isinstance(origin, http.client.BadStatusLine):
            message += f": it begins with {quote(str(origin.args[0]).encode('latin-1'), secrets)}"
        raise DialError(reason, f"{where}: {message}", where) from None


def _find_origin(error: BaseException) -> BaseException:
    """Return the innermost of the exceptions that the libraries wrap in each other."""
    while error.__context__ is not None:
        error = error.__context__
    return error


@dataclass(frozen=True, slots=True)
class _Session:
    """What the requests of one run share. A session of requests costs a quarter more CPU time, for unused features."""

    adapter: "_Adapter"
    max_body: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.adapter.close()


class _Adapter(HTTPAdapter):
    """Connections that `dial` makes, in place of urllib3's. Each request has its own, so no pool is kept."""

    def __init__(self, deadline: Deadline, allowance: int, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._plain: dict[str, Any] = {"deadline": deadline, "allowance": allowance}
        self._tls = {**self._plain, "context": context}

    def init_poolmanager(self, *_: Any, **__: Any) -> None:
        pass

    def close(self) -> None:
        pass

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> HTTPConnectionPool:
        parts = urlsplit(request.url)
        if parts.scheme == "https":
            return _TLSPool(parts.hostname, parts.port, **self._tls)
        return _PlainPool(parts.hostname, parts.port, **self._plain)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Do not load certifi's authorities: the connection has a TLS context of its own."""


class _PlainConnection(HTTPConnection):
    def __init__(self, *args: Any, deadline: Deadline, allowance: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadline = deadline
        self._allowance = allowance

    def connect(self) -> None:
        self.sock = sock = dial.connect(self._dns_host, self.port, self._deadline)
        sock.allowance = self._allowance


class _TLSConnection(HTTPSConnection):
    def __init__(
        self, *args: Any, deadline: Deadline, allowance: int, context: ssl.SSLContext | None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._deadline = deadline
        self._allowance = allowance
        self._context = context

    def connect(self) -> None:
        assert self._context is not None
        sock = dial.connect(self._dns_host, self.port, self._deadline)
        self.sock = secured = dial.secure(sock, self._context, self.host)
        secured.allowance = self._allowance
        self.is_verified = True


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
