"""The kind `websocket`: whether a server opens a WebSocket, and sends an expected text in it."""

from dataclasses import replace
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from exporter.model import Deadline, Outcome, ProbeError, Reason
from exporter.net import url
from exporter.net.dial import connect, secure
from exporter.net.errors import DialError
from exporter.net.request import USER_AGENT, Request
from exporter.net.resolver import RESOLVER, Resolver
from exporter.net.websocket import RESERVED, WebSocket
from exporter.probe.authorization import read_authorization, refuse_both
from exporter.probe.check import Probe
from exporter.probe.expect import Pattern, matches
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, HttpHeader, HttpPath, Port, Query, Text, find_host_risk
from exporter.probe.secret import BasicAuth, Secret
from exporter.probe.tls import TlsOptions
from exporter.redaction import quote

MAX_RESPONSE = 10 * 1024  # bytes of the messages that must contain the expected text

_NORMAL_CODES = (0, 1000, 1001, 1005)  # none, normal closure, going away, no code (RFC 6455, 7.4.1)


class Websocket(Probe, TlsOptions):
    """Opens a WebSocket (RFC 6455) and closes it; with an expected text, once a message with that text has arrived.

    Any response to the handshake other than 101, a redirect too, fails with the reason `status`. A proxy that does not
    pass the upgrade on often returns 200, 400 or 426. An `httpGet` check of the same path does not notice this, because
    it does not request an upgrade.

    With `expect` or `expectMatches`, messages are read until one of them contains the text: at most 10 KiB of all
    messages together, text and binary alike. Pings of the server are answered. At the end, the check sends a Close
    frame and waits up to a second for the server to close the connection. Without an expected text, it fails with the
    reason `status` if the server closes the WebSocket with a code such as 1008 or 1011. To notice a refusal that comes
    later, expect a text.

    The options for TLS are those of `httpGet`. No extension, such as compression, is offered. For a subprotocol, set
    the header `Sec-WebSocket-Protocol`; many servers also require `Origin`. A server may select one of the
    subprotocols or none, and fails if it selects another one. The kubelet has no such probe.
    Gatus and Uptime Kuma have such checks, and blackbox_exporter will have the prober `websocket` after 0.28. Instead
    of several steps as in its `query_response`, this kind sends one text and expects one.
    """

    measures: ClassVar = LATENCY
    examples: ClassVar = (
        "- name: live\n  websocket: {path: /live, port: 8080}",
        '- name: feed\n  websocket: {path: /feed, port: 8080, send: \'{"op": "ping"}\', expect: pong}',
        """\
- name: graphql
  websocket:
    host: api.example.com
    port: 443
    scheme: WSS
    verifyTLS: true
    path: /graphql
    httpHeaders:
      - {name: Sec-WebSocket-Protocol, value: graphql-transport-ws}
      - {name: Origin, value: https://shop.example.com}
    send: '{"type": "connection_init"}'
    expect: connection_ack""",
    )

    path: HttpPath = "/"
    """Path and query to request."""
    port: Port
    """Port to connect to."""
    scheme: Literal["WS", "WSS"] = "WS"
    """WSS uses TLS. The certificate is not verified, unless verifyTLS is set."""
    host: Host = "127.0.0.1"
    """Address or name to connect to."""
    http_headers: tuple[HttpHeader, ...] = ()
    """Headers to send with the handshake."""
    basic_auth: BasicAuth | None = None
    """Sends basic authentication."""
    bearer_token: Secret | None = None
    """Sends a bearer token."""
    send: Query | None = None
    """Text to send as one message once the WebSocket is open. Requires `expect` or `expectMatches`."""
    expect: Text | None = None
    """Fails when no message contains this text."""
    expect_matches: Pattern | None = None
    """Fails when no message matches this regular expression, in RE2's syntax. Requires the extra `expect`."""

    @model_validator(mode="after")
    def _validate_options(self) -> Self:
        refuse_both(self.basic_auth, self.bearer_token)
        if self.send is not None and not self._expects:
            raise ValueError("send requires expect or expectMatches: otherwise nothing reads the response")
        for header in self.http_headers:
            if header.name.lower() in RESERVED:
                raise ValueError(f"httpHeaders must not contain {header.name}, which belongs to the handshake")
        return self

    @property
    def target(self) -> str:
        try:
            return self._build_request().url.public
        except ProbeError:
            return f"{self.scheme.lower()}://{self.host}:{self.port}"

    @property
    def tls_switch(self) -> str:
        return "" if self.scheme == "WSS" else "scheme: WSS"

    @property
    def _expects(self) -> bool:
        return self.expect is not None or self.expect_matches is not None

    def liveness_risk(self) -> str | None:
        return find_host_risk(self.host)

    def probe(self, deadline: Deadline, resolver: Resolver = RESOLVER) -> Outcome:
        authorization = read_authorization(self.basic_auth, self.bearer_token, deadline)
        request = replace(self._build_request(), authorization=authorization.header)
        context = self.read_tls_context(deadline) if self.scheme == "WSS" else None
        timer = LatencyTimer()
        try:
            sock = connect(self.host, self.port, deadline, resolver)
            stream = secure(sock, context, self.server_name or self.host) if context else sock
            with WebSocket(stream, request, deadline) as opened:
                fault = self._exchange(opened, request) if self._expects else None
                latency = timer.stop()
        except DialError as error:
            return error.outcome(self.target)
        if fault:
            return Outcome.failed(Reason.BODY, f"{self.target} {fault}", latency)
        if not self._expects and opened.close_code not in _NORMAL_CODES:
            summary = f"{self.target} closed the WebSocket with the code {opened.close_code}"
            return Outcome.failed(Reason.STATUS, summary, latency)
        success = "sent the expected text" if self._expects else "opened a WebSocket"
        return Outcome.passed(f"{self.target} {success}", latency)

    def _build_request(self) -> Request:
        try:
            requested = url.build(self.scheme.lower(), self.host, self.port, self.path)
        except ValueError as error:
            raise ProbeError(Reason.ERROR, str(error)) from None
        headers = [(header.name, header.value) for header in self.http_headers]
        if not any(name.lower() == "user-agent" for name, _ in headers):
            headers.append(("User-Agent", USER_AGENT))
        return Request.from_headers(requested, tuple(headers))

    def _exchange(self, opened: WebSocket, request: Request) -> str | None:
        """Send and receive. Return why no message is the expected one, or None. Raises DialError."""
        received = b""
        try:
            if self.send is not None:
                opened.send(self.send)
            for message in opened.receive(MAX_RESPONSE):
                if self._matches(message.decode("utf-8", "replace")):
                    return None
                received = received or message
        except DialError as error:
            late = error.reason is Reason.TIMEOUT
            cause = "did not send the expected text in time" if late else f"broke off: {error}"
            summary = f"{self.target} {cause}; {self._describe(received, request)}"
            raise DialError(error.reason, summary, self.target) from None
        if opened.was_cut:
            fault = f"did not send the expected text in its first {MAX_RESPONSE // 1024} KiB"
        else:
            fault = f"closed the WebSocket with the code {opened.close_code} without sending the expected text"
        return f"{fault}; {self._describe(received, request)}"

    def _describe(self, received: bytes, request: Request) -> str:
        """Return the beginning of the first message, without what it repeats of the request and of the text sent."""
        secrets = [self.send or "", request.authorization, request.url.target]
        secrets += [header.value for header in self.http_headers]
        return f"received {quote(received, secrets)}" if received else "received nothing"

    def _matches(self, text: str) -> bool:
        if self.expect is not None and self.expect not in text:
            return False
        return self.expect_matches is None or matches(self.expect_matches, text)
