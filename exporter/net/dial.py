"""Reaching a network endpoint by a deadline: names, connections, and sockets that never outlast it.

The standard library's timeouts are per operation, and name resolution has none at all. Here one deadline on the
monotonic clock bounds everything, and what goes wrong is a DialError with a Reason.
"""

import errno
import math
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from exporter.model import Deadline, Outcome, ProbeError, Reason

RESOLVERS = 4
"""Threads that resolve names. The C library cannot be interrupted, so a resolver that never answers holds some of these
and nothing else."""

Address = tuple[socket.AddressFamily, Any]


class DialError(Exception):
    """The endpoint was not reached, or stopped answering."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def outcome(self, where: str = "") -> Outcome:
        """The failure this is, and where: the kubelet takes every trouble up to the answer as one."""
        said = str(self)
        return Outcome.failed(self.reason, said if said.startswith(where) else f"{where}: {said}")


class Stopwatch:
    """Where the time of an act goes: seconds by phase, summed where a phase comes again."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """The time since the last lap was spent on this."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now


class _Bounded:
    """Mixed into a socket: no operation lasts beyond the deadline, and what goes wrong in one is a DialError."""

    deadline: Deadline | None = None  # ssl itself uses the socket before it has one
    allowance = math.inf  # bytes that may still be received, for a driver that reads whatever comes

    def _call(self, operation: Any, *args: Any) -> Any:
        if self.deadline is None:
            return operation(*args)
        remaining = self.deadline.remaining()
        if remaining > 0:
            self.settimeout(remaining)  # type: ignore[attr-defined]
            try:
                return operation(*args)
            except TimeoutError:
                pass
            except ssl.SSLError as error:
                raise DialError(Reason.TLS, f"TLS: {_words(error)}") from None
            except OSError as error:
                raise DialError(Reason.CONNECT, _words(error)) from None
        raise DialError(Reason.TIMEOUT, "no complete answer in time")

    def _spend(self, size: int) -> None:
        self.allowance -= size
        if self.allowance < 0:
            raise DialError(Reason.STATUS, "the answer is too long")

    def recv_into(self, *args: Any) -> int:
        size: int = self._call(super().recv_into, *args)  # type: ignore[misc]
        self._spend(size)
        return size

    def recv(self, *args: Any) -> bytes:
        data: bytes = self._call(super().recv, *args)  # type: ignore[misc]
        self._spend(len(data))
        return data

    def send(self, *args: Any) -> int:
        return self._call(super().send, *args)  # type: ignore[misc,no-any-return]

    def sendall(self, *args: Any) -> None:
        self._call(super().sendall, *args)  # type: ignore[misc]


class Socket(_Bounded, socket.socket):
    """A TCP socket with a deadline."""


class TLSSocket(_Bounded, ssl.SSLSocket):
    """A TLS socket with a deadline."""

    def do_handshake(self, *args: Any) -> None:  # noqa: D102  # documented in ssl
        self._call(super().do_handshake, *args)

    def getpeername(self) -> Any:
        """As of every socket, or None: ssl leaves one open whose peer has gone. So that shows in the handshake."""
        try:
            return super().getpeername()
        except OSError:
            return None


class Resolver:
    """A few threads that resolve names, started at the first names. Askers for the same name share one look-up."""

    def __init__(self, look_up: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._pending: dict[str, Future[list[Address]]] = {}
        self._threads = 0

    def resolve(self, host: str, port: int, deadline: Deadline) -> list[Address]:
        """The addresses of a host. Raises DialError `dns`, also when the deadline comes first."""
        if numeric := _numeric(host, port):
            return numeric
        future = self._ask(host)
        try:
            found = future.result(max(0.0, deadline.remaining()))
        except TimeoutError:
            raise DialError(Reason.DNS, f"the name {host} was not resolved in time") from None
        except (OSError, ValueError) as error:
            message = getattr(error, "strerror", None) or "not a host name"
            raise DialError(Reason.DNS, f"the name {host} was not resolved: {message}") from None
        return [(family, (address[0], port, *address[2:])) for family, address in found]

    def _ask(self, host: str) -> "Future[list[Address]]":
        with self._lock:
            future = self._pending.get(host)
            if future is None:
                if self._threads < min(RESOLVERS, len(self._pending) + 1):
                    threading.Thread(target=self._work, name="resolver", daemon=True).start()
                    self._threads += 1  # where none can be started, nobody can look
                future = self._pending[host] = Future()
                self._asked.put(host)
            return future

    def _work(self) -> None:
        while True:
            host = self._asked.get()
            answer: list[Address] | Exception
            try:
                found = self._look_up(host, None, type=socket.SOCK_STREAM)
                answer = [(family, address) for family, _, _, _, address in found]
            except (OSError, ValueError, MemoryError) as error:  # ValueError: too long a label, or a NUL
                answer = error
            with self._lock:
                future = self._pending.pop(host)
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


RESOLVER = Resolver()


def connect(
    host: str, port: int, deadline: Deadline, resolver: Resolver = RESOLVER, watch: Stopwatch | None = None
) -> Socket:
    """A TCP connection. Every address of the name is tried, in the resolver's order, each with its share of the time.

    Raises DialError: `dns`, `connect` or `timeout`; of several addresses the first one's error.
    """
    watch = watch or Stopwatch()
    addresses = resolver.resolve(host, port, deadline)
    watch.lap("resolve")
    first: DialError | None = None
    for index, (family, address) in enumerate(addresses):
        try:
            sock = _connect(family, address, deadline, len(addresses) - index)
        except DialError as error:
            first = first or error
        else:
            watch.lap("connect")
            return sock
    assert first is not None, "a resolver gives at least one address or raises"
    raise first


def connect_unix(path: str, deadline: Deadline, watch: Stopwatch | None = None) -> Socket:
    """A connection to a Unix socket. Raises DialError `connect` or `timeout`."""
    sock = _connect(socket.AF_UNIX, path, deadline, 1)
    if watch:
        watch.lap("connect")
    return sock


def secure(sock: Socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> TLSSocket:
    """TLS over a connection; the host goes into SNI unless it is an address.

    Raises DialError: `tls`, `timeout`, or `connect` where the connection breaks. The connection is closed then.
    """
    context.sslsocket_class = TLSSocket
    name = host.rstrip(".") if context.check_hostname or not _numeric(host, 0) else None
    secured = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    assert isinstance(secured, TLSSocket)
    secured.deadline = deadline
    try:
        secured.do_handshake()
    except DialError as error:
        secured.close()
        if error.reason is Reason.TIMEOUT:
            raise DialError(Reason.TIMEOUT, "the TLS handshake did not end in time") from None
        raise
    return secured


def _connect(family: socket.AddressFamily, address: Any, deadline: Deadline, shares: int) -> Socket:
    where = _where(family, address)
    share = deadline.remaining() / shares
    if share <= 0:
        raise DialError(Reason.TIMEOUT, f"{where} was not reached in time")
    sock = _socket(family)
    try:
        sock.settimeout(share)
        sock.connect(address)
    except TimeoutError:
        sock.close()
        raise DialError(Reason.TIMEOUT, f"{where} did not accept the connection in time") from None
    except (OSError, OverflowError) as error:
        sock.close()
        raise DialError(Reason.CONNECT, f"{where}: {_words(error)}") from None
    sock.deadline = deadline
    return sock


def _where(family: socket.AddressFamily, address: Any) -> str:
    if family == socket.AF_UNIX:
        return str(address)
    return f"[{address[0]}]:{address[1]}" if family == socket.AF_INET6 else f"{address[0]}:{address[1]}"


def _socket(family: socket.AddressFamily) -> Socket:
    try:
        return Socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            raise DialError(Reason.CONNECT, f"{family.name} is not supported here") from None
        raise ProbeError(Reason.ERROR, f"no connection can be opened: {_words(error)}") from None


def _numeric(host: str, port: int) -> list[Address]:
    """The address that this is; empty for a name."""
    try:
        if ":" not in host:
            socket.inet_pton(socket.AF_INET, host)
            return [(socket.AF_INET, (host, port))]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return []
    return [(family, address) for family, _, _, _, address in found]


def _words(error: Exception) -> str:
    """What went wrong, without numbers and the names of functions."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    if isinstance(error, ssl.SSLError):
        return (error.reason or "broken").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
