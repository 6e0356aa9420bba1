"""The network drops packets, goes away, has no free port left, or gives a name another address."""

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from faults.namespaces import namespaces
from faults.prober import probing
from faults.samples import sample
from faults.usage import count_descriptors, count_threads, measure_cpu
from faults.webs import Webs
from support import PATIENCE, eventually, within

from exporter.ask import AskError, ask
from exporter.kinds.amqp import Amqp
from exporter.kinds.certificate import Certificate
from exporter.kinds.dns import Dns
from exporter.kinds.http_get import HttpGet
from exporter.kinds.mysql import Mysql
from exporter.kinds.postgresql import Postgresql
from exporter.kinds.promql import Promql
from exporter.kinds.redis import Redis
from exporter.kinds.tcp_socket import TcpSocket
from exporter.kinds.websocket import Websocket
from exporter.model import Reason, Status

OK = "{name: ok, exec: {command: ['true']}, periodSeconds: 1, groups: [liveness]}"


@pytest.fixture
def network():
    """A network that consists of loopback."""
    with namespaces("network") as inside:
        yield inside


@pytest.fixture
def serve(request) -> Callable[..., Webs]:
    """Start web servers: `serve((address, port), ...)`."""

    def start_(*addresses: tuple[str, int], **options: Any) -> Webs:
        servers = Webs(*addresses, **options)
        request.addfinalizer(servers.close)
        return servers

    return start_


def test_a_firewall_that_drops_packets_costs_a_timeout_and_nothing_else(network, start):
    network.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "9999", "-j", "DROP")
    names = [f"dropped{number}" for number in range(40)]
    dropped = [f"{{name: {name}, httpGet: {{port: 9999}}, periodSeconds: 1, timeoutSeconds: 1}}" for name in names]
    exporter = network(start, f"checks: [{', '.join([OK, *dropped])}]")

    def count_runs() -> float:
        return sum(network(exporter.metrics).get(sample("runs_total", name), 0) for name in names)

    with probing(f"{exporter.url}/livez", network.get):
        eventually(lambda: count_runs() >= 40)
        before = count_threads(exporter), count_descriptors(exporter)
        eventually(lambda: count_runs() >= 140, what="a hundred further runs")
        eventually(lambda: count_threads(exporter) <= before[0] + 5, what="no run leaves a thread behind")
        eventually(lambda: count_descriptors(exporter) <= before[1] + len(names), what="only runs in progress have one")

    metrics = network(exporter.metrics)
    for name in names:
        assert metrics[sample("failures_total", name, reason="timeout")] == metrics[sample("runs_total", name)]


@pytest.fixture
def remote(network):
    """A second network, connected to the first one by `wire`. Its address is 10.77.0.2."""
    with namespaces("network") as inside:
        thread = str(inside(threading.get_native_id))
        network.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "end", "netns", thread)
        for ends, interface, address in ((network, "wire", "10.77.0.1/24"), (inside, "end", "10.77.0.2/24")):
            ends.run("ip", "address", "add", address, "dev", interface)
            ends.run("ip", "link", "set", interface, "up")
        yield inside


def test_the_network_goes_away_and_comes_back(network, remote, start, serve):
    """All checks fail at once. The exporter answers as before, needs no more CPU time, and recovers by itself."""
    [port] = remote(serve, ("10.77.0.2", 0)).ports
    names = [f"remote{number}" for number in range(50)]
    checks = [
        f"{{name: {name}, httpGet: {{host: 10.77.0.2, port: {port}}}, periodSeconds: 1, failureThreshold: 1}}"
        for name in names
    ]
    exporter = network(start, f"checks: [{', '.join([OK, *checks])}]")

    def are_all(up: int) -> bool:
        metrics = network(exporter.metrics)
        return all(metrics[sample("up", name)] == up for name in names)

    def measure() -> tuple[float, int]:
        """The CPU time of three runs of every check, and the size of the metrics."""
        cpu, until = measure_cpu(exporter), count_runs() + 150
        while count_runs() < until:
            time.sleep(0.5)
        return measure_cpu(exporter) - cpu, len(network.get(f"{exporter.url}/metrics").body)

    def count_runs() -> float:
        metrics = network(exporter.metrics)
        return sum(metrics[sample("runs_total", name)] for name in names)

    with probing(f"{exporter.url}/livez", network.get):
        eventually(lambda: are_all(1), what="all pass")
        healthy_cpu, healthy_size = measure()
        network.run("ip", "link", "set", "wire", "down")
        eventually(lambda: are_all(0), what="all fail")
        cpu, size = measure()
        assert network.get(f"{exporter.url}/readyz").status == 503
        network.run("ip", "link", "set", "wire", "up")
        eventually(lambda: are_all(1), what="all pass again")

    assert cpu < 2 * healthy_cpu
    assert size < 2 * healthy_size  # each check that fails adds its reason, its failures and their streaks


def test_without_a_free_port_a_check_fails_and_recovers(network, start, serve):
    network(Path("/proc/sys/net/ipv4/ip_local_port_range").write_text, "40000 40063")
    [port] = network(serve, ("127.0.0.1", 8080)).ports
    exporter = network(
        start,
        f"checks: [{OK}, {{name: web, httpGet: {{port: {port}}}, periodSeconds: 1, failureThreshold: 1}}]",
    )
    exporter.line("check web: unknown -> pass")
    before = count_descriptors(exporter)
    with probing(f"{exporter.url}/livez", network.get):
        with ExitStack() as connections:
            with pytest.raises(OSError, match="Cannot assign requested address"):
                network(connect_forever, port, connections)
            exporter.line("check web: pass -> fail.* reason=connect .*Cannot assign requested address")
        exporter.line("check web: fail -> pass")

    eventually(lambda: count_descriptors(exporter) <= before)


def connect_forever(port: int, connections: ExitStack) -> None:
    while True:
        client = connections.enter_context(socket.create_connection(("127.0.0.1", port)))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


CLOSED = 40000
TO_ITSELF = {
    "tcpSocket": TcpSocket(port=CLOSED),
    "tcpSocket with expect": TcpSocket(port=CLOSED, send="PING", expect="PING"),
    "redis": Redis(port=CLOSED),
    "amqp": Amqp(port=CLOSED),
    "mysql": Mysql(port=CLOSED, username="health", password={"env": "HOME"}),
    "postgresql": Postgresql(port=CLOSED, username="health", password={"env": "HOME"}),
    "httpGet": HttpGet(port=CLOSED),
    "httpGet over TLS": HttpGet(port=CLOSED, scheme="HTTPS"),
    "websocket": Websocket(port=CLOSED),
    "websocket over TLS": Websocket(port=CLOSED, scheme="WSS"),
    "certificate": Certificate(port=CLOSED),
    "promql": Promql(url=f"http://127.0.0.1:{CLOSED}", query="up"),
    "promql over TLS": Promql(url=f"https://127.0.0.1:{CLOSED}", query="up"),
}


@pytest.fixture
def looping(network):
    """A network in which each connection to the port CLOSED, where nothing listens, reaches itself."""
    network(Path("/proc/sys/net/ipv4/ip_local_port_range").write_text, f"{CLOSED} {CLOSED + 1}")

    def reach_itself() -> bool:
        with socket.create_connection(("127.0.0.1", CLOSED)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return bool(client.getsockname() == client.getpeername())

    assert network(reach_itself)
    return network


def bind() -> None:
    with socket.socket() as service:
        service.bind(("127.0.0.1", CLOSED))  # without SO_REUSEADDR, which would ignore TIME_WAIT


@pytest.mark.parametrize("kind", TO_ITSELF)
def test_a_connection_to_itself_is_refused_and_does_not_occupy_the_port(looping, kind):
    outcome = looping(TO_ITSELF[kind].probe, within(60))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT), outcome.summary
    assert "127.0.0.1:40000: Connection refused" in outcome.summary
    looping(bind)


def test_dns_over_a_connection_to_itself_is_refused(looping):
    def refuse_long_answers(listener: socket.socket) -> None:
        query, client = listener.recvfrom(512)
        listener.sendto(query[:2] + b"\x83\x80" + query[4:], client)  # a response with the flag TC

    listener = looping(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with listener:
        listener.bind(("127.0.0.1", CLOSED))
        thread = threading.Thread(target=refuse_long_answers, args=(listener,))
        thread.start()
        outcome = looping(Dns(name="shop.example", server="127.0.0.1", port=CLOSED).probe, within(60))
        thread.join()

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT), outcome.summary
    assert outcome.summary.endswith("127.0.0.1:40000: Connection refused")
    looping(bind)


def test_a_query_that_reaches_itself_is_refused(looping):
    """Over UDP: each socket gets the port that it is connected to."""
    looping(Path("/proc/sys/net/ipv4/ip_local_port_range").write_text, f"{CLOSED} {CLOSED}")
    outcome = looping(Dns(name="shop.example", server="127.0.0.1", port=CLOSED).probe, within(60))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT), outcome.summary
    assert outcome.summary.endswith("127.0.0.1:40000: Connection refused")


def test_a_grpc_connection_to_itself_fails(looping, tmp_path):
    """The library connects by itself. Its end of the connection remains in TIME_WAIT, which its servers ignore."""
    config = tmp_path / "health.yml"
    config.write_text(f"checks: [{{name: orders, grpc: {{port: {CLOSED}}}}}]")
    arguments = [sys.executable, "-m", "exporter", "check", f"--config.file={config}", "--format", "json"]
    ended = looping(subprocess.run, arguments, capture_output=True, text=True, timeout=PATIENCE)
    [check] = json.loads(ended.stdout)["checks"]

    assert (check["status"], check["reason"]) == ("fail", "connect")
    assert "nothing listens there, and the request reached itself" in check["summary"]
    server = grpc.server(ThreadPoolExecutor(1))
    assert looping(server.add_insecure_port, f"127.0.0.1:{CLOSED}") == CLOSED
    server.stop(0).wait(PATIENCE)


def test_ask_does_not_reach_itself(looping):
    with pytest.raises(AskError, match="Connection refused"):
        looping(ask, "livez", f"http://127.0.0.1:{CLOSED}", PATIENCE)
    looping(bind)


METADATA = "169.254.169.254"  # where clouds serve the credentials of a machine
ELSEWHERE = [
    f"http://{METADATA}/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    f"http://[::ffff:{METADATA}]/",
    f"//{METADATA}/",
    f"http://127.0.0.1@{METADATA}/",
    "file:///etc/passwd",
    "ftp://127.0.0.1/",
    "gopher://127.0.0.1/",
    "unix:/run/docker.sock",
]


def test_a_redirect_leads_to_no_other_host_and_to_no_file(network, start, serve):
    """However the address is spelled. A listener at the forbidden address sees no connection."""
    network.run("ip", "address", "add", f"{METADATA}/32", "dev", "lo")
    forbidden = network(serve, (METADATA, 80))

    def redirect(index: int) -> bytes:
        return f"HTTP/1.1 302 Found\r\nLocation: {ELSEWHERE[index]}\r\nContent-Length: 0\r\n\r\n".encode()

    targets = network(serve, *[("127.0.0.1", 0)] * len(ELSEWHERE), respond=redirect)
    checks = ", ".join(
        f"{{name: web{number}, httpGet: {{port: {port}}}, periodSeconds: 1}}"
        for number, port in enumerate(targets.ports)
    )
    exporter = network(start, f"checks: [{checks}]")
    eventually(lambda: min(targets.requests) >= 2)

    assert network.get(f"http://{METADATA}/").status == 200
    assert forbidden.requests == [1]  # the one that this test has sent
    assert network.get(f"{exporter.url}/livez").status == 200


def test_without_ipv6_it_listens_on_ipv4_and_names_an_address_that_it_cannot_have(network, start):
    network(Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text, "1")
    exporter = network(start, f"checks: [{OK}]", "--web.listen-address", ":0")
    port = exporter.url.rpartition(":")[2]
    eventually(lambda: network.get(f"http://127.0.0.1:{port}/readyz").status == 200)

    refused = network(start, f"checks: [{OK}]", "--web.listen-address", "[::1]:0")
    assert refused.wait() == 2
    assert refused.lines == ["[::1]:0: cannot listen: Cannot assign requested address"]


def test_an_address_that_the_machine_does_not_have_yet_is_named(start):
    refused = start(f"checks: [{OK}]", "--web.listen-address", "192.0.2.1:4584")

    assert refused.wait() == 2
    assert refused.lines == ["192.0.2.1:4584: cannot listen: Cannot assign requested address"]
