"""Many small web servers in one thread."""

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Webs:
    """Servers on these addresses. `respond` returns the response to a request at an index, or None for silence."""

    def __init__(self, *addresses: tuple[str, int], respond: Callable[[int], bytes | None] = lambda index: OK) -> None:
        self.requests = [0] * len(addresses)
        self._respond = respond
        self._selector = selectors.DefaultSelector()
        self._listeners = [socket.create_server(address, backlog=64) for address in addresses]
        self.ports = [int(listener.getsockname()[1]) for listener in self._listeners]
        for index, listener in enumerate(self._listeners):
            self._selector.register(listener, selectors.EVENT_READ, (self._accept, index))
        self._end, wake = socket.socketpair()
        self._selector.register(wake, selectors.EVENT_READ, (self._stop, 0))
        self._sockets: set[socket.socket] = {wake}
        self._running = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.close()
        self._thread.join()
        for opened in (*self._sockets, *self._listeners):
            opened.close()
        self._selector.close()

    def _serve(self) -> None:
        while self._running:
            for key, _ in self._selector.select():
                act, index = key.data
                with suppress(OSError):
                    act(key.fileobj, index)

    def _accept(self, listener: socket.socket, index: int) -> None:
        connection, _ = listener.accept()
        self._sockets.add(connection)
        self._selector.register(connection, selectors.EVENT_READ, (self._answer, index))

    def _answer(self, connection: socket.socket, index: int) -> None:
        request = b""
        with suppress(OSError):
            request = connection.recv(65536)
        if request:
            self.requests[index] += 1
            response = self._respond(index)
            if response is None:
                return
            with suppress(OSError):
                connection.sendall(response)
        self._selector.unregister(connection)
        self._sockets.discard(connection)
        connection.close()

    def _stop(self, *_: object) -> None:
        self._running = False


@contextmanager
def webs(*addresses: tuple[str, int], respond: Callable[[int], bytes | None] = lambda index: OK) -> Iterator[Webs]:
    """Servers, closed at the end."""
    servers = Webs(*addresses, respond=respond)
    try:
        yield servers
    finally:
        servers.close()
