"""An ICMP echo request and its reply, by a deadline, for IPv4 and IPv6.

Theory of operation. A ping socket (SOCK_DGRAM) needs no privilege if net.ipv4.ping_group_range includes the group of
the process; the kernel then chooses the identifier, and delivers only replies with it. A raw socket needs CAP_NET_RAW,
and receives a copy of every ICMP message from its peer, also those for other processes. So on both, a reply counts only
if its sender, identifier, sequence number and payload are those of the request. The last two are random.

Both are connected and have the option IP_RECVERR. So the kernel also reports the ICMP errors of routers on the way,
with the header of the request that caused them: an error for the request of another process is ignored.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from exporter.model import Deadline, ProbeError, Reason
from exporter.net.errors import DialError, describe
from exporter.net.resolver import RESOLVER, Resolver

MAX_ADDRESSES = 8
"""Addresses of a name that get a request, one after the other, until one replies."""
MAX_PAYLOAD = 65507
"""Bytes of the payload of the longest echo request in IPv4."""

_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number (RFC 792, RFC 4443)
_EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err in ip(7)
_OF_A_MESSAGE = (2, 3)  # SO_EE_ORIGIN_ICMP and SO_EE_ORIGIN_ICMP6; other errors are those of this machine
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT)
_PMTUDISC_PROBE = 3  # sets DF, and ignores the MTU that the kernel has learned and keeps for minutes
_HEADERS = 128  # bytes: the IPv4 header with options, and the ICMP header
_NEITHER = (
    "ICMP needs a permission: set the sysctl net.ipv4.ping_group_range in the pod's securityContext so that it "
    "includes the group of this process, or add the capability NET_RAW"
)


@dataclass(frozen=True, slots=True)
class _Family:
    """What differs between ICMP and ICMPv6, with the numbers of Linux that the module socket lacks."""

    protocol: int
    request: int
    reply: int
    time_exceeded: int
    level: int
    report_errors: int  # IP_RECVERR
    discover: int  # IP_MTU_DISCOVER
    offender: struct.Struct  # the address in a sockaddr


_FAMILIES = {
    socket.AF_INET: _Family(socket.IPPROTO_ICMP, 8, 0, 11, socket.IPPROTO_IP, 11, 10, struct.Struct("4x4s")),
    socket.AF_INET6: _Family(socket.IPPROTO_ICMPV6, 128, 129, 3, socket.IPPROTO_IPV6, 25, 23, struct.Struct("8x16s")),
}
_IPV6_DONTFRAG = 62


def ping(host: str, size: int, deadline: Deadline, resolver: Resolver = RESOLVER, *, fragment: bool = True) -> str:
    """Send an echo request with `size` bytes of payload, and return the address that has replied.

    The addresses of a name are tried in turn, each for an equal share of the time. Without `fragment`, the request
    must not be fragmented on its way. Raises DialError `dns`, `connect` or `timeout`; if all addresses fail, with the
    reason of the first one. Raises ProbeError if the exporter itself cannot open a socket or look up the name.
    """
    addresses = resolver.resolve(host, 0, deadline)[:MAX_ADDRESSES]
    errors: list[DialError] = []
    for index, (family, address) in enumerate(addresses):
        share = Deadline(deadline.clock() + deadline.remaining() / (len(addresses) - index), deadline.clock)
        try:
            with closing(_Echo(family, address, size, fragment=fragment)) as echo:
                echo.run(share)
        except DialError as error:
            errors.append(error)
        else:
            return str(address[0])
    raise DialError(errors[0].reason, "; ".join(map(str, errors)), errors[0].where)


class _Echo:
    """One request to one address. Raises DialError, or ProbeError without a socket."""

    def __init__(self, family: socket.AddressFamily, address: Any, size: int, *, fragment: bool) -> None:
        self._name = str(address[0])
        self._family = _FAMILIES[family]
        self._payload = os.urandom(size)
        self._flaw = ""
        self._sock = self._open(family)
        try:
            self._set_options(fragment=fragment)
            self._sock.connect((address[0], 1, *address[2:]))  # with port 0, there is no getpeername
            self._peer = self._sock.getpeername()[0]
            self._message = self._make_message()
        except OSError as error:
            self._sock.close()
            raise self._explain(error) from None

    def close(self) -> None:
        self._sock.close()

    def run(self, deadline: Deadline) -> None:
        """Send the request and wait for its reply."""
        try:
            self._sock.send(self._message)
        except OSError as error:
            raise self._explain(error) from None
        while (remaining := deadline.remaining()) > 0:
            self._sock.settimeout(remaining)
            try:
                data, sender = self._sock.recvfrom(len(self._message) + _HEADERS)
            except TimeoutError:
                continue
            except OSError as error:
                self._raise_errors(error)
                continue
            if self._is_reply(data, sender[0]):
                return
        raise DialError(Reason.TIMEOUT, f"{self._name} did not reply in time{self._flaw}", self._name)

    def _open(self, family: socket.AddressFamily) -> socket.socket:
        """Return a ping socket; if that is refused, a raw one."""
        self._raw = False
        try:
            return socket.socket(family, socket.SOCK_DGRAM, self._family.protocol)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise self._explain_shortage(error) from None
        self._raw = True
        try:
            return socket.socket(family, socket.SOCK_RAW, self._family.protocol)
        except OSError as error:
            if error.errno in _REFUSALS:
                raise ProbeError(Reason.PERMISSION, _NEITHER) from None
            raise self._explain_shortage(error) from None

    def _set_options(self, *, fragment: bool) -> None:
        self._sock.setsockopt(self._family.level, self._family.report_errors, 1)
        if not fragment:
            self._sock.setsockopt(self._family.level, self._family.discover, _PMTUDISC_PROBE)
            if self._family.level == socket.IPPROTO_IPV6:
                self._sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_DONTFRAG, 1)

    def _make_message(self) -> bytes:
        """Return the request. The kernel computes the checksum, except for a raw socket in IPv4."""
        identifier = int.from_bytes(os.urandom(2)) if self._raw else self._sock.getsockname()[1]
        self._key = struct.pack("!H", identifier) + os.urandom(2)
        numbers = struct.unpack("!HH", self._key)
        checksum = _sum(_HEADER.pack(self._family.request, 0, 0, *numbers) + self._payload) if self._raw else 0
        return _HEADER.pack(self._family.request, 0, checksum, *numbers) + self._payload

    def _is_reply(self, data: bytes, sender: str) -> bool:
        """Return whether this is the reply. Keep a flaw of another reply with the same identifier for the message."""
        if self._raw and self._family.level == socket.IPPROTO_IP:
            data = data[(data[0] & 15) * 4 :] if data else data  # a raw socket returns the IPv4 header, too
        if data[:1] != bytes([self._family.reply]) or data[4:8] != self._key:
            return False
        if sender != self._peer:
            self._flaw = f"; ignored a reply from {sender}"
        elif data[8:] != self._payload:
            self._flaw = "; ignored a reply with a different payload"
        else:
            return True
        return False

    def _raise_errors(self, error: OSError) -> None:
        """Raise the errors that the kernel has queued if one is about this request; without any, the one at hand."""
        queued = list(self._read_errors())
        for cause in queued:
            if cause:
                raise DialError(Reason.CONNECT, f"{self._name}: {cause}", self._name)
        if not queued:
            raise self._explain(error)

    def _read_errors(self) -> Iterator[str]:
        """Yield the errors in the queue: the cause, or nothing if it is the error of another process's request."""
        self._sock.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                data, messages, _, _ = self._sock.recvmsg(_HEADER.size, 512, socket.MSG_ERRQUEUE)
                for _, _, content in messages:
                    number, origin, kind, _, _, info, _ = _EXTENDED_ERROR.unpack_from(content)
                    foreign = origin in _OF_A_MESSAGE and data[4:8] != self._key
                    yield "" if foreign else self._describe(number, origin, kind, info, content[_EXTENDED_ERROR.size :])

    def _describe(self, number: int, origin: int, kind: int, info: int, offender: bytes) -> str:
        if number == errno.EMSGSIZE:
            return f"Message too long for a link with an MTU of {info} bytes" if info else os.strerror(number)
        late = origin in _OF_A_MESSAGE and kind == self._family.time_exceeded
        cause = "the time to live was exceeded" if late else os.strerror(number)
        if origin not in _OF_A_MESSAGE:
            return cause
        family = socket.AF_INET if self._family.level == socket.IPPROTO_IP else socket.AF_INET6
        (address,) = self._family.offender.unpack_from(offender)
        return f"{cause}, reported by {socket.inet_ntop(family, address)}"

    def _explain(self, error: OSError) -> DialError:
        return DialError(Reason.CONNECT, f"{self._name}: {describe(error)}", self._name)

    def _explain_shortage(self, error: OSError) -> DialError | ProbeError:
        """Return the error of a socket that cannot be opened: that of the address, if the family is not supported."""
        if error.errno == errno.EAFNOSUPPORT:
            return self._explain(error)
        return ProbeError(Reason.ERROR, f"cannot open a socket: {describe(error)}")


def _sum(message: bytes) -> int:
    """Return the checksum of RFC 1071. The largest message has 32758 words, so the sum is folded twice at most."""
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message[: len(message) & ~1]))
    total += message[-1] << 8 if len(message) % 2 else 0
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
