"""The kind `mysql` against a real MariaDB, and against scripted servers that break its protocol."""

import struct
import subprocess
import time

import pytest
from kinds.daemons import as_user, folder, frozen, run_probe
from kinds.servers import drip, flood, hang, serving
from pydantic import ValidationError
from support import Process, command, ended, eventually, free_port

from exporter.kinds.mysql import Mysql
from exporter.model import Deadline, ProbeError, Reason, Status

PASSWORD = "open sesame"
USERS = """
CREATE DATABASE shop;
CREATE TABLE shop.orders (state TEXT, price DECIMAL(8, 2));
INSERT INTO shop.orders VALUES ('new', 1.25), ('new', 2.5), ('sent', NULL);
CREATE USER health@'%' IDENTIFIED BY 'open sesame';
GRANT SELECT ON shop.* TO health@'%';
CREATE USER anybody@'%';
"""


@pytest.fixture(scope="module")
def server():
    """A MariaDB server with a table of three orders and a user who may read it."""
    with folder("mysql") as home:
        data, port = home / "data", free_port()
        (home / "users.sql").write_text("".join(line + "\n" for line in USERS.strip().splitlines()))
        common = ["--no-defaults", f"--datadir={data}"]
        install = [command("mariadb-install-db"), *common, "--skip-test-db", "--skip-name-resolve"]
        subprocess.run(as_user("mysql", *install), check=True, capture_output=True, timeout=60, cwd=home)
        listen = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={home}/socket", "--skip-name-resolve"]
        start = [command("mariadbd"), *common, *listen, f"--init-file={home}/users.sql"]
        with ended(Process(as_user("mysql", *start), cwd=home)) as process:
            process.line("ready for connections", within=30)
            process.port = port
            yield process


@pytest.fixture(autouse=True)
def passwords(monkeypatch):
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG", "shibboleth")


def mysql(server, *, password="PASSWORD", **options) -> Mysql:
    options = {"username": "health", **options}
    return Mysql(port=server.port, password={"env": password} if password else None, **options)


def test_a_server_that_responds_passes(server):
    outcome = run_probe(mysql(server))

    assert (outcome.status, outcome.summary) == (Status.PASS, f"127.0.0.1:{server.port} responded to the query with 1")
    value, latency = outcome.measurements
    assert (value.name, value.value) == ("mysql_value", 1)
    assert latency.name == "endpoint_latency_seconds"
    assert latency.value > 0


def test_a_user_without_a_password_passes(server):
    assert run_probe(mysql(server, username="anybody", password=None)).status is Status.PASS


@pytest.mark.parametrize(
    "options",
    [
        {"password": "WRONG"},
        {"password": None},
        {"username": "nobody"},
        {"database": "mysql"},
        {"query": "SELECT COUNT(*) FROM mysql.user"},
        {"query": "DELETE FROM shop.orders"},
    ],
    ids=["wrong password", "no password", "unknown user", "another database", "another table", "another operation"],
)
def test_denied_access_fails_with_permission(server, options):
    outcome = run_probe(mysql(server, **options))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.PERMISSION), outcome.summary
    assert "denied" in outcome.summary
    assert "shibboleth" not in outcome.summary


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"fail": 3}, "pass"), ({"fail": 2}, "fail"), ({"warn": 2}, "warn"), ({"fail": 2, "falling": True}, "fail")],
    ids=str,
)
def test_a_number_is_compared_with_its_limits(server, limits, status):
    query = "SELECT COUNT(*) FROM orders WHERE state = 'new'"
    outcome = run_probe(mysql(server, database="shop", query=query, **limits))

    assert outcome.status == status
    assert outcome.measurements[0].value == 2
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)


@pytest.mark.parametrize(
    ("query", "value"),
    [("SELECT SUM(price) FROM shop.orders", 3.75), ("SELECT '12'", 12), ("SELECT TRUE", 1), ("SELECT -1.5e3", -1500)],
)
def test_every_numeric_type_is_a_number(server, query, value):
    assert run_probe(mysql(server, query=query)).measurements[0].value == value


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT price FROM shop.orders WHERE state = 'sent'", Reason.MISSING),
        ("SELECT price FROM shop.orders WHERE state = 'lost'", Reason.MISSING),
        ("DO 1", Reason.MISSING),
        ("SELECT 'private words'", Reason.BODY),
        ("SELECT NOW()", Reason.BODY),
        ("SELECT nothing FROM shop.orders", Reason.MISSING),
        ("SELECT 1 FROM shop.nothing", Reason.MISSING),
        ("SELEKT 1", Reason.STATUS),
        ("SELECT REPEAT('a', 100000)", Reason.STATUS),
    ],
)
def test_with_limits_a_value_that_is_not_a_number_fails(server, query, reason):
    outcome = run_probe(mysql(server, query=query, fail=1))

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary
    assert "private words" not in outcome.summary


@pytest.mark.parametrize("query", ["SELEKT 'canary'", "SELECT 1 FRM 'canary", "canary"])
def test_an_error_of_the_server_is_shown_without_the_strings_of_the_query(server, query):
    outcome = run_probe(mysql(server, query=query))

    assert outcome.status is Status.FAIL
    assert "SQL syntax" in outcome.summary
    assert "canary" not in outcome.summary


def test_without_limits_any_value_passes(server):
    assert run_probe(mysql(server, query="SELECT 'private words'")).status is Status.PASS


def test_a_query_that_takes_too_long_fails_at_the_deadline(server):
    outcome = run_probe(mysql(server, query="SELECT SLEEP(2)"), timeout=0.3)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


def test_a_closed_port_fails():
    outcome = run_probe(Mysql(port=free_port(), username="health"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)


def test_a_frozen_server_fails_at_the_deadline_and_passes_afterwards(server):
    with frozen(server):
        outcome = run_probe(mysql(server), timeout=0.3)
    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)

    assert eventually(lambda: run_probe(mysql(server)).status is Status.PASS)


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


GREETING = packet(
    0,
    b"\n8.0.0\0" + b"\1\0\0\0" + b"12345678\0" + b"\xff\xf7" + b"\x2d" + b"\2\0" + b"\xff\x81\x15" + bytes(10)
    + b"123456789012\0" + b"mysql_native_password\0",
)  # fmt: skip


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ((hang,), Reason.TIMEOUT),
        ((GREETING, hang), Reason.TIMEOUT),
        ((drip(GREETING[:-1]),), Reason.TIMEOUT),
        ((), Reason.CONNECT),
        ((GREETING,), Reason.CONNECT),
        ((packet(0, b"\xff\x10\x04Too many connections"), hang), Reason.STATUS),
        ((packet(0, b"\n"), hang), Reason.STATUS),
        ((packet(0, b"SSH-2.0-OpenSSH"), hang), Reason.STATUS),
        ((flood(packet(0, b"a" * 65536)),), Reason.STATUS),
    ],
    ids=["silent", "greeting", "dripping", "closing", "breaking off", "full", "short", "SSH", "flooding"],
)
def test_a_server_that_breaks_the_protocol_fails(script, reason):
    with serving(script, listens=False) as server:
        outcome = run_probe(Mysql(port=server.port, username="health"), timeout=1.0)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary


@pytest.mark.parametrize("plugin", [b"mysql_clear_password\0", b"dialog\0\4Password: "])
def test_the_password_is_never_sent_in_clear_text(plugin):
    received = []

    def listen(server, connection):
        connection.recv(65536)
        connection.sendall(packet(2, b"\xfe" + plugin))
        received.append(connection.recv(65536))

    with serving((GREETING, listen), listens=False) as server:
        outcome = run_probe(mysql(server), timeout=1.0)

    assert outcome.reason is Reason.PERMISSION
    assert outcome.summary.endswith("the server asks for the password in clear text")
    assert received == [b""]


def test_a_password_in_a_response_is_hidden():
    with serving((packet(0, b"\xff\x15\x04#28000no open sesame here"), hang), listens=False) as server:
        outcome = run_probe(mysql(server))

    assert outcome.summary.endswith("no *** here (1045)")


def test_without_its_password_the_check_cannot_run(server):
    with pytest.raises(ProbeError) as raised:
        mysql(server, password="NOT_SET").probe(Deadline(time.monotonic() + 1))

    assert raised.value.reason is Reason.MISSING


@pytest.mark.parametrize("options", [{}, {"username": ""}, {"username": "health", "query": ""}], ids=str)
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValidationError):
        Mysql(**options)


def test_nothing_that_is_shown_contains_the_password(server):
    probe = mysql(server, database="shop")

    assert probe.target == f"127.0.0.1:{server.port}/shop"
    assert PASSWORD not in f"{probe!r} {probe.target} {probe.model_dump_json()} {run_probe(probe)}"
