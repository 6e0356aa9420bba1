"""The system's name servers, as resolv.conf(5) lists them."""

import ipaddress
import socket
from contextlib import suppress

from exporter.host.reader import explained, read
from exporter.model import Deadline, ProbeError, Reason

MAX_BYTES = 64 * 1024
MAX_SERVERS = 3
"""Servers that the C library queries (MAXNS). It ignores the others."""


def read_servers(path: str, deadline: Deadline) -> list[str]:
    """Return the addresses of the name servers. Lines without a valid one are ignored, as by the C library.

    Raises ProbeError if the file cannot be read or lists no server.
    """
    with explained():
        content = read(path, MAX_BYTES, deadline).decode("latin-1")
    lines = [line.split() for line in content.split("\n") if line.startswith(("nameserver ", "nameserver\t"))]
    servers = [address for _, *values in lines if values and (address := _parse_address(values[0]))]
    if not servers:
        raise ProbeError(
            Reason.MISSING, f"{path} lists no name server: it has no valid line that begins with nameserver"
        )
    return servers[:MAX_SERVERS]


def _parse_address(text: str) -> str | None:
    with suppress(OSError):
        return socket.inet_ntoa(socket.inet_aton(text))  # also the short forms, such as 127.1
    with suppress(ValueError):
        return str(ipaddress.IPv6Address(text))  # with its zone, such as fe80::1%eth0
    return None
