"""The kind `exec`: what a command's exit status says."""

import contextlib
import os
import re
import selectors
import signal
import subprocess
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field, PrivateAttr

from exporter.model import Deadline, Outcome, ProbeError, Reason
from exporter.probe.check import Probe

OUTPUT_LIMIT = 10 * 1024  # bytes kept, as the kubelet does (pkg/probe/exec/exec.go)
POLL = 0.05  # seconds; how soon an exit is seen while a descendant holds the output open
REAP = 0.1  # seconds a killed command has to be gone
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


class Exec(Probe):
    """Runs a command without a shell; exit status 0 passes, any other fails (pkg/probe/exec/exec.go).

    The command runs in the exporter's own container, in a session of its own. When the timeout comes, its whole process
    group is killed. A command that cannot be started is no evidence about the application: the check could not look.

    `$(NAME)` in an argument becomes the value of that environment variable, if there is one, and `$$` becomes `$`, as
    in a manifest. Where it differs from the kubelet: the environment is the exporter's.
    """

    examples: ClassVar = ("- name: warm\n  exec: {command: [cat, /tmp/healthy]}",)

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The program and its arguments."""

    _group: int | None = PrivateAttr(default=None)
    _closed: bool = PrivateAttr(default=False)

    @property
    def target(self) -> str:
        return self.command[0]  # the arguments may hold secrets

    def probe(self, deadline: Deadline, environment: Mapping[str, str] = os.environ) -> Outcome:
        arguments = [_expanded(argument, environment) for argument in self.command]
        if self._closed:
            raise ProbeError(Reason.ERROR, f"{self.target} is not started any more")
        child = self._start(arguments)
        self._group = child.pid
        try:
            output = None if self._closed else _output(child, deadline)
        finally:
            self._group = None
            _release(child)
        if self._closed:
            raise ProbeError(Reason.ERROR, f"{self.target} was given up")
        if output is None:
            return Outcome.failed(Reason.TIMEOUT, f"{self.target} did not end in time")
        text = output.decode("utf-8", "replace").strip()
        said = f"{self.target} {_exit(child.returncode)}{': ' if text else ''}{text}"
        return Outcome.passed(said) if child.returncode == 0 else Outcome.failed(Reason.EXIT, said)

    def close(self) -> None:
        self._closed = True
        if self._group is not None:
            _kill(self._group)

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                command,
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
            why = getattr(error, "strerror", None) or error
            raise ProbeError(Reason.ERROR, f"{self.target} cannot be started: {why}") from None


def _expanded(argument: str, environment: Mapping[str, str]) -> str:
    """The argument with its references resolved, as Kubernetes does (third_party/forked/golang/expansion)."""
    return _REFERENCE.sub(lambda found: "$" if found[1] is None else environment.get(found[1], found[0]), argument)


def _output(child: "subprocess.Popen[bytes]", deadline: Deadline) -> bytes | None:
    """The first bytes of stdout, then of stderr, of a command that ended by the deadline; None of one that did not.

    Waits for the exit and not for the pipes: a descendant that keeps one open must not hold the worker.
    """
    assert child.stdout is not None
    assert child.stderr is not None
    kept = {child.stdout.fileno(): b"", child.stderr.fileno(): b""}
    with selectors.DefaultSelector() as selector, _exit_notice(child.pid, selector) as notified:
        for pipe in kept:
            os.set_blocking(pipe, False)
            selector.register(pipe, selectors.EVENT_READ)
        while True:
            remaining = deadline.remaining()
            ended = child.poll() is not None
            if remaining <= 0 and not ended:
                return None
            wait = 0.0 if ended else remaining if notified else min(remaining, POLL)
            readable = [key.fd for key, _ in selector.select(wait) if key.fd in kept]
            output = b"".join(kept.values())
            if ended and (not readable or len(output) >= OUTPUT_LIMIT):
                return output[:OUTPUT_LIMIT]
            for pipe in readable:
                chunk = os.read(pipe, 65536)
                kept[pipe] += chunk[: OUTPUT_LIMIT - len(kept[pipe])]
                if not chunk:
                    selector.unregister(pipe)


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


def _release(child: "subprocess.Popen[bytes]") -> None:
    """Kill the command's process group unless the command was seen to end, and close the pipes."""
    running = child.returncode is None
    if running:
        _kill(child.pid)  # first: the end of the pipes ends some commands, and their children would be left
    for pipe in (child.stdout, child.stderr):
        assert pipe is not None
        pipe.close()
    if running:
        with contextlib.suppress(subprocess.TimeoutExpired):  # of one that hangs in the kernel the worker is freed
            child.wait(REAP)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _exit(code: int) -> str:
    """The exit status in words; a negative one is the signal's number (subprocess.Popen.returncode)."""
    if code >= 0:
        return f"ended with {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was ended by {names.get(-code, f'signal {-code}')}"
