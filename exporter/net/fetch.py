"""An HTTP request as the kubelet's prober makes it, with the redirects it follows.

Theory of operation. `fetch` makes one exchange after another until there is a final response: open a connection, send
the bytes of the Request (request.py), read the head of the Response (response.py, or http2.py if the server chooses
HTTP/2 by ALPN). Every exchange has a connection of its own, and all share one deadline, which the socket enforces
(dial.py). Nothing from the environment is used: no proxy, no cookies, no netrc. An exchange is repeated only if the
server refuses it over HTTP/2 before it has processed the request. The kubelet's prober (pkg/probe/http/http.go) decides
what an error means: before the head of the final response is complete, the target has failed, which is a DialError; if
the body then breaks off, the status is not evidence and the run does not count, which is a ProbeError.
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.model import Deadline, ProbeError, Reason
from exporter.net import dial
from exporter.net.errors import DialError, hint_at_tls
from exporter.net.head import MalformedError, RefusedError, SilentError
from exporter.net.request import Request
from exporter.net.resolver import RESOLVER, Resolver
from exporter.net.response import Response
from exporter.net.sockets import Socket
from exporter.net.stopwatch import Stopwatch
from exporter.net.tls import make_kubelet_context

if TYPE_CHECKING:
    from exporter.net.http2 import Http2Response

MAX_BODY = 10 * 1024
"""Bytes of the body that are read; a longer body is not an error (maxRespBodyLength)."""
MAX_REQUESTS = 10
"""The first request and the redirects that are followed (redirectChecker)."""
MAX_DRAIN = 2 * 1024
"""Bytes of a redirect's body that are read before it is followed (maxBodySlurpSize in net/http, client.go)."""
MAX_REFUSALS = 10
"""Times that a server may refuse a request over HTTP/2 before it has processed it. Go repeats it until the deadline."""
REDIRECTS = (301, 302, 303, 307, 308)
"""The status codes that redirect (redirectBehavior in net/http, client.go)."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Route:
    """How to reach the server. The defaults are the kubelet's."""

    deadline: Deadline
    resolver: Resolver = RESOLVER
    context: ssl.SSLContext | None = None
    """TLS for https; None is the kubelet's, which verifies nothing."""
    unix_socket: str | None = None
    """Path of a Unix socket to connect to, instead of the URL's host and port."""
    follow: bool = True
    """Whether redirects on the same host name are followed."""
    max_body: int = MAX_BODY
    server_name: str | None = None
    """The name for SNI and for the verification of the certificate, instead of the URL's host."""
    headers: tuple[bytes, ...] = ()
    """The names, in lower case, of headers of the response to return."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The final response."""

    status: int
    headers: Mapping[bytes, bytes]
    """Headers by their names in lower case, at least Content-Encoding and Content-Type."""
    body: bytes
    elsewhere: str | None
    """The host of a redirect that was not followed because it leads to a different host."""
    where: str
    """The URL that sent it, as messages show it. It differs from the first one after a redirect."""
    seconds: Mapping[str, float]
    """Seconds by phase: resolve, connect, tls, processing, transfer; summed over redirects."""
    values: Mapping[bytes, bytes | None]
    """The values of the headers that the Route names; None for one that is missing."""


def fetch(request: Request, route: Route) -> Fetched:
    """Send a request and follow redirects on the same host name.

    Raises DialError if the target failed, ProbeError if the body of the final response breaks off.
    """
    home = request.url.hostname
    watch = Stopwatch()
    for _ in range(MAX_REQUESTS):
        with contextlib.closing(_exchange(request, route, watch)) as response:
            following = _next_request(request, response) if route.follow else None
            if following is None or following.url.hostname != home:
                body = _read_body(request, response, route.max_body)
                watch.lap("transfer")
                elsewhere = following.url.hostname if following else None
                where, values = request.url.public, response.values
                return Fetched(response.status, response.headers, body, elsewhere, where, watch.seconds, values)
            _drain(response)
            watch.lap("transfer")
        request = following
    where = request.url.public
    raise DialError(Reason.STATUS, f"{where}: stopped after {MAX_REQUESTS} redirects", where)


def _exchange(request: Request, route: Route, watch: Stopwatch) -> "Response | Http2Response":
    """Send one request and read the head of its response. Raises DialError."""
    url = request.url
    if url.scheme not in _DEFAULT_PORTS or not url.hostname:
        raise DialError(Reason.STATUS, f"a URL with the scheme {url.scheme!r} does not name an HTTP server")
    with report_unsendable():
        data = request.wire
    for _ in range(MAX_REFUSALS):
        sock = _connect(request, route, watch)
        try:
            with _secure(sock, request, route, watch) as stream:  # open until the response is closed
                response = _converse(stream, request, data, route.headers)
        except RefusedError as error:
            refusal = error
        except (DialError, MalformedError) as error:
            raise explain(request, error) from None
        else:
            watch.lap("processing")
            return response
    raise DialError(Reason.STATUS, f"{url.public}: {refusal}, in {MAX_REFUSALS} attempts", url.public)


def explain(request: Request, error: DialError | MalformedError) -> DialError:
    """Return the error of an exchange with a message that names the URL."""
    where = request.url.public
    if isinstance(error, SilentError):
        return DialError(Reason.CONNECT, f"{where} {error}{hint_at_tls(where)}", where)
    if isinstance(error, MalformedError):
        received = f": it begins with {request.quote(error.beginning)}" if error.beginning else ""
        return DialError(Reason.STATUS, f"{where}: {error}{received}", where)
    hint = hint_at_tls(where) if error.reason is Reason.CONNECT else ""
    return DialError(error.reason, f"{error}{hint}", error.where).with_endpoint(where)


@contextlib.contextmanager
def report_unsendable() -> Iterator[None]:
    """Turn the ValueError of a request that cannot be sent into a DialError."""
    try:
        yield
    except ValueError as error:
        raise DialError(Reason.ERROR, f"the request cannot be sent: {error}") from None


def _connect(request: Request, route: Route, watch: Stopwatch) -> Socket:
    if route.unix_socket is not None:
        return dial.connect_unix(route.unix_socket, route.deadline, watch)
    url = request.url
    port = _DEFAULT_PORTS[url.scheme] if url.port is None else url.port
    return dial.connect(url.hostname, port, route.deadline, route.resolver, watch)


def _secure(sock: Socket, request: Request, route: Route, watch: Stopwatch) -> socket.socket:
    if request.url.scheme != "https":
        return sock
    name = route.server_name or request.url.hostname
    context = route.context or make_kubelet_context(request.protocols)
    secured = dial.secure(sock, context, name)
    watch.lap("tls")
    return secured


def _converse(
    stream: socket.socket, request: Request, data: bytes, names: Sequence[bytes]
) -> "Response | Http2Response":
    """Send the request and read the head of the response. `data` is the request in HTTP/1.1."""
    if isinstance(stream, ssl.SSLSocket) and stream.selected_alpn_protocol() == "h2":
        from exporter.net.http2 import Http2Response  # imports h2

        with report_unsendable():
            fields = request.http2_fields
        return Http2Response(stream, request.method, fields, request.body, names)
    try:
        stream.sendall(data)
    except DialError:
        # The server may have responded and closed the connection before it has read a long body.
        with contextlib.suppress(DialError, MalformedError):
            return _read_head(stream, request.method, names)
        raise
    return _read_head(stream, request.method, names)


def _read_head(sock: socket.socket, method: str, names: Sequence[bytes]) -> Response:
    """Return the response. The connection stays open until the response is closed."""
    stream = sock.makefile("rb")
    try:
        return Response(stream, method, names)
    except (DialError, MalformedError):
        stream.close()
        raise


def _next_request(request: Request, response: "Response | Http2Response") -> Request | None:
    """Return the request that a redirect leads to; None if the response is not a redirect."""
    if response.status not in REDIRECTS or not response.location:
        return None
    try:
        return request.follow(response.location, response.status)
    except ValueError:
        where = request.url.public
        raise DialError(Reason.STATUS, f"{where} redirects to an invalid URL", where) from None


def _read_body(request: Request, response: "Response | Http2Response", max_body: int) -> bytes:
    """Return the first `max_body` bytes of the body. Raises ProbeError if it breaks off before their end."""
    try:
        return response.read(max_body)
    except (DialError, MalformedError) as error:
        late = isinstance(error, DialError) and error.reason is Reason.TIMEOUT
        cause = "its body did not end in time" if late else "its body broke off"
        reason = Reason.TIMEOUT if late else Reason.BODY
        raise ProbeError(reason, f"{request.url.public} returned {response.status}, but {cause}") from None


def _drain(response: "Response | Http2Response") -> None:
    """Read the short body of a redirect that is followed, as Go's client does. Errors in it do not matter."""
    if response.length is None or response.length <= MAX_DRAIN:
        with contextlib.suppress(DialError, MalformedError):
            response.read(MAX_DRAIN)
