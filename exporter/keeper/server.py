"""The keeper's HTTP server. Nothing in it waits for a client."""

import _socket
import errno
import select
import time

from exporter.keeper.answers import Request, render, respond

MAX_CONNECTIONS = 64  # beyond that, the oldest is closed: a probe that has just connected always gets its answer
MAX_HEAD = 16 * 1024  # bytes, as for the worker
CLIENT_TIMEOUT = 5.0  # seconds for a client to send its request, get its answer, and close the connection

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable

_BATCH = 16  # connections accepted at once from one listener
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_HEAD_ENDS = (b"\n\r\n", b"\n\n")  # CR is optional (RFC 9112, section 2.2)


class _Connection:
    def __init__(self, sock: _socket.socket, listener: int) -> None:
        self.sock = sock
        self.listener = listener  # its descriptor
        self.deadline = time.monotonic() + CLIENT_TIMEOUT
        self.answered = False


class Server:
    """Listeners, and the connections that the keeper has accepted from them.

    A request stays in the socket's buffer until it is complete, so clients cannot fill the keeper's memory.

    Before it answers, it offers each connection to `hand_over`, because a worker may serve by now. `condition` is the
    reason why the keeper answers, for its answers. While `hold` is true, it answers only questions about liveness, and
    every other request waits.
    """

    def __init__(
        self,
        listeners: list[_socket.socket],
        poller: select.poll,
        hand_over: "Callable[[int, int], bool]",
        count: "Callable[[int], object]",
    ) -> None:
        """`hand_over` sends the worker a connection, given the descriptors of the connection and of its listener.

        It returns whether the worker has taken it. `count` is called with the index of the group of each answer.
        """
        self._hand_over = hand_over
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._poller = poller
        self._count = count
        self._connections: dict[int, _Connection] = {}
        self._waiting: list[int] = []
        self._accepting = False
        self.condition = "starting"
        self.hold = False

    def accept_connections(self, *, accepting: bool) -> None:
        """Accept new connections from now on, or leave them to the worker."""
        if accepting is self._accepting:
            return
        self._accepting = accepting
        for listener in self._listeners.values():
            if accepting:
                self._poller.register(listener, select.POLLIN)
            else:
                self._poller.unregister(listener)

    def receive(self, descriptor: int) -> None:
        """Read from a descriptor that is readable: accept connections, or answer a request."""
        if descriptor in self._listeners:
            self._accept(self._listeners[descriptor])
        elif descriptor in self._connections and descriptor not in self._waiting:
            # A waiting one is not watched, but the poller may have reported its number for a connection closed since.
            self._read(descriptor, self._connections[descriptor])

    def tick(self) -> None:
        """Try again to answer the requests that wait, and close the connections whose time is over."""
        waiting, self._waiting = self._waiting, []
        for descriptor in waiting:
            self._poller.register(descriptor, select.POLLIN)
            self.receive(descriptor)
        now = time.monotonic()
        for descriptor in [key for key, connection in self._connections.items() if connection.deadline <= now]:
            self._close(descriptor)

    def drop(self, descriptor: int) -> None:
        """Close a connection, if this is one."""
        if descriptor in self._connections:
            self._close(descriptor)

    def close_connections(self) -> None:
        """Close the connections. In a process that has just been forked, the keeper's stay open."""
        for connection in self._connections.values():
            connection.sock.close()
        self._connections.clear()

    def _accept(self, listener: _socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                descriptor, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001  # as socket.accept does
            except OSError as error:
                if error.errno not in _FULL or not self._connections:
                    return
                self._close(next(iter(self._connections)))
                continue
            if len(self._connections) >= MAX_CONNECTIONS:
                self._close(next(iter(self._connections)))
            sock = _socket.socket(fileno=descriptor)
            sock.settimeout(0)
            self._connections[descriptor] = _Connection(sock, listener.fileno())
            self._poller.register(descriptor, select.POLLIN)
            self.receive(descriptor)  # the request has often arrived already

    def _read(self, descriptor: int, connection: _Connection) -> None:
        try:
            gone = _discard(connection.sock) if connection.answered else self._answer(descriptor, connection)
        except BlockingIOError:
            return
        except OSError:
            gone = True
        if gone:
            self._close(descriptor)

    def _answer(self, descriptor: int, connection: _Connection) -> bool:
        """Answer the request, or let it wait. Returns whether the connection is over for the keeper."""
        if self._hand_over(descriptor, connection.listener):
            return True
        received = connection.sock.recv(MAX_HEAD, _socket.MSG_PEEK)
        if not received:
            return True
        end = min((received.index(end) + len(end) for end in _HEAD_ENDS if end in received), default=0)
        request = Request(received[:end])
        if end and self.hold and request.valid and not request.about_liveness:
            self._wait(descriptor)
        elif end:
            connection.sock.recv(end)
            self._send(connection, respond(request, self.condition))
            if request.group is not None:
                self._count(request.group)
        elif len(received) == MAX_HEAD:
            self._send(connection, render(431, "431 Request Header Fields Too Large\n", head=False))
        else:
            self._wait(descriptor)
        return False

    def _send(self, connection: _Connection, answer: bytes) -> None:
        connection.sock.send(answer)  # much smaller than the buffer of a new connection
        connection.sock.shutdown(_socket.SHUT_WR)
        connection.answered = True

    def _wait(self, descriptor: int) -> None:
        """Leave the request in the buffer until the next tick. The poller would report it again at once."""
        self._poller.unregister(descriptor)
        self._waiting.append(descriptor)

    def _close(self, descriptor: int) -> None:
        if descriptor in self._waiting:
            self._waiting.remove(descriptor)
        else:
            self._poller.unregister(descriptor)
        self._connections.pop(descriptor).sock.close()


def _discard(sock: _socket.socket) -> bool:
    """Read what the client still sends, such as a body. Returns whether the client has gone.

    If the connection were closed with unread bytes in it, the client would not receive the answer.
    """
    return not sock.recv(MAX_HEAD)
