"""The kind `postgresql` through a real PgBouncer, and on its console."""

import re

import pytest
from kinds.daemons import as_user, folder, postgres, run_postgres_program, run_probe
from support import Process, command, ended, eventually, free_port

from exporter.kinds.postgresql import Postgresql
from exporter.model import Reason, Status

CONFIGURATION = """
[databases]
postgres = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {home}/users
stats_users = health
pool_mode = {mode}
default_pool_size = 2
"""


@pytest.fixture(scope="module", params=["session", "transaction", "statement"])
def pool(request):
    """A PgBouncer with a pool for a PostgreSQL server. The user `health` may look at its console."""
    with folder("postgres") as home:
        run_postgres_program(home, "initdb", "-D", "data", "-U", "health", "-A", "trust", "--no-sync")
        with postgres(home, home / "data") as server:
            port = free_port()
            text = CONFIGURATION.format(server=server.port, port=port, home=home, mode=request.param)
            (home / "pgbouncer.ini").write_text(text)
            (home / "users").write_text('"health" "open sesame"')
            start = as_user("postgres", command("pgbouncer"), str(home / "pgbouncer.ini"))
            with ended(Process(start, cwd=home)) as process:
                process.line("process up")
                process.port, process.server, process.mode = port, server.port, request.param
                yield process


@pytest.fixture(autouse=True)
def passwords(monkeypatch):
    monkeypatch.setenv("PASSWORD", "open sesame")
    monkeypatch.setenv("WRONG", "shibboleth")


def postgresql(pool, *, password="PASSWORD", **options) -> Postgresql:
    options = {"username": "health", "database": "postgres", **options}
    return Postgresql(port=pool.port, password={"env": password}, **options)


def test_a_query_through_the_pool_passes(pool):
    assert run_probe(postgresql(pool)).measurements[0].value == 1


def test_a_query_through_the_pool_cannot_write(pool):
    outcome = run_probe(postgresql(pool, query="CREATE TABLE orders (state text)"))

    assert outcome.status is Status.FAIL
    assert re.search("read-only transaction|transaction blocks not allowed", outcome.summary)


def test_a_query_that_times_out_is_canceled_on_the_server(pool):
    outcome = run_probe(postgresql(pool, query="SELECT pg_sleep(3600)"), timeout=1)
    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT), outcome.summary

    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)%' AND pid <> pg_backend_pid()"
    direct = Postgresql(port=pool.server, username="health", database="postgres", query=running)
    assert eventually(lambda: run_probe(direct).measurements[0].value == 0)


@pytest.mark.parametrize(
    ("query", "column", "least"),
    [("SHOW POOLS", "maxwait", 0), ("SHOW POOLS", "cl_active", 1), ("SHOW LISTS", "items", 1)],
)
def test_a_column_of_the_console_is_the_number(pool, query, column, least):
    outcome = run_probe(postgresql(pool, database="pgbouncer", query=query, column=column, fail=1000))

    assert outcome.status is Status.PASS, outcome.summary
    assert outcome.measurements[0].value >= least


def test_rows_and_fields_of_the_console_are_selected_by_their_names(pool):
    """The console has a pool of its own; that of the server exists once it has been used."""
    run_probe(postgresql(pool))
    row = {"database": "postgres", "user": "health"}
    pools = postgresql(pool, database="pgbouncer", query="SHOW POOLS", row=row, fields=[{"name": "pool_mode"}])
    lists = [{"name": "pools"}, {"name": "free_clients", "fail": 0, "falling": True}]
    outcome = run_probe(postgresql(pool, database="pgbouncer", query="SHOW LISTS", fields=lists))

    assert run_probe(pools).status is Status.PASS
    assert outcome.status is Status.PASS
    assert outcome.measurements[0].value >= 2


def test_an_error_of_the_console_is_shown(pool):
    outcome = run_probe(postgresql(pool, database="pgbouncer", query="SHOW NOTHING"))

    assert outcome.status is Status.FAIL
    assert "use SHOW HELP" in outcome.summary


def test_a_wrong_password_fails_with_permission(pool):
    assert run_probe(postgresql(pool, password="WRONG")).reason is Reason.PERMISSION
