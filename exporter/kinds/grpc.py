"""The kind `grpc`: the status that a gRPC health service reports."""

import re
import time
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, ClassVar

from exporter.host.greenlets import call_blocking
from exporter.model import Deadline, Outcome, Reason
from exporter.net.request import KUBELET_USER_AGENT
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, Port, find_host_risk
from exporter.redaction import quote
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
_OWN_REQUEST = "got frame type 32)"  # grpcio takes the fourth byte for the type: in `PRI * HTTP/2.0`, it is a space
_ITSELF = "does not speak gRPC: the response is not HTTP/2, or nothing listens there, and the request reached itself"


class Grpc(Probe):
    """Calls `grpc.health.v1.Health/Check` without TLS; only SERVING passes (pkg/probe/grpc/grpc.go).

    One timeout bounds the connection and the call. As in the kubelet, a refused connection is tried again until the
    timeout, so a closed port fails only then.

    This kind differs from the kubelet's probe in one way. A call whose connection breaks is repeated until the timeout,
    because it cannot be distinguished from a connection that failed.
    """

    measures: ClassVar = LATENCY
    needs: ClassVar = {"grpc": "grpc", "grpc_health": "grpc"}
    examples: ClassVar = ("- name: orders\n  grpc: {port: 50051, service: shop.Orders}",)

    port: Port
    """Port to connect to."""
    service: str = ""
    """Service to check. If empty, the whole server is checked."""
    host: Host = "127.0.0.1"
    """Address or name to connect to. Kubernetes has no such field and always connects to the pod, at `$(POD_IP)`."""

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
        return call_blocking(partial(self._call_now, deadline))

    def _call_now(self, deadline: Deadline) -> Outcome:
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
        code, details = error.code().name, error.details() or ""
        address = format_endpoint(self.host, self.port)
        match code:
            case "UNAVAILABLE":
                reason, fault = _describe_unavailable(details)
                return Outcome.failed(reason, f"{address} {fault}")
            case "DEADLINE_EXCEEDED":
                return Outcome.failed(Reason.TIMEOUT, f"{self.target} did not respond in time")
            case "UNIMPLEMENTED":
                fault = "has no grpc.health.v1.Health service"
            case "NOT_FOUND":
                fault = f"does not know the service {self.service}" if self.service else "has no status: set a service"
            case _:
                fault = _describe_status(code, details)
        return Outcome.failed(Reason.STATUS, f"{address} {fault}")


def _describe_unavailable(details: str) -> tuple[Reason, str]:
    """Return what UNAVAILABLE means: a status of the server, or grpcio's own, which only its details tell apart."""
    cause = details.rpartition(": ")[2].rstrip("]")  # the innermost of the errors that grpcio nests
    if details.startswith(("errors resolving", "DNS resolution failed")):
        return Reason.DNS, f"is not reachable by gRPC: {cause}"
    if _OWN_REQUEST in details:
        return Reason.CONNECT, _ITSELF
    if "Failed parsing HTTP/2" in details:
        status = re.search(r"http1.x server \(HTTP status (\d+)", details)
        cause = f"it returned {status[1]} over HTTP/1" if status else "the response is not HTTP/2"
        return Reason.STATUS, f"does not speak gRPC: {cause}"
    if "Socket closed" in details or "Connection reset" in details:
        return Reason.CONNECT, "closed the connection: does it expect TLS, which this kind does not use?"
    if details.startswith("failed to connect"):
        return Reason.CONNECT, f"is not reachable by gRPC: {cause}"
    return Reason.STATUS, _describe_status("UNAVAILABLE", details)


def _describe_status(code: str, details: str) -> str:
    return f"returned {code}: {quote(details.encode())}" if details else f"returned {code}"


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
