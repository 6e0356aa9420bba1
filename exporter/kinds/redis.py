"""The kind `redis`: the value that a command on a Redis server returns."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from ssl import SSLContext
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from exporter.model import Deadline, Reason
from exporter.net.dial import connect, secure
from exporter.net.errors import DialError
from exporter.net.sockets import Socket, TLSSocket
from exporter.probe.driver import MAX_RESPONSE, DatabaseProbe, blame_server, describe_breach
from exporter.probe.fields import to_text
from exporter.probe.latency import LATENCY
from exporter.probe.options import Count, Port, Text
from exporter.probe.secret import Secret
from exporter.probe.tls import TlsOptions
from exporter.redaction import quote

_PROTOCOL = "Redis' protocol"


class Redis(DatabaseProbe, TlsOptions):
    """Connects to Redis, authenticates if a password is set, and sends `PING` or another command.

    An error response fails; a wrong or missing password fails with the reason `permission`. If the command returns a
    number, it becomes the metric, and `warn` and `fail` are compared with it. If one of them is set, nil fails with the
    reason `missing`, and any other value that is not a number with the reason `body`.

    `fields` are those of a response with lines such as `key:value`, as from `INFO` and `CLUSTER INFO`, or of a list of
    names and values, as from `SENTINEL MASTER` and `CONFIG GET`.

    When a run times out, a blocking command such as `BLPOP` ends, because the connection closes. Redis cannot cancel a
    script for one client; while it runs, the next runs fail and do not send the command again.

    The options for TLS are those of `httpGet`. Neither the kubelet nor blackbox_exporter has a probe for Redis; with a
    `tcp` module, blackbox_exporter can send `PING` over TLS.
    """

    measures: ClassVar = {
        **LATENCY,
        "redis_value": "Number that the command returned in the latest run.",
        "redis_field": "Number that the command returned for a field in the latest run.",
    }
    measurement: ClassVar = "redis_value"
    field_measurement: ClassVar = "redis_field"
    needs: ClassVar = {"redis": "redis"}
    examples: ClassVar = (
        "- name: cache\n  redis: {password: {env: REDIS_PASSWORD}}",
        "- name: queue\n  redis: {command: [LLEN, queue], warn: 100, fail: 1000}",
        "- name: session\n  redis: {host: redis.internal, tls: true, verifyTLS: true, caFile: /etc/ssl/internal.pem}",
        '- name: replica\n  redis: {command: [INFO, replication], expect: "master_link_status:up"}',
        """\
- name: load
  redis:
    command: [INFO]
    fields:
      - {name: connected_clients, warn: 800, fail: 1000}
      - {name: blocked_clients, fail: 50}
      - {name: rdb_last_bgsave_status, equals: ok}""",
        """\
- name: sentinel
  redis:
    port: 26379
    command: [SENTINEL, MASTER, shop]
    fields:
      - {name: flags, equals: master}  # master,o_down if the primary is down
      - {name: num-slaves, fail: 0, falling: true}
      - {name: num-other-sentinels, warn: 1, falling: true}""",
        """\
- name: cluster
  redis:
    command: [CLUSTER, INFO]
    fields:
      - {name: cluster_state, equals: ok}
      - {name: cluster_slots_pfail, warn: 1}
      - {name: cluster_slots_fail, fail: 1}""",
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
    expect: Text | None = None
    """Fails when the response does not contain this text."""
    tls: Annotated[bool, Field(strict=True)] = False
    """Connects with TLS. The certificate is not verified, unless verifyTLS is set."""

    @model_validator(mode="after")
    def _validate_options(self) -> Self:
        if self.username and not self.password:
            raise ValueError("username needs a password")
        if self.fields and "command" not in self.model_fields_set:
            raise ValueError("fields requires a command, such as INFO")
        return self

    @property
    def tls_switch(self) -> str:
        return "" if self.tls else "tls: true"

    @property
    def statement(self) -> str:
        return self.command[0].partition(" ")[0]  # not the arguments, even in the wrong place

    @property
    def confidential(self) -> Sequence[str]:
        return self.command

    def fetch_value(self, password: str, deadline: Deadline) -> Any:
        options = {"username": self.username, "password": password or None, "db": self.database}
        context = self.read_tls_context(deadline) if self.tls else None
        dial = partial(self._dial, deadline, context)
        connection = _import_library().connection(dial, self.host, self.port, **options)
        try:
            with blame_server("redis", _PROTOCOL):
                return self._run_command(connection)
        except _import_library().error as error:
            translated = _translate(error)
            raise translated if self.tls else _hint_at_tls(translated, connection) from None
        except DialError as error:
            raise error if self.tls else _hint_at_tls(error, connection) from None
        finally:
            connection.disconnect()

    def _dial(self, deadline: Deadline, context: SSLContext | None) -> Socket | TLSSocket:
        sock = connect(self.host, self.port, deadline)
        return secure(sock, context, self.server_name or self.host) if context else sock

    def _run_command(self, connection: Any) -> Any:
        connection.connect()
        if self.command[0].upper() != "PING":
            _require_idle_server(connection)
        connection.send_command(*self.command)
        value = connection.read_response()
        if len(self.command) == 1 and self.command[0].upper() == "PING" and value != b"PONG":
            raise DialError(Reason.STATUS, "the response to PING is not PONG")
        if self.expect is not None and self.expect.encode() not in (text := _join(value)):
            received = quote(_find_line(text, self.expect.encode()), self.command)
            message = f"the response to {self.statement} does not contain the expected text; received {received}"
            raise DialError(Reason.BODY, message)
        return self._find_fields(value) if self.fields else value

    def _find_fields(self, value: Any) -> dict[str, Any]:
        pairs = {name.casefold(): text for name, text in _list_pairs(value)}
        return {field.name: pairs[name] for field in self.fields if (name := field.name.casefold()) in pairs}


def _require_idle_server(connection: Any) -> None:
    """Wait for a response to PING, so that no command waits at a server that still runs the one of an earlier run.

    The server would run it later, even though this check has given up by then. Raises the driver's exceptions.
    """
    connection.send_command("PING")
    with suppress(_import_library().exceptions.NoPermissionError):
        connection.read_response()


def _join(value: Any) -> bytes:
    """Return a response as text: of a list, each item on a line."""
    if isinstance(value, list):
        return b"\n".join(_join(item) for item in value)
    return value if isinstance(value, bytes) else str(value).encode()


def _list_pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of a response."""
    if isinstance(value, list):
        for name, item in zip(value[::2], value[1::2], strict=False):
            yield to_text(name), item
    else:
        for line in to_text(value).splitlines():
            name, colon, text = line.partition(":")
            if colon:
                yield name, text


def _find_line(text: bytes, expected: bytes) -> bytes:
    """Return the line of the response with the same key as the expected `key:value`; the response if there is none."""
    key, colon, _ = expected.partition(b":")
    return next((line for line in text.splitlines() if colon and line.startswith(key + colon)), text)


def _hint_at_tls(error: DialError, connection: Any) -> DialError:
    if error.reason is not Reason.CONNECT or not connection.is_silent:
        return error
    hint = "does the server require TLS (tls: true)?"
    return DialError(error.reason, f"{str(error).rstrip('.')}, before any response: {hint}")


def _translate(error: Exception) -> DialError:
    """Return the driver's exception as one with a Reason.

    The driver raises ConnectionError for some error responses, too.
    """
    library = _import_library().exceptions
    match error:
        case library.AuthenticationError() | library.NoPermissionError():
            return DialError(Reason.PERMISSION, str(error))
        case library.ResponseError() if str(error).startswith("DENIED "):  # protected mode
            return DialError(Reason.PERMISSION, str(error))
        case library.BusyLoadingError() | library.ResponseError():
            return DialError(Reason.STATUS, str(error))
        case library.ConnectionError():
            return DialError(Reason.CONNECT, str(error))
        case library.InvalidResponse():
            return describe_breach(_PROTOCOL, str(error).removeprefix("Protocol Error: b").strip("'\"").encode())
    return describe_breach(_PROTOCOL, b"")


@cache
def _import_library() -> Any:
    """Import redis-py, with connections that have a deadline. With protocol 2 it sends no commands of its own."""
    from redis import connection, exceptions

    class DialedConnection(connection.Connection):
        def __init__(self, dial: Callable[[], Socket | TLSSocket], host: str, port: int, **options: Any) -> None:
            super().__init__(host, port, protocol=2, driver_info=None, **options)  # type: ignore[no-untyped-call]
            self._dial = dial
            self._connected: Socket | TLSSocket | None = None

        def _connect(self) -> Any:
            self._connected = self._dial()
            self._connected.allowance = MAX_RESPONSE
            return self._connected

        @property
        def is_silent(self) -> bool:
            """Whether the server accepted the connection and sent nothing."""
            return self._connected is not None and self._connected.allowance == MAX_RESPONSE

    return SimpleNamespace(connection=DialedConnection, exceptions=exceptions, error=exceptions.RedisError)
