"""Listening sockets whose connections never wait forever for their clients."""

import contextlib
import errno
import os
import re
import socket
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from exporter.text import format_endpoint

CLIENT_TIMEOUT = 5.0  # seconds for a client's handshake, for its request, and to take the next part of an answer

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Za-z.:%]*\]|[-0-9A-Za-z_.:%]*):(?P<port>[0-9]{1,5})")
_T = TypeVar("_T")


class ListenError(Exception):
    """The exporter cannot listen on an address."""


class ListeningSocket(socket.socket):
    """A listening socket whose connections neither wait long for their clients nor outlive the exporter.

    Hypercorn itself waits forever for a client that does not read its answer.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(fileno=sock.detach())
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._full = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and set how long it may wait. Raises OSError, as every `accept` does.

        When no file descriptor is left, asyncio logs that and pauses for a second, but first calls `accept` again,
        as many times as its backlog is long. The second call therefore reports that no connection is waiting.
        """
        if self._full:
            self._full = False
            raise BlockingIOError
        try:
            accepted, address = super().accept()
        except OSError as error:
            self._full = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
            raise
        connection = _Connection(self.family, self.type, self.proto, accepted.detach())
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(CLIENT_TIMEOUT * 1000))
        self._open.add(connection)
        return connection, address

    def close_connections(self) -> None:
        """Shut down the connections that are still open."""
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def url(self, scheme: str = "http") -> str:
        """Return the URL at which this machine reaches the socket."""
        host, port = self.getsockname()[:2]
        host = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(host, host)  # noqa: S104  # compared, not bound
        return f"{scheme}://{format_endpoint(host, port)}/"


def listen(address: str) -> ListeningSocket:
    """Listen on HOST:PORT or :PORT; without a host, or on [::], on every address. Raises ListenError."""
    parts = _ADDRESS.fullmatch(address)
    if parts is None or int(parts["port"]) > 65535:
        raise ListenError(f"{address}: not an address; write HOST:PORT or :PORT, for example 127.0.0.1:4584")
    host, port = parts["host"].removeprefix("[").removesuffix("]"), int(parts["port"])
    try:
        if host in ("", "::") and socket.has_dualstack_ipv6():
            return ListeningSocket(socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True))
        return ListeningSocket(
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        )
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror  # a resolver's numbers are negative
        raise ListenError(f"{address}: cannot listen: {why}") from None


class _Connection(socket.socket):
    """A connection on which every error is reported as a reset.

    A client host that disappeared causes ETIMEDOUT or EHOSTUNREACH, which Hypercorn takes for an error of its own and
    logs with a traceback.
    """

    def recv(self, *args: Any) -> bytes:
        return _reset_on_error(super().recv, *args)

    def recv_into(self, *args: Any) -> int:
        return _reset_on_error(super().recv_into, *args)

    def send(self, *args: Any) -> int:
        return _reset_on_error(super().send, *args)

    def sendmsg(self, *args: Any) -> int:
        return _reset_on_error(super().sendmsg, *args)


def _reset_on_error(operation: Callable[..., _T], *args: Any) -> _T:
    try:
        return operation(*args)
    except (BlockingIOError, InterruptedError):
        raise
    except OSError as error:
        raise ConnectionResetError(error.errno, error.strerror) from error
