"""Messages to the service manager that started the keeper, such as systemd (man 3 sd_notify).

The keeper is the main process of the service, so it sends them. Nothing here waits: a status that the manager's
socket does not take now is sent again at the next update.
"""

import _socket
import os
import time

from exporter.keeper.shared import Shared
from exporter.keeper.worker import DEATH, Worker

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

_MAX_DIGITS = 20  # of microseconds, which systemd counts in 64 bits


class Service:
    """The service, as its manager sees it: ready, reloading or stopping, a line about it, and the watchdog.

    The watchdog gets a sign of life while /-/healthy returns 200: not if the schedule of the worker does not run, and
    not if the keeper has given up on replacing a worker. Without a manager, nothing happens.
    """

    def __init__(self, shared: Shared) -> None:
        """Take the manager's variables out of the environment: the commands of exec checks are not the service."""
        address, limit, pid = (os.environ.pop(name, "") for name in _VARIABLES)
        self._socket = _connect(address)
        expects = pid in ("", str(os.getpid())) and limit.isdecimal() and len(limit) <= _MAX_DIGITS
        self._interval = int(limit) / 2_000_000 if expects else 0.0  # seconds: half of the manager's limit
        self._due = 0.0
        self._status = ""
        self._shared = shared
        self._ready = False
        self._stopping = False

    def update(self, worker: Worker | None, condition: str) -> None:
        """Report the present state. `condition` describes the exporter while no worker serves."""
        if self._socket is None:
            return
        serving = worker is not None and worker.serving
        running, valid, checks, reloads = self._shared.condition
        abandoned = worker is not None and worker.killed and worker.silence >= DEATH
        if not abandoned and (running or not serving):
            self._feed_watchdog()
        status = _describe(running, valid, checks) if serving else condition
        if self._stopping:
            return
        if worker and serving and not self._ready and reloads >= worker.reloads:
            self._ready = self._send(f"READY=1\nSTATUS={status}")
            self._status = status if self._ready else self._status
        elif status != self._status and self._send(f"STATUS={status}"):
            self._status = status

    def reload(self) -> None:
        """Report that a reload begins. `update` reports its end."""
        if self._ready and not self._stopping:
            self._ready = False
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stop(self) -> None:
        """Report that the service stops."""
        if not self._stopping:
            self._stopping = True
            self._send("STOPPING=1\nSTATUS=shutting down")

    def close(self) -> None:
        """Close the socket, for example in a process that has just been forked."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _feed_watchdog(self) -> None:
        now = time.monotonic()
        if self._interval and now >= self._due and self._send("WATCHDOG=1"):
            self._due = now + self._interval

    def _send(self, message: str) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.send(message.encode("ascii"))
        except OSError:
            return False
        return True


def _describe(running: int, valid: int, checks: int) -> str:
    status = "1 check" if checks == 1 else f"{checks} checks"
    status += "" if valid else "; the configuration is rejected, see the log"
    return status if running else f"{status}; the schedule is not running"


def _connect(address: str) -> _socket.socket | None:
    """Return a socket to a path, or to `@` and an abstract name. None if that is not possible."""
    if address[:1] not in ("/", "@"):
        return None
    try:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    except OSError:
        return None
    try:
        sock.settimeout(0)
        sock.connect("\0" + address[1:] if address[0] == "@" else address)
    except OSError:
        sock.close()
        return None
    return sock
