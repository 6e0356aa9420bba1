"""Reaching a network endpoint by a deadline: names, connections, and sockets that never outlast it.

The standard library's timeouts are per operation, and name resolution has none at all. Here one deadline on the
monotonic clock bounds everything, and what goes wrong is a DialError with a Reason.
"""

import queue
import socket
import ssl
import threading
from concurrent.futures import Future
from typing import Any

from exporter.model import Deadline, Outcome, Reason

RESOLVERS = 4
"""Threads that resolve names. The C library cannot be interrupted, so a resolver that never answers holds some of these
and nothing else."""

Address = tuple[socket.AddressFamily, Any]


class DialError(Exception):
    """The endpoint was not reached, or stopped answering."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def outcome(self) -> Outcome:
        """The failure this is: the kubelet takes every trouble up to the answer as one."""
        return Outcome.failed(self.reason, str(self))


class _Bounded:
    """Mixed into a socket: no operation lasts beyond the deadline, whatever the peer does; DialError `timeout` then."""

    deadline: Deadline

    def _call(self, operation: Any, *args: Any) -> Any:
        remaining = self.deadline.remaining()
        if remaining > 0:
            self.settimeout(remaining)  # type: ignore[attr-defined]
            try:
                return operation(*args)
            except TimeoutError:
                pass
        raise DialError(Reason.TIMEOUT, "no complete answer in time")

    def recv_into(self, *args: Any) -> int:
        return self._call(super().recv_into, *args)  # type: ignore[misc,no-any-return]

    def recv(self, *args: Any) -> bytes:
        return self._call(super().recv, *args)  # type: ignore[misc,no-any-return]

    def sendall(self, *args: Any) -> None:
        self._call(super().sendall, *args)  # type: ignore[misc]


class Socket(_Bounded, socket.socket):
    """A TCP socket with a deadline."""


class TLSSocket(_Bounded, ssl.SSLSocket):
    """A TLS socket with a deadline."""


def connect(host: str, port: int, deadline: Deadline) -> Socket:
    """A TCP connection. Every address of the name is tried, in the resolver's order, each with its share of the time.

    Raises DialError: `dns`, `connect` or `timeout`; of several addresses the first one's error.
    """
    addresses = resolve(host, port, deadline)
    first: DialError | None = None
    for index, (family, address) in enumerate(addresses):
        try:
            return _connect(family, address, deadline, len(addresses) - index)
        except DialError as error:
            first = first or error
    assert first is not None, "a resolver gives at least one address or raises"
    raise first


def secure(sock: Socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> TLSSocket:
    """TLS over a connection; the host goes into SNI unless it is an address. Raises DialError: `tls` or `timeout`."""
    context.sslsocket_class = TLSSocket
    sock.settimeout(max(0.001, deadline.remaining()))
    try:
        secured = context.wrap_socket(sock, server_hostname=None if is_address(host) else host)
    except TimeoutError:
        sock.close()
        raise DialError(Reason.TIMEOUT, "the TLS handshake did not end in time") from None
    except (ssl.SSLError, ssl.CertificateError, OSError, ValueError) as error:
        sock.close()
        raise DialError(Reason.TLS, f"TLS: {getattr(error, 'reason', None) or error}") from None
    assert isinstance(secured, TLSSocket)
    secured.deadline = deadline
    return secured


def is_address(host: str) -> bool:
    """Whether this is an address rather than a name."""
    return _numeric(host, 0) is not None


def resolve(host: str, port: int, deadline: Deadline) -> list[Address]:
    """The addresses of a host. Raises DialError `dns`, also when the deadline comes first."""
    numeric = _numeric(host, port)
    return numeric if numeric is not None else _resolver.resolve(host, port, deadline)


def _connect(family: socket.AddressFamily, address: Any, deadline: Deadline, shares: int) -> Socket:
    where = f"[{address[0]}]:{address[1]}" if family == socket.AF_INET6 else f"{address[0]}:{address[1]}"
    share = deadline.remaining() / shares
    if share <= 0:
        raise DialError(Reason.TIMEOUT, f"{where} was not reached in time")
    sock = Socket(family, socket.SOCK_STREAM)
    sock.deadline = deadline
    try:
        sock.settimeout(share)
        sock.connect(address)
    except TimeoutError:
        sock.close()
        raise DialError(Reason.TIMEOUT, f"{where} did not accept the connection in time") from None
    except OSError as error:
        sock.close()
        raise DialError(Reason.CONNECT, f"{where}: {error.strerror or error}") from None
    return sock


def _numeric(host: str, port: int) -> list[Address] | None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return [(family, address) for family, _, _, _, address in found]


class _Resolver:
    """A few threads that resolve names, started at the first name. Two askers for one name share one look-up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._pending: dict[tuple[str, int], Future[list[Address]]] = {}
        self._threads = 0

    def resolve(self, host: str, port: int, deadline: Deadline) -> list[Address]:
        future = self._ask((host, port))
        try:
            return future.result(max(0.0, deadline.remaining()))
        except TimeoutError:
            raise DialError(Reason.DNS, f"the name {host} was not resolved in time") from None
        except (OSError, UnicodeError) as error:
            message = getattr(error, "strerror", None) or "not a host name"
            raise DialError(Reason.DNS, f"the name {host} was not resolved: {message}") from None

    def _ask(self, name: tuple[str, int]) -> "Future[list[Address]]":
        with self._lock:
            future = self._pending.get(name)
            if future is None:
                future = self._pending[name] = Future()
                self._asked.put(name)
                if self._threads < min(RESOLVERS, len(self._pending)):
                    self._threads += 1
                    threading.Thread(target=self._work, name="resolver", daemon=True).start()
            return future

    def _work(self) -> None:
        while True:
            name = self._asked.get()
            found: list[Address] = []
            failure: Exception | None = None
            try:
                answers = socket.getaddrinfo(*name, type=socket.SOCK_STREAM)
                found = [(family, address) for family, _, _, _, address in answers]
            except (OSError, UnicodeError) as error:
                failure = error
            with self._lock:
                future = self._pending.pop(name)
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(found)


_resolver = _Resolver()
