"""The kind `amqp`: whether RabbitMQ accepts a connection, and what waits in a queue."""

from collections.abc import Callable
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
from exporter.probe.latency import LATENCY
from exporter.probe.options import Port, Text
from exporter.probe.tls import TlsOptions

_PROTOCOL = "AMQP 0-9-1"
_METHOD_FRAME = b"\x01"  # what a server that speaks the protocol sends first
_PERMISSION, _MISSING, _NOT_ALLOWED = 403, 404, 530  # reply codes
_FIELDS = ("messages", "consumers")
_MAX_NAME = 255  # bytes of a short string
_NO_MECHANISM = "Couldn't find appropriate auth mechanism"  # how the driver's message begins


class Amqp(DatabaseProbe, TlsOptions):
    """Connects to RabbitMQ, or another server of AMQP 0-9-1, authenticates and opens a virtual host.

    With `queue`, the number of messages that are ready in it becomes the metric, and `warn` and `fail` are compared
    with it. `fields` compare `messages` and `consumers`. A missing queue or virtual host fails with the reason
    `missing`, a wrong password with `permission`. The check declares the queue passively: it creates nothing and
    consumes nothing. The user needs access to the virtual host, but no permission in it.

    A server that is short of memory or disk space blocks publishers, and still accepts connections. The metrics of its
    plugin rabbitmq_prometheus show that, also to a check of the kind `promql`.

    The options for TLS are those of `httpGet`. Neither the kubelet nor blackbox_exporter has a probe for AMQP.
    """

    measures: ClassVar = {
        **LATENCY,
        "amqp_messages": "Number of messages that were ready in the queue in the latest run.",
        "amqp_field": "Number of messages or consumers of the queue in the latest run.",
    }
    measurement: ClassVar = "amqp_messages"
    field_measurement: ClassVar = "amqp_field"
    needs: ClassVar = {"amqp": "amqp"}
    examples: ClassVar = (
        "- name: broker\n  amqp: {username: shop, password: {env: AMQP_PASSWORD}, virtualHost: shop}",
        """\
- name: orders
  amqp:
    username: shop
    password: {env: AMQP_PASSWORD}
    queue: orders
    fields:
      - {name: messages, warn: 1000, fail: 10000}
      - {name: consumers, fail: 0, falling: true}""",
        """\
- name: broker-tls
  amqp:
    host: rabbitmq.internal
    port: 5671
    tls: true
    verifyTLS: true
    username: shop
    password: {file: /etc/health-exporter/amqp}""",
    )

    port: Port = 5672
    """Port to connect to."""
    username: Text = "guest"
    """User to authenticate as. Without a password, `guest` is the password too, as in a new RabbitMQ."""
    virtual_host: Text = "/"
    """Virtual host to open."""
    queue: Text | None = None
    """Queue that must exist."""
    tls: Annotated[bool, Field(strict=True)] = False
    """Connects with TLS. The certificate is not verified, unless verifyTLS is set."""

    @model_validator(mode="after")
    def _validate_options(self) -> Self:
        if (self.fields or self._has_limits) and self.queue is None:
            raise ValueError("warn, fail and fields require a queue")
        if unknown := [field.name for field in self.fields if field.name.casefold() not in _FIELDS]:
            raise ValueError(f"a field is one of {', '.join(_FIELDS)}, not {unknown[0]}")
        for option, name in (("virtualHost", self.virtual_host), ("queue", self.queue or "")):
            if len(name.encode()) > _MAX_NAME:
                raise ValueError(f"{option} must have at most {_MAX_NAME} bytes in UTF-8, as every name in AMQP")
        return self

    @property
    def tls_switch(self) -> str:
        return "" if self.tls else "tls: true"

    @property
    def statement(self) -> str:
        what = f"queue.declare for {self.queue}" if self.queue else "connection.open"
        return f"{what} in the virtual host {self.virtual_host}"

    def fetch_value(self, password: str, deadline: Deadline) -> Any:
        context = self.read_tls_context(deadline) if self.tls else None
        library = _import_library()
        connection = library.connection(
            partial(self._dial, deadline, context), self.username, password or "guest", self.virtual_host
        )
        try:
            with blame_server("amqp", _PROTOCOL, lambda: connection.beginning):
                connection.connect()
                value = self._count(connection) if self.queue else None
                connection.close()
        except library.error as error:
            raise _translate(error, connection.beginning) from None
        finally:
            connection.collect()
        return value

    def _count(self, connection: Any) -> Any:
        declared = connection.channel().queue_declare(self.queue, passive=True)
        counts = {"messages": declared.message_count, "consumers": declared.consumer_count}
        return {field.name: counts[field.name.casefold()] for field in self.fields} or counts["messages"]

    def _dial(self, deadline: Deadline, context: SSLContext | None) -> Socket | TLSSocket:
        sock = connect(self.host, self.port, deadline)
        return secure(sock, context, self.server_name or self.host) if context else sock


def _translate(error: Exception, beginning: bytes) -> DialError:
    """Return the driver's exception as one with a Reason."""
    if isinstance(error, _import_library().breach):
        return describe_breach(_PROTOCOL, beginning)
    if isinstance(error, OSError):
        return DialError(Reason.CONNECT, "the server closed the connection")
    code, text = getattr(error, "reply_code", None), str(getattr(error, "reply_text", "") or error)
    if text.startswith(_NO_MECHANISM):
        return DialError(Reason.STATUS, "the server does not offer PLAIN, the mechanism for a user and a password")
    if code == _PERMISSION or (code == _NOT_ALLOWED and "refused" in text):
        return DialError(Reason.PERMISSION, text)
    if code == _MISSING or (code == _NOT_ALLOWED and "not found" in text):
        return DialError(Reason.MISSING, text)
    return DialError(Reason.STATUS, text)


@cache
def _import_library() -> Any:
    """Import py-amqp, with connections that have a deadline."""
    import amqp
    from amqp.transport import TCPTransport

    class DialedTransport(TCPTransport):  # type: ignore[misc]
        def __init__(self, dial: Callable[[], Socket | TLSSocket], host: str) -> None:
            super().__init__(host)
            self._dial = dial

        def _connect(self, *_: Any) -> None:
            self.sock = self._dial()
            self.sock.allowance = MAX_RESPONSE

        def _read(self, *args: Any, **options: Any) -> bytes:
            """Read, and end early if the server uses another protocol: the length of a frame would be any number."""
            data: bytes = super()._read(*args, **options)
            if not self.sock.beginning.startswith(_METHOD_FRAME):
                raise describe_breach(_PROTOCOL, self.sock.beginning)
            return data

        def _set_socket_options(self, _: Any) -> None:
            """Leave them as they are: the kernel refuses some that the library sets, once TLS has used the socket."""

    class DialedConnection(amqp.Connection):  # type: ignore[misc]
        def __init__(self, dial: Callable[[], Socket | TLSSocket], user: str, password: str, virtual_host: str) -> None:
            super().__init__("localhost", user, password, login_method="PLAIN", virtual_host=virtual_host)
            self._dial = dial

        def Transport(self, host: str, *_: Any, **_options: Any) -> DialedTransport:  # noqa: N802
            return DialedTransport(self._dial, host)

        @property
        def beginning(self) -> bytes:
            """The first bytes that the server has sent."""
            sock = getattr(self._transport, "sock", None)
            return sock.beginning if sock else b""

    return SimpleNamespace(connection=DialedConnection, error=(amqp.AMQPError, OSError), breach=amqp.UnexpectedFrame)
