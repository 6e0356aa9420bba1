"""Recognizes a connection that has reached itself instead of a server.

Theory of operation. If nothing listens on a port, and the kernel chooses the same port for the client, the connection
succeeds: both of its ends are the same socket, which receives whatever it sends. This can happen to ports in
net.ipv4.ip_local_port_range, once in about ten thousand attempts. Go's dialer, and with it the kubelet, closes such a
connection and connects again (golang/go#18290). A connected UDP socket can reach itself in the same way.

It imports as little as possible, because `health-exporter ask` needs it in every exec probe.
"""

import socket

MAX_SELF_CONNECTIONS = 3
"""Connections in a row that reach themselves, after which the port counts as closed."""


def discard_self_connection(sock: socket.socket) -> bool:
    """If the connection has reached itself, close it and return True.

    A TCP connection is reset, because TIME_WAIT would keep a service from listening on its port for a minute.
    """
    try:
        reached_itself: bool = sock.getsockname() == sock.getpeername()
    except OSError:  # the server has already reset the connection
        return False
    if reached_itself:
        import struct

        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    return reached_itself
