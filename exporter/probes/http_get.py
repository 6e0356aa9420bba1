"""The kind `httpGet`: what an HTTP endpoint answers."""

import http.client
import re
import socket
import ssl
import time
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal
from urllib.parse import quote, urljoin, urlsplit

import requests
import urllib3
from pydantic import Field, StringConstraints
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.util import SKIP_HEADER

from exporter import dial
from exporter.check import LATENCY, Host, Options, Port, Probe, elsewhere
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason

BODY_LIMIT = 10 * 1024  # bytes; more is left unread and is no error (pkg/probe/http/http.go)
REDIRECT_LIMIT = 10  # requests in all
DRAIN_LIMIT = 2 * 1024  # bytes of a redirect's body that are read before it is followed, as Go's client does
USER_AGENT = "kube-probe/1.36"
_OWN = ("host", "connection", "content-length", "transfer-encoding", "trailer")  # not sent as configured
_DEFAULT_PORTS = {"http": 80, "https": 443}
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|[\x00-\x1f\x7f]")
_SAFE = "!$&'()*+,/:;=@-._~%[]"

_Code = Annotated[int, Field(strict=True, ge=100, le=999)]


class HttpHeader(Options):
    """A request header. Repeated names are sent repeatedly; an empty User-Agent or Accept is not sent."""

    name: Annotated[str, StringConstraints(pattern=r"^[-A-Za-z0-9]+$")]
    value: str = ""


class HttpGet(Probe):
    """Asks for a page as the kubelet does: a new connection each time, status 200 to 399 passes (pkg/probe/http).

    Certificates are not verified. Redirects are followed on the same host name; one to another host is not followed
    and passes. A body that breaks off is no evidence about the status: the check could not look.
    """

    measures = LATENCY

    path: str = "/"
    """Path and query."""
    port: Port
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    host: Host = "127.0.0.1"
    """Address or name to connect to."""
    http_headers: tuple[HttpHeader, ...] = ()
    expect_status: Annotated[tuple[_Code, ...], Field(min_length=1)] | None = None
    """The status codes that pass, instead of 200 to 399."""

    @property
    def target(self) -> str:
        return urlsplit(self._url())._replace(query="").geturl()

    def liveness_risk(self) -> str | None:
        return elsewhere(self.host)

    def probe(self, deadline: Deadline) -> Outcome:
        began = time.perf_counter()
        try:
            answer = _follow(self._request(), deadline)
        except dial.DialError as error:
            return error.outcome()
        latency = Measurement("endpoint_latency_seconds", time.perf_counter() - began)
        said = f"{self.target} answered {answer.status}"
        if answer.status not in (self.expect_status or range(200, 400)):
            wanted = f", expected {' or '.join(map(str, self.expect_status))}" if self.expect_status else ""
            return Outcome.failed(Reason.STATUS, said + wanted, latency)
        if answer.elsewhere is not None:
            said += f", a redirect to {answer.elsewhere or 'no host'}, which is not followed"
        return Outcome.passed(said, latency)

    def _url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme.lower()}://{host}:{self.port}{_target(self.path)}"

    def _request(self) -> "_Request":
        return _Request(self._url(), tuple((each.name, each.value) for each in self.http_headers))


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked for: an absolute URL, the configured headers, and the page that redirected here."""

    url: str
    headers: tuple[tuple[str, str], ...]
    referer: str = ""

    def all_headers(self) -> urllib3.HTTPHeaderDict:
        """The headers as the kubelet sends them (pkg/probe/http/request.go): repeated, canonical, with its defaults."""
        headers = urllib3.HTTPHeaderDict()
        for name, value in self.headers:
            if name.lower() not in _OWN:
                headers.add("-".join(part.capitalize() for part in name.split("-")), _utf8(value))
        for name, default in (("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Accept-Encoding", SKIP_HEADER)):
            headers.setdefault(name, default)
        if not headers["User-Agent"]:
            headers["User-Agent"] = SKIP_HEADER  # an absent one would be replaced by urllib3's
        if not headers["Accept"]:
            del headers["Accept"]
        if self.referer:
            headers.setdefault("Referer", self.referer)
        headers["Host"] = next((value for name, value in self.headers if name.lower() == "host" and value), self.netloc)
        headers["Connection"] = "close"
        return headers

    @property
    def netloc(self) -> str:
        return urlsplit(self.url).netloc

    def redirected(self, location: str) -> "_Request":
        """The next request. A configured Host is lost where the Location names a host itself, as in Go's client."""
        url = urljoin(self.url, location)
        keep_host = not urlsplit(location).scheme
        headers = tuple(each for each in self.headers if keep_host or each[0].lower() != "host")
        return _Request(url, headers, self.url)


@dataclass(frozen=True, slots=True)
class _Answer:
    """The final answer. `elsewhere` is the host of a redirect that was not followed because it leads to another one."""

    status: int
    elsewhere: str | None = None


def _follow(request: _Request, deadline: Deadline) -> _Answer:
    """Ask, and follow redirects by the kubelet's rule. Raises DialError for a failure, ProbeError for none."""
    home = urlsplit(request.url).hostname
    for _ in range(REDIRECT_LIMIT):
        answer = _exchange(request, deadline)
        location = answer.headers.get("Location")
        if answer.status_code not in (301, 302, 303, 307, 308) or not location:
            _read(answer, BODY_LIMIT, of_redirect=False)
            return _Answer(answer.status_code)
        try:
            following = request.redirected(location)
            target = urlsplit(following.url)
            port = target.port
        except ValueError:
            raise dial.DialError(Reason.STATUS, "redirected to a Location that is no URL") from None
        if target.hostname != home:
            _read(answer, BODY_LIMIT, of_redirect=False)
            return _Answer(answer.status_code, target.hostname or "")
        if target.scheme not in _DEFAULT_PORTS or port == 0:
            raise dial.DialError(Reason.STATUS, f"redirected to {target.scheme}:, which is not HTTP")
        _read(answer, DRAIN_LIMIT, of_redirect=True)
        request = following
    raise dial.DialError(Reason.STATUS, f"stopped after {REDIRECT_LIMIT} redirects")


def _exchange(request: _Request, deadline: Deadline) -> requests.Response:
    """One request and the head of its answer: the border to requests. Raises DialError only."""
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url, prepared.hooks = "GET", request.url, {}
    prepared.headers = request.all_headers()  # type: ignore[assignment]  # names may repeat, which requests' own cannot
    try:
        return _Adapter(deadline).send(prepared, stream=True)
    except requests.RequestException as error:
        raise _translated(error) from None
    except ValueError as error:  # http.client refuses to send a header with a line end in it
        raise dial.DialError(Reason.ERROR, f"the request cannot be sent: {error}") from None


def _translated(error: requests.RequestException) -> dial.DialError:
    cause: Any = error
    while isinstance(cause, BaseException):
        if isinstance(cause, ConnectionError) and not isinstance(cause, http.client.RemoteDisconnected):
            return dial.DialError(Reason.CONNECT, cause.strerror or "the connection was reset")
        if isinstance(cause, http.client.HTTPException):
            break
        cause = cause.args[-1] if cause.args and isinstance(cause.args[-1], BaseException) else cause.__context__
    if isinstance(cause, http.client.RemoteDisconnected):
        return dial.DialError(Reason.CONNECT, "closed the connection without an answer")
    return dial.DialError(Reason.STATUS, "the answer is not HTTP")


def _read(answer: requests.Response, limit: int, *, of_redirect: bool) -> bytes:
    """The body, up to a limit. Raises ProbeError when it breaks off, in a redirect's body DialError, as the kubelet."""
    body = b""
    try:
        while len(body) < limit and (chunk := answer.raw.read(limit - len(body), decode_content=False)):
            body += chunk
    except (dial.DialError, urllib3.exceptions.HTTPError) as error:
        reason = error.reason if isinstance(error, dial.DialError) else Reason.BODY
        message = str(error) if isinstance(error, dial.DialError) else "the body broke off"
        if of_redirect:
            raise dial.DialError(reason, message) from None
        raise ProbeError(reason, f"status {answer.status_code}, but {message}") from None
    finally:
        answer.close()
    return body


class _Connection(HTTPConnection):
    """A connection that `dial` makes and bounds, in the clear or with TLS."""

    def __init__(self, *args: Any, deadline: Deadline, tls: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadline = deadline
        self._tls = tls

    def _new_conn(self) -> socket.socket:
        sock = dial.connect(self.host, self.port, self._deadline)
        return dial.secure(sock, _unverified(), self.host, self._deadline) if self._tls else sock


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    """requests' adapter for one exchange: no proxy, no cookies, no netrc, a new connection, one deadline."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__(pool_connections=0, pool_maxsize=0)
        self._deadline = deadline

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> _Pool:
        url = urlsplit(request.url or "")
        scheme = str(url.scheme)
        port = url.port or _DEFAULT_PORTS[scheme]
        return _Pool(str(url.hostname), port, maxsize=1, deadline=self._deadline, tls=scheme == "https")


@cache
def _unverified() -> ssl.SSLContext:
    """TLS as the kubelet speaks it: at least 1.2, any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _utf8(text: str) -> str:
    """The text as http.client must be given it so that it sends UTF-8: one character for each byte."""
    return text.encode().decode("latin-1")


def _target(path: str) -> str:
    """The request target of a path as the kubelet builds it (pkg/probe/http/request.go, formatURL).

    The path is read as a URL of which path and query are kept; one that cannot be read so is escaped whole.
    """
    if _BAD_ESCAPE.search(path):
        return "/" + quote(path.lstrip("/"), safe=_SAFE.replace("%", ""))
    parts = urlsplit(path)
    query = f"?{quote(parts.query, safe=_SAFE + '?')}" if parts.query else ""
    return "/" + quote(parts.path.removeprefix("/"), safe=_SAFE) + query
