"""Connections to network endpoints, made by a deadline.

Theory of operation. A check has one deadline on the monotonic clock, and everything it does shares it. `connect`
resolves the name (resolver.py) and connects to one of its addresses (race.py). The socket it returns carries the
deadline (sockets.py): each later operation gets the time that is left, and raises a DialError if there is none.
`secure` adds TLS under the same deadline. So the deadline also bounds code that does not know it and reads from the
socket, such as a database driver or an HTTP client.

The kubelet sets SO_LINGER to 1 s for its probes, to have fewer connections in TIME_WAIT (dialer_others.go). That is not
done here: on Linux it changes nothing about TIME_WAIT, but closing a connection then waits up to 1 s for the peer's
acknowledgment, beyond the deadline.
"""

import errno
import os
import socket
import ssl

from exporter.model import Deadline, Reason
from exporter.net.errors import DialError, describe
from exporter.net.race import connect_first, make_socket
from exporter.net.resolver import RESOLVER, Resolver, parse_numeric
from exporter.net.sockets import Socket, TLSSocket
from exporter.net.stopwatch import Stopwatch

_UNIX_NAME = 108  # bytes of the longest name of a Unix socket (sun_path in unix(7))


def connect(
    host: str, port: int, deadline: Deadline, resolver: Resolver = RESOLVER, watch: Stopwatch | None = None
) -> Socket:
    """Return a TCP connection to one of the addresses of a name.

    Raises DialError `dns`, `connect` or `timeout`; if all addresses fail, with the reason of the first failure. Raises
    ProbeError if the exporter itself cannot open a socket, or cannot look up the name.
    """
    watch = watch or Stopwatch()
    addresses = resolver.resolve(host, port, deadline)
    watch.lap("resolve")
    sock = connect_first(addresses, deadline)
    watch.lap("connect")
    return sock


def connect_unix(path: str, deadline: Deadline, watch: Stopwatch | None = None) -> Socket:
    """Return a connection to a Unix socket. A name that begins with `@` is in the abstract namespace, as in Go.

    Raises DialError `connect` or `timeout`.
    """
    sock = make_socket(socket.AF_UNIX)
    try:
        sock.settimeout(max(0.0, deadline.remaining()))
        _connect_unix(sock, path)
    except OSError as error:
        sock.close()
        cause = "its queue of connections is full" if error.errno == errno.EAGAIN else describe(error)
        raise DialError(Reason.CONNECT, f"{path}: {cause}", path) from None
    if watch:
        watch.lap("connect")
    sock.deadline = deadline
    return sock


def _connect_unix(sock: Socket, path: str) -> None:
    """Connect. Raises OSError.

    An abstract name has a length. HAProxy (abns@) fills it up with NULs to the longest one there can be, others do not.
    """
    if not is_abstract(path):
        sock.connect(path)
        return
    name = b"\0" + os.fsencode(path[1:])
    try:
        sock.connect(name)
    except ConnectionRefusedError:
        sock.connect(name.ljust(_UNIX_NAME, b"\0"))


def is_abstract(path: str) -> bool:
    """Return whether the name of a Unix socket is in the abstract namespace, and not a path."""
    return path.startswith("@")


def secure(sock: Socket, context: ssl.SSLContext, host: str) -> TLSSocket:
    """Start TLS on a connection, under its deadline; SNI names the host, unless it is an address.

    Raises DialError `tls`, `timeout`, or `connect` if the connection breaks; the connection is then closed.
    """
    secured = wrap(sock, context, host)
    try:
        secured.do_handshake()
    except DialError:
        secured.close()
        raise
    return secured


def wrap(sock: Socket, context: ssl.SSLContext, host: str) -> TLSSocket:
    """Return the connection as `secure` does, but before the handshake. Raises DialError for an invalid name."""
    context.sslsocket_class = TLSSocket
    name = None
    if context.check_hostname or not parse_numeric(host, 0):
        name = host.rstrip(".")
        if not _is_server_name(name):  # ssl would raise after it has taken the socket
            sock.close()
            raise DialError(Reason.TLS, f"TLS: {host!r} is not a valid name for a server")
    secured = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    secured.__class__ = TLSSocket  # eventlet ignores sslsocket_class
    assert isinstance(secured, TLSSocket)
    secured.deadline, secured.detour = sock.deadline, sock.detour
    return secured


def _is_server_name(name: str) -> bool:
    """Whether ssl and OpenSSL can send this name (TLSEXT_MAXLEN_host_name) or compare it with a certificate."""
    try:
        return 0 < len(name.encode("idna")) <= 255 and "\0" not in name
    except UnicodeError:  # an empty or a long label
        return False
