"""Connections to network endpoints, made by a deadline.

Theory of operation. A check has one deadline on the monotonic clock, and everything it does shares it. `connect`
resolves the name (resolver.py) and tries the addresses one after another: of n addresses left, the next one gets 1/n
of the time left, so a silent address cannot use up the time of the others. The socket it returns carries the deadline
(sockets.py): each later operation gets the time that is left, and raises a DialError if there is none. `secure` adds
TLS under the same deadline. So the deadline also bounds code that does not know it and reads from the socket, such as a
database driver or an HTTP client.
"""

import errno
import os
import socket
import ssl
from typing import Any

from exporter.model import Deadline, ProbeError, Reason
from exporter.net.errors import DialError, describe
from exporter.net.resolver import RESOLVER, Resolver, parse_numeric
from exporter.net.sockets import Socket, TLSSocket
from exporter.net.stopwatch import Stopwatch
from exporter.self_connection import MAX_SELF_CONNECTIONS, discard_self_connection
from exporter.text import format_endpoint


def connect(
    host: str, port: int, deadline: Deadline, resolver: Resolver = RESOLVER, watch: Stopwatch | None = None
) -> Socket:
    """Return a TCP connection to the first address of the name that accepts one, in the resolver's order.

    Raises DialError `dns`, `connect` or `timeout`; if all addresses fail, the error of the first one. Raises
    ProbeError if the exporter itself cannot open a socket, or cannot look up the name.
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
    assert first is not None, "a resolver returns at least one address or raises"
    raise first


def connect_unix(path: str, deadline: Deadline, watch: Stopwatch | None = None) -> Socket:
    """Return a connection to a Unix socket. Raises DialError `connect` or `timeout`."""
    sock = _connect(socket.AF_UNIX, path, deadline, 1)
    if watch:
        watch.lap("connect")
    return sock


def secure(sock: Socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> TLSSocket:
    """Start TLS on a connection; SNI names the host, unless it is an address.

    Raises DialError `tls`, `timeout`, or `connect` if the connection breaks; the connection is then closed.
    """
    secured = wrap(sock, context, host, deadline)
    try:
        secured.do_handshake()
    except DialError:
        secured.close()
        raise
    return secured


def wrap(sock: Socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> TLSSocket:
    """Return the connection as `secure` does, but before the handshake. Raises DialError for an invalid name."""
    context.sslsocket_class = TLSSocket
    name = None
    if context.check_hostname or not parse_numeric(host, 0):
        name = host.rstrip(".")
        if not _is_server_name(name):  # ssl would raise after it has taken the socket
            sock.close()
            raise DialError(Reason.TLS, f"TLS: {host!r} is not a valid name for a server")
    secured = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    assert isinstance(secured, TLSSocket)
    secured.deadline = deadline
    return secured


def _is_server_name(name: str) -> bool:
    """Whether ssl and OpenSSL can send this name (TLSEXT_MAXLEN_host_name) or compare it with a certificate."""
    try:
        return 0 < len(name.encode("idna")) <= 255 and "\0" not in name
    except UnicodeError:  # an empty or a long label
        return False


def _connect(family: socket.AddressFamily, address: Any, deadline: Deadline, shares: int) -> Socket:
    until = Deadline(deadline.clock() + deadline.remaining() / shares, deadline.clock)
    for _ in range(MAX_SELF_CONNECTIONS):
        sock = _open(family, address, until)
        if family == socket.AF_UNIX or not discard_self_connection(sock):
            sock.deadline = deadline
            return sock
    where = _name_endpoint(family, address)
    raise DialError(Reason.CONNECT, f"{where}: {os.strerror(errno.ECONNREFUSED)}", where)


def _open(family: socket.AddressFamily, address: Any, deadline: Deadline) -> Socket:
    where = _name_endpoint(family, address)
    remaining = deadline.remaining()
    if remaining <= 0:
        raise DialError(Reason.TIMEOUT, f"{where} was not reached in time", where)
    sock = _make_socket(family)
    try:
        sock.settimeout(remaining)
        sock.connect(address)
    except TimeoutError:
        sock.close()
        raise DialError(Reason.TIMEOUT, f"{where} did not accept the connection in time", where) from None
    except (OSError, OverflowError) as error:
        sock.close()
        raise DialError(Reason.CONNECT, f"{where}: {describe(error)}", where) from None
    return sock


def _name_endpoint(family: socket.AddressFamily, address: Any) -> str:
    if family == socket.AF_UNIX:
        return str(address)
    return format_endpoint(address[0], address[1])


def _make_socket(family: socket.AddressFamily) -> Socket:
    try:
        return Socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            raise DialError(Reason.CONNECT, f"{family.name} is not supported here") from None
        raise ProbeError(Reason.ERROR, f"cannot open a socket: {describe(error)}") from None
