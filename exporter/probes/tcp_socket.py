"""The kind `tcpSocket`: whether a port accepts a connection."""

import time

from exporter.check import LATENCY, Host, Port, Probe, elsewhere
from exporter.dial import DialError, connect
from exporter.model import Deadline, Measurement, Outcome


class TcpSocket(Probe):
    """Connects and closes, sending and reading nothing, as the kubelet does (pkg/probe/tcp/tcp.go).

    The connection passes as soon as the kernel completes it: a listener that never accepts, or that speaks TLS, passes.
    """

    measures = LATENCY

    port: Port
    host: Host = "127.0.0.1"
    """Address or name to connect to."""

    @property
    def target(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def liveness_risk(self) -> str | None:
        return elsewhere(self.host)

    def probe(self, deadline: Deadline) -> Outcome:
        began = time.perf_counter()
        try:
            connect(self.host, self.port, deadline).close()
        except DialError as error:
            return error.outcome()
        latency = Measurement("endpoint_latency_seconds", time.perf_counter() - began)
        return Outcome.passed(f"{self.target} accepts connections", latency)
