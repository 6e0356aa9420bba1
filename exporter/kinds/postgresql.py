"""The kind `postgresql`: the value that a query on a PostgreSQL server returns.

A third of the file is the options, their manual and the examples.
"""

import contextlib
import math
import re
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

from exporter.host.reader import explained, read_pem
from exporter.model import Deadline, ProbeError, Reason
from exporter.net.errors import DialError
from exporter.net.relay import ADDRESS, Relay
from exporter.net.tls import in_memory
from exporter.probe.driver import SqlProbe, describe_breach
from exporter.probe.latency import LATENCY
from exporter.probe.options import InputFile, Port

MAX_RESPONSE = 2**20
"""Bytes of all responses on a connection. libpq itself would take a value of a GiB."""
_BREACH = re.compile(r"^(expected authentication|received invalid)")
"""libpq's messages about a response that is not in PostgreSQL's protocol, of which they show a single character."""
_CONNECTION_ERRORS = (
    (Reason.STATUS, re.compile(r"^(expected|unsupported)")),
    (Reason.MISSING, re.compile(r"database .* does not exist")),
    (Reason.PERMISSION, re.compile(r"authentication|pg_hba\.conf|password|permi|role .* does not exist")),
    (Reason.STATUS, re.compile(r"^FATAL:")),
    (Reason.TLS, re.compile(r"SSL|certificate")),
)
"""libpq's messages for failed connections, which have no code. The first pattern that matches decides."""
_CODES = (
    (Reason.PERMISSION, ("28", "42501", "25006")),
    (Reason.MISSING, ("3D", "3F", "42P01", "42703", "42883")),
    (Reason.TIMEOUT, ("57014",)),
)
"""Prefixes of SQLSTATE codes. 57014 comes from the statement_timeout of the query."""
_BOOLEANS = {b"t": 1, b"f": 0}
_BOOLEAN = 16  # the OID of the type (pg_type.dat)


class Postgresql(SqlProbe):
    """Connects to PostgreSQL, authenticates and runs a query in a read-only transaction.

    If the first value of the first row is a number or a boolean, it becomes the metric, and `warn` and `fail` are
    compared with it. If one of them is set, a result without a row or with NULL fails with the reason `missing`, and
    any other value that is not a number with the reason `body`. If the server denies access, the check fails with the
    reason `permission`. The server also cancels the query at the deadline.

    `fields` are columns of the row that counts. A name that no column has is looked for in the first column of all
    rows, and its value is in the second one, as in `SHOW LISTS` of PgBouncer.
    """

    measures: ClassVar = {
        **LATENCY,
        "postgresql_value": "Number that the query returned in the latest run.",
        "postgresql_field": "Number that the query returned for a field in the latest run.",
    }
    measurement: ClassVar = "postgresql_value"
    field_measurement: ClassVar = "postgresql_field"
    needs: ClassVar = {"psycopg": "postgresql"}
    examples: ClassVar = (
        "- name: orders\n  postgresql: {username: health, password: {env: PGPASSWORD}, database: shop}",
        """\
- name: replica
  postgresql:
    username: health
    password: {file: /etc/health/postgresql}
    database: shop
    query: |
      SELECT CASE
        WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
        ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp())
      END
    warn: 10
    fail: 60""",
        """\
- name: replication
  postgresql:
    username: health
    password: {file: /etc/health/postgresql}
    database: shop
    query: SELECT NOT pg_is_in_recovery() OR EXISTS (SELECT FROM pg_stat_wal_receiver)
    fail: 0
    falling: true
  groups: []""",
        """\
- name: pool
  postgresql:
    port: 6432
    username: health
    password: {file: /etc/health/pgbouncer}
    database: pgbouncer
    query: SHOW POOLS
    row: {database: shop, user: app}
    column: cl_waiting
    fail: 50""",
        """\
- name: activity
  postgresql:
    username: health
    password: {file: /etc/health/postgresql}
    database: shop
    query: |
      SELECT count(*) AS connections, count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting
      FROM pg_stat_activity
    fields:
      - {name: connections, warn: 80, fail: 95}
      - {name: waiting, fail: 20}""",
    )

    port: Port = 5432
    """Port to connect to."""
    database: str | None = None
    """Database to connect to. By default, the username."""
    ssl_mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    """TLS mode of libpq: `prefer` uses TLS if the server supports it; `verify-full` verifies the chain and the name.
    Unlike other kinds, libpq also accepts a Common Name, and requires the root authority in caFile."""
    ca_file: InputFile | None = None
    """CA certificates to verify the server's certificate with, in PEM."""

    def fetch_value(self, password: str, deadline: Deadline) -> Any:
        with explained():
            authorities = read_pem(self.ca_file, deadline) if self.ca_file else b""
        with (
            in_memory(authorities) as path,
            contextlib.closing(Relay(self.host, self.port, deadline, MAX_RESPONSE)) as relay,
            _connect(self._make_parameters(password, path if self.ca_file else None, relay.port), relay) as connection,
        ):
            return self._run_query(connection, relay, deadline)

    def _make_parameters(self, password: str, authorities: str | None, port: int) -> dict[str, str | int | None]:
        """Return libpq's parameters. It connects to the relay, and verifies the certificate of the host."""
        return {
            "host": self.host,
            "hostaddr": ADDRESS,
            "port": port,
            "user": self.username,
            "password": password or None,
            "dbname": self.database,
            "sslmode": self.ssl_mode,
            "sslrootcert": authorities,
            "gssencmode": "disable",  # Kerberos contacts other servers, without a time limit
            "require_auth": "!gss,!sspi",
            "client_encoding": "UTF8",
            "application_name": "health-exporter",
        }

    def _run_query(self, connection: Any, relay: Relay, deadline: Deadline) -> Any:
        """Return the value of the result. Raises DialError. Rows that do not count are not read."""
        connection.send_query(_compose(connection, self.query, deadline).encode())
        connection.set_single_row_mode()
        while connection.flush():
            relay.wait(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            connection.consume_input()
        names: list[str] = []
        rows: list[Any] = []
        while (self.needs_all_rows or len(rows) < 2) and (result := _fetch_result(connection, relay)) is not None:
            if result.ntuples and result.nfields:
                names = names or [result.fname(index).decode(errors="replace") for index in range(result.nfields)]
                rows.append([_read_value(result, index) for index in range(result.nfields)])
        return self.select(names, rows)


@contextmanager
def _connect(parameters: dict[str, str | int | None], relay: Relay) -> Iterator[Any]:
    """Yield a connection of libpq that never blocks inside libpq. Raises DialError."""
    library = _import_library()
    connection = library.connection.connect_start(library.conninfo("", **parameters).encode())
    try:
        while (state := connection.connect_poll()) != library.polling.OK:
            if state == library.polling.FAILED:
                raise _translate(connection.get_error_message(), relay.latest)
            reads = state == library.polling.READING
            relay.wait(connection.socket, selectors.EVENT_READ if reads else selectors.EVENT_WRITE)
        connection.nonblocking = 1
        yield connection
    except library.error as error:
        raise _translate(str(error), relay.latest) from None
    finally:
        connection.finish()


def _compose(connection: Any, query: str, deadline: Deadline) -> str:
    """Return the query in a read-only transaction that the server cancels at the deadline.

    PgBouncer's console has no transactions, and responds at once.
    """
    if (connection.parameter_status(b"server_version") or b"").endswith(b"/bouncer"):
        return query
    timeout = max(1, math.ceil(deadline.remaining() * 1000))
    return f"BEGIN READ ONLY; SET LOCAL statement_timeout = {timeout}; {query}\n; ROLLBACK"


def _fetch_result(connection: Any, relay: Relay) -> Any:
    """Return the next result; None at the end. Raises DialError for an error."""
    library = _import_library()
    while connection.is_busy():
        relay.wait(connection.socket, selectors.EVENT_READ)
        connection.consume_input()
    result = connection.get_result()
    if result is None or result.status in library.success:
        return result
    code = (result.error_field(library.field.SQLSTATE) or b"").decode(errors="replace")
    message = result.error_field(library.field.MESSAGE_PRIMARY) or b"the query does not return rows"
    reason = next((reason for reason, codes in _CODES if code.startswith(codes)), Reason.STATUS)
    text = message.decode(errors="replace")
    raise DialError(reason, f"{text} ({code})" if code else text)


def _read_value(result: Any, column: int) -> Any:
    value = result.get_value(0, column)
    return _BOOLEANS.get(value, value) if result.ftype(column) == _BOOLEAN else value


def _translate(message: str, received: bytes) -> DialError | ProbeError:
    """Return libpq's message as an exception with a Reason. After several attempts, the last message counts.

    What was received is shown if it is not in PostgreSQL's protocol.
    """
    text = message.rpartition("failed: ")[2].strip()
    if "root certificate file" in text:
        return ProbeError(Reason.ERROR, f"caFile cannot be used: {text.rpartition(': ')[2]}")
    if _BREACH.search(text):
        return describe_breach("PostgreSQL's protocol", received)
    reason = next((reason for reason, pattern in _CONNECTION_ERRORS if pattern.search(text)), Reason.CONNECT)
    return DialError(reason, " ".join(text.removeprefix("FATAL:").split()))


@cache
def _import_library() -> Any:
    """Import Psycopg's access to libpq. Psycopg's own connections are not used: their timeout is in whole seconds."""
    from psycopg import OperationalError, conninfo, pq

    success = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.SINGLE_TUPLE)
    return SimpleNamespace(
        connection=pq.PGconn,
        conninfo=conninfo.make_conninfo,
        polling=pq.PollingStatus,
        field=pq.DiagnosticField,
        success=success,
        error=OperationalError,
    )
