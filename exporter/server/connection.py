"""One client: its request is read, answered once, and the connection is closed.

h11 parses the request. Its body is discarded: no endpoint has a use for one. Every response closes its connection,
because probes and scrapes are seconds apart and use a new connection anyway.
"""

import contextlib
import re
import socket
import ssl
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

import h11

from exporter.server.messages import Request, Response

if TYPE_CHECKING:
    from exporter.server.listener import Listener

CLIENT_TIMEOUT = 5.0
"""Seconds for a client's handshake and request, and for it to take each part of a response."""
MAX_HEAD = 16 * 1024
"""Bytes of a request line and its headers."""
MAX_LINES = 100
"""Lines of a request line and its headers. Each costs microseconds on the event loop."""
PART = 64 * 1024
"""Bytes of a response that a client must take within CLIENT_TIMEOUT."""
MAX_PARTS = 16
"""Parts that are sent to one client before the others have their turn."""

_END_OF_HEAD = re.compile(rb"\n\r?\n")


class Phase(Enum):
    """What a connection is doing."""

    HANDSHAKE = auto()
    READING = auto()
    WAITING = auto()  # for its response
    WRITING = auto()
    LINGERING = auto()  # discarding what the client still sends, so that the response is not lost in a reset
    CLOSED = auto()


class Connection:
    """A client's connection and the state of its request.

    `step` does as much as is possible without waiting. The event loop calls it when the socket is ready. The listener
    closes the connection when `deadline` has passed, on the clock of the event loop.
    """

    __slots__ = (
        "_body", "_data", "_descriptor", "_ended", "_is_head", "_listener", "_parts", "_socket", "_taken", "_watch",
        "deadline", "peer", "phase",
    )  # fmt: skip

    def __init__(self, listener: "Listener", sock: socket.socket, peer: str) -> None:
        self._listener = listener
        self._socket = sock
        self._descriptor = sock.fileno()
        self._parts: list[memoryview] = []
        self._data = self._body = b""  # what has been received, and the large body that is being sent
        self._taken = 0
        self._watch: Callable[[int], object] | None = None  # removes the watch on the socket
        self._ended = False  # the request has no body, and nothing follows it
        self.peer = peer
        self.phase = Phase.HANDSHAKE if isinstance(sock, ssl.SSLSocket) else Phase.READING
        self._is_head = False
        self._extend()

    def step(self) -> None:
        """Continue until the connection has to wait for its client, or is closed."""
        if self.phase is Phase.HANDSHAKE:
            self._unwatch()
            self._listener.defer(self._shake_hands)
        elif self.phase is Phase.READING:
            self._try(self._read)
        elif self.phase is Phase.WRITING:
            self._try(self._write)
        elif self.phase is not Phase.CLOSED:
            self._try(self._discard)

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
            self._wait(write=self.phase is Phase.WRITING)
        except ssl.SSLWantWriteError:
            self._wait(write=True)
        except OSError:  # the client is gone, or does not speak TLS
            self.close()

    def _shake_hands(self) -> None:
        if self.phase is Phase.HANDSHAKE:  # not closed in the meantime
            self._try(self._do_handshake)

    def _do_handshake(self) -> None:
        assert isinstance(self._socket, ssl.SSLSocket)
        self._socket.do_handshake()
        self.phase = Phase.READING
        self._read()

    def proceed(self) -> None:
        """Parse the request, whose head has been received."""
        if self.phase is not Phase.READING:  # closed in the meantime
            return
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            parser.receive_data(self._data)
            event = parser.next_event()
            self._ended = isinstance(parser.next_event(), h11.EndOfMessage) and not parser.trailing_data[0]
        except h11.RemoteProtocolError as error:
            self._reject(error.error_status_hint)
            return
        if not isinstance(event, h11.Request):
            self._reject(400)
            return
        if event.http_version not in (b"1.1", b"1.0"):
            self._reject(505)
            return
        self.phase, self._data = Phase.WAITING, b""
        self._is_head = event.method == b"HEAD"
        self._listener.receive(self, Request(event.method, event.target, event.headers, self.peer))
        if self.phase is Phase.WAITING:
            self._wait()

    def respond(self, response: Response) -> None:
        """Send the response, unless there is one already, or the connection is closed."""
        if self.phase is not Phase.WAITING:
            return
        head, body = response.render_head(self._listener.date()), response.body
        if self._is_head:
            body = b""
        self.phase = Phase.WRITING
        self._extend()
        if len(body) < PART:
            self._parts = [memoryview(head + body)]
        else:
            self._parts, self._body = [memoryview(head), memoryview(body)], body
            self._listener.hold(self, body)
        self.step()

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call a function on the event loop, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._listener.loop.call_soon_threadsafe(function)

    def now(self) -> float:
        """Return the time on the clock of the event loop."""
        return self._listener.loop.time()

    def close(self) -> None:
        """Close the connection. The response is cut off if the client has not taken all of it."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self._drop_body()
        self._unwatch()
        self._socket.close()
        self._listener.forget(self)

    def turn_away(self, response: bytes) -> None:
        """Close the connection in favor of others; if its request has arrived, with this short response."""
        if self.phase is Phase.WAITING or (self.phase is Phase.READING and self._data):
            with contextlib.suppress(OSError):
                self._socket.send(response)
        self.close()

    def _read(self) -> None:
        data = self._socket.recv(MAX_HEAD - len(self._data))
        if not data:
            self.close()
            return
        begin = max(0, len(self._data) - 2)
        self._data += data
        end = _END_OF_HEAD.search(self._data, begin)
        if end is None and len(self._data) < MAX_HEAD and self._data[0] > 0x20:  # a printable character
            self._wait()
        elif end is None or self._data.count(b"\n", 0, end.end()) > MAX_LINES:
            self._reject(431 if self._data[0] > 0x20 else 400)
        elif self._listener.is_urgent(self._data):
            self.proceed()
        else:
            self._unwatch()
            self._listener.defer(self.proceed)

    def _discard(self) -> None:
        """Read and discard, until the client has closed its side."""
        for _ in range(MAX_PARTS):
            if not self._socket.recv(PART):
                if self.phase is Phase.WAITING and self._listener.has_begun(self):
                    self._unwatch()  # a client that has closed only its own side still wants its response
                else:
                    self.close()
                return
            self._ended = False
        self._wait()

    def _write(self) -> None:
        for _ in range(MAX_PARTS):
            if not self._parts:
                self._finish()
                return
            part = self._parts[0]
            sent = self._socket.send(part[:PART])
            self._parts[0] = part[sent:]
            if sent == len(part):
                del self._parts[0]
            self._taken += sent
            if self._taken >= PART:
                self._taken = 0
                self._extend()
        self._wait(write=True)

    def _drop_body(self) -> None:
        self._parts = []
        if self._body:
            body, self._body = self._body, b""
            self._listener.release(body)

    def _finish(self) -> None:
        self._drop_body()
        if isinstance(self._socket, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                self._socket.unwrap()  # sends close_notify, and does not wait for the client's
        if self._ended:
            self.close()
            return
        self._socket.shutdown(socket.SHUT_WR)
        self.phase = Phase.LINGERING
        self._wait()

    def _reject(self, status: int) -> None:
        self.phase = Phase.WAITING
        self._listener.reject(self, status)

    def _extend(self) -> None:
        self.deadline = self.now() + CLIENT_TIMEOUT

    def _wait(self, *, write: bool = False) -> None:
        loop = self._listener.loop
        remove = loop.remove_writer if write else loop.remove_reader
        if self._watch == remove:
            return
        self._unwatch()
        (loop.add_writer if write else loop.add_reader)(self._descriptor, self.step)
        self._watch = remove

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch(self._descriptor)
            self._watch = None
