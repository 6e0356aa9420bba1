"""Resolves names by a deadline.

Theory of operation. The C library's resolver (getaddrinfo) cannot be interrupted. If a name server does not respond, it
waits 10 s by default, and again for each domain of the search list. So every lookup runs in a thread, and the caller
waits for it no longer than its own deadline. The number of threads is bounded, and these rules keep lookups that hang
from holding up the others:

- A lookup has a thread to itself until it ends, and callers with the same name share one lookup. So a name that hangs
  holds one thread, however often it is checked and however many queries the search list adds.
- A zone is the last two labels of a name. One lookup per zone starts at once, in up to MAX_ZONES zones. So dead zones
  do not hold up a name in another zone, not even at the first start, when nothing is known about any name.
- All further lookups share SHARED threads. So up to SHARED names that hang do not hold up a name in their own zone.
- A name that was resolved the last time can also use RESERVE more threads. So names that were never resolved do not
  hold it up, however many there are.
- Any other lookup waits for a thread, the oldest first. If a check has to wait and its deadline passes, its result is
  `unknown`, because nothing is known about the name. So a check never fails because of the names of others.

Cost, measured on Linux with Python 3.11: a lookup that hangs takes 25 KiB of private memory and one file descriptor;
all 128 together take 3.2 MiB. If nothing hangs, a few threads do all the work, because a lookup takes milliseconds. The
thread that became idle last is used first, and one that was not used for IDLE_SECONDS ends.

Threads do not survive a fork, so a forked process begins with an empty resolver.
"""

import errno
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from exporter.forks import reset_after_fork
from exporter.model import Deadline, ProbeError, Reason
from exporter.net.errors import DialError

MAX_ZONES = 64
"""Zones in which one lookup can be in flight, whatever the others do."""
SHARED = 32
"""Further lookups in flight, of any names."""
RESERVE = 32
"""Further lookups in flight, only of names that were resolved the last time."""
MAX_THREADS = MAX_ZONES + SHARED + RESERVE
"""Lookups in flight at once. A lookup that hangs blocks its thread for 10 s or longer."""
IDLE_SECONDS = 10.0
"""Time after which a thread without a lookup ends."""

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)

Address = tuple[socket.AddressFamily, Any]


class _Lookup:
    """One lookup of a name, and everyone who waits for it."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.zone = ".".join(host.rstrip(".").lower().rsplit(".", 2)[-2:])
        self.future: Future[list[Address]] = Future()
        self.started = False

    def run(self, look_up: Callable[..., Any]) -> list[Address] | Exception:
        try:
            found = look_up(self.host, None, type=socket.SOCK_STREAM)
            return [(family, address) for family, _, _, _, address in found]
        except (OSError, ValueError, MemoryError, RuntimeError, ImportError, LookupError) as error:
            return error  # the last two, if no descriptor is left to import the codec for names

    def publish(self, result: list[Address] | Exception) -> None:
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class Resolver:
    """Threads that resolve names, started when they are needed. Callers with the same name share one lookup."""

    def __init__(self, look_up: Callable[..., Any] = socket.getaddrinfo, idle_seconds: float = IDLE_SECONDS) -> None:
        self._look_up = look_up
        self._idle_seconds = idle_seconds
        self.reset()

    def reset(self) -> None:
        """Forget all lookups and threads: after a fork they do not exist, and another thread may have held the lock."""
        self._lock = threading.Lock()
        self._lookups: dict[str, _Lookup] = {}  # by name, until they end
        self._waiting: dict[str, _Lookup] = {}  # those without a thread, oldest first
        self._running: Counter[str] = Counter()  # lookups in flight, by zone; without zeros
        self._idle: list[SimpleQueue[_Lookup]] = []  # the mailboxes of threads without a lookup
        self._resolved: set[str] = set()  # names that were resolved the last time; as many as the configuration has

    def resolve(self, host: str, port: int, deadline: Deadline) -> list[Address]:
        """Return the addresses of a host.

        Raises DialError `dns`, also if the deadline passes. Raises ProbeError if the exporter itself could not look up
        the name, because it has no thread or no file descriptor for it.
        """
        if addresses := parse_numeric(host, port):
            return addresses
        lookup = self._submit(host)
        waits = not lookup.started
        try:
            addresses = lookup.future.result(max(0.0, deadline.remaining()))
        except TimeoutError:
            if waits:
                message = f"the lookup of {host} had to wait, because too many others have not ended"
                raise ProbeError(Reason.ERROR, message) from None
            raise DialError(Reason.DNS, f"the name {host} was not resolved in time", host) from None
        except (OSError, ValueError) as error:  # ValueError: a label is too long, or contains a NUL
            cause = getattr(error, "strerror", None) or "not a host name"
            if not isinstance(error, socket.gaierror) and getattr(error, "errno", None) in _SHORTAGES:
                raise ProbeError(Reason.ERROR, f"cannot look up {host}: {cause}") from None
            raise DialError(Reason.DNS, f"the name {host} was not resolved: {cause}", host) from None
        return [(family, (address[0], port, *address[2:])) for family, address in addresses]

    def _submit(self, host: str) -> _Lookup:
        with self._lock:
            lookup = self._lookups.get(host)
            if lookup is None:
                lookup = _Lookup(host)
                if self._may_start(lookup):
                    self._start(lookup)  # if it raises, nothing has been recorded
                else:
                    self._waiting[host] = lookup
                self._lookups[host] = lookup
            return lookup

    def _may_start(self, lookup: _Lookup) -> bool:
        zones = min(len(self._running), MAX_ZONES)
        if lookup.zone not in self._running and zones < MAX_ZONES:
            return True
        further = len(self._lookups) - len(self._waiting) - zones
        return further < SHARED + (RESERVE if lookup.host in self._resolved else 0)

    def _start(self, lookup: _Lookup) -> None:
        """Give the lookup to the thread that became idle last, or to a new one. Raises ProbeError without a thread."""
        if self._idle:
            self._idle.pop().put(lookup)
        else:
            try:
                threading.Thread(target=self._work, args=(lookup,), name="resolver", daemon=True).start()
            except (RuntimeError, MemoryError):
                raise ProbeError(Reason.ERROR, f"cannot start a thread to look up {lookup.host}") from None
        self._count(lookup)

    def _count(self, lookup: _Lookup) -> None:
        self._running[lookup.zone] += 1
        lookup.started = True

    def _work(self, first: _Lookup) -> None:
        mailbox: SimpleQueue[_Lookup] = SimpleQueue()
        lookup: _Lookup | None = first
        while lookup:
            result = lookup.run(self._look_up)
            following = self._end(lookup, mailbox, resolved=not isinstance(result, Exception))
            lookup.publish(result)
            lookup = following or self._receive(mailbox)

    def _end(self, lookup: _Lookup, mailbox: "SimpleQueue[_Lookup]", *, resolved: bool) -> _Lookup | None:
        """Record the end of a lookup. Return the next one for this thread; without one, offer the mailbox."""
        with self._lock:
            del self._lookups[lookup.host]
            self._running[lookup.zone] -= 1
            if not self._running[lookup.zone]:
                del self._running[lookup.zone]
            (self._resolved.add if resolved else self._resolved.discard)(lookup.host)
            following = next(filter(self._may_start, self._waiting.values()), None)
            if following:
                del self._waiting[following.host]
                self._count(following)
            else:
                self._idle.append(mailbox)
            return following

    def _receive(self, mailbox: "SimpleQueue[_Lookup]") -> _Lookup | None:
        """Wait for the next lookup. Return None if this thread was not needed for too long."""
        try:
            return mailbox.get(timeout=self._idle_seconds)
        except Empty:
            with self._lock:
                if mailbox in self._idle:
                    self._idle.remove(mailbox)
                    return None
            return mailbox.get()  # a lookup arrived at the last moment


RESOLVER = Resolver()
"""The resolver of the process."""

reset_after_fork(RESOLVER.reset)


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
