"""The kind `postgresql`: what a PostgreSQL server answers to a query."""

import math
import re
import select
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

from exporter.model import Deadline, Reason
from exporter.net.dial import RESOLVER, DialError
from exporter.probe.driver import Sql
from exporter.probe.latency import LATENCY
from exporter.probe.options import Port

_CONNECTING = (
    (Reason.STATUS, re.compile(r"^(expected|received invalid|unsupported)")),
    (Reason.MISSING, re.compile(r"database .* does not exist")),
    (Reason.PERMISSION, re.compile(r"authentication|pg_hba\.conf|password|permi|role .* does not exist")),
    (Reason.STATUS, re.compile(r"^FATAL:")),
    (Reason.TLS, re.compile(r"SSL|certificate")),
)
"""What libpq says of a connection that failed, for which it gives no code. The first that is found counts."""
_CODES = (
    (Reason.PERMISSION, ("28", "42501", "25006")),
    (Reason.MISSING, ("3D", "3F", "42P01", "42703", "42883")),
    (Reason.TIMEOUT, ("57014",)),
)
"""The beginnings of SQLSTATE codes. 57014 comes from the limit that the query is run with."""
_BOOLEANS = {b"t": 1, b"f": 0}
_BOOLEAN = 16  # the type's number (pg_type.dat)


class Postgresql(Sql):
    """Connects to PostgreSQL, authenticates and runs a query, in a transaction that may only read.

    The first value of its first row is measured where it is a number or a truth, and judged by `warn` and `fail` where
    they are given: then an answer without a row, or with NULL, fails with the reason `missing`. A user that is refused
    fails with the reason `permission`. The server gives the query up at the deadline too.
    """

    measures: ClassVar = {
        **LATENCY,
        "postgresql_value": "Number that the query was answered with in the latest run.",
    }
    value: ClassVar = "postgresql_value"
    needs: ClassVar = {"psycopg": "postgresql"}
    examples: ClassVar = (
        "- name: orders\n  postgresql: {username: health, password: {env: PGPASSWORD}, database: shop}",
        """\
- name: replica
  postgresql:
    username: health
    password: {file: /etc/health/postgresql}
    database: shop
    query: SELECT extract(epoch FROM now() - pg_last_xact_replay_timestamp())
    warn: 10
    fail: 60""",
    )

    port: Port = 5432
    """Port to connect to."""
    database: str | None = None
    """Database to connect to; by default the one of the user's name."""
    ssl_mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    """TLS, in libpq's words: `prefer` takes it where the server has it, `verify-full` checks chain and name."""
    ca_file: Path | None = None
    """Certificates of authorities to verify by, in PEM."""

    def ask(self, password: str, deadline: Deadline) -> Any:
        with _connected(self._parameters(password, deadline), deadline) as connection:
            return _answer(connection, self.query, deadline)

    def _parameters(self, password: str, deadline: Deadline) -> dict[str, str | int | None]:
        """What libpq connects by. It is given addresses: its own look-up of names has no limit."""
        addresses = [address[0] for _, address in RESOLVER.resolve(self.host, self.port, deadline)]
        return {
            "host": ",".join([self.host] * len(addresses)),
            "hostaddr": ",".join(addresses),
            "port": self.port,
            "user": self.username,
            "password": password or None,
            "dbname": self.database,
            "sslmode": self.ssl_mode,
            "sslrootcert": str(self.ca_file) if self.ca_file else None,
            "gssencmode": "disable",  # Kerberos asks other servers, without a limit
            "require_auth": "!gss,!sspi",
            "client_encoding": "UTF8",
            "application_name": "health-exporter",
        }


@contextmanager
def _connected(parameters: dict[str, str | int | None], deadline: Deadline) -> Iterator[Any]:
    """A connection of libpq's, made without ever waiting inside it. Raises DialError."""
    library = _library()
    connection = library.connection.connect_start(library.conninfo("", **parameters).encode())
    try:
        while (state := connection.connect_poll()) != library.polling.OK:
            if state == library.polling.FAILED:
                raise _refused(connection.get_error_message())
            _wait(connection, select.POLLIN if state == library.polling.READING else select.POLLOUT, deadline)
        connection.nonblocking = 1
        yield connection
    except library.error as error:
        raise _refused(str(error)) from None
    finally:
        connection.finish()


def _answer(connection: Any, query: str, deadline: Deadline) -> Any:
    """The first value of the first row, or None; more rows than one are not waited for. Raises DialError."""
    limit = max(1, math.ceil(deadline.remaining() * 1000))
    connection.send_query(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}; {query}\n; ROLLBACK".encode())
    connection.set_single_row_mode()
    while connection.flush():
        _wait(connection, select.POLLIN | select.POLLOUT, deadline)
        connection.consume_input()
    rows: list[Any] = []
    while len(rows) < 2 and (result := _result(connection, deadline)) is not None:
        if result.ntuples and result.nfields:
            value = result.get_value(0, 0)
            rows.append(_BOOLEANS[value] if result.ftype(0) == _BOOLEAN and value else value)
    return rows[0] if rows else None


def _result(connection: Any, deadline: Deadline) -> Any:
    """What comes next; None at the end. Raises DialError for an error."""
    library = _library()
    while connection.is_busy():
        _wait(connection, select.POLLIN, deadline)
        connection.consume_input()
    result = connection.get_result()
    if result is None or result.status in library.answers:
        return result
    code = (result.error_field(library.field.SQLSTATE) or b"").decode()
    words = result.error_field(library.field.MESSAGE_PRIMARY) or b"the query has no answer of rows"
    reason = next((reason for reason, codes in _CODES if code.startswith(codes)), Reason.STATUS)
    raise DialError(reason, f"{words.decode(errors='replace')} ({code})" if code else words.decode())


def _wait(connection: Any, events: int, deadline: Deadline) -> None:
    poll = select.poll()
    poll.register(connection.socket, events)
    remaining = deadline.remaining()
    if remaining <= 0 or not poll.poll(math.ceil(remaining * 1000)):
        raise DialError(Reason.TIMEOUT, "no complete answer in time")


def _refused(message: str) -> DialError:
    """What libpq's words mean. Of several attempts, the last one's count."""
    said = message.rpartition("failed: ")[2].strip()
    reason = next((reason for reason, words in _CONNECTING if words.search(said)), Reason.CONNECT)
    return DialError(reason, " ".join(said.removeprefix("FATAL:").split()))


@cache
def _library() -> Any:
    """Psycopg's access to libpq: its connections wait by themselves, and for whole seconds."""
    from psycopg import OperationalError, conninfo, pq

    answers = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.SINGLE_TUPLE)
    return SimpleNamespace(
        connection=pq.PGconn,
        conninfo=conninfo.make_conninfo,
        polling=pq.PollingStatus,
        field=pq.DiagnosticField,
        answers=answers,
        error=OperationalError,
    )
