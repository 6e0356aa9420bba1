"""The replica checks of the reference, on a real primary and its standby."""

from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import yaml
from kinds.daemons import folder, postgres, run_postgres_program, run_probe
from support import eventually

from exporter.kinds.postgresql import Postgresql
from exporter.model import Reason, Status

EXAMPLES = {check["name"]: check["postgresql"] for text in Postgresql.examples for check in yaml.safe_load(text)}
TIME_SINCE_THE_LAST_WRITE = "SELECT extract(epoch FROM now() - pg_last_xact_replay_timestamp())"


@pytest.fixture
def servers():
    """A primary and a standby, with a user `health` who has no privilege but to read a table."""
    with ExitStack() as stack:
        home = stack.enter_context(folder("postgres"))
        run_postgres_program(home, "initdb", "-D", "primary", "-U", "postgres", "-A", "trust", "--no-sync")
        primary = stack.enter_context(postgres(home, home / "primary"))
        source = f"host=127.0.0.1 port={primary.port} user=postgres"
        run_postgres_program(
            home, "pg_basebackup", "-D", "standby", "-d", source, "-R", "--checkpoint=fast", "--no-sync"
        )
        standby = stack.enter_context(postgres(home, home / "standby"))

        def execute(server, statement: str) -> None:
            client = ["-h", str(home), "-p", str(server.port), "-U", "postgres", "-d", "postgres"]
            run_postgres_program(home, "psql", *client, "-c", statement)

        execute(primary, "CREATE TABLE orders (state text); CREATE USER health; GRANT SELECT ON orders TO health")
        yield SimpleNamespace(primary=primary, standby=standby, execute=execute)


def run_example(server, name: str, **limits: float):
    options = {key: value for key, value in EXAMPLES[name].items() if key not in ("password", "database")}
    return run_probe(Postgresql(**{**options, "port": server.port, "database": "postgres", **limits}))


def measure(server, query: str) -> float:
    return (
        run_probe(Postgresql(port=server.port, username="health", database="postgres", query=query))
        .measurements[0]
        .value
    )


def test_a_standby_is_in_step_also_when_nothing_is_written(servers):
    eventually(lambda: run_example(servers.standby, "replica").status is Status.PASS, what="the user is there, too")
    eventually(lambda: measure(servers.standby, TIME_SINCE_THE_LAST_WRITE) > 2, what="nothing was written for a while")

    # A record that the server writes by itself may just have been received and not replayed.
    assert eventually(lambda: run_example(servers.standby, "replica", warn=1, fail=2).status is Status.PASS)
    assert run_example(servers.standby, "replication").status is Status.PASS


def test_a_standby_that_lags_fails(servers):
    servers.execute(servers.primary, "INSERT INTO orders VALUES ('first')")
    eventually(lambda: run_example(servers.standby, "replica").status is Status.PASS, what="the user is there, too")
    eventually(lambda: measure(servers.standby, "SELECT count(*) FROM orders") == 1)
    servers.execute(servers.standby, "SELECT pg_wal_replay_pause()")
    servers.execute(servers.primary, "INSERT INTO orders VALUES ('second')")

    outcome = eventually(lambda: failed(run_example(servers.standby, "replica", warn=1, fail=2)))
    assert outcome.reason is Reason.THRESHOLD
    servers.execute(servers.standby, "SELECT pg_wal_replay_resume()")
    assert eventually(lambda: run_example(servers.standby, "replica", warn=1, fail=2).status is Status.PASS)


def test_a_primary_passes_also_after_a_failover(servers):
    for name in ("replica", "replication"):
        assert run_example(servers.primary, name).status is Status.PASS
    eventually(lambda: run_example(servers.standby, "replica").status is Status.PASS, what="the user is there, too")
    servers.primary.end()

    assert eventually(lambda: failed(run_example(servers.standby, "replication"))), "it receives nothing"
    servers.execute(servers.standby, "SELECT pg_promote()")
    for name in ("replica", "replication"):
        outcome = run_example(servers.standby, name)
        assert (outcome.status, outcome.measurements[0].value) == (Status.PASS, 0 if name == "replica" else 1)


def failed(outcome):
    return outcome if outcome.status is Status.FAIL else None
