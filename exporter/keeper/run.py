"""The process that `serve` starts as. It keeps the sockets open, and answers while the exporter itself cannot.

Theory of operation:

The keeper opens the listeners at once and forks a worker, which is the exporter itself. The worker continues in the
interpreter of the keeper: there is no exec, so starting it costs next to nothing, and the two share memory. The keeper
itself imports only modules that are part of the interpreter or tiny, and stays below 4 MiB of private memory.

While a worker serves, the keeper does not touch the listeners. While none does, because it loads, has crashed or hangs,
the keeper accepts the connections and answers them: liveness 200, everything else 503. Both have the listeners, so no
connection is refused, and none is lost while it waits to be accepted.

The worker gives signs of life: its event loop writes a heartbeat into memory that both share (`Shared`). That memory
also has the generation that the next worker continues from. Signals go to the keeper, which passes on what they mean
(`Link`). As PID 1, the keeper reaps the orphans of the container.
"""

import _socket
import errno
import gc
import os
import select
import time

from exporter import inherited
from exporter.addresses import ListenError, listen
from exporter.exitcodes import INTERRUPTED, USAGE
from exporter.keeper import signals
from exporter.keeper.arguments import Arguments, parse
from exporter.keeper.link import PROBE, RELOAD, STOP, WEB, Link
from exporter.keeper.log import Log
from exporter.keeper.server import Server
from exporter.keeper.service import Service
from exporter.keeper.shared import ENDED, Shared
from exporter.keeper.worker import DEATH, TICK, UNAVAILABLE, BackOff, Worker, describe_end, fork_worker, reap

STEADY = 2.0  # seconds: if a worker has served for so long, the next one follows at once
GRACE = 5.0  # seconds after the drain until a worker that has not ended is killed; it needs up to 4 itself
MAX_ABANDONED = 2  # killed workers that do not end, because the kernel blocks them


def keep(words: list[str]) -> int | Link | None:
    """Run as the keeper of `serve` with these arguments. It also returns in every worker that it forks.

    Returns the exit code in the keeper, and the link to the keeper in a worker. Returns None, without having done
    anything, if the command line is not a plain one.
    """
    arguments = parse(words)
    if arguments is None:
        return None
    signals.end_at_sigterm()
    inherited.reset()
    try:
        web, probe = [listen(address) for address in arguments.web], [listen(address) for address in arguments.probe]
    except ListenError as error:
        os.write(2, f"{error}\n".encode("utf-8", "backslashreplace"))
        return USAGE
    gc.freeze()  # a collection in a worker would otherwise copy the memory that it shares with the keeper
    return Keeper(arguments, web, probe).run()


class Keeper:
    """Keeps a worker running, until a signal or the worker's exit code ends both."""

    def __init__(self, arguments: Arguments, web: list[_socket.socket], probe: list[_socket.socket]) -> None:
        self._delay = arguments.delay
        self._web, self._probe = web, probe
        self._shared = Shared()
        self._log = Log(arguments.level, arguments.form)
        self._service = Service(self._shared)
        self._signals = signals.Signals()
        self._poller = select.poll()
        self._poller.register(self._signals.woken, select.POLLIN)
        # With TLS or passwords, the connections to the web listeners wait for the worker.
        self._commands = {sock.fileno(): PROBE for sock in probe}
        self._commands |= {} if arguments.web_config else {sock.fileno(): WEB for sock in web}
        answered = [sock for sock in (*web, *probe) if sock.fileno() in self._commands]
        self._server = Server(answered, self._poller, self._hand_over, self._shared.count)
        self._worker: Worker | None = None
        self._abandoned: set[int] = set()
        self._served = False  # a worker has taken over at least once
        self._back_off = BackOff()
        self._next_tick = 0.0
        self._stop_deadline: float | None = None  # once the worker drains
        self._code: int | None = None

    def run(self) -> int | Link:
        """Return the exit code when it is known; in a worker, return its link at once."""
        while self._code is None:
            if self._worker is None and time.monotonic() >= self._back_off.until:
                link = self._start_worker()
                if link:
                    return link
            self._update_server()
            self._service.update(self._worker, self._server.condition)
            for descriptor, _ in self._poller.poll(self._timeout() * 1000):
                self._dispatch(descriptor)
            for number in self._signals.take():
                self._pass_on(number)
            for pid, code in reap():
                self._note_end(pid, code)
            if time.monotonic() >= self._next_tick:
                self._next_tick = time.monotonic() + TICK
                self._tick()
        self._close()
        return self._code

    def _timeout(self) -> float:
        due = self._next_tick if self._worker else min(self._next_tick, self._back_off.until)
        return max(0.0, due - time.monotonic())

    def _dispatch(self, descriptor: int) -> None:
        if descriptor == self._signals.woken:
            self._signals.sleep()
        elif self._worker and descriptor == self._worker.control.fileno():
            self._worker.receive()
            if self._worker.closed:
                self._poller.unregister(descriptor)
        else:
            try:
                self._server.receive(descriptor)
            except Exception as error:  # noqa: BLE001  # a defect may cost a client its answer, but never the keeper
                self._log.write("error", "a connection failed", {"error": repr(error)})
                self._server.drop(descriptor)

    def _update_server(self) -> None:
        """Let the server answer while no worker does."""
        worker = self._worker
        if worker:
            worker.update()
            self._served = self._served or worker.serving
        ended = self._shared.state == ENDED
        self._server.accept_connections(accepting=not ended and not (worker and worker.serving))
        if ended:
            self._close_listeners()
        silent = worker is not None and worker.silent
        self._server.hold = silent and worker is not None and worker.silence < UNAVAILABLE
        self._server.condition = "not responding" if silent else "restarting" if self._served else "starting"

    def _hand_over(self, connection: int, listener: int) -> bool:
        return self._worker is not None and self._worker.hand_over(self._commands[listener], connection)

    def _tick(self) -> None:
        worker = self._worker
        if worker:
            self._supervise(worker)
        self._update_server()
        self._server.tick()

    def _supervise(self, worker: Worker) -> None:
        """Kill the worker if it hangs or has to end, and give up on it if it cannot be killed or reaped."""
        reason = worker.tick()
        code = worker.find_exit_code()
        if code is not None and len(self._abandoned) < MAX_ABANDONED:
            self._note_end(worker.pid, code)
            self._abandoned.add(worker.pid)
        elif self._stop_deadline is not None and time.monotonic() >= self._stop_deadline:
            self._kill(worker, "the worker has not ended in time")
            worker.wait()
            self._code = 0
        elif reason:
            self._kill(worker, reason)
        elif worker.killed and worker.silence >= DEATH:
            self._abandon(worker)
        elif worker.silent and worker.silence == UNAVAILABLE:
            self._log.write("warn", "the worker does not respond; /readyz returns 503", {"worker": worker.pid})

    def _abandon(self, worker: Worker) -> None:
        """Go on without a killed worker that does not end."""
        if self._stop_deadline is not None:
            self._code = 0
        elif len(self._abandoned) < MAX_ABANDONED:
            self._abandoned.add(worker.pid)
            self._replace(worker, {}, "the killed worker is blocked in the kernel; another one follows")

    def _kill(self, worker: Worker, reason: str) -> None:
        self._log.write("warn", f"{reason}; killing it", {"worker": worker.pid})
        worker.kill()

    def _pass_on(self, number: int) -> None:
        """Pass the meaning of a signal on to the worker."""
        worker = self._worker
        if number == signals.SIGHUP:
            self._service.reload()
            if worker:
                worker.reloads += worker.send(RELOAD)
            return
        self._service.stop()
        if worker is None or worker.loading or worker.killed:
            if worker:
                worker.kill()
                worker.wait()
            self._code = INTERRUPTED if number == signals.SIGINT else 0
        else:
            worker.send(STOP)
            now = time.monotonic()
            if self._stop_deadline is None:
                self._stop_deadline = now + self._delay + GRACE
            else:  # the second signal ends the drain
                self._stop_deadline = min(self._stop_deadline, now + GRACE)

    def _start_worker(self) -> Link | None:
        """Fork a worker. In the worker, return its link."""
        keeper = os.getpid()
        try:
            forked = fork_worker(self._shared, self._release)
        except OSError as error:
            delay, why = self._back_off.extend(steady=False), os.strerror(error.errno or errno.EAGAIN)
            self._log.write("warn", "cannot start a worker", {"error": why, "next_start_in": delay})
            return None
        if not isinstance(forked, Worker):
            return Link(self._shared, *forked, self._web, self._probe, keeper)
        self._worker = forked
        self._poller.register(forked.control, select.POLLIN)
        return None

    def _release(self) -> None:
        self._signals.release()
        self._service.close()
        self._server.close_connections()

    def _note_end(self, pid: int, code: int) -> None:
        """Decide what follows the end of the worker: the end of the keeper, or another worker."""
        self._abandoned.discard(pid)
        self._log.end(pid)
        worker = self._worker
        if worker is None or pid != worker.pid:
            return
        if self._stop_deadline is not None:
            self._code = 0 if worker.killed else code if code >= 0 else 128 - code
        elif code >= 0 and not self._served:
            self._code = code
        else:
            self._replace(worker, describe_end(code))

    def _replace(self, worker: Worker, how: dict[str, object], message: str = "the worker has ended") -> None:
        self._worker = None
        if not worker.closed:
            self._poller.unregister(worker.control)
        worker.close()
        self._shared.restarts += 1
        delay = self._back_off.extend(steady=worker.served_for >= STEADY)
        fields = {"worker": worker.pid, **how, "age": round(worker.age, 1), "next_start_in": delay}
        self._log.write("warn", message, fields)

    def _close(self) -> None:
        self._log.close()
        self._close_listeners()
        self._server.close_connections()
        if self._worker:
            self._worker.close()

    def _close_listeners(self) -> None:
        for sock in (*self._web, *self._probe):
            sock.close()
