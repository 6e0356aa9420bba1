"""The kind `tcpSocket` concludes what the kubelet's prober concludes (pkg/probe/tcp), and keeps its deadline."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from kinds.pages import tls
from kinds.servers import hang, serving
from support import eventually, free_port

from exporter.evaluation.run import run
from exporter.kinds.tcp_socket import TcpSocket
from exporter.model import Deadline, Outcome, Reason, Result, Spec, Status
from exporter.net.resolver import Resolver
from exporter.probe.check import Check

DIFFERS = {
    "no file descriptor left": "for the kubelet the target failed; here the run is unknown, because that is the "
    "exporter's own shortage",
}
"""Where the exporter differs from the kubelet. Everything else in this file is the same."""


def check(port: int, timeout: float = 5.0, **options: Any) -> Result:
    """One run of a check, with all its attempts."""
    return run(Check(Spec("it", "tcpSocket", timeout=timeout), TcpSocket(port=port, **options)))


OPEN = {
    "that greets": ((b"220 mail.example ESMTP\r\n", hang), {}),
    "that is silent": ((hang,), {}),
    "that closes at once": ((), {}),
    "that expects TLS": ((hang,), {"tls": tls()}),
    "on IPv6": ((hang,), {"address": "::1"}),
    "on another address of loopback": ((hang,), {"address": "127.0.0.2"}),
}


@pytest.mark.parametrize(("script", "options"), OPEN.values(), ids=OPEN)
def test_a_listener_passes(script, options):
    host = options.get("address", "127.0.0.1")
    with serving(script, listens=False, **options) as server:
        outcome = check(server.port, host=host).outcome

    target = f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"
    assert (outcome.status, outcome.summary) == (Status.PASS, f"{target} accepts connections")
    assert [measurement.name for measurement in outcome.measurements] == ["endpoint_latency_seconds"]


def test_a_listener_that_never_accepts_passes():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert check(listener.getsockname()[1]).outcome.status is Status.PASS


def test_nothing_is_sent_and_the_connection_is_closed_at_once():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        check(listener.getsockname()[1])
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            assert connection.recv(10) == b""


def test_a_refused_connection_fails():
    port = free_port()
    result = check(port)

    assert (result.outcome.status, result.outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert result.outcome.summary == f"127.0.0.1:{port}: Connection refused"
    assert result.outcome.measurements == ()


def test_a_listener_that_stops_fails_and_passes_when_it_is_back():
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert check(port).outcome.status is Status.PASS
    assert check(port).outcome.reason is Reason.CONNECT
    with socket.create_server(("127.0.0.1", port)):
        assert check(port).outcome.status is Status.PASS


def test_a_connection_that_is_not_completed_fails_at_the_deadline(blackhole):
    result = check(blackhole, 0.3)

    assert (result.outcome.status, result.outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert result.outcome.summary.startswith(f"127.0.0.1:{blackhole} did not accept the connection within ")
    assert result.duration >= 0.3


def test_a_failure_is_not_repeated():
    """Only an attempt that raises a ProbeError is."""
    attempts = []

    class CountingTcpSocket(TcpSocket):
        def probe(self, deadline: Deadline) -> Outcome:
            attempts.append(deadline)
            return super().probe(deadline)

    result = run(Check(Spec("it", "tcpSocket", timeout=60), CountingTcpSocket(port=free_port())))

    assert result.outcome.status is Status.FAIL
    assert len(attempts) == 1


def test_a_name_that_is_not_resolved_fails_with_the_reason_dns():
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    outcome = TcpSocket(port=80, host="nowhere.example").probe(Deadline(time.monotonic() + 5), Resolver(look_up))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.DNS)


def test_a_name_is_resolved():
    with serving((hang,), listens=False) as server:
        assert check(server.port, host="localhost").outcome.status is Status.PASS


def test_many_probes_leave_nothing_open():
    with serving((hang,), listens=False) as server:
        for _ in range(100):
            assert check(server.port).outcome.status is Status.PASS
        eventually(lambda: server.accepted == 100)
    closed = free_port()
    before = open_files()
    for _ in range(100):
        check(closed)

    assert open_files() <= before


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"port": 3306}, "127.0.0.1:3306"),
        ({"port": 80, "host": "shop.example"}, "shop.example:80"),
        ({"port": 80, "host": "::1"}, "[::1]:80"),
    ],
)
def test_the_target_is_host_and_port(options, target):
    assert TcpSocket(**options).target == target
