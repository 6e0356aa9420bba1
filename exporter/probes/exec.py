"""The kind `exec`: what a command's exit status says."""

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, PrivateAttr

from exporter.check import Probe
from exporter.model import Deadline, Outcome, ProbeError, Reason

OUTPUT_LIMIT = 10 * 1024  # bytes kept, as the kubelet does (pkg/probe/exec/exec.go)
POLL = 0.05  # seconds; how soon an exit is seen while a descendant holds the output open


class Exec(Probe):
    """Runs a command without a shell; exit status 0 passes, any other fails (pkg/probe/exec/exec.go).

    The command runs in the exporter's own container, in a session of its own. When the timeout comes, its whole process
    group is killed. A command that cannot be started is no evidence about the application: the check could not look.
    """

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The program and its arguments."""

    _group: int | None = PrivateAttr(default=None)

    @property
    def target(self) -> str:
        return self.command[0]  # the arguments may hold secrets

    def probe(self, deadline: Deadline) -> Outcome:
        child = self._start()
        self._group = child.pid
        try:
            with child:
                output, ended = _output(child, deadline)
                if not ended:
                    _kill(child.pid)
                    child.wait()
                    return Outcome.failed(Reason.TIMEOUT, f"{self.target} did not end in time")
        finally:
            self._group = None
        text = output.decode("utf-8", "replace").strip()
        said = f": {text}" if text else ""
        if child.returncode == 0:
            return Outcome.passed(f"{self.target} ended with 0{said}")
        return Outcome.failed(Reason.EXIT, f"{self.target} {_exit(child.returncode)}{said}")

    def close(self) -> None:
        if self._group is not None:
            _kill(self._group)

    def _start(self) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise ProbeError(Reason.MISSING, f"{self.target}: no such command") from None
        except PermissionError:
            raise ProbeError(Reason.PERMISSION, f"{self.target}: may not be executed") from None
        except (OSError, ValueError) as error:
            raise ProbeError(Reason.ERROR, f"{self.target} cannot be started: {error}") from None


def _output(child: "subprocess.Popen[bytes]", deadline: Deadline) -> tuple[bytes, bool]:
    """The first bytes of stdout, then of stderr, and whether the command ended by the deadline.

    Waits for the exit and not for the pipes: a descendant that keeps one open must not hold the worker.
    """
    assert child.stdout is not None
    assert child.stderr is not None
    kept = {child.stdout.fileno(): b"", child.stderr.fileno(): b""}
    with selectors.DefaultSelector() as selector, _exit_notice(child.pid, selector) as notified:
        for pipe in kept:
            os.set_blocking(pipe, False)
            selector.register(pipe, selectors.EVENT_READ)
        while (remaining := deadline.remaining()) > 0:
            ended = child.poll() is not None
            wait = 0.0 if ended else remaining if notified else min(remaining, POLL)
            readable = [key.fd for key, _ in selector.select(wait) if key.fd in kept]
            if ended and not readable:
                return b"".join(kept.values())[:OUTPUT_LIMIT], True
            for pipe in readable:
                chunk = os.read(pipe, 65536)
                kept[pipe] = (kept[pipe] + chunk)[:OUTPUT_LIMIT]
                if not chunk:
                    selector.unregister(pipe)
    return b"", False


@contextlib.contextmanager
def _exit_notice(pid: int, selector: selectors.BaseSelector) -> Iterator[bool]:
    """Have the selector wake at the exit of a process, where the system can do that (Linux 5.3)."""
    try:
        notice = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield False
        return
    try:
        selector.register(notice, selectors.EVENT_READ)
        yield True
    finally:
        os.close(notice)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _exit(code: int) -> str:
    """The exit status in words; a negative one is the signal's number (subprocess.Popen.returncode)."""
    return f"ended with {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
