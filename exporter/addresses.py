"""Listening sockets for the addresses on the command line.

It imports as little as possible, because the keeper opens the sockets before anything else is loaded.
"""

import _socket
import errno
import os

DEFAULT_ADDRESS = ":4584"  # H-L-T-H on a keypad
BACKLOG = 4096
"""Connections that the kernel holds until they are accepted. The kernel's own limit is net.core.somaxconn."""

_HOST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:%")
_MAX_PORT = 65535
_IN_USE = "; another process listens there, perhaps another exporter: stop it, or choose another port"


class ListenError(Exception):
    """The exporter cannot listen on an address."""


def listen(address: str) -> _socket.socket:
    """Listen on HOST:PORT or :PORT; without a host, or on [::], on every address. Raises ListenError."""
    host, port = _parse(address)
    try:
        if host in ("", "::") and _has_dual_stack():
            return _bind(_socket.AF_INET6, "::", port, dual_stack=True)
        return _bind(_socket.AF_INET6 if ":" in host else _socket.AF_INET, host, port)
    except OSError as error:
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror  # a resolver's numbers are negative
        hint = _IN_USE if number == errno.EADDRINUSE else ""
        raise ListenError(f"{address}: cannot listen: {why}{hint}") from None


def _parse(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]") and len(host) > 1
    name = host[1:-1] if bracketed else host
    valid = _HOST.issuperset(name) if bracketed else _HOST.issuperset(name.replace("-", "").replace("_", ""))
    is_port = port.isascii() and port.isdigit() and len(port) <= len(str(_MAX_PORT)) and int(port) <= _MAX_PORT
    if not (colon and valid and is_port):
        shown = ascii(address)[1:-1]  # it may contain characters that cannot be seen
        raise ListenError(f"{shown}: not an address; write HOST:PORT or :PORT, for example 127.0.0.1:4584")
    return name, int(port)


def _has_dual_stack() -> bool:
    """Return whether one socket can accept connections over IPv4 and IPv6."""
    try:
        sock = _socket.socket(_socket.AF_INET6, _socket.SOCK_STREAM)
    except OSError:
        return False
    try:
        sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 0)
    except OSError:
        return False
    finally:
        sock.close()
    return True


def _bind(family: int, host: str, port: int, *, dual_stack: bool = False) -> _socket.socket:
    sock = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, int(not dual_stack))
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.settimeout(0)
    return sock


def drop_authority(target: str) -> str:
    """Return the target of a request without scheme and host, which every server must accept (RFC 9112, 3.2.2)."""
    scheme, found, rest = target.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        return target
    begin = min((rest.index(mark) for mark in "/?" if mark in rest), default=len(rest))
    return rest[begin:] if rest[begin:].startswith("/") else f"/{rest[begin:]}"
