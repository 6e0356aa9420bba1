"""Addresses to listen on."""

import os
import re
import socket

from exporter.text import format_endpoint

BACKLOG = 4096
"""Connections that the kernel holds until they are accepted. The kernel's own limit is net.core.somaxconn."""

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Za-z.:%]*\]|[-0-9A-Za-z_.:%]*):(?P<port>[0-9]{1,5})")


class ListenError(Exception):
    """The exporter cannot listen on an address."""


def listen(address: str) -> socket.socket:
    """Listen on HOST:PORT or :PORT; without a host, or on [::], on every address. Raises ListenError."""
    parts = _ADDRESS.fullmatch(address)
    if parts is None or int(parts["port"]) > 65535:
        raise ListenError(f"{address}: not an address; write HOST:PORT or :PORT, for example 127.0.0.1:4584")
    host, port = parts["host"].removeprefix("[").removesuffix("]"), int(parts["port"])
    try:
        if host in ("", "::") and socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror  # a resolver's numbers are negative
        raise ListenError(f"{address}: cannot listen: {why}") from None


def format_url(sock: socket.socket, scheme: str = "http") -> str:
    """Return the URL at which this machine reaches a listening socket."""
    host, port = sock.getsockname()[:2]
    host = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"{scheme}://{format_endpoint(host, port)}/"
