"""The kind `grpc`: the status that a gRPC health service reports."""

import time
from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar

from exporter.model import Deadline, Outcome, Reason
from exporter.net.request import KUBELET_USER_AGENT
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, Port, find_host_risk
from exporter.text import format_endpoint

BACKOFF = 1.0  # seconds between attempts to connect: the first back-off of grpc-go, which the kubelet uses
MAX_RESPONSE = 64 * 1024  # bytes; a HealthCheckResponse has 2
_CHANNEL_OPTIONS = (
    ("grpc.primary_user_agent", KUBELET_USER_AGENT),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a new connection for every attempt
    ("grpc.max_receive_message_length", MAX_RESPONSE),
)
_CAUSES = {
    "got frame type 32)": "the response is not HTTP/2, or nothing listens there and the request reached itself",
    "got frame type": "the response is not HTTP/2",
    "Socket closed": "the server closed the connection (does it expect TLS?)",
    "Connection reset by peer": "the server reset the connection (does it expect TLS?)",
}
"""What a part of grpcio's description of a failed connection means; the first one counts.

grpcio takes the fourth byte for the type of a frame. In its own request, `PRI * HTTP/2.0`, that is a space.
"""


class Grpc(Probe):
    """Calls `grpc.health.v1.Health/Check` without TLS; only SERVING passes (pkg/probe/grpc/grpc.go).

    One timeout bounds the connection and the call. As in the kubelet, a refused connection is tried again until the
    timeout, so a closed port fails only then.

    This kind differs from the kubelet's probe in one way. A response with the status UNAVAILABLE cannot be
    distinguished from a failed connection, so the call is repeated until the timeout.
    """

    measures: ClassVar = LATENCY
    needs: ClassVar = {"grpc": "grpc", "grpc_health": "grpc"}
    examples: ClassVar = ("- name: orders\n  grpc: {port: 50051, service: shop.Orders}",)

    port: Port
    """Port to connect to."""
    service: str = ""
    """Service to check. If empty, the whole server is checked."""
    host: Host = "127.0.0.1"
    """Address or name to connect to. Kubernetes has no such field and always connects to the pod."""

    @property
    def target(self) -> str:
        address = format_endpoint(self.host, self.port)
        return f"{address}/{self.service}" if self.service else address

    def liveness_risk(self) -> str | None:
        return find_host_risk(self.host)

    def probe(self, deadline: Deadline) -> Outcome:
        while True:
            outcome = self._call(deadline)
            if outcome.reason not in (Reason.CONNECT, Reason.DNS):
                return outcome
            time.sleep(min(BACKOFF, max(0.0, deadline.remaining())))
            if deadline.remaining() <= 0:
                return outcome

    def _call(self, deadline: Deadline) -> Outcome:
        library = _import_library()
        timer = LatencyTimer()
        try:
            with library.grpc.insecure_channel(
                format_endpoint(self.host, self.port), options=_CHANNEL_OPTIONS
            ) as channel:
                check = library.stub(channel).Check
                response = check(library.request(service=self.service), timeout=max(0.001, deadline.remaining()))
        except library.grpc.RpcError as error:
            return self._describe_failure(error)
        latency = timer.stop()
        status = library.statuses.get(response.status, str(response.status))
        if status == "SERVING":
            return Outcome.passed(f"{self.target} is SERVING", latency)
        return Outcome.failed(Reason.STATUS, f"{self.target} is {status}", latency)

    def _describe_failure(self, error: Any) -> Outcome:
        code = error.code().name
        if code == "UNAVAILABLE":
            details = error.details()
            reason = Reason.DNS if "resol" in details else Reason.CONNECT
            cause = _explain(details.rpartition(": ")[2].rstrip("]"))  # the innermost of the errors that grpcio nests
            return Outcome.failed(reason, f"{self.target} is not reachable by gRPC: {cause}")
        if code == "DEADLINE_EXCEEDED":
            return Outcome.failed(Reason.TIMEOUT, f"{self.target} did not respond in time")
        if code == "UNIMPLEMENTED":
            return Outcome.failed(Reason.STATUS, f"{self.target} has no grpc.health.v1.Health service")
        hint = ": the server does not know this service" if code == "NOT_FOUND" else ""
        return Outcome.failed(Reason.STATUS, f"{self.target} returned {code}{hint}")


def _explain(cause: str) -> str:
    """Return what grpcio's description of a failed connection means."""
    return next((meaning for fragment, meaning in _CAUSES.items() if fragment in cause), cause)


@cache
def _import_library() -> Any:
    """Import grpcio only if a check needs it, because it costs memory and time."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    return SimpleNamespace(
        grpc=grpc,
        stub=health_pb2_grpc.HealthStub,
        request=health_pb2.HealthCheckRequest,
        statuses={number: name for name, number in health_pb2.HealthCheckResponse.ServingStatus.items()},
    )
