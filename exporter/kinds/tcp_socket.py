"""The kind `tcpSocket`: whether a port accepts a connection, completes a TLS handshake, and sends an expected text."""

import ssl
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from exporter.model import Deadline, Outcome, Reason
from exporter.net.dial import connect, secure
from exporter.net.errors import DialError
from exporter.net.resolver import RESOLVER, Resolver
from exporter.net.sockets import Socket, TLSSocket
from exporter.net.starttls import start
from exporter.probe.check import Probe
from exporter.probe.expect import Pattern, matches
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, Port, Query, Text, find_host_risk
from exporter.probe.tls import StartTls, TlsOptions
from exporter.redaction import quote
from exporter.text import format_endpoint

MAX_RESPONSE = 10 * 1024  # bytes that must contain the expected text


class TcpSocket(Probe, TlsOptions):
    """Opens a connection and closes it, sending and reading nothing, as the kubelet does (pkg/probe/tcp/tcp.go).

    The check passes as soon as the kernel has completed the connection, even if the listener never accepts it or
    expects TLS.

    The options from `send` on do not exist in Kubernetes. With `expect` or `expectMatches` the
    check passes once the server has sent the expected text, before the deadline and within the first 10 KiB. The text
    received so far is searched each time more arrives.

    With `tls` or `startTLS`, the check passes only once the TLS handshake is complete, and texts are sent and expected
    after it. `startTLS` speaks the protocol by itself until TLS starts; in blackbox_exporter, each of these steps is
    written in `query_response`. In TLS 1.3, a server that requires a client certificate refuses the connection only
    after the handshake, so without an expected text the check passes.

    Do not use this kind for MySQL or MariaDB, except at 127.0.0.1. They count each connection without a login as an
    error, and after 100 in a row (`max_connect_errors`) they block the address of the host, also for the application.
    Use the kind [`mysql`](#mysql).
    """

    measures: ClassVar = LATENCY
    examples: ClassVar = (
        "- name: memcached\n  tcpSocket: {port: 11211}",
        '- name: mail\n  tcpSocket: {port: 25, expect: "220 "}',
        '- name: cache\n  tcpSocket: {port: 6379, send: "PING\\r\\n", expect: +PONG}',
        "- name: imaps\n  tcpSocket: {port: 993, tls: true, expect: '* OK'}",
        """\
- name: submission
  tcpSocket:
    host: mail.example.com
    port: 587
    startTLS: smtp
    verifyTLS: true
    send: "EHLO probe\\r\\n"
    expect: "250 \"""",
    )

    port: Port
    """Port to connect to."""
    host: Host = "127.0.0.1"
    """Address or name to connect to. `$(POD_IP)` is where the kubelet connects."""
    send: Query | None = None
    """Text to send once connected, in UTF-8. Write line ends yourself, in YAML as `"PING\\r\\n"`. Binary protocols are
    not supported: a character above `\\x7f`, such as `\\xff`, is sent as two or more bytes."""
    expect: Text | None = None
    """Fails when the server does not send this text."""
    expect_matches: Pattern | None = None
    """Fails when the text that the server sends does not match this regular expression, in RE2's syntax. Requires the
    extra `expect`."""
    tls: Annotated[bool, Field(strict=True)] = False
    """Starts TLS once connected. The certificate is not verified, unless verifyTLS is set."""
    start_tls: StartTls = None
    """Starts TLS in the way of this protocol. The certificate is not verified, unless verifyTLS is set."""

    @model_validator(mode="after")
    def _validate_options(self) -> Self:
        if self.send is not None and not self._expects:
            raise ValueError("send requires expect or expectMatches: otherwise nothing reads the response")
        if self.tls and self.start_tls:
            raise ValueError("startTLS starts TLS after a request, and tls at once: remove one of them")
        return self

    @property
    def target(self) -> str:
        return format_endpoint(self.host, self.port)

    @property
    def tls_switch(self) -> str:
        return "" if self.tls or self.start_tls else "tls: true or startTLS"

    @property
    def _expects(self) -> bool:
        return self.expect is not None or self.expect_matches is not None

    def liveness_risk(self) -> str | None:
        return find_host_risk(self.host)

    def probe(self, deadline: Deadline, resolver: Resolver = RESOLVER) -> Outcome:
        context = None if self.tls_switch else self.read_tls_context(deadline)
        timer = LatencyTimer()
        try:
            with connect(self.host, self.port, deadline, resolver) as sock, self._secure(sock, context) as stream:
                fault = self._exchange(stream) if self._expects else None
        except DialError as error:
            return error.outcome(self.target)
        latency = timer.stop()
        if fault:
            return Outcome.failed(Reason.BODY, f"{self.target} {fault}", latency)
        success = "accepts connections" if context is None else "completed the TLS handshake"
        return Outcome.passed(f"{self.target} {'sent the expected text' if self._expects else success}", latency)

    def _secure(self, sock: Socket, context: ssl.SSLContext | None) -> Socket | TLSSocket:
        if self.start_tls:
            start(sock, self.start_tls)
        return sock if context is None else secure(sock, context, self.server_name or self.host)

    def _exchange(self, sock: Socket | TLSSocket) -> str | None:
        """Send and receive. Return why the server's text is not the expected one, or None. Raises DialError."""
        data = b""
        try:
            if self.send is not None:
                sock.sendall(self.send.encode())
            while not self._matches(data.decode("utf-8", "replace")):
                if len(data) >= MAX_RESPONSE:
                    fault = f"did not send the expected text in its first {MAX_RESPONSE // 1024} KiB"
                    return f"{fault}; {self._describe(data)}"
                part = sock.recv(MAX_RESPONSE - len(data))
                if not part:
                    return f"closed the connection without sending the expected text; {self._describe(data)}"
                data += part
        except DialError as error:
            late = error.reason is Reason.TIMEOUT
            cause = "did not send the expected text in time" if late else f"broke off: {error}"
            raise DialError(error.reason, f"{self.target} {cause}; {self._describe(data)}", self.target) from None
        return None

    def _describe(self, data: bytes) -> str:
        """Return the beginning of what was received, without what it repeats of the text sent, such as a password."""
        return f"received {quote(data, self.send)} ({len(data)} bytes)" if data else "received nothing"

    def _matches(self, text: str) -> bool:
        if self.expect is not None and self.expect not in text:
            return False
        return self.expect_matches is None or matches(self.expect_matches, text)
