"""What a MariaDB server counts against the host that connects: at `max_connect_errors` it blocks the host's address."""

import importlib.util
import threading
from contextlib import ExitStack, suppress
from functools import partial
from types import SimpleNamespace

import pytest
from faults.namespaces import namespaces
from kinds.daemons import folder, frozen, mariadb, run_probe
from support import Process, eventually

from exporter.kinds.mysql import Mysql
from exporter.kinds.tcp_socket import TcpSocket
from exporter.model import ProbeError, Reason, Status

SERVER, CLIENT, PORT = "10.213.7.1", "10.213.7.2", 3306
MAX_ERRORS = 5
USERS = f"""
CREATE USER health@'%' IDENTIFIED BY 'open sesame';
CREATE USER secured@'%' IDENTIFIED BY 'open sesame' REQUIRE SSL;
INSTALL SONAME 'auth_ed25519';
CREATE USER signer@'%' IDENTIFIED VIA ed25519 USING PASSWORD('open sesame');
INSTALL SONAME 'auth_pam';
CREATE USER clear@'%' IDENTIFIED VIA pam USING 'mariadb';
SET GLOBAL max_connect_errors = {MAX_ERRORS};
"""


@pytest.fixture(scope="module")
def server():
    """A MariaDB server in one network, which a client reaches from another, because loopback is never blocked."""
    with ExitStack() as stack:
        home = stack.enter_context(folder("mysql"))
        near = stack.enter_context(namespaces("mounts", "network"))
        far = stack.enter_context(namespaces("network"))
        (home / "hosts").write_text(f"127.0.0.1 localhost\n{CLIENT} application\n")  # only named hosts are counted
        near.run("mount", "--bind", str(home / "hosts"), "/etc/hosts")
        near.run("ip", "link", "add", "name", "near", "type", "veth", "peer", "name", "far")
        near.run("ip", "link", "set", "far", "netns", str(far(threading.get_native_id)))
        for side, device, address in ((near, "near", SERVER), (far, "far", CLIENT)):
            side.run("ip", "address", "add", f"{address}/24", "dev", device)
            side.run("ip", "link", "set", device, "up")
        options = [f"--bind-address={SERVER}", f"--port={PORT}", "--performance-schema=ON", "--connect-timeout=600"]
        process = stack.enter_context(mariadb(home, USERS, *options, start=partial(near, Process)))

        def query(statement: str) -> str:
            client = ["--no-defaults", "--user=root", f"--socket={home}/socket", "--skip-column-names"]
            return near.run("mariadb", *client, f"--execute={statement}").strip()

        yield SimpleNamespace(process=process, query=query, client=far)


@pytest.fixture(autouse=True)
def passwords(monkeypatch):
    monkeypatch.setenv("PASSWORD", "open sesame")
    monkeypatch.setenv("WRONG", "shibboleth")


def mysql(**options) -> Mysql:
    return Mysql(host=SERVER, **{"username": "health", "password": {"env": "PASSWORD"}, **options})


def count_errors(server) -> int:
    """The errors since the last successful connection, which the server compares with max_connect_errors."""
    return int(server.query("SELECT SUM(sum_connect_errors) FROM performance_schema.host_cache") or 0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"password": {"env": "WRONG"}},
        {"password": None},
        {"username": "nobody"},
        {"username": "secured"},
        {"username": "signer"},
        {"username": "clear"},
        {"database": "nothing"},
        {"query": "SELEKT 1"},
        {"query": "SELECT REPEAT('a', 100000)"},
        {"query": "SELECT SLEEP(60)"},
    ],
    ids=str,
)
def test_no_run_counts_as_an_error_of_the_host(server, options):
    server.query("FLUSH HOSTS")
    probe = mysql(**options)
    with suppress(ProbeError):
        server.client(run_probe, probe, timeout=5.0 if "SLEEP" in probe.query else 30.0)

    assert count_errors(server) == 0


@pytest.mark.skipif(importlib.util.find_spec("nacl") is not None, reason="PyNaCl is installed")
def test_without_its_library_a_user_of_ed25519_cannot_be_checked(server):
    with pytest.raises(ProbeError, match="which requires PyNaCl") as raised:
        server.client(run_probe, mysql(username="signer"))

    assert raised.value.reason is Reason.MISSING


def test_a_run_that_times_out_while_it_connects_counts_until_the_next_success(server):
    server.query("FLUSH HOSTS")
    with frozen(server.process):
        assert server.client(run_probe, mysql(), timeout=0.3).reason is Reason.TIMEOUT

    assert eventually(lambda: count_errors(server) == 1)
    assert server.client(run_probe, mysql()).status is Status.PASS
    assert count_errors(server) == 0


def test_bare_connections_block_the_host(server):
    """The reason for the advice about `tcpSocket` and this port."""
    server.query("FLUSH HOSTS")
    for number in range(MAX_ERRORS):
        assert server.client(run_probe, TcpSocket(host=SERVER, port=PORT)).status is Status.PASS
        assert eventually(lambda expected=number + 1: count_errors(server) == expected)

    outcome = server.client(run_probe, mysql())
    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.PERMISSION)
    assert "blocked because of many connection errors" in outcome.summary
    server.query("FLUSH HOSTS")
    assert server.client(run_probe, mysql()).status is Status.PASS
