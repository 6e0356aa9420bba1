"""The kind `mysql`: the value that a query on a MySQL or MariaDB server returns."""

import importlib.util
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from ssl import SSLContext
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr

from exporter.model import Deadline, ProbeError, Reason
from exporter.net.dial import connect, secure
from exporter.net.errors import DialError
from exporter.net.sockets import Socket, TLSSocket
from exporter.probe.driver import MAX_RESPONSE, SqlProbe, blame_server, describe_breach
from exporter.probe.latency import LATENCY
from exporter.probe.options import Port
from exporter.probe.tls import TlsOptions

_PROTOCOL = "MySQL's protocol"
_DENIED = (1044, 1045, 1129, 1130, 1142, 1143, 1227, 1251, 1370, 1698, 3118, 4151)
"""Access denied to a database, user, host, table, column, operation or routine, or the account or host is blocked."""
_ABSENT = (1049, 1051, 1054, 1146)  # no such database, table, column
_LOST = (2003, 2006, 2013)  # the driver's own numbers for a broken connection
_CANCELED = (1969, 3024)  # by max_statement_time of MariaDB, by max_execution_time of MySQL
_TLS = (2026, 3159)  # the driver's own number for a server without TLS, and the server's for a connection without it
_NO_PLUGIN = 2059  # the driver's own number for an unknown way to authenticate
_BIT = 16  # the number of the type, whose values the driver returns as bytes
_POLL = 0.05  # seconds between two looks for a query that is being killed
_GRACE = 1.0
"""Seconds after the deadline at which the server cancels a query. `SLEEP` and `BENCHMARK` return a value when they are
canceled, so it must not arrive in time."""


class Mysql(SqlProbe, TlsOptions):
    """Connects to MySQL or MariaDB, authenticates and runs a query.

    If the first value of the first row is a number, it becomes the metric, and `warn` and `fail` are compared with it.
    If one of them is set, a result without a row or with NULL fails with the reason `missing`, and any other value that
    is not a number with the reason `body`. If the server denies access, the check fails with the reason `permission`.
    The password is never sent in clear text, even if the server asks for that.

    `fields` are columns of the row that counts. A name that no column has is looked for in the first column of all
    rows, and its value is in the second one, as in `SHOW GLOBAL STATUS`.

    A failed login does not count toward `max_connect_errors`, at which the server blocks the address of a host. A run
    that times out before the login counts, until a login succeeds. If the user or the server requires TLS, the login
    fails without `tls`.

    The server cancels a query that times out within a second: MariaDB any statement (`max_statement_time`), MySQL a
    `SELECT` (`max_execution_time`). If the query still runs when the next run begins, that run kills it and waits for
    its end before it sends the query again.

    The options for TLS are those of `httpGet`. Neither the kubelet nor blackbox_exporter can log in to MySQL.
    """

    measures: ClassVar = {
        **LATENCY,
        "mysql_value": "Number that the query returned in the latest run.",
        "mysql_field": "Number that the query returned for a field in the latest run.",
    }
    measurement: ClassVar = "mysql_value"
    field_measurement: ClassVar = "mysql_field"
    needs: ClassVar = {"pymysql": "mysql"}
    examples: ClassVar = (
        "- name: orders\n  mysql: {username: health, password: {env: MYSQL_PASSWORD}}",
        """\
- name: backlog
  mysql:
    username: health
    password: {file: /etc/health/mysql}
    database: shop
    query: SELECT COUNT(*) FROM orders WHERE state = 'new'
    warn: 100
    fail: 1000""",
        """\
- name: ledger
  mysql:
    host: mariadb.internal
    username: health
    password: {file: /etc/health/mysql}
    tls: true
    verifyTLS: true
    caFile: /etc/ssl/internal.pem""",
        """\
- name: replica
  mysql:
    username: health
    password: {file: /etc/health/mysql}
    query: SHOW REPLICA STATUS
    column: Seconds_Behind_Master  # MySQL: Seconds_Behind_Source
    warn: 10
    fail: 60""",
        """\
- name: replication
  mysql:
    username: health
    password: {file: /etc/health/mysql}
    query: SHOW REPLICA STATUS
    fields:
      - {name: Slave_IO_Running, equals: "Yes"}  # MySQL: Replica_IO_Running
      - {name: Slave_SQL_Running, equals: "Yes"}
      - {name: Seconds_Behind_Master, warn: 10, fail: 60}""",
        """\
- name: status
  mysql:
    username: health
    password: {file: /etc/health/mysql}
    query: SHOW GLOBAL STATUS
    fields:
      - {name: Threads_connected, warn: 100, fail: 150}
      - {name: Threads_running, fail: 50}""",
    )

    port: Port = 3306
    """Port to connect to."""

    tls: Annotated[bool, Field(strict=True)] = False
    """Connects with TLS. The certificate is not verified, unless verifyTLS is set."""

    _abandoned: int | None = PrivateAttr(default=None)
    """The server's thread with a query whose result this check did not wait for: the query may still run."""

    @property
    def tls_switch(self) -> str:
        return "" if self.tls else "tls: true"

    def fetch_value(self, password: str, deadline: Deadline) -> Any:
        library = _import_library()
        options = {"user": self.username, "password": password.encode(), "database": self.database}
        context = self.read_tls_context(deadline) if self.tls else None
        connection = library.connection(**options, ssl=context, ssl_disabled=context is None)
        connection.ctx = context and _Upgrade(context, self.server_name or self.host)
        sock = connect(self.host, self.port, deadline)
        sock.allowance = MAX_RESPONSE
        try:
            with blame_server("pymysql", _PROTOCOL, lambda: _find_greeting(connection, sock)):
                connection.connect(sock)
                self._end_abandoned_query(connection, deadline)
                _limit_time(connection, deadline)
                return self._run_query(connection)
        except library.error as error:
            raise _translate(error, sock, _find_greeting(connection, sock)) from None
        except RuntimeError as error:
            if "LOAD_LOCAL" not in str(error):  # such as a missing package
                raise
            raise DialError(
                Reason.STATUS, "the server responded with a request for a file, which is not sent"
            ) from None
        finally:
            if connection.open:
                connection.close()  # sends a goodbye, without which the server would count the connection as aborted

    def _run_query(self, connection: Any) -> Any:
        cursor = connection.cursor()
        try:
            cursor.execute(self.query)
        except DialError:
            self._abandoned = connection.thread_id()
            raise
        columns = cursor.description or ()
        rows = cursor.fetchall() if self.needs_all_rows else filter(None, [cursor.fetchone()])
        bits = [index for index, column in enumerate(columns) if column[1] == _BIT]
        return self.select([column[0] for column in columns], [_read_bits(row, bits) for row in rows])

    def _end_abandoned_query(self, connection: Any, deadline: Deadline) -> None:
        """Kill the query that an earlier run did not wait for. Raises DialError if it still runs at the deadline."""
        while self._abandoned is not None:
            if not self._is_running(connection, self._abandoned):
                self._abandoned = None
                return
            _try_statement(connection, f"KILL {self._abandoned}")
            if deadline.remaining() <= _POLL:
                raise DialError(Reason.TIMEOUT, "the query of an earlier run still runs, although it was killed")
            time.sleep(_POLL)

    def _is_running(self, connection: Any, thread: int) -> bool:
        """Return whether this thread runs the query: after a restart, its number can belong to a connection."""
        cursor = connection.cursor()
        cursor.execute("SELECT LEFT(info, 1000) FROM information_schema.processlist WHERE id = %s", (thread,))
        row = cursor.fetchone()
        text = row[0] if row else None
        return isinstance(text, str) and bool(text) and self.query.strip().startswith(text.strip())


def _read_bits(row: Sequence[Any], bits: Sequence[int]) -> Sequence[Any]:
    """Return a row with numbers in these columns, whose values the driver returns as bytes."""
    numbers = {index: int.from_bytes(row[index]) for index in bits if row[index] is not None}
    return [numbers.get(index, value) for index, value in enumerate(row)]


class _Upgrade:
    """Stands in for the driver's SSLContext, and starts TLS as every kind does."""

    def __init__(self, context: SSLContext, name: str) -> None:
        self._context = context
        self._name = name

    def wrap_socket(self, sock: Socket, **_: Any) -> TLSSocket:
        secured = secure(sock, self._context, self._name)
        secured.allowance = MAX_RESPONSE
        return secured


def _limit_time(connection: Any, deadline: Deadline) -> None:
    """Let the server cancel the query after the deadline. Servers before MariaDB 10.1 and MySQL 5.7 cannot."""
    milliseconds = math.ceil((max(0.0, deadline.remaining()) + _GRACE) * 1000)
    limit = f"max_execution_time = {milliseconds}"
    if "MariaDB" in connection.get_server_info():
        limit = f"max_statement_time = {milliseconds / 1000}"
    _try_statement(connection, f"SET SESSION {limit}")


def _try_statement(connection: Any, statement: str) -> None:
    """Run a statement. An error of the server is ignored, because the server may not support or allow it."""
    try:
        connection.query(statement)
    except _import_library().error:
        if not connection.open:
            raise


def _find_greeting(connection: Any, sock: Socket) -> bytes:
    """Return what the server sent instead of its greeting; empty if the driver understood the greeting."""
    return b"" if hasattr(connection, "server_version") else sock.beginning


def _translate(error: Exception, sock: Socket, greeting: bytes) -> DialError | ProbeError:
    """Return the driver's exception as one with a Reason."""
    match error.args:
        case (int(number), str()) if number in _LOST and not sock.beginning:
            return DialError(Reason.CONNECT, "the server closed the connection without a response")
        case (int(number), str(message)) if number == _NO_PLUGIN:
            return ProbeError(Reason.ERROR, f"the driver cannot authenticate this user: {message}")
        case (int(number), str(message)):
            return DialError(_find_reason(number), f"{message} ({number})")
        case (str(message),) if isinstance(error, _import_library().plain_text_error):
            return DialError(Reason.PERMISSION, message)
    breach = describe_breach(_PROTOCOL, greeting)
    return breach if greeting else DialError(Reason.STATUS, f"{breach}: {error}")


def _find_reason(number: int) -> Reason:
    if number in _DENIED:
        return Reason.PERMISSION
    if number in _ABSENT:
        return Reason.MISSING
    if number in _CANCELED:
        return Reason.TIMEOUT
    if number in _TLS:
        return Reason.TLS
    return Reason.CONNECT if number in _LOST else Reason.STATUS


@cache
def _import_library() -> Any:
    """Import PyMySQL, over our own sockets."""
    from pymysql import connections, err

    class PlainTextError(err.OperationalError):
        """The server asks for the password in clear text."""

    class RejectPlainText:
        def __init__(self, _: Any) -> None: ...

        def authenticate(self, _: Any) -> None:
            raise PlainTextError("the server asks for the password in clear text (or does not know the user)")

    class RejectEd25519:
        """Ends the handshake with a signature that is wrong: the server counts one that breaks off against the host."""

        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def authenticate(self, _: Any) -> None:
            self._connection.write_packet(bytes(64))
            with suppress(err.MySQLError):
                self._connection._read_packet()  # noqa: SLF001  # a plugin has no other way to read
            raise ProbeError(
                Reason.MISSING, "the server asks for ed25519 (or does not know the user), which requires PyNaCl"
            )

    plugins: dict[str, Any] = dict.fromkeys(("mysql_clear_password", "dialog"), RejectPlainText)
    if importlib.util.find_spec("nacl") is None:
        plugins["client_ed25519"] = RejectEd25519

    def connection(**options: Any) -> Any:
        return connections.Connection(**options, defer_connect=True, autocommit=None, auth_plugin_map=plugins)

    return SimpleNamespace(connection=connection, plain_text_error=PlainTextError, error=err.MySQLError)
