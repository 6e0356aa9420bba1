"""The addresses at which processes of this network namespace listen, such as those of the same pod.

The kernel reports them over netlink (man 7 sock_diag), as to `ss`, and only those of one port. /proc/net/tcp has them
too, but reading it takes milliseconds, because the kernel then walks through the connections of the whole machine.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG, and the constants and structures of linux/netlink.h and linux/inet_diag.h
_BY_FAMILY, _DUMP = 20, 0x301
_ERROR, _DONE = 2, 3
_LISTEN = 1 << 10
_HEAD = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI2s46x")
_SOCKET = struct.Struct("=4x2s2x16s")
_BUFFER = 64 * 1024  # bytes
_TIMEOUT = 1.0  # seconds, for an answer that comes at once

_ANY = ("0.0.0.0", "::")  # noqa: S104  # compared, not bound
_MAPPED = "::ffff:"


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG)


class Listeners:
    """The listening TCP sockets of one port. No connection is opened, so the listeners do not notice the query."""

    def __init__(self, port: int, open_: Callable[[], socket.socket] = _open) -> None:
        """`open_` opens the socket for the query."""
        try:
            with open_() as sock:
                sock.settimeout(_TIMEOUT)
                self._addresses = {*_list(sock, socket.AF_INET, port), *_list(sock, socket.AF_INET6, port)}
        except (OSError, AttributeError):  # a sandbox that has no sock_diag, or a system without netlink
            self._addresses = set()

    def __bool__(self) -> bool:
        """Return whether there are any. A system that does not show them has none."""
        return bool(self._addresses)

    def cover(self, address: str) -> bool:
        """Return whether one of them accepts connections to this IP address of the namespace.

        One for all IPv6 addresses counts for IPv4 too, because it usually accepts both.
        """
        wildcards = ("::",) if ":" in address else _ANY
        return not self._addresses.isdisjoint((*wildcards, address, f"{_MAPPED}{address}"))


def _list(sock: socket.socket, family: int, port: int) -> Iterator[str]:
    """Yield the address of each listener. Raises OSError."""
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _LISTEN, port.to_bytes(2, "big"))
    sock.send(_HEAD.pack(_HEAD.size + len(request), _BY_FAMILY, _DUMP, 0, 0) + request)
    while True:
        data = sock.recv(_BUFFER)
        while data:
            length, kind, *_ = _HEAD.unpack_from(data)
            if length < _HEAD.size:
                raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            found, source = _SOCKET.unpack_from(data, _HEAD.size)
            if int.from_bytes(found, "big") == port:
                yield socket.inet_ntop(family, source if family == socket.AF_INET6 else source[:4])
            data = data[(length + 3) & ~3 :]
