"""One HTTP exchange as the kubelet's client has it, redirects included: the border to requests.

What goes wrong up to the answer's head is a DialError; a body that breaks off is a ProbeError, as for the kubelet it is
no evidence about the status (pkg/probe/http/http.go). Nothing above sees an exception of requests.
"""

import contextlib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from exporter.model import Deadline, ProbeError, Reason
from exporter.net import dial
from exporter.net.request import Request
from exporter.net.response import Answer, MalformedError, SilentError

BODY_LIMIT = 10 * 1024  # bytes; more is left unread and is no error
REDIRECTS = (301, 302, 303, 307, 308)
REDIRECT_LIMIT = 10  # requests in all
DRAIN_LIMIT = 2 * 1024  # bytes of a redirect's body that are read before it is followed, as Go's client does
_DEFAULT_PORTS = {"http": 80, "https": 443}


@cache
def unverified() -> ssl.SSLContext:
    """TLS as the kubelet speaks it: at least 1.2, with Go's ciphers, and any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("@SECLEVEL=1:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES+SHA")
    return context


@dataclass(frozen=True, slots=True)
class Way:
    """How to get there. Without anything said, the kubelet's way."""

    deadline: Deadline
    resolver: dial.Resolver = dial.RESOLVER
    context: ssl.SSLContext | None = None
    unix_socket: str | None = None
    follow: bool = True
    body_limit: int = BODY_LIMIT


@dataclass(frozen=True, slots=True)
class Page:
    """The final answer. `elsewhere` is the host of a redirect that was not followed because it leads to another one."""

    status: int
    body: bytes
    elsewhere: str | None
    seconds: Mapping[str, float]
    """Where the time went: resolve, connect, tls, processing, transfer; summed over redirects."""


def fetch(request: Request, way: Way) -> Page:
    """Ask, and follow redirects by the kubelet's rule. Raises DialError for a failure, ProbeError for none."""
    home = request.url.hostname
    watch = dial.Stopwatch()
    for _ in range(REDIRECT_LIMIT):
        with _adapter().send(_Exchange(request, way, watch), stream=True) as response:
            following = _redirected(request, response) if way.follow else None
            if following is None or following.url.hostname != home:
                body = _read(response, way.body_limit)
                watch.lap("transfer")
                return Page(response.status_code, body, following.url.hostname if following else None, watch.seconds)
            _drain(response)
            watch.lap("transfer")
        request = following
    raise dial.DialError(Reason.STATUS, f"{request.url.shown}: stopped after {REDIRECT_LIMIT} redirects")


def _redirected(request: Request, response: requests.Response) -> Request | None:
    location = response.headers.get("Location") if response.status_code in REDIRECTS else None
    if not location:
        return None
    try:
        return request.redirected(location, response.status_code)
    except ValueError:
        raise dial.DialError(Reason.STATUS, f"{request.url.shown} redirects to what is no URL") from None


def _read(response: requests.Response, limit: int) -> bytes:
    """The body as far as it is looked at. Raises ProbeError where it breaks off before."""
    try:
        body: bytes = response.raw.read(limit)
    except (dial.DialError, MalformedError) as error:
        late = isinstance(error, dial.DialError) and error.reason is Reason.TIMEOUT
        said = "its body did not end in time" if late else "its body broke off"
        reason = Reason.TIMEOUT if late else Reason.BODY
        raise ProbeError(reason, f"{response.url} answered {response.status_code}, but {said}") from None
    return body


def _drain(response: requests.Response) -> None:
    """Read the short body of a redirect that is followed. Whatever happens to it, it can only cost time."""
    answer: Answer = response.raw  # type: ignore[assignment]
    if answer.length is None or answer.length <= DRAIN_LIMIT:
        with contextlib.suppress(dial.DialError, MalformedError):
            answer.read(DRAIN_LIMIT)


class _Adapter(HTTPAdapter):
    """requests' adapter, over connections that `dial` makes and bounds, and with answers read by Go's rules.

    So there is no proxy, no cookie, no netrc, no retry and no kept connection, whatever the environment says.
    """

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> Any:
        """An exchange is its own connection."""
        return request

    def cert_verify(self, *_: Any) -> None:
        """The TLS context decides."""

    def request_url(self, *_: Any) -> str:
        """The exchange knows what it asks for."""
        return ""


@cache
def _adapter() -> _Adapter:
    return _Adapter()


class _Exchange(requests.PreparedRequest):
    """A request as requests' adapter takes it, and the connection it goes over in place of a pool of urllib3's."""

    def __init__(self, request: Request, way: Way, watch: dial.Stopwatch) -> None:
        super().__init__()
        self.method, self.url, self.headers = request.method, request.url.shown, CaseInsensitiveDict()
        self._request = request
        self._way = way
        self._watch = watch

    def urlopen(self, **_: Any) -> Answer:
        """Send the request and read the head of its answer. Raises DialError."""
        asked = self._request.url
        if asked.scheme not in _DEFAULT_PORTS or not asked.hostname:
            raise dial.DialError(Reason.STATUS, f"{asked.scheme}: leads to no HTTP server")
        sent = self._sent()
        sock = self._connected()
        try:
            with self._secured(sock) as secured:  # it stays open until the answer is closed
                secured.sendall(sent)
                answer = _answer(secured, self._request.method)
        except SilentError:
            raise dial.DialError(Reason.CONNECT, f"{asked.shown} closed the connection without an answer") from None
        except MalformedError as error:
            raise dial.DialError(Reason.STATUS, f"{asked.shown}: {error}") from None
        except dial.DialError as error:
            raise dial.DialError(error.reason, f"{asked.shown}: {error}") from None
        self._watch.lap("processing")
        return answer

    def _connected(self) -> dial.Socket:
        asked, way = self._request.url, self._way
        if way.unix_socket is not None:
            return dial.connect_unix(way.unix_socket, way.deadline, self._watch)
        port = _DEFAULT_PORTS[asked.scheme] if asked.port is None else asked.port
        return dial.connect(asked.hostname, port, way.deadline, way.resolver, self._watch)

    def _secured(self, sock: dial.Socket) -> socket.socket:
        asked, way = self._request.url, self._way
        if asked.scheme != "https":
            return sock
        secured = dial.secure(sock, way.context or unverified(), asked.hostname, way.deadline)
        self._watch.lap("tls")
        return secured

    def _sent(self) -> bytes:
        try:
            return self._request.sent
        except ValueError as error:
            raise dial.DialError(Reason.ERROR, f"the request cannot be sent: {error}") from None


def _answer(sock: socket.socket, method: str) -> Answer:
    """The answer, which keeps the connection open until it is closed."""
    stream = sock.makefile("rb")
    try:
        answer = Answer(stream, method)
    except (dial.DialError, MalformedError):
        stream.close()
        raise
    return answer
