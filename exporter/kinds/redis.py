"""The kind `redis`: what a Redis server answers."""

from functools import cache
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from exporter.model import Deadline, Reason
from exporter.net.dial import DialError, connect
from exporter.probe.driver import Driven
from exporter.probe.latency import LATENCY
from exporter.probe.options import Port
from exporter.probe.secret import Secret

ANSWER_LIMIT = 64 * 1024  # bytes of all answers


class Redis(Driven):
    """Connects without TLS, authenticates where a password is given, and sends PING or the given command.

    An error as the answer fails; a password that is refused or missing fails with the reason `permission`. A command's
    answer is measured where it is a number, and judged by `warn` and `fail` where they are given: then an answer that
    is none fails, with the reason `missing` for nil.
    """

    measures: ClassVar = {**LATENCY, "redis_value": "Number that the command was answered with in the latest run."}
    value: ClassVar = "redis_value"
    needs: ClassVar = {"redis": "redis"}
    examples: ClassVar = (
        "- name: cache\n  redis: {password: {env: REDIS_PASSWORD}}",
        "- name: queue\n  redis: {command: [LLEN, queue], warn: 100, fail: 1000}",
    )

    port: Port = 6379
    """Port to connect to."""
    username: str | None = None
    """User of Redis' access control list; needs a password."""
    password: Secret | None = None
    """Password of the user, or of the server."""
    database: Annotated[int, Field(ge=0, strict=True)] = 0
    """Number of the database."""
    command: Annotated[tuple[str, ...], Field(min_length=1)] = ("PING",)
    """Command and its arguments."""

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if self.username and not self.password:
            raise ValueError("username needs a password")
        return self

    @property
    def asked(self) -> str:
        return self.command[0]

    def ask(self, password: str, deadline: Deadline) -> Any:
        try:
            return self._answer(password, deadline)
        except _library().errors as error:
            raise _failure(error) from None

    def _answer(self, password: str, deadline: Deadline) -> Any:
        options = {"username": self.username, "password": password or None, "db": self.database}
        connection = _library().connection(self.host, self.port, deadline, **options)
        try:
            connection.connect()
            connection.send_command(*self.command)
            return connection.read_response()
        finally:
            connection.disconnect()


def _failure(error: Exception) -> DialError:
    """The reason and the words for what the driver raised: it makes some error answers ConnectionErrors."""
    library = _library().exceptions
    match error:
        case library.AuthenticationError() | library.NoPermissionError():
            return DialError(Reason.PERMISSION, str(error))
        case library.BusyLoadingError() | library.ResponseError():
            return DialError(Reason.STATUS, str(error))
        case library.ConnectionError():
            return DialError(Reason.CONNECT, str(error))
    return DialError(Reason.STATUS, "the answer is not Redis's")


@cache
def _library() -> Any:
    """redis-py over a connection by a deadline, in the older of its protocols, which asks for nothing by itself."""
    from redis import connection, exceptions

    class Bounded(connection.Connection):
        def __init__(self, host: str, port: int, deadline: Deadline, **options: Any) -> None:
            super().__init__(host, port, protocol=2, driver_info=None, **options)  # type: ignore[no-untyped-call]
            self._deadline = deadline

        def _connect(self) -> Any:
            sock = connect(self.host, self.port, self._deadline)
            sock.allowance = ANSWER_LIMIT
            return sock

    errors = (exceptions.RedisError, ValueError, RecursionError)
    return SimpleNamespace(connection=Bounded, exceptions=exceptions, errors=errors)
