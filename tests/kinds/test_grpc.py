"""The kind `grpc` against real gRPC servers, and against servers that speak something else (pkg/probe/grpc/grpc.go)."""

import itertools
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer
from kinds.servers import hang, pause, reset, serving
from support import PATIENCE, eventually, free_port

from exporter.kinds.grpc import Grpc
from exporter.model import Deadline, Reason, Status

DIFFERS = {
    "UNAVAILABLE": "for the kubelet the target failed at once; here the call is repeated until the timeout, because "
    "grpcio reports a connection that fails in the same way as a server that returns this status",
}
"""The differences from the kubelet, and why. docs/migration.md has them for users."""

Serving = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):
    """A health service with a scripted response, which records services and user agents."""

    def __init__(self) -> None:
        self.response: object = Serving.SERVING
        self.services: list[str] = []
        self.agents: list[str] = []
        self.release = threading.Event()

    def Check(self, request, context):  # noqa: N802
        self.services.append(request.service)
        self.agents.append(dict(context.invocation_metadata())["user-agent"])
        if self.response == "hang":
            self.release.wait(60)
        if isinstance(self.response, grpc.StatusCode):
            context.abort(self.response, "failed to resolve \x1b[2J: db")
        if callable(self.response):
            return self.response()
        return Serving(status=self.response)


@pytest.fixture
def server():
    """A factory of started servers on free ports; all are stopped at the end."""
    started = []

    def start(servicer=None, credentials=None, port=0, options=()):
        made = grpc.server(ThreadPoolExecutor(4), options=options)
        if servicer:
            health_pb2_grpc.add_HealthServicer_to_server(servicer, made)
        address = f"127.0.0.1:{port}"
        port = made.add_secure_port(address, credentials) if credentials else made.add_insecure_port(address)
        made.start()
        started.append(made)
        return port

    yield start
    for running in started:
        running.stop(0).wait(5)


def check(port: int, timeout: float = 20.0, **options):
    return Grpc(port=port, **options).probe(Deadline(time.monotonic() + timeout))


def check_once(port: int):
    """One attempt: the deadline is far away when it starts, and has passed when it ends."""
    times = itertools.chain([0.0], itertools.repeat(60.0))
    return Grpc(port=port).probe(Deadline(60.0, lambda: next(times)))


@pytest.mark.parametrize(
    ("response", "status", "words"),
    [
        (Serving.SERVING, "pass", "is SERVING"),
        (Serving.NOT_SERVING, "fail", "is NOT_SERVING"),
        (Serving.UNKNOWN, "fail", "is UNKNOWN"),
        (Serving.SERVICE_UNKNOWN, "fail", "is SERVICE_UNKNOWN"),
        (77, "fail", "is 77"),
        (grpc.StatusCode.NOT_FOUND, "fail", "has no status: set a service"),
        (grpc.StatusCode.INTERNAL, "fail", r'returned INTERNAL: "failed to resolve \x1b[2J: db"'),
        (grpc.StatusCode.PERMISSION_DENIED, "fail", r'returned PERMISSION_DENIED: "failed to resolve \x1b[2J: db"'),
        (grpc.StatusCode.UNAVAILABLE, "fail", r'returned UNAVAILABLE: "failed to resolve \x1b[2J: db"'),
        (grpc.StatusCode.UNIMPLEMENTED, "fail", "has no grpc.health.v1.Health service"),
    ],
    ids=str,
)
def test_only_serving_passes(server, response, status, words):
    servicer = Health()
    servicer.response = response
    outcome = check(server(servicer))

    assert outcome.status == status
    assert outcome.summary.endswith(words)
    assert outcome.reason == (None if status == "pass" else Reason.STATUS)


def test_a_service_that_the_server_does_not_know_is_named(server):
    outcome = check(server(HealthServicer()), service="shop.Orders")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert outcome.summary.endswith(" does not know the service shop.Orders")


def test_a_status_of_the_server_is_not_requested_again(server):
    servicer = Health()
    servicer.response = grpc.StatusCode.UNAVAILABLE
    check(server(servicer))

    assert len(servicer.services) == 1


def test_a_server_without_the_health_service_fails(server):
    outcome = check(server())

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert outcome.summary.endswith("has no grpc.health.v1.Health service")


def test_the_service_and_the_user_agent_are_sent_as_by_the_kubelet(server):
    servicer = Health()
    port = server(servicer)
    check(port)
    check(port, service="shop.Orders")

    assert servicer.services == ["", "shop.Orders"]
    assert all(agent.startswith("kube-probe/") for agent in servicer.agents)


def test_the_latency_is_measured(server):
    (latency,) = check(server(Health())).measurements

    assert latency.name == "endpoint_latency_seconds"
    assert latency.value > 0


def test_a_closed_port_fails_only_at_the_deadline():
    began = time.monotonic()
    outcome = check(free_port(), timeout=0.5)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert outcome.summary.endswith("is not reachable by gRPC: Connection refused")
    assert time.monotonic() - began >= 0.5


def test_a_server_that_comes_up_in_time_passes(server):
    port = free_port()
    timer = threading.Timer(0.3, lambda: server(Health(), port=port))
    timer.start()

    assert check(port, timeout=60).status is Status.PASS
    timer.join()


CLOSED = "closed the connection: does it expect TLS (mode: TLS)?"
NOT_HTTP2 = "does not speak gRPC: the response is not HTTP/2"
ITSELF = "nothing listens there, and the request reached itself"  # whose fourth byte is a space too
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


def receive(server, connection):
    """Receive whatever comes next."""
    connection.recv(1000)


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        ((hang,), Reason.TIMEOUT, "did not respond in time"),
        ((SETTINGS, hang), Reason.TIMEOUT, "did not respond in time"),
        ((b"SSH-2.0-OpenSSH\r\n", hang), Reason.STATUS, NOT_HTTP2),
        ((receive, b"220 mail.example ESMTP\r\n", hang), Reason.CONNECT, f"{NOT_HTTP2}, or {ITSELF}"),
        ((receive, b"\x15\x03\x01\0\2\2\x46"), Reason.CONNECT, CLOSED),
        ((receive,), Reason.CONNECT, CLOSED),
        ((receive, SETTINGS, pause(0.2), receive), Reason.CONNECT, CLOSED),
        ((receive, reset), Reason.CONNECT, CLOSED),
    ],
    ids=["silent", "HTTP/2, then silent", "SSH", "SMTP", "TLS alert", "closing", "closing the call", "reset"],
)
def test_a_server_that_does_not_speak_grpc_fails(script, reason, words):
    with serving(script, listens=False) as server:
        outcome = check(server.port, timeout=0.5) if reason is Reason.TIMEOUT else check_once(server.port)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary
    assert outcome.summary == f"127.0.0.1:{server.port} {words}"


def test_an_http_server_fails_and_its_status_is_shown(nginx):
    outcome = check(nginx.port)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert outcome.summary == f"127.0.0.1:{nginx.port} does not speak gRPC: it returned 400 over HTTP/1"


def test_a_call_that_hangs_fails_at_the_deadline(server):
    servicer = Health()
    servicer.response = "hang"
    port = server(servicer)
    outcome = check(port, timeout=0.5)
    held = not servicer.release.is_set()
    servicer.release.set()

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert held


def test_a_huge_response_is_refused(server):
    """A message of megabytes is not read into memory."""
    servicer = Health()
    unknown_field = b"\x7a\x80\x80\x80\x05" + b"x" * (10 * 2**20)  # field 15, of 10 MiB
    servicer.response = lambda: Serving.FromString(b"\x08\x01" + unknown_field)
    outcome = check(server(servicer, options=[("grpc.max_send_message_length", -1)]))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert "returned RESOURCE_EXHAUSTED" in outcome.summary


def test_a_proxy_of_the_environment_is_not_used(server, monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert check(server(Health())).status is Status.PASS


def test_a_name_that_does_not_resolve_fails():
    outcome = check(1, timeout=1, host="no.such.host.invalid")

    assert (outcome.status, outcome.reason) in ((Status.FAIL, Reason.DNS), (Status.FAIL, Reason.TIMEOUT))


def _open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_nothing_is_left_open(server):
    port = server(Health())
    check(port)
    before = _open_files()
    for _ in range(50):
        check(port)

    eventually(lambda: _open_files() <= before + 1, within=60)


@pytest.mark.parametrize(
    ("options", "target"),
    [({}, "127.0.0.1:9"), ({"service": "a.B"}, "127.0.0.1:9/a.B"), ({"host": "::1"}, "[::1]:9")],
)
def test_the_target_is_address_and_service(options, target):
    assert Grpc(port=9, **options).target == target


FORKING = """
import gevent.monkey
gevent.monkey.patch_all()
import os, subprocess, sys, threading, time
from exporter.kinds.grpc import Grpc
from exporter.model import Deadline

probe = Grpc(port=int(sys.argv[1]))

def call():
    while True:
        calls.append(probe.probe(Deadline(time.monotonic() + 60)).status)

calls = []
threading.Thread(target=call, daemon=True).start()
while not calls:
    time.sleep(0.01)
codes = {subprocess.run(["true"]).returncode for _ in range(300)}
print(len(calls) > 1, codes, os.environ.get("GRPC_ENABLE_FORK_SUPPORT"))
os._exit(0)
"""


def test_commands_of_an_application_with_gevent_are_not_aborted(server):
    """Gevent starts them with os.fork(), and grpcio's handlers of forks aborted 4 % of them."""
    port = server(Health())
    done = subprocess.run([sys.executable, "-c", FORKING, str(port)], capture_output=True, text=True, timeout=PATIENCE)

    assert done.stdout == "True {0} None\n", done.stderr
