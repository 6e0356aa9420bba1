"""The kind `mysql` against a real MariaDB, and against scripted servers that break its protocol."""

import struct
import time

import pytest
import trustme
from kinds.daemons import folder, frozen, mariadb, run_probe
from kinds.servers import drip, flood, hang, serving
from pydantic import ValidationError
from support import eventually, free_port

from exporter.kinds.certificate import Certificate
from exporter.kinds.mysql import Mysql
from exporter.kinds.tcp_socket import TcpSocket
from exporter.model import Deadline, ProbeError, Reason, Status
from exporter.net.sockets import Socket

PASSWORD = "open sesame"
USERS = """
CREATE DATABASE shop;
CREATE TABLE shop.orders (state TEXT, price DECIMAL(8, 2));
INSERT INTO shop.orders VALUES ('new', 1.25), ('new', 2.5), ('sent', NULL);
CREATE TABLE shop.switches (opened BIT(1), closed BIT(1), position BIT(8), level BIT(64), absent BIT(1));
INSERT INTO shop.switches VALUES (1, 0, ASCII('7'), 258, NULL);
CREATE USER health@'%' IDENTIFIED BY 'open sesame';
GRANT SELECT ON shop.* TO health@'%';
CREATE USER anybody@'%';
CREATE USER latin@'%' IDENTIFIED BY 'grün';
CREATE USER euro@'%' IDENTIFIED BY 'grün€🔑';
CREATE USER spaces@'%' IDENTIFIED BY ' open sesame ';
CREATE USER watcher@'%';
GRANT PROCESS ON *.* TO watcher@'%';
CREATE USER secured@'%' REQUIRE SSL;
CREATE USER certified@'%' REQUIRE X509;
GRANT SLAVE MONITOR ON *.* TO health@'%';
CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='nobody';
"""
HEAVY = "SELECT BENCHMARK(60000000000, 1+1)"
UNLIMITED = "SET STATEMENT max_statement_time=0 FOR SELECT SLEEP(60000000)"  # as a server that limits no query
RUNNING = "SELECT {} FROM information_schema.processlist WHERE info LIKE '%(60000000%' AND id != connection_id()"


@pytest.fixture(scope="module")
def server():
    """A MariaDB server with a table of three orders and a user who may read it. Its folder has files for TLS."""
    port, authority = free_port(), trustme.CA()
    with folder("mysql") as home:
        authority.cert_pem.write_to_path(home / "ca.pem")
        for name in ("mariadb.internal", "client"):
            authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(home / f"{name}.pem")
        pem = home / "mariadb.internal.pem"
        listen = [f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        files = [f"--ssl-cert={pem}", f"--ssl-key={pem}", f"--ssl-ca={home / 'ca.pem'}"]
        with mariadb(home, USERS, *listen, *files) as process:
            process.port, process.folder = port, home
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


def over_tls(server, *, verifies=False, certified=False, **options) -> Mysql:
    pem = server.folder / "client.pem"
    options = {
        **({"verifyTLS": True, "caFile": server.folder / "ca.pem"} if verifies else {}),
        **({"clientCertificate": {"certFile": pem, "keyFile": pem}} if certified else {}),
        **options,
    }
    return mysql(server, password=None, tls=True, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"verifies": True, "serverName": "mariadb.internal"}, {"certified": True, "username": "certified"}],
    ids=["any certificate", "verified", "client certificate"],
)
def test_a_user_who_requires_tls_passes_with_it(server, options):
    outcome = run_probe(over_tls(server, **{"username": "secured", **options}))

    assert outcome.status is Status.PASS, outcome.summary
    assert outcome.measurements[0].value == 1


@pytest.mark.parametrize("username", ["secured", "certified"])
def test_a_user_who_requires_more_tls_fails_with_permission(server, username):
    options = {"username": username, "password": None}
    outcome = run_probe(mysql(server, **options, tls=username == "certified"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.PERMISSION)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"verifies": True}, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ({"verifyTLS": True, "serverName": "mariadb.internal"}, "is not trusted here"),
    ],
    ids=["another name", "unknown authority"],
)
def test_a_certificate_that_does_not_verify_fails(server, options, words):
    outcome = run_probe(over_tls(server, username="secured", **options))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    assert words in outcome.summary


def test_the_kinds_with_starttls_pass(server):
    """A server that counts them as errors would block this host, but never blocks loopback."""
    options = {"port": server.port, "startTLS": "mysql", "serverName": "mariadb.internal"}

    for probe in (
        TcpSocket(**options, verifyTLS=True, caFile=server.folder / "ca.pem"),
        Certificate(**options, verify=True, caFile=server.folder / "ca.pem"),
    ):
        outcome = run_probe(probe)
        assert outcome.status is Status.PASS, outcome.summary


def test_a_server_without_tls_fails_with_the_reason_tls(server):
    with serving((GREETING, hang), listens=False) as without:
        outcome = run_probe(Mysql(port=without.port, username="health", tls=True))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    assert outcome.summary.endswith("SSL is required but the server doesn't support it (2026)")


@pytest.mark.parametrize(("username", "password"), [("latin", "grün"), ("euro", "grün€🔑")])
def test_a_password_outside_ascii_passes(server, monkeypatch, username, password):
    monkeypatch.setenv("PASSWORD", password)

    assert run_probe(mysql(server, username=username)).status is Status.PASS


def test_a_wrong_password_outside_ascii_fails_with_permission(server, monkeypatch):
    monkeypatch.setenv("PASSWORD", "grün€🔒")
    outcome = run_probe(mysql(server, username="euro"))

    assert outcome.reason is Reason.PERMISSION
    assert "denied" in outcome.summary


def test_a_password_that_ends_with_white_space_is_sent_and_named_when_it_is_wrong(server, monkeypatch):
    monkeypatch.setenv("PASSWORD", " open sesame ")

    assert run_probe(mysql(server, username="spaces")).status is Status.PASS
    assert run_probe(mysql(server)).summary.endswith("(1045) (the password begins or ends with white space)")


@pytest.mark.parametrize("written", ["open sesame\n", "open sesame\r\n", "\ufeffopen sesame\n"], ids=ascii)
@pytest.mark.parametrize("source", ["env", "file"])
def test_a_password_is_read_without_what_editors_add(server, monkeypatch, tmp_path, source, written):
    (tmp_path / "password").write_text(written, newline="")
    monkeypatch.setenv("PASSWORD", written)
    password = {"env": "PASSWORD"} if source == "env" else {"file": tmp_path / "password"}

    assert run_probe(Mysql(port=server.port, username="health", password=password)).status is Status.PASS


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


@pytest.mark.parametrize(("column", "value"), [("opened", 1), ("closed", 0), ("position", 55), ("level", 258)])
def test_bits_are_a_number_and_not_the_text_of_one(server, column, value):
    outcome = run_probe(mysql(server, query=f"SELECT {column} FROM shop.switches", fail=1000))

    assert outcome.status is Status.PASS
    assert outcome.measurements[0].value == value


@pytest.mark.parametrize(
    ("query", "column", "least"),
    [
        ("SHOW GLOBAL STATUS LIKE 'Threads_connected'", "Value", 1),
        ("SHOW GLOBAL STATUS LIKE 'Threads_connected'", "VALUE", 1),
        ("SHOW REPLICA STATUS", "Master_Port", 1),
        ("SELECT 1 AS a, 2 AS b, 3 AS b", "b", 2),
    ],
)
def test_the_value_of_a_named_column_is_the_number(server, query, column, least):
    assert run_probe(mysql(server, query=query, column=column)).measurements[0].value >= least


@pytest.mark.parametrize("column", [None, "Seconds_Behind_Master"])
def test_a_replica_that_does_not_replicate_fails(server, column):
    """The first column is a text, and the lag is NULL."""
    outcome = run_probe(mysql(server, query="SHOW REPLICA STATUS", column=column, warn=30, fail=300))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING if column else Reason.BODY)


@pytest.mark.parametrize(
    ("query", "fields", "reason", "words"),
    [
        ("SHOW GLOBAL STATUS", ["Uptime", "threads_connected"], None, ["Uptime is ", "threads_connected is "]),
        ("SELECT 1 AS a, 2.5 AS b, 'x' AS c", ["A", "b", "c"], None, ["A is 1; b is 2.5; c has a value"]),
        ("SELECT opened, position FROM shop.switches", ["position", "opened"], None, ["position is 55; opened is 1"]),
        ("SELECT 1 AS a", ["a", "b"], Reason.MISSING, [": b is missing"]),
        ("SELECT NULL AS a", ["a"], Reason.MISSING, [": a has no value"]),
        ("SELECT 1 AS a FROM shop.orders WHERE state = 'lost'", ["a"], Reason.MISSING, [": a is missing"]),
        ("DO 1", ["a"], Reason.MISSING, [": a is missing"]),
    ],
    ids=["rows", "columns", "bits", "missing", "NULL", "no row", "no result"],
)
def test_fields_are_checked_by_their_names(server, query, fields, reason, words):
    outcome = run_probe(mysql(server, query=query, fields=[{"name": name} for name in fields]))

    assert outcome.reason is reason, outcome.summary
    assert all(word in outcome.summary for word in words), outcome.summary


def test_the_worst_of_the_fields_decides(server):
    """This server replicates from nowhere."""
    fields = [
        {"name": "Slave_IO_Running", "equals": "Yes"},
        {"name": "Last_IO_Errno", "fail": 1},
        {"name": "Seconds_Behind_Master", "fail": 60},
    ]
    outcome = run_probe(mysql(server, query="SHOW REPLICA STATUS", fields=fields))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.BODY)
    assert outcome.summary.endswith('Slave_IO_Running is "No", expected "Yes"; Seconds_Behind_Master has no value')
    assert [measurement.key for measurement in outcome.measurements] == [
        "mysql_field:Last_IO_Errno",
        "endpoint_latency_seconds",
    ]


@pytest.mark.parametrize("column", [None, "Variable_name"])
def test_a_text_in_the_first_column_is_reported_with_the_option_for_another(server, column):
    outcome = run_probe(mysql(server, query="SHOW GLOBAL STATUS LIKE 'Uptime'", column=column, fail=1))
    hint = "" if column else "; if the number is not in the first column, set column"

    assert outcome.summary.endswith(f"responded to the query with a value that is not a number{hint}")


def test_a_column_that_does_not_exist_fails_with_those_that_do(server):
    outcome = run_probe(mysql(server, query="SHOW GLOBAL STATUS LIKE 'Uptime'", column="Number"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert outcome.summary.endswith("the result has no column Number, only Variable_name, Value")


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


def test_bits_that_are_null_fail_with_missing(server):
    assert run_probe(mysql(server, query="SELECT absent FROM shop.switches", fail=1)).reason is Reason.MISSING


def test_without_limits_any_value_passes(server):
    assert run_probe(mysql(server, query="SELECT 'private words'")).status is Status.PASS


def test_a_query_that_takes_too_long_fails_at_the_deadline(server):
    outcome = run_probe(mysql(server, query="SELECT SLEEP(2)"), timeout=0.3)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


def test_a_query_that_times_out_is_canceled_on_the_server(server):
    probe = mysql(server, query=HEAVY)
    for _ in range(3):
        outcome = run_probe(probe, timeout=0.3)
        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)

    assert eventually(lambda: count_running(server) == 0)


def test_the_time_limit_of_the_server_fails_with_timeout(server):
    outcome = run_probe(mysql(server, query="SET STATEMENT max_statement_time=0.1 FOR SELECT SLEEP(3600)"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert "max_statement_time exceeded" in outcome.summary


def test_a_query_that_the_server_did_not_cancel_is_killed_before_it_is_sent_again(server):
    probe = mysql(server, query=UNLIMITED)
    abandon(server, probe)
    for _ in range(3):
        assert run_probe(probe, timeout=1).reason is Reason.TIMEOUT
        assert count_running(server) <= 1

    end_running(server)


def test_a_query_is_not_sent_again_while_it_cannot_be_killed(server):
    """This user sees the queries of others, and may not kill them."""
    abandon(server, mysql(server, query=UNLIMITED))
    probe = mysql(server, username="watcher", password=None, query=UNLIMITED)
    probe._abandoned = find_running(server)
    words = "the query of an earlier run still runs, although it was killed"
    outcome = eventually(lambda: with_words(run_probe(probe, timeout=1), words))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert count_running(server) == 1
    end_running(server)


def test_a_connection_with_the_number_of_an_abandoned_query_is_not_killed(server):
    """After a restart, the server counts its connections from 1 again."""
    abandon(server, mysql(server, query=UNLIMITED))
    probe = mysql(server)
    probe._abandoned = find_running(server)

    assert run_probe(probe).status is Status.PASS
    assert count_running(server) == 1
    end_running(server)


def abandon(server, probe: Mysql) -> None:
    """Run the probe until it has left its query behind. On a busy machine, a run may end before it sends one."""
    eventually(lambda: run_probe(probe, timeout=1).reason is Reason.TIMEOUT and count_running(server) == 1)


def end_running(server) -> None:
    run_probe(mysql(server, query=f"KILL {find_running(server)}"))
    eventually(lambda: count_running(server) == 0)


def with_words(outcome, words: str):
    return outcome if words in outcome.summary else None


def count_running(server) -> float:
    """The copies of the long queries that the server runs."""
    return run_probe(mysql(server, query=RUNNING.format("COUNT(*)"))).measurements[0].value


def find_running(server) -> int:
    return int(run_probe(mysql(server, query=RUNNING.format("MAX(id)"))).measurements[0].value)


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


def greeting(version: bytes = b"8.0.0") -> bytes:
    content = (
        b"\n" + version + b"\0" + b"\1\0\0\0" + b"12345678\0" + b"\xff\xf7" + b"\x2d" + b"\2\0" + b"\xff\x81\x15"
        + bytes(10) + b"123456789012\0" + b"mysql_native_password\0"
    )  # fmt: skip
    return packet(0, content)


GREETING = greeting()
OK = bytes.fromhex("00 00 00 02 00 00 00")
UNKNOWN_VARIABLE = b"\xff\xa9\x04#HY000Unknown system variable"


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


BREACH = "the response does not follow MySQL's protocol"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ((), "the server closed the connection without a response"),
        ((b"SSH-2.0-OpenSSH\r\n", hang), f'{BREACH}; received "SSH-2.0-OpenSSH\\r\\n"'),
        ((packet(0, b"\n"), hang), BREACH),
        ((GREETING, packet(9, OK), hang), f"{BREACH}: Packet sequence number wrong - got 9 expected 2"),
    ],
    ids=["closing", "SSH", "short", "after the greeting"],
)
def test_the_summary_shows_what_was_received_instead_of_a_greeting(script, words):
    with serving(script, listens=False) as server:
        outcome = run_probe(Mysql(port=server.port, username="health"))

    assert outcome.summary == f"127.0.0.1:{server.port}: {words}"


def result(type_number: int, value: bytes) -> bytes:
    """The response to a query: one row with one column."""
    texts = b"\3def" + bytes(3) + b"\1x\1x"
    column = texts + b"\x0c" + struct.pack("<HIBHB", 45, 100, type_number, 0, 0) + bytes(2)
    end = b"\xfe" + bytes(4)
    packets = (b"\1", column, end, bytes([len(value)]) + value, end)
    return b"".join(packet(number, content) for number, content in enumerate(packets, 1))


DECIMAL, LONG = 246, 3
FILE = packet(1, b"\xfb/etc/hostname")


def receive(server, connection):
    connection.recv(65536)


LOGIN = (GREETING, receive, packet(2, OK), receive, packet(1, OK), receive)


@pytest.mark.parametrize("response", [FILE, result(DECIMAL, b"many")], ids=["request for a file", "decimal"])
def test_a_response_that_mysql_does_not_send_fails(response):
    with serving((*LOGIN, packet(1, OK), receive, response, receive), listens=False) as server:
        outcome = run_probe(Mysql(port=server.port, username="health"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS), outcome.summary


def test_a_process_list_without_text_shows_no_abandoned_query():
    abandoned = (*LOGIN, packet(1, OK), receive, hang)
    following = (*LOGIN, result(LONG, b"1"), receive, packet(1, OK), receive, result(LONG, b"1"), receive)
    with serving(abandoned, following, listens=False) as server:
        probe = Mysql(port=server.port, username="health")
        assert run_probe(probe, timeout=1.0).reason is Reason.TIMEOUT
        assert run_probe(probe).status is Status.PASS


def test_sockets_that_another_library_has_patched_are_no_fault_of_the_server(server, monkeypatch):
    def sendall(self, data):
        raise TypeError("send() got an unexpected keyword argument 'timeout'")

    monkeypatch.setattr(Socket, "sendall", sendall)
    with pytest.raises(TypeError, match="timeout"):
        run_probe(mysql(server))


@pytest.mark.parametrize(
    ("version", "statement"), [(b"8.4.0", "max_execution_time"), (b"5.5.5-10.11.19-MariaDB", "max_statement_time")]
)
@pytest.mark.parametrize("response", [OK, UNKNOWN_VARIABLE], ids=["accepted", "unknown"])
def test_the_server_is_asked_to_limit_the_time(version, statement, response):
    received = []

    def receive(server, connection):
        received.append(connection.recv(65536))

    script = (greeting(version), receive, packet(2, OK), receive, packet(1, OK))
    script = (*script, receive, packet(1, response), receive, packet(1, OK), receive)
    with serving(script, listens=False) as server:
        assert run_probe(mysql(server), timeout=60).status is Status.PASS

    assert f"SET SESSION {statement} = ".encode() in received[2]
    value = float(received[2].rpartition(b"= ")[2])
    assert 0 < value <= 61 * (1 if b"MariaDB" in version else 1000)
    assert b"SELECT 1" in received[3]


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
    assert outcome.summary.endswith("asks for the password in clear text (or does not know the user)")
    assert received == [b""]


def test_a_password_in_a_response_is_hidden():
    with serving((packet(0, b"\xff\x15\x04#28000no open sesame here"), hang), listens=False) as server:
        outcome = run_probe(mysql(server))

    assert outcome.summary.endswith("no *** here (1045)")


def test_without_its_password_the_check_cannot_run(server):
    with pytest.raises(ProbeError) as raised:
        mysql(server, password="NOT_SET").probe(Deadline(time.monotonic() + 1))

    assert raised.value.reason is Reason.MISSING


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"username": ""},
        {"username": "health", "query": ""},
        {"username": "health", "verifyTLS": True},
        {"username": "health", "fields": [{"name": "a"}]},
        {"username": "health", "row": {"a": "b"}},
        {"username": "health", "query": "SELECT 1", "fields": [{"name": "a"}], "column": "a"},
    ],
    ids=str,
)
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValidationError):
        Mysql(**options)


def test_nothing_that_is_shown_contains_the_password(server):
    probe = mysql(server, database="shop")

    assert probe.target == f"127.0.0.1:{server.port}/shop"
    assert PASSWORD not in f"{probe!r} {probe.target} {probe.model_dump_json()} {run_probe(probe)}"
