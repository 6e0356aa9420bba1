"""Resolves names by a deadline.

The C library's resolver cannot be interrupted. It runs in a few threads of its own, which wait for it while the caller
waits no longer than its deadline.
"""

import queue
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from exporter.model import Deadline, Reason
from exporter.net.errors import DialError

MAX_THREADS = 4
"""Threads that resolve names. A resolver that never responds blocks these and nothing else."""

Address = tuple[socket.AddressFamily, Any]


class Resolver:
    """A few threads that resolve names, started when they are needed. Callers with the same name share one lookup."""

    def __init__(self, look_up: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._pending: dict[str, Future[list[Address]]] = {}
        self._threads = 0

    def resolve(self, host: str, port: int, deadline: Deadline) -> list[Address]:
        """Return the addresses of a host. Raises DialError `dns`, also if the deadline passes."""
        if addresses := parse_numeric(host, port):
            return addresses
        future = self._submit(host)
        try:
            addresses = future.result(max(0.0, deadline.remaining()))
        except TimeoutError:
            raise DialError(Reason.DNS, f"the name {host} was not resolved in time", host) from None
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or "not a host name"
            raise DialError(Reason.DNS, f"the name {host} was not resolved: {cause}", host) from None
        return [(family, (address[0], port, *address[2:])) for family, address in addresses]

    def _submit(self, host: str) -> "Future[list[Address]]":
        with self._lock:
            future = self._pending.get(host)
            if future is None:
                if self._threads < min(MAX_THREADS, len(self._pending) + 1):
                    threading.Thread(target=self._work, name="resolver", daemon=True).start()
                    self._threads += 1  # not reached if the thread cannot be started
                future = self._pending[host] = Future()
                self._queue.put(host)
            return future

    def _work(self) -> None:
        while True:
            host = self._queue.get()
            result: list[Address] | Exception
            try:
                found = self._look_up(host, None, type=socket.SOCK_STREAM)
                result = [(family, address) for family, _, _, _, address in found]
            except (OSError, ValueError, MemoryError) as error:  # ValueError: a label is too long, or a NUL
                result = error
            with self._lock:
                future = self._pending.pop(host)
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


RESOLVER = Resolver()
"""The resolver of the process."""


def parse_numeric(host: str, port: int) -> list[Address]:
    """Return the address if the text is a numeric one; empty for a name, which is not resolved."""
    try:
        if ":" not in host:
            socket.inet_pton(socket.AF_INET, host)
            return [(socket.AF_INET, (host, port))]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return []
    return [(family, address) for family, _, _, _, address in found]
