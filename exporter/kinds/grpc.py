"""The kind `grpc`: what a gRPC health service says."""

import time
from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar

from exporter.model import Deadline, Outcome, Reason
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, Port, endpoint, remote_host_risk

USER_AGENT = "kube-probe/1.36"
BACKOFF = 1.0  # seconds between attempts to connect: grpc-go's first, with which the kubelet dials
ANSWER_LIMIT = 64 * 1024  # bytes; a HealthCheckResponse has two
_OPTIONS = (
    ("grpc.primary_user_agent", USER_AGENT),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a new connection for every attempt
    ("grpc.max_receive_message_length", ANSWER_LIMIT),
)


class Grpc(Probe):
    """Calls `grpc.health.v1.Health/Check` without TLS; only SERVING passes (pkg/probe/grpc/grpc.go).

    One deadline bounds the connection and the call. A connection that is refused is tried again until the deadline, as
    the kubelet does, so a closed port fails only then.

    Where it differs from the kubelet: an answer with the status UNAVAILABLE cannot be told from a failing connection,
    and is asked for again until the deadline.
    """

    measures: ClassVar = LATENCY
    needs: ClassVar = {"grpc": "grpc", "grpc_health": "grpc"}
    examples: ClassVar = ("- name: orders\n  grpc: {port: 50051, service: shop.Orders}",)

    port: Port
    """Port to connect to."""
    service: str = ""
    """The service to ask for; empty asks for the whole server."""
    host: Host = "127.0.0.1"
    """Address or name to connect to. Kubernetes has no such field: there it is the pod."""

    @property
    def target(self) -> str:
        address = endpoint(self.host, self.port)
        return f"{address}/{self.service}" if self.service else address

    def liveness_risk(self) -> str | None:
        return remote_host_risk(self.host)

    def probe(self, deadline: Deadline) -> Outcome:
        while True:
            outcome = self._ask(deadline)
            if outcome.reason not in (Reason.CONNECT, Reason.DNS):
                return outcome
            time.sleep(min(BACKOFF, max(0.0, deadline.remaining())))
            if deadline.remaining() <= 0:
                return outcome

    def _ask(self, deadline: Deadline) -> Outcome:
        library = _library()
        timer = LatencyTimer()
        try:
            with library.grpc.insecure_channel(endpoint(self.host, self.port), options=_OPTIONS) as channel:
                check = library.stub(channel).Check
                answer = check(library.request(service=self.service), timeout=max(0.001, deadline.remaining()))
        except library.grpc.RpcError as error:
            return self._failure(error)
        latency = timer.stop()
        status = library.statuses.get(answer.status, str(answer.status))
        if status == "SERVING":
            return Outcome.passed(f"{self.target} is SERVING", latency)
        return Outcome.failed(Reason.STATUS, f"{self.target} is {status}", latency)

    def _failure(self, error: Any) -> Outcome:
        code = error.code().name
        if code == "UNAVAILABLE":
            details = error.details()
            reason = Reason.DNS if "resol" in details else Reason.CONNECT
            why = details.rpartition(": ")[2].rstrip("]")  # the innermost of the errors that grpcio strings together
            return Outcome.failed(reason, f"{self.target} is not reachable by gRPC: {why}")
        if code == "DEADLINE_EXCEEDED":
            return Outcome.failed(Reason.TIMEOUT, f"{self.target} did not answer in time")
        if code == "UNIMPLEMENTED":
            return Outcome.failed(Reason.STATUS, f"{self.target} has no grpc.health.v1.Health service")
        return Outcome.failed(Reason.STATUS, f"{self.target} answered {code}")


@cache
def _library() -> Any:
    """grpcio, imported for those who use it: it costs memory and time."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    return SimpleNamespace(
        grpc=grpc,
        stub=health_pb2_grpc.HealthStub,
        request=health_pb2.HealthCheckRequest,
        statuses={number: name for name, number in health_pb2.HealthCheckResponse.ServingStatus.items()},
    )
