"""Processes that make system calls on paths, any of which may block forever.

Theory of operation. A system call on a mount that no longer responds cannot be interrupted, and a thread blocked in one
makes its whole process unkillable. So another process makes the call (`path_calls`). Starting one costs more than many
calls, so it stays for the next call, whichever check that is for. It makes one call at a time: while it is busy,
another call gets another process. So a path that hangs delays no other one.

A process that does not respond by the deadline is killed and abandoned. If it is blocked in the kernel, it ends only
when the mount responds again. At most MAX_BLOCKED processes are blocked; then the others are used, but no process is
started. A process starts with the first call, and ends with the last check that uses one, or with the exporter: both
close the socket that is its standard input. It inherits no other descriptor.
"""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from exporter.host.child import UNKNOWN_STATUS, kill, note_end, note_start
from exporter.host.mounts import THREAD
from exporter.model import Deadline, ProbeError, Reason

MAX_BLOCKED = 32  # processes
MAX_IDLE = 4  # processes; more are needed only while as many calls are made at the same time
IDLE = 60.0  # seconds without a call after which a process ends, if there is another one
_MOUNTS = THREAD / "ns" / "mnt"
_MIN_WAIT = 0.001  # seconds; a socket with a timeout of 0 would not wait for a process that responds at once


class PathProcess:
    """A process that makes one call at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self.place = find_place()
        self.used = time.monotonic()
        self.ready = self.asked = False
        self._socket, theirs = socket.socketpair()
        with ExitStack() as stack, theirs:
            stack.enter_context(self._socket)
            os.set_blocking(theirs.fileno(), True)  # gevent's sockets do not block
            self.child = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",  # it must keep no mount busy
                start_new_session=True,  # a signal from the terminal is not for it
            )
            stack.pop_all()
        note_start(self.child)

    def call(self, request: bytes, root: int | None, deadline: Deadline) -> list[int]:
        """Return the response to a request. Raises TimeoutError, or EOFError if it has ended.

        After a TimeoutError, `asked` says whether it has the request, or has not started yet.
        """
        try:
            if not self.ready:
                self._read_line(deadline)
                self.ready = True
            self.asked = True
            sent = 0 if root is None else socket.send_fds(self._socket, [request], [root])
            self._socket.sendall(request[sent:])
            response = self._read_line(deadline)
        except ConnectionError:
            response = b""
        if not response:
            raise EOFError(self._describe_end())
        self.asked = False
        self.used = time.monotonic()
        return [int(number) for number in response.split()]

    def is_running(self) -> bool:
        """Return whether the process has not ended."""
        if self.child.poll() is None:
            return True
        note_end(self.child)
        return False

    def end(self) -> None:
        """Kill the process. If it is blocked, it dies later."""
        self._socket.close()
        kill(self.child)

    def forget(self) -> None:
        """Close the socket in a forked process. The other process is a child of the parent."""
        self._socket.close()
        self.child.returncode = UNKNOWN_STATUS

    def _read_line(self, deadline: Deadline) -> bytes:
        """Return a line, or nothing if the process has ended."""
        line = b""
        while not line.endswith(b"\n"):
            self._socket.settimeout(max(_MIN_WAIT, deadline.remaining()))
            part = self._socket.recv(4096)
            if not part:
                return b""
            line += part
        return line

    def _describe_end(self) -> str:
        kill(self.child)
        # Python takes a status that something else has collected for 0.
        return f"exited with {self.child.returncode}" if self.child.returncode else "ended without an answer"


class PathProcesses:
    """Processes that are lent to users, which make one call at a time."""

    def __init__(self, command: Sequence[str], max_blocked: int = MAX_BLOCKED) -> None:
        self._command = command
        self._max_blocked = max_blocked
        self._idle: list[PathProcess] = []  # the next one to lend is at the end
        self._lent: dict[object, PathProcess] = {}
        self._blocked: list[PathProcess] = []
        self._users: set[object] = set()
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Forget all processes in a forked process, which has no children yet."""
        for process in (*self._idle, *self._lent.values(), *self._blocked):
            process.forget()
        for processes in (self._idle, self._lent, self._blocked, self._users):
            processes.clear()
        self._lock = threading.Lock()

    def lend(self, user: object, path: str) -> PathProcess:
        """Return a process for a call on a path.

        Raises ProbeError if too many are blocked, and OSError if it cannot be started.
        """
        with self._lock:
            self._users.add(user)
            process, stale = self._find_idle()
            self._blocked = [blocked for blocked in self._blocked if blocked.is_running()]
            blocked = len(self._blocked)
            if process is not None:
                self._lent[user] = process
        self._end(stale)
        if process is None:
            if blocked >= self._max_blocked:
                message = f"{path} was not tried, because {blocked} processes are blocked on paths that do not respond"
                raise ProbeError(Reason.TIMEOUT, message)
            process = PathProcess(self._command)
            with self._lock:
                self._lent[user] = process
        return process

    def take_back(self, user: object) -> None:
        """Keep a user's process for another call, or abandon it if it has not responded."""
        with self._lock:
            process = self._lent.pop(user)
            if not process.asked:
                self._idle.insert(len(self._idle) if process.ready else 0, process)
            surplus = [process] if process.asked else self._find_surplus()
        self._end(surplus)

    def close(self, user: object) -> None:
        """Abandon a call of this user. After the last user, end all processes."""
        with self._lock:
            self._users.discard(user)
            process = self._lent.get(user)
            if process is not None:
                process.child.kill()  # the thread that waits for its response goes on
            surplus = self._find_surplus()
        self._end(surplus)

    def _find_idle(self) -> tuple[PathProcess | None, list[PathProcess]]:
        """Remove the process to lend, if there is one, and those that cannot be used."""
        stale: list[PathProcess] = []
        place, since = find_place(), time.monotonic() - IDLE
        while self._idle:
            process = self._idle.pop()
            if process.place == place and (process.ready or process.used >= since) and process.is_running():
                return process, stale
            stale.append(process)
        return None, stale

    def _find_surplus(self) -> list[PathProcess]:
        """Remove the processes that need not be kept."""
        since = time.monotonic() - IDLE
        kept = self._idle[-MAX_IDLE:] if self._users else []
        kept = [process for process in kept if process.used >= since or process is kept[-1]]
        surplus = [process for process in self._idle if process not in kept]
        self._idle = kept
        return surplus

    def _end(self, processes: Sequence[PathProcess]) -> None:
        for process in processes:
            process.end()
            if process.is_running():
                with self._lock:
                    self._blocked.append(process)


def find_place() -> tuple[object, ...]:
    """Return what a process that this thread starts has in common with it: the user and the mounts that it sees."""
    try:
        mounts = _MOUNTS.readlink()
    except OSError:
        mounts = None
    return os.geteuid(), os.getegid(), mounts
