"""The kind `mysql`: what a MySQL or MariaDB server answers to a query."""

import struct
from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar

from exporter.model import Deadline, Reason
from exporter.net.dial import DialError, connect
from exporter.probe.driver import Sql
from exporter.probe.latency import LATENCY
from exporter.probe.options import Port

ANSWER_LIMIT = 64 * 1024  # bytes of all answers
_DENIED = (1044, 1045, 1130, 1142, 1143, 1227, 1251, 1370, 1698, 3118, 4151)
"""Access denied: to a database, a user, a host, a table, a column, an act, a routine, or by a locked account."""
_ABSENT = (1049, 1051, 1054, 1146)  # no such database, table, column
_LOST = (2003, 2006, 2013)  # the driver's own numbers for a connection that broke


class Mysql(Sql):
    """Connects to MySQL or MariaDB without TLS, authenticates and runs a query.

    The first value of its first row is measured where it is a number, and judged by `warn` and `fail` where they are
    given: then an answer without a row, or with NULL, fails with the reason `missing`. A user that is refused fails
    with the reason `permission`. The password is never sent in clear text, whatever the server asks for.
    """

    measures: ClassVar = {**LATENCY, "mysql_value": "Number that the query was answered with in the latest run."}
    value: ClassVar = "mysql_value"
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

    def ask(self, password: str, deadline: Deadline) -> Any:
        try:
            return self._first(password, deadline)
        except _library().errors as error:
            raise _failure(error) from None

    def _first(self, password: str, deadline: Deadline) -> Any:
        connection = _library().connection(user=self.username, password=password, database=self.database)
        sock = connect(self.host, self.port, deadline)
        sock.allowance = ANSWER_LIMIT
        try:
            connection.connect(sock)
            cursor = connection.cursor()
            cursor.execute(self.query)
            row = cursor.fetchone()
        finally:
            if connection.open:
                connection.close()  # says so to the server, which would count it as aborted
        return row[0] if row else None


def _failure(error: Exception) -> DialError:
    """The reason and the words for what the driver raised."""
    match error.args:
        case (int(number), str(words)):
            return DialError(_reason(number), f"{words} ({number})")
        case (str(words),) if isinstance(error, _library().refused):
            return DialError(Reason.PERMISSION, words)
    return DialError(Reason.STATUS, "the answer is not MySQL's")


def _reason(number: int) -> Reason:
    if number in _DENIED:
        return Reason.PERMISSION
    if number in _ABSENT:
        return Reason.MISSING
    return Reason.CONNECT if number in _LOST else Reason.STATUS


@cache
def _library() -> Any:
    """PyMySQL, which uses the socket it is given. It raises many things where a server breaks the protocol."""
    from pymysql import connections, err

    class Refused(err.OperationalError):
        """The server asks for what is not given."""

    class Refusing:
        def __init__(self, _: Any) -> None: ...

        def authenticate(self, _: Any) -> None:
            raise Refused("the server asks for the password in clear text")

    def connection(**options: Any) -> Any:
        plain: dict[str, Any] = dict.fromkeys(("mysql_clear_password", "dialog"), Refusing)
        return connections.Connection(
            **options, defer_connect=True, ssl_disabled=True, autocommit=None, auth_plugin_map=plain
        )

    broken = (RuntimeError, ValueError, LookupError, TypeError, NameError, AttributeError, AssertionError, struct.error)
    return SimpleNamespace(connection=connection, refused=Refused, errors=(err.MySQLError, *broken))
