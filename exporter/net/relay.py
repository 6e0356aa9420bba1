"""A relay between a server and a library that reads as much as it can get, such as PostgreSQL's.

Theory of operation. Such a library connects by itself, and one call of it reads until nothing more has arrived. From a
server that sends fast enough it never returns, and takes all memory. So it is given the address of this relay instead,
which listens on loopback and connects to the server. `wait` takes the place of waiting for the library's socket.
Meanwhile it carries bytes in both directions, to the library only one portion at a time, so each call finds at most
that much. Everything happens in the caller's thread. TLS passes through, so the relay sees no secrets.
"""

import contextlib
import os
import selectors
import socket

from exporter.model import Deadline, ProbeError, Reason
from exporter.net.dial import connect
from exporter.net.errors import DialError, describe
from exporter.net.sockets import Socket

ADDRESS = "127.0.0.1"
PORTION = 16 * 1024
"""Bytes that the library finds at once."""


class Relay:
    """Connections from a library in this process to one server, one after another. Close it after use."""

    def __init__(self, host: str, port: int, deadline: Deadline, max_bytes: int) -> None:
        """`max_bytes` limits the bytes from the server, per connection. Raises ProbeError if it cannot listen."""
        self._server = (host, port)
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._near: socket.socket | None = None  # to the library
        self._far: Socket | None = None  # to the server
        self.latest = b""
        """The latest bytes from the server."""
        try:
            self._listener = socket.create_server((ADDRESS, 0))
        except OSError as error:
            raise ProbeError(Reason.ERROR, f"cannot open a socket: {describe(error)}") from None
        self.port: int = self._listener.getsockname()[1]

    def wait(self, library: int, events: int) -> None:
        """Wait until the library's socket is ready for these events of a selector. Raises DialError."""
        while True:
            ready = self._poll(library, events)
            if library in ready:  # first, so that it takes one portion before the next one is there
                return
            if self._listener.fileno() in ready:
                self._accept(library)
            elif self._near and self._near.fileno() in ready:
                self._carry_request()
            elif self._far and self._far.fileno() in ready:
                self._carry_response()

    def close(self) -> None:
        """Send what the library has left, which is usually a goodbye, and close all connections."""
        with contextlib.suppress(DialError, OSError):
            while self._near:
                self._near.settimeout(0)
                self._carry_request()
        self._disconnect()
        self._listener.close()

    def _poll(self, library: int, events: int) -> set[int]:
        """Return the descriptors that are ready. Raises DialError."""
        with selectors.DefaultSelector() as selector:  # eventlet has no poll
            selector.register(library, events)
            for sock in (self._listener, self._near, self._far):
                if sock:
                    selector.register(sock, selectors.EVENT_READ)
            remaining = self._deadline.remaining()
            ready = {key.fd for key, _ in selector.select(remaining)} if remaining > 0 else set()
        if not ready:
            detour = self._far.detour if self._far else ""
            raise DialError(Reason.TIMEOUT, f"no complete response in time{detour}")
        return ready

    def _accept(self, library: int) -> None:
        """Accept the library's connection and connect to the server; anyone else's connection is closed."""
        near, peer = self._listener.accept()
        with socket.socket(fileno=os.dup(library)) as own:
            expected = own.getsockname()
        if peer != expected:
            near.close()
            return
        self._disconnect()
        with contextlib.ExitStack() as stack:
            stack.push(near)  # closed if the server is not reached
            self._far = connect(*self._server, self._deadline)
            self._far.allowance = self._max_bytes
            self._near = near
            stack.pop_all()

    def _carry_request(self) -> None:
        assert self._near
        assert self._far
        try:
            data = self._near.recv(PORTION)
        except ConnectionError:
            data = b""
        if data:
            self._far.sendall(data)
        else:
            self._disconnect()

    def _carry_response(self) -> None:
        assert self._near
        assert self._far
        data = self._far.recv(PORTION)
        if data:
            self.latest = data
            with contextlib.suppress(ConnectionError):  # the library has just closed its side
                self._near.sendall(data)
        else:
            self._disconnect()

    def _disconnect(self) -> None:
        for sock in (self._near, self._far):
            if sock:
                sock.close()
        self._near = self._far = None
