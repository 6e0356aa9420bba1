"""The kind `postgresql` against a real PostgreSQL, and against scripted servers that break its protocol."""

import struct
import subprocess
import time

import pytest
import trustme
from kinds.daemons import as_user, folder, frozen, postgres, run_postgres_program, run_probe
from kinds.servers import drip, flood, hang, serving
from pydantic import ValidationError
from support import eventually, free_port

from exporter.kinds.certificate import Certificate
from exporter.kinds.postgresql import Postgresql
from exporter.kinds.tcp_socket import TcpSocket
from exporter.model import Deadline, ProbeError, Reason, Status

PASSWORD = "open ' sesame"
USERS = """
CREATE USER health PASSWORD 'open '' sesame';
CREATE DATABASE shop OWNER health;
CREATE TABLE secrets (value text);
CREATE USER euro PASSWORD 'grün€🔑';
\\connect shop health
CREATE TABLE orders (state text, price numeric);
INSERT INTO orders VALUES ('new', 1.25), ('new', 2.5), ('sent', NULL);
"""


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL server with TLS and a table of three orders, which requires passwords over TCP."""
    with folder("postgres") as home:
        data = home / "data"
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        (home / "server.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        (home / "server.key").write_bytes(issued.private_key_pem.bytes())
        authority.cert_pem.write_to_path(home / "authority.pem")
        secure = ["install", "-m", "600", *(["-o", "postgres"] if as_user("postgres") else [])]
        subprocess.run([*secure, home / "server.key", home / "own.key"], check=True)
        create = ["-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        run_postgres_program(home, "initdb", *create)
        (data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        tls = {"ssl": "on", "ssl_cert_file": home / "server.pem", "ssl_key_file": home / "own.key"}
        with postgres(home, data, **tls) as process:
            client = ["-v", "ON_ERROR_STOP=1", "-h", str(home), "-p", str(process.port), "-U", "postgres"]
            run_postgres_program(home, "psql", *client, input=USERS)
            process.authority = home / "authority.pem"
            yield process


@pytest.fixture(autouse=True)
def passwords(monkeypatch):
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG", "shibboleth")


def postgresql(server, *, password="PASSWORD", **options) -> Postgresql:
    options = {"username": "health", "database": "shop", **options}
    return Postgresql(port=server.port, password={"env": password} if password else None, **options)


STATES = "SELECT * FROM (VALUES ('new', 2, true), ('sent', 7, false)) AS states (state, count, open)"


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"row": {"state": "sent"}, "column": "count"}, 7),
        ({"row": {"State": "new", "COUNT": "2"}, "column": "open"}, 1),
        ({"column": "count"}, 2),
    ],
    ids=str,
)
def test_the_row_is_selected_by_the_values_of_its_columns(server, options, value):
    assert run_probe(postgresql(server, query=STATES, **options)).measurements[0].value == value


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"state": "lost"}, 'the result has no row with state "lost"'),
        ({"name": "new"}, "the result has no column name, only state, count, open"),
    ],
    ids=str,
)
def test_a_row_that_does_not_exist_fails_with_missing(server, row, words):
    outcome = run_probe(postgresql(server, query=STATES, row=row, column="count"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert outcome.summary.endswith(words)


def test_fields_are_checked_by_their_names(server):
    fields = [{"name": "count", "fail": 7}, {"name": "open", "warn": 0, "falling": True}, {"name": "state"}]
    outcome = run_probe(postgresql(server, query=STATES, row={"state": "sent"}, fields=fields))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.THRESHOLD)
    assert outcome.summary.endswith(": count is 7: fail limit 7 reached; open is 0: warn limit 0 reached")
    assert [measurement.key for measurement in outcome.measurements] == [
        *("postgresql_field:count", "postgresql_field:open", "endpoint_latency_seconds"),
    ]


def test_the_kinds_with_starttls_pass(server):
    options = {"port": server.port, "startTLS": "postgresql", "caFile": server.authority}

    for probe in (TcpSocket(**options, verifyTLS=True), Certificate(**options, verify=True)):
        outcome = run_probe(probe)
        assert outcome.status is Status.PASS, outcome.summary


def test_a_server_that_responds_passes(server):
    outcome = run_probe(postgresql(server))

    assert (outcome.status, outcome.summary) == (
        Status.PASS,
        f"127.0.0.1:{server.port}/shop responded to the query with 1",
    )
    value, latency = outcome.measurements
    assert (value.name, value.value) == ("postgresql_value", 1)
    assert latency.name == "endpoint_latency_seconds"
    assert latency.value > 0


def test_a_host_name_is_resolved(server):
    assert run_probe(postgresql(server, host="localhost")).status is Status.PASS


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-ca", "verify-full"])
def test_every_mode_of_tls_passes(server, mode):
    outcome = run_probe(postgresql(server, ssl_mode=mode, ca_file=server.authority))

    assert outcome.status is Status.PASS, outcome.summary


@pytest.mark.parametrize("fault", ["wrong name", "unknown authority"])
def test_a_certificate_that_does_not_verify_fails(server, fault, tmp_path):
    host, authority = (
        ("localhost", server.authority) if fault == "wrong name" else ("127.0.0.1", tmp_path / "other.pem")
    )
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    outcome = run_probe(postgresql(server, ssl_mode="verify-full", host=host, ca_file=authority))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS), outcome.summary


@pytest.mark.parametrize(
    "options",
    [
        {"password": "WRONG"},
        {"password": None},
        {"username": "nobody"},
        {"database": "postgres", "query": "SELECT * FROM secrets"},
        {"query": "DELETE FROM orders"},
    ],
    ids=["wrong password", "no password", "unknown user", "another table", "writing"],
)
def test_denied_access_fails_with_permission(server, options):
    outcome = run_probe(postgresql(server, **options))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.PERMISSION), outcome.summary
    assert "shibboleth" not in outcome.summary


def test_a_password_outside_ascii_passes(server, monkeypatch):
    monkeypatch.setenv("PASSWORD", "grün€🔑")

    assert run_probe(postgresql(server, username="euro")).status is Status.PASS


def test_a_wrong_password_that_ends_with_white_space_is_named(server, monkeypatch):
    monkeypatch.setenv("WRONG", f"{PASSWORD} ")
    outcome = run_probe(postgresql(server, password="WRONG"))

    assert outcome.reason is Reason.PERMISSION
    assert outcome.summary.endswith(" (the password begins or ends with white space)")


def test_without_certificates_in_its_file_the_check_cannot_run(server, tmp_path):
    (tmp_path / "authority.pem").write_text("garbage")
    with pytest.raises(ProbeError, match="caFile cannot be used: no certificate"):
        run_probe(postgresql(server, ssl_mode="verify-ca", ca_file=tmp_path / "authority.pem"))


@pytest.mark.parametrize(("column", "value"), [(None, 1), ("b", 2), ("TRUE", 1)])
def test_the_value_of_a_named_column_is_the_number(server, column, value):
    outcome = run_probe(postgresql(server, query='SELECT 1 AS a, 2 AS b, true AS "true"', column=column))

    assert outcome.measurements[0].value == value


def test_a_column_that_does_not_exist_fails_with_those_that_do(server):
    outcome = run_probe(postgresql(server, query="SELECT 1 AS a, 2 AS b", column="c"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert outcome.summary.endswith("the result has no column c, only a, b")


def test_a_database_that_does_not_exist_fails(server):
    outcome = run_probe(postgresql(server, database="nothing"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert outcome.summary.endswith('database "nothing" does not exist')


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT 'canary'::int", "invalid input syntax for type integer"),
        ("SELECT $$canary$$::int", "invalid input syntax for type integer"),
        ('SELECT "canary"', "does not exist"),
        ("canary", "syntax error at or near"),
    ],
)
def test_an_error_of_the_server_is_shown_without_the_strings_of_the_query(server, query, words):
    outcome = run_probe(postgresql(server, query=query))

    assert outcome.status is Status.FAIL
    assert words in outcome.summary
    assert "canary" not in outcome.summary


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"fail": 3}, "pass"), ({"fail": 2}, "fail"), ({"warn": 2}, "warn"), ({"fail": 2, "falling": True}, "fail")],
    ids=str,
)
def test_a_number_is_compared_with_its_limits(server, limits, status):
    outcome = run_probe(postgresql(server, query="SELECT count(*) FROM orders WHERE state = 'new'", **limits))

    assert outcome.status == status
    assert outcome.measurements[0].value == 2
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("SELECT sum(price) FROM orders", 3.75),
        ("SELECT '12'", 12),
        ("SELECT true", 1),
        ("SELECT false", 0),
        ("SELECT -1.5e3::float8;", -1500),
        ("SELECT 7 -- as agreed", 7),
        ("SELECT generate_series(3, 1000000000)", 3),
    ],
)
def test_the_first_value_is_the_number(server, query, value):
    assert run_probe(postgresql(server, query=query)).measurements[0].value == value


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT price FROM orders WHERE state = 'sent'", Reason.MISSING),
        ("SELECT price FROM orders WHERE state = 'lost'", Reason.MISSING),
        ("SELECT", Reason.MISSING),
        (";", Reason.MISSING),
        ("SELECT 'private words'", Reason.BODY),
        ("SELECT 't'", Reason.BODY),
        ("SELECT 'Infinity'::float8", Reason.BODY),
        ("SELECT nothing FROM orders", Reason.MISSING),
        ("SELECT 1 FROM nothing", Reason.MISSING),
        ("SELEKT 1", Reason.STATUS),
        ("SELECT 1/0", Reason.STATUS),
        ("COPY orders TO STDOUT", Reason.STATUS),
    ],
)
def test_with_limits_a_value_that_is_not_a_number_fails(server, query, reason):
    outcome = run_probe(postgresql(server, query=query, fail=1))

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary
    assert "private words" not in outcome.summary


def test_without_limits_any_value_passes(server):
    assert run_probe(postgresql(server, query="SELECT 'private words'")).status is Status.PASS


def test_a_query_that_takes_too_long_fails_at_the_deadline_and_is_canceled(server):
    outcome = run_probe(postgresql(server, query="SELECT pg_sleep(30)"), timeout=0.3)
    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)

    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()"
    eventually(lambda: run_probe(postgresql(server, query=running)).measurements[0].value == 0)


def test_a_closed_port_fails():
    outcome = run_probe(Postgresql(port=free_port(), username="health"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert "Connection refused" in outcome.summary


def test_a_frozen_server_fails_at_the_deadline_and_passes_afterwards(server):
    with frozen(server):
        outcome = run_probe(postgresql(server), timeout=0.3)
    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)

    assert eventually(lambda: run_probe(postgresql(server)).status is Status.PASS)


def message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack(">I", len(payload) + 4) + payload


def receive(server, connection):
    connection.recv(65536)


def refusal(words: bytes) -> bytes:
    return message(b"E", b"SFATAL\0VFATAL\0C28P01\0M" + words + b"\0\0")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ((hang,), Reason.TIMEOUT),
        ((message(b"R", struct.pack(">I", 0)), hang), Reason.TIMEOUT),
        ((drip(refusal(b"a" * 1000)),), Reason.TIMEOUT),
        ((), Reason.CONNECT),
        ((message(b"R", struct.pack(">I", 0)),), Reason.CONNECT),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n", hang), Reason.STATUS),
        ((refusal(b"sorry, too many clients already"), hang), Reason.STATUS),
        ((refusal(b"the database system is starting up"), hang), Reason.STATUS),
        ((message(b"R", struct.pack(">I", 7)), hang), Reason.PERMISSION),
    ],
    ids=["silent", "trusting", "dripping", "closing", "breaking off", "HTTP", "full", "starting", "Kerberos"],
)
def test_a_server_that_breaks_the_protocol_fails(script, reason):
    with serving((receive, *script), listens=False) as server:
        outcome = run_probe(Postgresql(port=server.port, username="health", ssl_mode="disable"), timeout=1.0)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary


@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_the_summary_shows_a_response_in_another_protocol(mode):
    with serving((receive, b"HTTP/1.1 400 Bad Request\r\n\r\n", hang), listens=False) as server:
        outcome = run_probe(Postgresql(port=server.port, username="health", ssl_mode=mode))

    shown = r'received "HTTP/1.1 400 Bad Request\r\n\r\n"'
    assert outcome.summary == f"127.0.0.1:{server.port}: the response does not follow PostgreSQL's protocol; {shown}"


GREETING = message(b"R", struct.pack(">I", 0)) + message(b"Z", b"I")
COLUMN = message(b"T", struct.pack(">H", 1) + b"x\0" + struct.pack(">IHIhih", 0, 0, 25, -1, -1, 0))
ROW = message(b"D", struct.pack(">HI", 1, 1) + b"7")
HUGE_ROW = b"D" + struct.pack(">IHI", 2**30, 1, 2**30 - 10)
FLOODS = {
    "a row": (COLUMN + HUGE_ROW, b"1" * 65536),
    "columns": (b"T" + struct.pack(">IH", 2**29, 65535), b"x" * 65536),
    "notices": (b"", message(b"N", b"SNOTICE\0\0") * 5000),
    "parameters": (b"", message(b"S", b"name\0value\0") * 5000),
}


@pytest.mark.parametrize(("start", "data"), FLOODS.values(), ids=FLOODS)
def test_a_flood_is_not_read_until_the_deadline(start, data):
    script = (receive, GREETING, receive, message(b"C", b"BEGIN\0"), start, flood(data))
    with serving(script, listens=False) as server:
        outcome = run_probe(Postgresql(port=server.port, username="health", ssl_mode="disable"), timeout=60.0)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert outcome.summary == f"127.0.0.1:{server.port}: the response is too long"


BOOLEAN = message(b"T", struct.pack(">H", 1) + b"x\0" + struct.pack(">IHIhih", 0, 0, 16, 1, -1, 0))
LONG_BOOLEAN = BOOLEAN + message(b"D", struct.pack(">HI", 1, 4) + b"true") + message(b"C", b"SELECT 1\0")
UNREADABLE = message(b"E", b"SERROR\0M\xff\0\0")


@pytest.mark.parametrize(
    ("response", "reason", "words"),
    [(LONG_BOOLEAN, Reason.BODY, "not a number"), (UNREADABLE, Reason.STATUS, ": \ufffd")],
    ids=["long boolean", "error without a code in no charset"],
)
def test_a_response_that_postgresql_does_not_send_fails(response, reason, words):
    script = (receive, GREETING, receive, message(b"C", b"BEGIN\0"), response, message(b"Z", b"I"), receive)
    with serving(script, listens=False) as server:
        outcome = run_probe(Postgresql(port=server.port, username="health", ssl_mode="disable", fail=2), timeout=60.0)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary
    assert words in outcome.summary


def test_rows_after_the_first_one_are_not_read():
    script = (receive, GREETING, receive, message(b"C", b"BEGIN\0"), COLUMN, flood(ROW * 5000))
    with serving(script, listens=False) as server:
        outcome = run_probe(Postgresql(port=server.port, username="health", ssl_mode="disable"), timeout=60.0)

    assert outcome.status is Status.PASS
    assert outcome.measurements[0].value == 7


def test_a_password_in_a_response_is_hidden():
    with serving((refusal(b"no open ' sesame here"), hang), listens=False) as server:
        outcome = run_probe(postgresql(server, ssl_mode="disable"))

    assert outcome.summary.endswith("no *** here")


def test_without_its_password_the_check_cannot_run(server):
    with pytest.raises(ProbeError) as raised:
        postgresql(server, password="NOT_SET").probe(Deadline(time.monotonic() + 1))

    assert raised.value.reason is Reason.MISSING


@pytest.mark.parametrize("options", [{}, {"username": ""}, {"username": "health", "query": ""}], ids=str)
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValidationError):
        Postgresql(**options)


def test_nothing_that_is_shown_contains_the_password(server):
    probe = postgresql(server)

    assert probe.target == f"127.0.0.1:{server.port}/shop"
    assert PASSWORD not in f"{probe!r} {probe.target} {probe.model_dump_json()} {run_probe(probe)}"
