"""The kind `httpGet`: the response of an HTTP endpoint, by the kubelet's rules.

Most of the file is the options and their manual. `net/` sends the request, and `probe/` checks the body.
"""

import ssl
from dataclasses import replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from exporter.host.reader import require_response
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.net import url
from exporter.net.dial import is_abstract
from exporter.net.errors import DialError
from exporter.net.fetch import MAX_BODY, Fetched, Route, fetch
from exporter.net.request import Request
from exporter.net.resolver import RESOLVER, Resolver
from exporter.probe.authorization import read_authorization, refuse_both
from exporter.probe.body import Body, BodyExpectations
from exporter.probe.check import Probe
from exporter.probe.expect import HeaderExpectation, JsonExpectation, Pattern
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import (
    Block,
    FilePath,
    Host,
    HttpHeader,
    HttpPath,
    Port,
    Seconds,
    Spelling,
    Text,
    find_host_risk,
)
from exporter.probe.secret import BasicAuth, Secret
from exporter.probe.tls import TlsOptions

MAX_EXPECTED_BODY = 2**20  # bytes of the body that are read if its content is checked
_UnixSocket = Annotated[FilePath, Spelling(r"^(@[\s\S]+|[^@][\s\S]*)$", "must be a path, or @ and an abstract name")]
_Code = Annotated[int, Field(strict=True, ge=100, le=999)]


class HttpGet(Probe, TlsOptions):
    """Sends an HTTP request as the kubelet does, on a new connection; status 200 to 399 passes (pkg/probe/http).

    Certificates are not verified. Redirects on the same host name are followed. A redirect to a different host is not
    followed, and passes. If the body breaks off, the status is not trusted: the run is `unknown`.

    Over TLS, HTTP/2 is used if the server chooses it by ALPN. docs/migration.md lists where this kind differs from the
    kubelet's probe.

    A Host header with the scheme's own port, such as `shop.example:80`, is sent unchanged, as the kubelet does. Some
    proxies do not match it with the name `shop.example`, so leave out the port. `serverName` does not change the Host
    header.

    The request does not ask for compression. If the body is compressed anyway, with gzip or deflate, expectations apply
    to its decoded content. With another compression, they fail.

    The options from `expectStatus` on do not exist in Kubernetes. In blackbox_exporter, `bodyNotMatches` is
    `fail_if_body_matches_regexp`, and `expectHeaders` are `fail_if_header_matches` and `fail_if_header_not_matches`.
    """

    measures: ClassVar = {
        **LATENCY,
        "endpoint_phase_seconds": "Time that each phase of the request took in the latest run, in seconds: "
        "resolve, connect, tls, processing, transfer.",
    }
    examples: ClassVar = (
        "- name: api\n  httpGet: {path: /health, port: 8080}",
        "- name: exact\n  httpGet: {port: 8080, expectStatus: [200]}",
        "- name: echo\n  httpGet: {path: /echo, port: 8080, method: POST, body: ping, bodyContains: ping}",
        "- name: version\n  httpGet: {path: /version, port: 8080, bodyMatches: '^v1[.][0-9]+'}",
        "- name: blog\n  httpGet: {port: 8080, bodyNotContains: Error establishing a database connection}",
        """- name: assets
  httpGet:
    path: /app.js
    port: 8080
    expectHeaders:
      - {name: Content-Type, contains: javascript}
      - {name: Cache-Control, notMatches: no-store}""",
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
        """- name: ingress
  httpGet:
    host: 10.0.0.7
    port: 443
    scheme: HTTPS
    serverName: shop.example.com
    httpHeaders: [{name: Host, value: shop.example.com}]""",
        "- name: private\n  httpGet: {port: 8080, basicAuth: {username: probe, password: {env: PROBE_PASSWORD}}}",
        "- name: token\n  httpGet: {port: 8080, bearerToken: {file: /var/run/secrets/token}}",
        "- name: redirect\n  httpGet: {path: /old, port: 8080, followRedirects: false, expectStatus: [301]}",
        "- name: socket\n  httpGet: {path: /_ping, port: 80, unixSocket: /run/app.sock}",
    )

    path: HttpPath = "/"
    """Path and query to request."""
    port: Port
    """Port to connect to."""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    """HTTPS uses TLS. Like the kubelet, it does not verify certificates, unless verifyTLS is set."""
    host: Host = "127.0.0.1"
    """Address or name to connect to. `$(POD_IP)` is where the kubelet connects."""
    http_headers: tuple[HttpHeader, ...] = ()
    """Headers to send."""
    expect_status: Annotated[tuple[_Code, ...], Field(min_length=1)] | None = None
    """Status codes that pass, instead of 200 to 399."""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    """Method of the request."""
    body: Block = ""
    """Body of the request, sent as UTF-8."""
    body_contains: str | None = None
    """Fails when the first MiB of the response's body does not contain this text. The body's charset is that of its
    Content-Type, or UTF-8."""
    body_matches: Pattern | None = None
    """Fails when the body does not match this regular expression, in RE2's syntax. Requires the extra `expect`."""
    body_not_contains: Text | None = None
    """Fails when the first MiB of the body contains this text."""
    body_not_matches: Pattern | None = None
    """Fails when the first MiB of the body matches this regular expression, in RE2's syntax. Requires the extra
    `expect`."""
    json_path: tuple[JsonExpectation, ...] = ()
    """Fails when the body is not JSON with these values. NaN and Infinity are not JSON. Requires the extra `expect`."""
    expect_headers: tuple[HeaderExpectation, ...] = ()
    """Fails when a header of the response is not as expected. `matches` and `notMatches` require the extra `expect`."""
    max_latency_seconds: Seconds | None = None
    """Fails when the latency reaches this value, in seconds."""
    warn_latency_seconds: Seconds | None = None
    """Warns when the latency reaches this value, in seconds."""
    basic_auth: BasicAuth | None = None
    """Sends basic authentication, but not after a redirect to a different scheme, host or port."""
    bearer_token: Secret | None = None
    """Sends a bearer token, but not after a redirect to a different scheme, host or port."""
    follow_redirects: Annotated[bool, Field(strict=True)] = True
    """Follows redirects on the same host name. If false, the redirect itself is the response to check."""
    unix_socket: _UnixSocket | None = None
    """Connects to this Unix socket. Host and port then only appear in the request. A name that begins with `@` is in
    the abstract namespace, which the containers of a pod share."""
    phases: Annotated[bool, Field(strict=True)] = False
    """Measures the phases of the request, as health_endpoint_phase_seconds."""

    @model_validator(mode="after")
    def _validate_options(self) -> Self:
        refuse_both(self.basic_auth, self.bearer_token)
        if self.method == "HEAD" and self._forbids_text:
            raise ValueError("bodyNotContains and bodyNotMatches would always pass: a response to HEAD has no body")
        if self.body_contains and self.body_not_contains and self.body_not_contains in self.body_contains:
            raise ValueError("bodyNotContains is a part of bodyContains, so that no body can pass")
        warn, fail = self.warn_latency_seconds, self.max_latency_seconds
        if warn is not None and fail is not None and warn > fail:
            raise ValueError("warnLatencySeconds must not be above maxLatencySeconds")
        return self

    @cached_property
    def target(self) -> str:
        try:
            requested = self._request.url
        except ProbeError:
            requested = url.Url()
        return requested.public if requested.host else f"{self.scheme.lower()}://{self.host}:{self.port}"

    def liveness_risk(self) -> str | None:
        return None if self.unix_socket else find_host_risk(self.host)

    def probe(self, deadline: Deadline, resolver: Resolver = RESOLVER) -> Outcome:
        authorization = read_authorization(self.basic_auth, self.bearer_token, deadline)
        request = self._request
        route = self._build_route(request, deadline, resolver)
        if authorization.header:
            request = replace(request, authorization=authorization.header)
        if self.unix_socket and not is_abstract(self.unix_socket):
            require_response(self.unix_socket, deadline, self.unix_socket)
        timer = LatencyTimer()
        try:
            fetched = fetch(request, route)
        except DialError as error:
            return error.outcome()
        latency = timer.stop(self.warn_latency_seconds, self.max_latency_seconds)
        return self._conclude(fetched, request, deadline, latency)

    def _measure_phases(self, fetched: Fetched) -> tuple[Measurement, ...]:
        if not self.phases:
            return ()
        seconds = fetched.seconds.items()
        return tuple(Measurement("endpoint_phase_seconds", value, phase=phase) for phase, value in seconds)

    def _conclude(self, fetched: Fetched, request: Request, deadline: Deadline, latency: Measurement) -> Outcome:
        summary, phases = f"{self.target} returned {fetched.status}", self._measure_phases(fetched)
        if fetched.where != request.url.public:
            summary += f" after a redirect to {fetched.where}"
        body = self._make_body(fetched, request)
        if fetched.status not in (self.expect_status or range(200, 400)):
            if self.expect_status:
                summary += f", expected {' or '.join(map(str, self.expect_status))}"
            if body.content:
                summary += f"; received {body.describe()}"
            return Outcome.failed(Reason.STATUS, summary, latency, *phases)
        if fetched.elsewhere is not None:
            summary += f", a redirect to {fetched.elsewhere or 'no host'}, which is not followed"
        try:
            fault = self._find_header_fault(fetched, request) or body.find_fault(self._expected_body, deadline)
        except TimeoutError:
            summary += ", but its body was not checked in time"
            return Outcome.failed(Reason.TIMEOUT, summary, latency, *phases)
        if fault:
            return Outcome.failed(Reason.BODY, f"{summary}, but {fault}", latency, *phases)
        if latency.limits:
            summary += f" in {latency.value:.3f} s"
        return Outcome.measured(summary, latency, *phases)

    def _find_header_fault(self, fetched: Fetched, request: Request) -> str | None:
        for expectation in self.expect_headers:
            value = fetched.values[expectation.key]
            if fault := expectation.find_fault(value):
                hidden = value is None or expectation.key == b"set-cookie"
                return fault if hidden else f"{fault}; received {request.quote(value or b'')}"
        return None

    @property
    def _forbids_text(self) -> bool:
        return self.body_not_contains is not None or self.body_not_matches is not None

    def _make_body(self, fetched: Fetched, request: Request) -> Body:
        content_type, encoding = (
            fetched.headers.get(name, b"").decode("latin-1") for name in (b"content-type", b"content-encoding")
        )
        return Body(fetched.body, self._max_body, content_type, encoding, request.quote)

    @cached_property
    def _request(self) -> Request:
        """The request without its authorization. All runs share it, so its bytes are encoded only once."""
        try:
            requested = url.build(self.scheme.lower(), self.host, self.port, self.path)
        except ValueError as error:
            raise ProbeError(Reason.ERROR, str(error)) from None
        headers = tuple((header.name, header.value) for header in self.http_headers)
        return replace(Request.from_headers(requested, headers), method=self.method, body=self.body.encode())

    def _build_route(self, request: Request, deadline: Deadline, resolver: Resolver) -> Route:
        return Route(
            deadline,
            resolver,
            self._choose_context(request, deadline),
            self.unix_socket,
            self.follow_redirects,
            self._max_body,
            self.server_name,
            tuple(expectation.key for expectation in self.expect_headers),
        )

    @cached_property
    def _expected_body(self) -> BodyExpectations:
        return BodyExpectations(
            self.body_contains, self.body_matches, self.body_not_contains, self.body_not_matches, self.json_path
        )

    @cached_property
    def _max_body(self) -> int:
        expects_text = self.body_contains is not None or self.body_matches is not None or self._forbids_text
        return MAX_EXPECTED_BODY if expects_text or self.json_path else MAX_BODY

    def _choose_context(self, request: Request, deadline: Deadline) -> ssl.SSLContext | None:
        """Return the configured TLS context; None for the kubelet's."""
        configured = self.verify_tls or self.client_certificate
        return self.read_tls_context(deadline, request.protocols) if configured else None
