"""The kind `grpc`: the status that a gRPC health service reports."""

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

from exporter.host.greenlets import call_blocking
from exporter.model import Deadline, Measurement, Outcome, Reason
from exporter.net import grpc_call
from exporter.net.dial import connect, secure
from exporter.net.errors import DialError
from exporter.net.request import KUBELET_USER_AGENT
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, Port, find_host_risk
from exporter.probe.tls import TlsOptions
from exporter.redaction import quote
from exporter.text import format_endpoint

BACKOFF = 1.0  # seconds between attempts to connect: the first back-off of grpc-go, which the kubelet uses
_CHANNEL_OPTIONS = (
    ("grpc.primary_user_agent", KUBELET_USER_AGENT),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a new connection for every attempt
    ("grpc.max_receive_message_length", grpc_call.MAX_RESPONSE),
)
_FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"  # a variable that grpcio reads as it is imported
_OWN_REQUEST = "got frame type 32)"  # grpcio takes the fourth byte for the type: in `PRI * HTTP/2.0`, it is a space
_ITSELF = "does not speak gRPC: the response is not HTTP/2, or nothing listens there, and the request reached itself"


class Grpc(Probe, TlsOptions):
    """Calls `grpc.health.v1.Health/Check`; only SERVING passes (pkg/probe/grpc/grpc.go).

    One timeout bounds the connection and the call. As in the kubelet, a refused connection is tried again until the
    timeout, so a closed port fails only then.

    This kind differs from the kubelet's probe in one way. A call whose connection breaks is repeated until the timeout,
    because it cannot be distinguished from a connection that failed.

    `mode: TLS` is the kubelet's too, in Kubernetes 1.37 behind the feature gate `GRPCContainerProbeTLS`. It verifies no
    certificate there, and has no other options for TLS. A TLS handshake that fails is not tried again.
    """

    measures: ClassVar = LATENCY
    needs: ClassVar = {"grpc": "grpc", "grpc_health": "grpc"}
    examples: ClassVar = (
        "- name: orders\n  grpc: {port: 50051, service: shop.Orders}",
        """\
- name: payments
  grpc:
    host: payments.internal
    port: 8443
    mode: TLS
    verifyTLS: true
    caFile: /etc/ssl/internal.pem
    clientCertificate: {certFile: /etc/ssl/probe.pem, keyFile: /etc/ssl/probe.key}""",
    )

    port: Port
    """Port to connect to."""
    service: str = ""
    """Service to check. If empty, the whole server is checked."""
    host: Host = "127.0.0.1"
    """Address or name to connect to. Kubernetes has no such field and always connects to the pod, at `$(POD_IP)`."""
    mode: Literal["Plaintext", "TLS"] = "Plaintext"
    """Connects with or without TLS. As in the kubelet, no certificate is verified, unless verifyTLS is set."""

    def _import_packages(self) -> None:
        with _without_fork_handlers():
            super()._import_packages()

    @property
    def target(self) -> str:
        return f"{self._address}/{self.service}" if self.service else self._address

    @property
    def _address(self) -> str:
        return format_endpoint(self.host, self.port)

    @property
    def tls_switch(self) -> str:
        return "" if self.mode == "TLS" else "mode: TLS"

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
        return self._call_with_tls(deadline) if self.mode == "TLS" else call_blocking(partial(self._call_now, deadline))

    def _call_with_tls(self, deadline: Deadline) -> Outcome:
        """Call over a connection of the exporter: grpcio has no way to accept any certificate, as the kubelet does."""
        context = self.read_tls_context(deadline, (grpc_call.PROTOCOL,))
        timer = LatencyTimer()
        try:
            with secure(connect(self.host, self.port, deadline), context, self.server_name or self.host) as sock:
                reply = grpc_call.call_health(sock, self.server_name or self._address, self.service, deadline)
        except DialError as error:
            return error.outcome(self._address)
        latency = timer.stop()
        if reply.code != "OK":
            return self._describe_failure(reply.code, reply.details)
        return self._conclude(reply.serving, latency)

    def _call_now(self, deadline: Deadline) -> Outcome:
        library = _import_library()
        timer = LatencyTimer()
        try:
            with library.grpc.insecure_channel(self._address, options=_CHANNEL_OPTIONS) as channel:
                check = library.stub(channel).Check
                response = check(library.request(service=self.service), timeout=max(0.001, deadline.remaining()))
        except library.grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            if code != "UNAVAILABLE":
                return self._describe_failure(code, details)
            reason, fault = _describe_unavailable(details)
            return Outcome.failed(reason, f"{self._address} {fault}")
        latency = timer.stop()
        return self._conclude(grpc_call.name_serving(response.status), latency)

    def _conclude(self, status: str, latency: Measurement) -> Outcome:
        if status == "SERVING":
            return Outcome.passed(f"{self.target} is SERVING", latency)
        return Outcome.failed(Reason.STATUS, f"{self.target} is {status}", latency)

    def _describe_failure(self, code: str, details: str) -> Outcome:
        match code:
            case "DEADLINE_EXCEEDED":
                return Outcome.failed(Reason.TIMEOUT, f"{self.target} did not respond in time")
            case "UNIMPLEMENTED":
                fault = "has no grpc.health.v1.Health service"
            case "NOT_FOUND":
                fault = f"does not know the service {self.service}" if self.service else "has no status: set a service"
            case _:
                fault = _describe_status(code, details)
        return Outcome.failed(Reason.STATUS, f"{self._address} {fault}")


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
        return Reason.CONNECT, "closed the connection: does it expect TLS (mode: TLS)?"
    if details.startswith("failed to connect"):
        return Reason.CONNECT, f"is not reachable by gRPC: {cause}"
    return Reason.STATUS, _describe_status("UNAVAILABLE", details)


def _describe_status(code: str, details: str) -> str:
    return f"returned {code}: {quote(details.encode())}" if details else f"returned {code}"


@contextmanager
def _without_fork_handlers() -> Iterator[None]:
    """Import grpcio without its handlers of forks, unless the application has imported it before.

    gevent starts commands with os.fork(). The handlers then abort some of them before they run: with a `grpc` check
    that runs all the time, 4 % of the commands of `exec` checks, and of those of the application.
    """
    if "grpc" in sys.modules or _FORK_SUPPORT in os.environ:
        yield
        return
    os.environ[_FORK_SUPPORT] = "0"
    try:
        yield
    finally:
        del os.environ[_FORK_SUPPORT]


@cache
def _import_library() -> Any:
    """Import grpcio only if a check needs it, because it costs memory and time."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    return SimpleNamespace(
        grpc=grpc,
        stub=health_pb2_grpc.HealthStub,
        request=health_pb2.HealthCheckRequest,
    )
