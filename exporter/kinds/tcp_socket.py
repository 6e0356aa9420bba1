"""The kind `tcpSocket`: whether a port accepts a connection, and says what it should."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from exporter.model import Deadline, Outcome, Reason
from exporter.net.dial import RESOLVER, DialError, Resolver, Socket, connect
from exporter.probe.check import Probe
from exporter.probe.expect import Pattern, found
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, Port, endpoint, remote_host_risk

ANSWER_LIMIT = 10 * 1024  # bytes in which the expected text must stand

_Text = Annotated[str, Field(min_length=1)]


class TcpSocket(Probe):
    """Connects and closes, sending and reading nothing, as the kubelet does (pkg/probe/tcp/tcp.go).

    The connection passes as soon as the kernel completes it: a listener that never accepts, or that speaks TLS, passes.

    With `expect` or `expectMatches`, which the kubelet has not, it passes once the expected text has come: before the
    deadline, and within the first 10 KiB. Both are looked for whenever something comes.
    """

    measures: ClassVar = LATENCY
    examples: ClassVar = (
        "- name: mysql\n  tcpSocket: {port: 3306}",
        '- name: mail\n  tcpSocket: {port: 25, expect: "220 "}',
        '- name: cache\n  tcpSocket: {port: 6379, send: "PING\\r\\n", expect: +PONG}',
    )

    port: Port
    """Port to connect to."""
    host: Host = "127.0.0.1"
    """Address or name to connect to."""
    send: _Text | None = None
    """Text to send once connected; line ends are those it has, in YAML `"PING\\r\\n"`."""
    expect: _Text | None = None
    """Text that must come, anywhere in what the server says."""
    expect_matches: Pattern | None = None
    """Regular expression of RE2's syntax that what the server says must match anywhere; needs the extra `expect`."""

    @model_validator(mode="after")
    def _expecting(self) -> Self:
        if self.send is not None and not self._expects:
            raise ValueError("send needs expect or expectMatches: else nobody reads the answer")
        return self

    @property
    def target(self) -> str:
        return endpoint(self.host, self.port)

    @property
    def _expects(self) -> bool:
        return self.expect is not None or self.expect_matches is not None

    def liveness_risk(self) -> str | None:
        return remote_host_risk(self.host)

    def probe(self, deadline: Deadline, resolver: Resolver = RESOLVER) -> Outcome:
        timer = LatencyTimer()
        try:
            with connect(self.host, self.port, deadline, resolver) as sock:
                wrong = self._talk(sock) if self._expects else None
        except DialError as error:
            return error.outcome()
        latency = timer.stop()
        if wrong:
            return Outcome.failed(Reason.BODY, f"{self.target} {wrong}", latency)
        does = "says what is expected" if self._expects else "accepts connections"
        return Outcome.passed(f"{self.target} {does}", latency)

    def _talk(self, sock: Socket) -> str | None:
        """What is wrong with what the server says, or None. Raises DialError where it does not say enough in time."""
        try:
            if self.send is not None:
                sock.sendall(self.send.encode())
            said = b""
            while not self._fits(said.decode("utf-8", "replace")):
                if len(said) >= ANSWER_LIMIT:
                    return f"did not say what is expected in its first {ANSWER_LIMIT // 1024} KiB"
                part = sock.recv(ANSWER_LIMIT - len(said))
                if not part:
                    return "closed the connection without saying what is expected"
                said += part
        except DialError as error:
            late = error.reason is Reason.TIMEOUT
            words = "did not say what is expected in time" if late else f"broke off: {error}"
            raise DialError(error.reason, f"{self.target} {words}") from None
        return None

    def _fits(self, text: str) -> bool:
        if self.expect is not None and self.expect not in text:
            return False
        return self.expect_matches is None or found(self.expect_matches, text)
