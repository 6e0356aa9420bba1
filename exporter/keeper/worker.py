"""A worker, as the keeper sees it: a process that gives signs of life."""

import _socket
import os
import time

from exporter.keeper import signals
from exporter.keeper.link import send_connection
from exporter.keeper.shared import SERVING, STARTING, Shared

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICK = 0.25  # seconds between two looks at the worker
SILENT = 2  # ticks without a heartbeat after which the keeper answers questions about liveness
UNAVAILABLE = 8  # ticks without a heartbeat after which it answers everything
MAX_SILENCE = 40  # ticks without a heartbeat after which the worker is killed
MAX_START = 480  # ticks that a worker may load before it is killed
MAX_BACK_OFF = 30.0  # seconds
_KILL_WAIT = 1.0  # seconds that the keeper waits for the end of a killed worker before it ends itself
DEATH = 8  # ticks after which the keeper gives up on a worker that it has killed


class Worker:
    """The process of a worker. Its silence is counted in ticks of the keeper, not in seconds.

    So when the machine sleeps, or gives neither of them any CPU time, the worker is not taken for hung.
    """

    def __init__(self, pid: int, shared: Shared, control: _socket.socket, lifeline: int) -> None:
        """`control` carries commands. The worker ends when the keeper's side of the pipe `lifeline` is closed."""
        self.pid = pid
        self.control = control
        self.killed = False
        self.closed = False  # the worker has closed its side of `control`, because it ends
        self.silence = 0  # ticks
        self.reloads = 0  # RELOAD commands that were sent to it
        self._shared = shared
        self._lifeline = lifeline
        self._heartbeat = shared.heartbeat
        self._began = time.monotonic()
        self._took_over: float | None = None

    @property
    def loading(self) -> bool:
        """Whether it has not taken over yet."""
        return self._took_over is None

    @property
    def serving(self) -> bool:
        """Whether it has taken over and gives signs of life."""
        return not (self.killed or self.loading) and self.silence < SILENT

    @property
    def silent(self) -> bool:
        """Whether it has taken over and gives no signs of life."""
        return not (self.killed or self.loading) and self.silence >= SILENT

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began

    @property
    def served_for(self) -> float:
        """Seconds since it took over; 0 if it has not."""
        return 0.0 if self._took_over is None else time.monotonic() - self._took_over

    def update(self) -> None:
        """Note whether the worker has taken over."""
        if self._took_over is None and self._shared.state != STARTING:
            self._took_over = time.monotonic()
            self.silence = 0

    def tick(self) -> str | None:
        """Count a tick of the keeper. Returns why the worker has to be killed, if it has to."""
        heartbeat = self._shared.heartbeat
        self.silence = self.silence + 1 if heartbeat == self._heartbeat else 0
        self._heartbeat = heartbeat
        if self.killed:
            return None
        if self.silence >= SILENT and _read_state(self.pid)[0] == "T":  # t is a debugger's
            return "the worker is stopped"
        if self.silence >= (MAX_START if self.loading else MAX_SILENCE):
            return "the worker does not respond"
        return None

    def find_exit_code(self) -> int | None:
        """Return the exit code, negative after a signal, if the process has ended but cannot be reaped.

        That is so while the kernel blocks one of its threads, for example on a mount that does not respond.
        """
        if self.silence < SILENT:
            return None
        letter, status = _read_state(self.pid)
        return os.waitstatus_to_exitcode(status) if letter == "Z" else None

    def send(self, command: bytes) -> bool:
        """Send a command, if the worker still takes commands. Returns whether it has been sent."""
        try:
            self.control.send(command)
        except OSError:
            return False
        return True

    def hand_over(self, command: bytes, connection: int) -> bool:
        """Send it a connection, given as a descriptor, if it serves. Returns whether it has been sent."""
        self.update()
        if not self.serving or self._shared.state != SERVING:
            return False
        try:
            send_connection(self.control, command, connection)
        except OSError:
            return False
        return True

    def receive(self) -> None:
        """Discard what has woken the keeper, and note whether the worker has closed its side."""
        try:
            self.closed = not self.control.recv(64)
        except BlockingIOError:
            return
        except OSError:
            self.closed = True

    def kill(self) -> None:
        """Kill it. A process that is blocked in the kernel ends later, or never."""
        self.killed = True
        self.silence = 0
        try:
            os.kill(self.pid, signals.SIGKILL)
        except OSError:
            return

    def wait(self) -> None:
        """Wait for the end of the killed process, but not long: the kernel may block it."""
        until = time.monotonic() + _KILL_WAIT
        try:
            while not os.waitpid(self.pid, os.WNOHANG)[0] and time.monotonic() < until:
                time.sleep(0.01)
        except ChildProcessError:
            return

    def close(self) -> None:
        """Close the descriptors that lead to it."""
        self.control.close()
        os.close(self._lifeline)


def fork_worker(shared: Shared, release: "Callable[[], object]") -> "Worker | tuple[_socket.socket, int]":
    """Fork a worker, and return it. In the worker, return its side of the control socket, and of the lifeline.

    In the worker, `release` is called to let go of what belongs to the keeper. Raises OSError.
    """
    shared.state = STARTING
    control, worker_control = _socket.socketpair()
    worker_lifeline, lifeline = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        for sock in (control, worker_control):
            sock.close()
        os.close(worker_lifeline)
        os.close(lifeline)
        raise
    if pid == 0:
        control.close()
        os.close(lifeline)
        release()
        return worker_control, worker_lifeline
    worker_control.close()
    os.close(worker_lifeline)
    control.settimeout(0)
    return Worker(pid, shared, control, lifeline)


class BackOff:
    """When the next worker may start: later and later, while workers end soon after their start."""

    def __init__(self) -> None:
        self.until = 0.0  # monotonic clock
        self._failures = 0

    def extend(self, *, steady: bool) -> float:
        """Return the delay until the next start, in seconds. It is 0 if the last worker was steady."""
        self._failures = 0 if steady else self._failures + 1
        delay = 0.0 if steady else min(2.0 ** min(self._failures - 1, 10), MAX_BACK_OFF)
        self.until = time.monotonic() + delay
        return delay


def reap() -> "Iterator[tuple[int, int]]":
    """Reap the children that have ended: as PID 1, they include every orphan of the container.

    Yields the PID and the exit code of each; the code is negative after a signal, as in subprocess.
    """
    try:
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            yield child[0], os.waitstatus_to_exitcode(child[1])
    except ChildProcessError:
        return


def describe_end(code: int) -> dict[str, object]:
    """Return the field of a log line that says how a process ended, from its exit code as in subprocess."""
    return {"exit_code": code} if code >= 0 else {"signal": signals.name(-code)}


def _read_state(pid: int) -> tuple[str, int]:
    """Return the state of a process as one letter, and its wait status if it is a zombie (man 5 proc_pid_stat).

    The letter is empty if the state cannot be read.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return "", 0
    try:
        fields = os.read(descriptor, 1024).rpartition(b") ")[2].split()
    except OSError:
        return "", 0
    finally:
        os.close(descriptor)
    return (fields[0].decode(), int(fields[-1])) if fields else ("", 0)
