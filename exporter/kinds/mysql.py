"""The kind `mysql`: the value that a query on a MySQL or MariaDB server returns."""

import struct
from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar

from exporter.model import Deadline, Reason
from exporter.net.dial import connect
from exporter.net.errors import DialError
from exporter.probe.driver import MAX_RESPONSE, SqlProbe
from exporter.probe.latency import LATENCY
from exporter.probe.options import Port

_DENIED = (1044, 1045, 1130, 1142, 1143, 1227, 1251, 1370, 1698, 3118, 4151)
"""Access denied to a database, user, host, table, column, operation or routine, or because the account is locked."""
_ABSENT = (1049, 1051, 1054, 1146)  # no such database, table, column
_LOST = (2003, 2006, 2013)  # the driver's own numbers for a broken connection


class Mysql(SqlProbe):
    """Connects to MySQL or MariaDB without TLS, authenticates and runs a query.

    If the first value of the first row is a number, it becomes the metric, and `warn` and `fail` are compared with it.
    If one of them is set, a result without a row or with NULL fails with the reason `missing`, and any other value that
    is not a number with the reason `body`. If the server denies access, the check fails with the reason `permission`.
    The password is never sent in clear text, even if the server asks for that.
    """

    measures: ClassVar = {**LATENCY, "mysql_value": "Number that the query returned in the latest run."}
    measurement: ClassVar = "mysql_value"
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
    )

    port: Port = 3306
    """Port to connect to."""

    def fetch_value(self, password: str, deadline: Deadline) -> Any:
        try:
            return self._run_query(password, deadline)
        except _import_library().errors as error:
            raise _translate(error) from None

    def _run_query(self, password: str, deadline: Deadline) -> Any:
        connection = _import_library().connection(user=self.username, password=password, database=self.database)
        sock = connect(self.host, self.port, deadline)
        sock.allowance = MAX_RESPONSE
        try:
            connection.connect(sock)
            cursor = connection.cursor()
            cursor.execute(self.query)
            row = cursor.fetchone()
        finally:
            if connection.open:
                connection.close()  # sends a goodbye, without which the server would count the connection as aborted
        return row[0] if row else None


def _translate(error: Exception) -> DialError:
    """Return the driver's exception as one with a Reason."""
    match error.args:
        case (int(number), str(message)):
            return DialError(_find_reason(number), f"{message} ({number})")
        case (str(message),) if isinstance(error, _import_library().plain_text_error):
            return DialError(Reason.PERMISSION, message)
    return DialError(Reason.STATUS, "the response does not follow MySQL's protocol")


def _find_reason(number: int) -> Reason:
    if number in _DENIED:
        return Reason.PERMISSION
    if number in _ABSENT:
        return Reason.MISSING
    return Reason.CONNECT if number in _LOST else Reason.STATUS


@cache
def _import_library() -> Any:
    """Import PyMySQL, over our own sockets. It raises many types of exceptions if a server violates the protocol."""
    from pymysql import connections, err

    class PlainTextError(err.OperationalError):
        """The server asks for the password in clear text."""

    class RejectPlainText:
        def __init__(self, _: Any) -> None: ...

        def authenticate(self, _: Any) -> None:
            raise PlainTextError("the server asks for the password in clear text")

    def connection(**options: Any) -> Any:
        plugins: dict[str, Any] = dict.fromkeys(("mysql_clear_password", "dialog"), RejectPlainText)
        return connections.Connection(
            **options, defer_connect=True, ssl_disabled=True, autocommit=None, auth_plugin_map=plugins
        )

    others = (RuntimeError, ValueError, LookupError, TypeError, NameError, AttributeError, AssertionError, struct.error)
    return SimpleNamespace(connection=connection, plain_text_error=PlainTextError, errors=(err.MySQLError, *others))
