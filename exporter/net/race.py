"""Connects to the first of several addresses that accepts a connection, as Go's dialer does (net/dial.go, RFC 8305).

Theory of operation. The addresses of the first one's family, IPv4 or IPv6, are tried one after another. Those of the
other family are tried in the same way, as soon as the first family has failed, but no later than FALLBACK_DELAY after
the start. The first connection wins, and the others are closed. If n addresses of a family are left, the next one gets
1/n of the time left, but at least MIN_SHARE: a silent address cannot use up the time of the others.

Everything happens in the caller's thread. While one connection is being made, its socket blocks. Only while two are
being made, a selector waits for both, because it costs a file descriptor.
"""

import errno
import math
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from selectors import EVENT_WRITE, DefaultSelector
from typing import Any

from exporter.model import Deadline, ProbeError, Reason
from exporter.net.errors import DialError, describe
from exporter.net.resolver import Address
from exporter.net.sockets import Socket
from exporter.self_connection import MAX_SELF_CONNECTIONS, discard_self_connection
from exporter.text import format_endpoint

FALLBACK_DELAY = 0.3
"""Seconds after which the other family's addresses are tried too (FallbackDelay in Go's Dialer)."""
MIN_SHARE = 2.0
"""Seconds that an address gets at least, if that many are left (saneMinimum in Go's partialDeadline)."""


def connect_first(addresses: Sequence[Address], deadline: Deadline) -> Socket:
    """Return a connection to one of the addresses, of which there is at least one.

    Raises DialError with the reason of the first failure, and with a message about every address. Raises ProbeError if
    the exporter itself cannot open a socket.
    """
    family = addresses[0][0]
    primary = _Series([address for address in addresses if address[0] == family], deadline)
    fallback = _Series([address for address in addresses if address[0] != family], deadline)
    with closing(primary), closing(fallback):
        primary.run(math.inf if primary.size == len(addresses) else deadline.clock() + FALLBACK_DELAY)
        if primary.connecting:
            _race(primary, fallback)
        elif not primary.connected:
            fallback.run(math.inf)
        if sock := primary.release():
            return _describe_detour(sock, primary.failures)
        primary.give_up()
        failures = primary.failures + fallback.failures
        if sock := fallback.release():
            return _describe_detour(sock, failures)
    raise DialError(failures[0].reason, "; ".join(map(str, failures)), failures[0].where)


def make_socket(family: socket.AddressFamily) -> Socket:
    """Return a new stream socket. Raises DialError without the family, ProbeError without a file descriptor."""
    try:
        return Socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            raise DialError(Reason.CONNECT, f"{family.name} is not supported here") from None
        raise ProbeError(Reason.ERROR, f"cannot open a socket: {describe(error)}") from None


class _Series:
    """The addresses of one family, tried one after another until one of them accepts the connection."""

    def __init__(self, addresses: Sequence[Address], deadline: Deadline) -> None:
        self.size = len(addresses)
        self.failures: list[DialError] = []
        self.connecting: Socket | None = None
        self.connected: Socket | None = None
        self._where = ""
        self._began = 0.0
        self._ends = 0.0  # the share of the time of the present address
        self._blocks_until = -math.inf
        self._deadline = deadline
        self._steps = self._try_each(addresses)

    @property
    def remaining(self) -> float:
        """Seconds left for the present address."""
        return self._ends - self._deadline.clock()

    def run(self, until: float) -> None:
        """Connect, and block meanwhile. Return when there is a connection, no address is left, or it is this moment."""
        self._blocks_until = until
        while self.advance() and self._deadline.clock() < until:
            pass

    def advance(self) -> bool:
        """Make progress. Return whether a connection is still being made."""
        next(self._steps, None)
        return self.connecting is not None

    def release(self) -> Socket | None:
        """Return the connection, if there is one; closing the series then does not close it."""
        sock, self.connected = self.connected, None
        if sock:
            sock.settimeout(max(0.0, self._deadline.remaining()))
            sock.deadline = self._deadline
        return sock

    def give_up(self) -> None:
        """Count an address whose connection is still being made as a failure."""
        if self.connecting:
            self.failures.append(self._make_timeout())

    def close(self) -> None:
        for sock in (self.connecting, self.connected):
            if sock:
                sock.close()
        self.connecting = self.connected = None

    def _try_each(self, addresses: Sequence[Address]) -> Iterator[None]:
        """Connect. Each step ends when the present socket would block."""
        for index, (family, address) in enumerate(addresses):
            try:
                yield from self._connect(family, address, len(addresses) - index)
            except DialError as error:
                self.close()
                self.failures.append(error)
            else:
                return

    def _connect(self, family: socket.AddressFamily, address: Any, addresses_left: int) -> Iterator[None]:
        self._where = format_endpoint(address[0], address[1])
        self._began, left = self._deadline.clock(), self._deadline.remaining()
        if left <= 0:
            raise DialError(Reason.TIMEOUT, f"{self._where} was not reached in time", self._where)
        self._ends = self._began + min(left, max(MIN_SHARE, left / addresses_left))
        for _ in range(MAX_SELF_CONNECTIONS):
            self.connecting = sock = make_socket(family)
            yield from self._complete(sock, address)
            if not discard_self_connection(sock):
                self.connecting, self.connected = None, sock
                return
        raise DialError(Reason.CONNECT, f"{self._where}: {os.strerror(errno.ECONNREFUSED)}", self._where)

    def _complete(self, sock: Socket, address: Any) -> Iterator[None]:
        try:
            while not self._is_complete(sock, address):
                if self.remaining <= 0:
                    raise self._make_timeout()
                yield
        except TimeoutError:  # of the kernel
            raise self._make_timeout() from None
        except (OSError, OverflowError) as error:
            raise DialError(Reason.CONNECT, f"{self._where}: {describe(error)}", self._where) from None

    def _is_complete(self, sock: Socket, address: Any) -> bool:
        """Connect, or find out whether an earlier call has succeeded meanwhile. Raises OSError if it has not."""
        sock.settimeout(max(0.0, min(self._ends, self._blocks_until) - self._deadline.clock()))
        try:
            sock.connect(address)
        except OSError as error:
            if error.errno in (None, errno.EINPROGRESS, errno.EALREADY):  # None: the timeout of the socket
                return False
            if error.errno != errno.EISCONN:
                raise
        return True

    def _make_timeout(self) -> DialError:
        seconds = self._deadline.clock() - self._began
        message = f"{self._where} did not accept the connection within {seconds:.1f} s"
        return DialError(Reason.TIMEOUT, message, self._where)


def _race(primary: _Series, fallback: _Series) -> None:
    """Connect both at the same time, until one of them has a connection or both have failed."""
    while connecting := [series for series in (primary, fallback) if series.advance()]:
        if primary.connected or fallback.connected:
            return
        _wait(connecting)


def _wait(series: Sequence[_Series]) -> None:
    """Wait until one of the sockets is connected or has failed, or the time of one of the addresses is over."""
    try:
        selector = DefaultSelector()
    except OSError as error:
        raise ProbeError(Reason.ERROR, f"cannot wait for a connection: {describe(error)}") from None
    with selector:
        for competitor in series:
            assert competitor.connecting
            selector.register(competitor.connecting, EVENT_WRITE)
        selector.select(max(0.0, min(competitor.remaining for competitor in series)))


def _describe_detour(sock: Socket, failures: Sequence[DialError]) -> Socket:
    """Return the socket, which can now describe the time that silent addresses took."""
    sock.detour = "".join(f"; {failure}" for failure in failures if failure.reason is Reason.TIMEOUT)
    return sock
