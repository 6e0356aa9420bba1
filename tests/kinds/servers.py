"""Scripted servers: they send exactly the bytes they are given, and record the requests they receive."""

import base64
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PATIENCE = 60.0
"""Seconds after which a silent server gives up, far beyond every deadline in the tests."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS = 1  # the type of a frame


class Server:
    """Serves each connection by a script: bytes to send, and functions for any other act.

    The first connection gets the first script, and so on; the last script serves all further ones. After its script a
    connection is closed. `{port}` in the bytes becomes the server's own port. A request is read
    first, unless `listens` is false.
    """

    def __init__(
        self, *scripts: tuple, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1", listens: bool = True
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family, backlog=64)
        self._scripts = scripts or ((),)
        self._tls = tls
        self._listens = listens
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self.closing = threading.Event()
        self.gave_up = threading.Event()
        """Set when a client has waited for longer than the server's patience: it keeps no deadline."""
        self.port = int(self._listener.getsockname()[1])
        self.requests: list[bytes] = []
        self.accepted = 0
        self._start(self._accept)

    def close(self) -> None:
        self.closing.set()
        for sock in (self._listener, *self._connections):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self.closing.is_set():
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
                self.accepted += 1
                self._start(self._serve, connection, script)

    def _serve(self, connection: socket.socket, script: tuple) -> None:
        with connection, suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            with connection:
                if self._listens:
                    self.requests.append(_read_request(connection))
                for step in script:
                    if isinstance(step, bytes):
                        connection.sendall(step.replace(b"{port}", b"%d" % self.port))
                    else:
                        step(self, connection)


def _read_request(connection: socket.socket) -> bytes:
    """Return the request as far as it was read: to its empty line, or in HTTP/2 to the end of its HEADERS frame.

    Go's client closes the connection if a response over HTTP/2 arrives before it has sent the request.
    """
    received = b""
    while not (_has_headers_frame(received) if received.startswith(_PREFACE[:18]) else b"\r\n\r\n" in received):
        chunk = connection.recv(65536)
        if not chunk:
            break
        received += chunk
    return received


def _has_headers_frame(received: bytes) -> bool:
    """Whether these bytes of a client contain a whole HEADERS frame (RFC 9113, 3.4 and 4.1)."""
    at = len(_PREFACE)
    while at + 9 <= len(received):
        end = at + 9 + int.from_bytes(received[at : at + 3])
        if received[at + 3] == _HEADERS and end <= len(received):
            return True
        at = end
    return False


@contextmanager
def serving(*scripts: tuple, **options: object) -> Iterator[Server]:
    """A server, closed at the end."""
    server = Server(*scripts, **options)
    try:
        yield server
    finally:
        server.close()


def hang(server: Server, _: socket.socket) -> None:
    """Keep the connection open and send nothing more."""
    if not server.closing.wait(PATIENCE):
        server.gave_up.set()


def wait_for_request(_: Server, connection: socket.socket) -> None:
    """Do nothing until the client has sent something: a reset before that may already end its connect()."""
    connection.recv(1, socket.MSG_PEEK)


def reset(_: Server, connection: socket.socket) -> None:
    """Close with a reset instead of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def wait_for(event: threading.Event) -> Callable[[Server, socket.socket], None]:
    """Do nothing until the test sets the event: to act only when the client has connected."""

    def act(_: Server, __: socket.socket) -> None:
        event.wait(PATIENCE)

    return act


def pause(seconds: float) -> Callable[[Server, socket.socket], None]:
    """Send nothing for a number of seconds."""
    return lambda server, _: server.closing.wait(seconds) and None


def drip(data: bytes, every: float = 0.02) -> Callable[[Server, socket.socket], None]:
    """Send the data over and over, one byte at a time."""

    def act(server: Server, connection: socket.socket) -> None:
        while not server.closing.is_set():
            for number in range(len(data)):
                connection.sendall(data[number : number + 1])
                server.closing.wait(every)

    return act


def flood(data: bytes) -> Callable[[Server, socket.socket], None]:
    """Send the data over and over, as fast as possible."""

    def act(server: Server, connection: socket.socket) -> None:
        while not server.closing.is_set():
            connection.sendall(data)

    return act


def accept(_: Server, connection: socket.socket, **changes: str) -> None:
    """Accept a WebSocket handshake, on a server that does not listen. The changes are headers to replace or omit."""
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", _read_request(connection))
    assert key
    digest = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    headers = {"Upgrade": "WebSocket", "Connection": "keep-alive, Upgrade"}
    headers |= {"Sec-WebSocket-Accept": base64.b64encode(digest).decode(), **changes}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value]
    connection.sendall("\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode())


def receive_close(_: Server, connection: socket.socket) -> None:
    """Read up to the client's Close frame, which has a payload of two bytes."""
    received = b" "
    while b"\x88\x82" not in received:
        part = connection.recv(4096)
        received = received + part if part else b"\x88\x82"
