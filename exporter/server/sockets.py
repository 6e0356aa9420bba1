"""Listening sockets."""

import _socket
import socket

from exporter import addresses
from exporter.text import format_endpoint


def listen(address: str) -> socket.socket:
    """Listen on HOST:PORT or :PORT; without a host, or on [::], on every address. Raises ListenError."""
    return adopt(addresses.listen(address))


def adopt(sock: _socket.socket) -> socket.socket:
    """Take over a listening socket that is already open."""
    return socket.socket(fileno=sock.detach())


def format_url(sock: socket.socket, scheme: str = "http") -> str:
    """Return the URL at which this machine reaches a listening socket."""
    host, port = sock.getsockname()[:2]
    host = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"{scheme}://{format_endpoint(host, port)}/"
