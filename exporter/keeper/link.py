"""The worker's side of the keeper: the sockets to serve, commands from the keeper, and signs of life for it."""

import _socket
import gc
import os
import sys

from exporter.keeper.shared import ENDED, SERVING, Shared

BEAT = 0.25  # seconds between two heartbeats

STOP, RELOAD, WEB, PROBE = b"T", b"H", b"w", b"p"
"""Commands of the keeper, one byte each.

Begin the drain or, the second time, end it; reload the configuration; serve the connection that comes with the command
and that the keeper has accepted from a web listener, or from a probe listener.
"""

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    from collections.abc import Iterator


_DESCRIPTOR = 4  # bytes of a descriptor in a message


class Link:
    """What connects a worker with its keeper."""

    def __init__(
        self,
        shared: Shared,
        control: _socket.socket,
        lifeline: int,
        web: list[_socket.socket],
        probe: list[_socket.socket],
        keeper: int,
    ) -> None:
        """`control` carries the commands. `lifeline` is a pipe that ends when the keeper ends."""
        self.shared = shared
        self.web = web
        self.probe = probe
        self.keeper = keeper  # PID, to which signals are to be sent
        self._control = control
        self._lifeline = lifeline

    def prepare(self) -> None:
        """End this process when the keeper ends, and leave signals to the keeper, which passes on what they mean.

        The handlers do nothing, but a signal that is ignored would be ignored by the commands of exec checks too.

        Until the server runs, the garbage collector is off (see `server.run`).
        """
        import signal

        gc.disable()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        _kill_at_end_of(self._lifeline)

    @property
    def first_generation(self) -> int:
        """The generation with which this worker starts: above all that an answer may have shown, or 0."""
        reached = self.shared.generation
        return reached + 1 if reached else 0

    def show(self, generation: int) -> None:
        """Note that answers with this generation may follow."""
        self.shared.generation = generation

    def take_over(self) -> None:
        """Report that this worker serves from now on."""
        self.shared.beat()
        self._report(SERVING)

    def beat(self) -> None:
        """Report that the event loop still runs. To be called every BEAT seconds."""
        self.shared.beat()

    def report(self, *, running: bool, valid: bool, checks: int, reloads: int) -> None:
        """Report the worker's condition, for the service manager.

        It is whether the schedule runs and all files are in use, the number of checks, and the number of RELOAD
        commands that have been carried out.
        """
        self.shared.condition = [running, valid, checks, reloads]

    def end(self) -> None:
        """Report that the listeners are about to close."""
        self._report(ENDED)

    def fileno(self) -> int:
        """Return the descriptor that is readable when `read` has commands."""
        return self._control.fileno()

    def read(self) -> "Iterator[tuple[bytes, _socket.socket | None]]":
        """Yield the commands that have arrived, and the connection that comes with a command.

        Ends the process if the keeper has ended.
        """
        space = _socket.CMSG_SPACE(_DESCRIPTOR)
        commands, controls, _, _ = self._control.recvmsg(64, space, _socket.MSG_CMSG_CLOEXEC)
        if not commands:
            os._exit(1)
        descriptors = [int.from_bytes(data[:_DESCRIPTOR], sys.byteorder) for _, _, data in controls]
        for number in commands:
            command = bytes([number])
            sock = _socket.socket(fileno=descriptors.pop(0)) if command in (WEB, PROBE) and descriptors else None
            yield command, sock

    def _report(self, state: int) -> None:
        self.shared.state = state
        self._control.send(b"!")  # wakes the keeper


def send_connection(control: _socket.socket, command: bytes, descriptor: int) -> None:
    """Send a connection to the worker at the other end of `control`. Raises OSError."""
    data = descriptor.to_bytes(_DESCRIPTOR, sys.byteorder)
    control.sendmsg([command], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, data)])


def _kill_at_end_of(pipe: int) -> None:
    """Let the kernel kill this process when the last writer of the pipe has gone, even if no code here can run."""
    import fcntl
    import select
    import signal

    if hasattr(fcntl, "F_SETSIG"):  # Linux
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    poller = select.poll()
    poller.register(pipe, 0)
    if poller.poll(0):  # it ended before that
        os._exit(1)
