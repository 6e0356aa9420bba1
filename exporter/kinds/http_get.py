"""The kind `httpGet`: what an HTTP endpoint answers."""

import ssl
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.net import dial, url
from exporter.net.fetch import BODY_LIMIT, Page, Way, fetch
from exporter.net.request import Request, basic
from exporter.probe.check import Probe
from exporter.probe.expect import JsonExpectation, Pattern, body_complaint
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, Options, Port, Spelling, remote_host_risk
from exporter.probe.secret import BasicAuth, Secret

EXPECTED_BODY_LIMIT = 2**20  # bytes that are looked at where the body must hold something

_Code = Annotated[int, Field(strict=True, ge=100, le=999)]
_Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class HttpHeader(Options):
    """A request header. Repeated names are sent repeatedly; an empty User-Agent or Accept is not sent."""

    name: Annotated[str, Spelling(r"^[-A-Za-z0-9]+$", "must be letters, digits and '-'")]
    """Name of the header."""
    value: str = ""
    """Value of the header."""


class ClientCertificate(Options):
    """What the exporter shows a server that asks for a certificate."""

    cert_file: Path
    """The certificate, with its chain, in PEM."""
    key_file: Path
    """Its key, in PEM."""


class HttpGet(Probe):
    """Asks for a page as the kubelet does: a new connection each time, status 200 to 399 passes (pkg/probe/http).

    Certificates are not verified. Redirects are followed on the same host name; one to another host is not followed
    and passes. A body that breaks off is no evidence about the status: the check could not look.

    Where it differs from the kubelet: HTTP/2 is not offered over TLS; and the attempts at a body that breaks off share
    one deadline, where the kubelet gives each of the three the whole timeout.

    What Kubernetes' httpGet does not have: all options from `expectStatus` on.
    """

    measures: ClassVar = {
        **LATENCY,
        "endpoint_phase_seconds": "Seconds of the latest run by phase: resolve, connect, tls, processing, transfer.",
    }
    examples: ClassVar = (
        "- name: api\n  httpGet: {path: /health, port: 8080}",
        "- name: exact\n  httpGet: {port: 8080, expectStatus: [200]}",
        "- name: echo\n  httpGet: {path: /echo, port: 8080, method: POST, body: ping, bodyContains: ping}",
        "- name: version\n  httpGet: {path: /version, port: 8080, bodyMatches: '^v1[.][0-9]+'}",
        """- name: queue
  httpGet:
    path: /status
    port: 8080
    jsonPath:
      - {path: $.status, equals: up}
      - {path: $.queue.length, max: 100}""",
        "- name: fast\n  httpGet: {port: 8080, warnLatencySeconds: 0.2, maxLatencySeconds: 0.5, phases: true}",
        """- name: inside
  httpGet:
    host: api.internal
    port: 8443
    scheme: HTTPS
    verifyTLS: true
    caFile: /etc/ssl/internal.pem
    clientCertificate: {certFile: /etc/ssl/probe.pem, keyFile: /etc/ssl/probe.key}""",
        "- name: private\n  httpGet: {port: 8080, basicAuth: {username: probe, password: {env: PROBE_PASSWORD}}}",
        "- name: token\n  httpGet: {port: 8080, bearerToken: {file: /var/run/secrets/token}}",
        "- name: redirect\n  httpGet: {path: /old, port: 8080, followRedirects: false, expectStatus: [301]}",
        "- name: socket\n  httpGet: {path: /_ping, port: 80, unixSocket: /run/app.sock}",
    )

    path: str = "/"
    """Path and query."""
    port: Port
    """Port to connect to."""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    """HTTPS speaks TLS; it verifies no certificate, as the kubelet, unless verifyTLS is set."""
    host: Host = "127.0.0.1"
    """Address or name to connect to."""
    http_headers: tuple[HttpHeader, ...] = ()
    """Headers to send, in this order."""
    expect_status: Annotated[tuple[_Code, ...], Field(min_length=1)] | None = None
    """The status codes that pass, instead of 200 to 399."""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    """The request's method."""
    body: str = ""
    """The request's body, sent as UTF-8."""
    body_contains: str | None = None
    """Text that the answer's body must contain. The first MiB of the body is looked at."""
    body_matches: Pattern | None = None
    """A regular expression that must be found in the body, in RE2's syntax. Needs the extra `expect`."""
    json_path: tuple[JsonExpectation, ...] = ()
    """What values of a JSON body must be. Needs the extra `expect`."""
    max_latency_seconds: _Seconds | None = None
    """Latency at and above which the check fails."""
    warn_latency_seconds: _Seconds | None = None
    """Latency at and above which the check warns."""
    verify_tls: Annotated[bool, Field(alias="verifyTLS", strict=True)] = False
    """Verify the certificate's chain and name, by the system's authorities or those of caFile."""
    ca_file: Path | None = None
    """The authorities to verify by, in PEM. Needs verifyTLS."""
    client_certificate: ClientCertificate | None = None
    """The certificate to show."""
    basic_auth: BasicAuth | None = None
    """Basic authentication, sent only to the configured scheme, host and port, whatever a redirect says."""
    bearer_token: Secret | None = None
    """A bearer token, sent as basicAuth is."""
    follow_redirects: Annotated[bool, Field(strict=True)] = True
    """Follow redirects on the same host name; if not, a redirect is the answer."""
    unix_socket: str | None = None
    """Connect to this Unix socket; host and port then only name the server in the request."""
    phases: Annotated[bool, Field(strict=True)] = False
    """Measure where the time goes, as health_endpoint_phase_seconds."""

    _first: Request | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.basic_auth and self.bearer_token:
            raise ValueError("takes basicAuth or bearerToken, not both")
        if self.ca_file and not self.verify_tls:
            raise ValueError("caFile needs verifyTLS: true")
        warn, most = self.warn_latency_seconds, self.max_latency_seconds
        if warn is not None and most is not None and warn > most:
            raise ValueError("warnLatencySeconds must not be above maxLatencySeconds")
        return self

    @property
    def target(self) -> str:
        try:
            asked = self._request().url
        except ProbeError:
            asked = url.Url()
        return asked.shown if asked.host else f"{self.scheme.lower()}://{self.host}:{self.port}"

    def liveness_risk(self) -> str | None:
        return None if self.unix_socket else remote_host_risk(self.host)

    def probe(self, deadline: Deadline, resolver: dial.Resolver = dial.RESOLVER) -> Outcome:
        request, way = self._authorized(), self._way(deadline, resolver)
        timer = LatencyTimer()
        try:
            page = fetch(request, way)
        except dial.DialError as error:
            return error.outcome()
        latency = timer.stop(self.warn_latency_seconds, self.max_latency_seconds)
        phases = tuple(Measurement("endpoint_phase_seconds", each, phase=phase) for phase, each in page.seconds.items())
        return self._conclude(page, latency, phases if self.phases else ())

    def _conclude(self, page: Page, latency: Measurement, phases: tuple[Measurement, ...]) -> Outcome:
        said = f"{self.target} answered {page.status}"
        if page.status not in (self.expect_status or range(200, 400)):
            wanted = f", expected {' or '.join(map(str, self.expect_status))}" if self.expect_status else ""
            return Outcome.failed(Reason.STATUS, said + wanted, latency, *phases)
        if page.elsewhere is not None:
            said += f", a redirect to {page.elsewhere or 'no host'}, which is not followed"
        if wrong := body_complaint(page.body, self.body_contains, self.body_matches, self.json_path):
            return Outcome.failed(Reason.BODY, f"{said}, but {wrong}", latency, *phases)
        if latency.limits:
            said += f" in {latency.value:.3f} s"
        return Outcome.measured(said, latency, *phases)

    def _request(self) -> Request:
        if self._first is None:
            try:
                asked = url.build(self.scheme.lower(), self.host, self.port, self.path)
            except ValueError as error:
                raise ProbeError(Reason.ERROR, str(error)) from None
            first = Request.configured(asked, tuple((each.name, each.value) for each in self.http_headers))
            self._first = replace(first, method=self.method, body=self.body.encode())
        return self._first

    def _authorized(self) -> Request:
        if self.basic_auth:
            password = self.basic_auth.password.read()
            return replace(self._request(), authorization=basic(self.basic_auth.username.encode(), password.encode()))
        if self.bearer_token:
            return replace(self._request(), authorization=f"Bearer {self.bearer_token.read()}")
        return self._request()

    def _way(self, deadline: Deadline, resolver: dial.Resolver) -> Way:
        looks_inside = self.body_contains is not None or self.body_matches is not None or self.json_path
        return Way(
            deadline,
            resolver,
            self._context(),
            self.unix_socket,
            self.follow_redirects,
            EXPECTED_BODY_LIMIT if looks_inside else BODY_LIMIT,
        )

    def _context(self) -> ssl.SSLContext | None:
        """Our own TLS context, made anew when one of its files has changed; None for the kubelet's."""
        if not self.verify_tls and not self.client_certificate:
            return None
        shown = (self.client_certificate.cert_file, self.client_certificate.key_file) if self.client_certificate else ()
        try:
            changed = tuple(path.stat().st_mtime_ns for path in (*shown, self.ca_file) if path)
            return _tls(self.verify_tls, self.ca_file, shown, changed)
        except FileNotFoundError as error:
            raise ProbeError(
                Reason.MISSING, f"the file {error.filename or 'of a certificate'} does not exist"
            ) from None
        except OSError as error:  # ssl.SSLError is one
            raise ProbeError(Reason.ERROR, f"a certificate file cannot be used: {error.strerror or error}") from None


@lru_cache(maxsize=64)
def _tls(verify: bool, ca_file: Path | None, shown: tuple[Path, ...], _changed: tuple[int, ...]) -> ssl.SSLContext:  # noqa: FBT001
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if shown:
        context.load_cert_chain(shown[0], shown[1])
    return context
