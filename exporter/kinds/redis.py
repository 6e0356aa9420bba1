"""The kind `redis`: the value that a command on a Redis server returns."""

from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from exporter.model import Deadline, Reason
from exporter.net.dial import connect
from exporter.net.errors import DialError
from exporter.probe.driver import MAX_RESPONSE, DatabaseProbe
from exporter.probe.latency import LATENCY
from exporter.probe.options import Count, Port
from exporter.probe.secret import Secret


class Redis(DatabaseProbe):
    """Connects to Redis without TLS, authenticates if a password is set, and sends `PING` or another command.

    An error response fails; a wrong or missing password fails with the reason `permission`. If the command returns a
    number, it becomes the metric, and `warn` and `fail` are compared with it. If one of them is set, nil fails with the
    reason `missing`, and any other value that is not a number with the reason `body`.
    """

    measures: ClassVar = {**LATENCY, "redis_value": "Number that the command returned in the latest run."}
    measurement: ClassVar = "redis_value"
    needs: ClassVar = {"redis": "redis"}
    examples: ClassVar = (
        "- name: cache\n  redis: {password: {env: REDIS_PASSWORD}}",
        "- name: queue\n  redis: {command: [LLEN, queue], warn: 100, fail: 1000}",
    )

    port: Port = 6379
    """Port to connect to."""
    username: str | None = None
    """User in Redis' access control list. Requires a password."""
    password: Secret | None = None
    """Password of the user, or of the server if no user is set."""
    database: Count = 0
    """Number of the database to select."""
    command: Annotated[tuple[str, ...], Field(min_length=1)] = ("PING",)
    """Command to send, with its arguments."""

    @model_validator(mode="after")
    def _validate_credentials(self) -> Self:
        if self.username and not self.password:
            raise ValueError("username needs a password")
        return self

    @property
    def statement(self) -> str:
        return self.command[0].partition(" ")[0]  # not the arguments, even in the wrong place

    @property
    def confidential(self) -> Sequence[str]:
        return self.command

    def fetch_value(self, password: str, deadline: Deadline) -> Any:
        try:
            return self._run_command(password, deadline)
        except _import_library().errors as error:
            raise _translate(error) from None

    def _run_command(self, password: str, deadline: Deadline) -> Any:
        options = {"username": self.username, "password": password or None, "db": self.database}
        connection = _import_library().connection(self.host, self.port, deadline, **options)
        try:
            connection.connect()
            connection.send_command(*self.command)
            return connection.read_response()
        finally:
            connection.disconnect()


def _translate(error: Exception) -> DialError:
    """Return the driver's exception as one with a Reason.

    The driver raises ConnectionError for some error responses, too.
    """
    library = _import_library().exceptions
    match error:
        case library.AuthenticationError() | library.NoPermissionError():
            return DialError(Reason.PERMISSION, str(error))
        case library.BusyLoadingError() | library.ResponseError():
            return DialError(Reason.STATUS, str(error))
        case library.ConnectionError():
            return DialError(Reason.CONNECT, str(error))
    return DialError(Reason.STATUS, "the response does not follow Redis' protocol")


@cache
def _import_library() -> Any:
    """Import redis-py, with connections that have a deadline. With protocol 2 it sends no commands of its own."""
    from redis import connection, exceptions

    class DeadlineConnection(connection.Connection):
        def __init__(self, host: str, port: int, deadline: Deadline, **options: Any) -> None:
            super().__init__(host, port, protocol=2, driver_info=None, **options)  # type: ignore[no-untyped-call]
            self._deadline = deadline

        def _connect(self) -> Any:
            sock = connect(self.host, self.port, self._deadline)
            sock.allowance = MAX_RESPONSE
            return sock

    errors = (exceptions.RedisError, ValueError, RecursionError)
    return SimpleNamespace(connection=DeadlineConnection, exceptions=exceptions, errors=errors)
