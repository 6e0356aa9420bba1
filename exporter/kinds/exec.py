"""The kind `exec`: whether a command exits with status 0."""

import os
import re
import selectors
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import PrivateAttr

from exporter.host.child import has_ended, kill_group, kill_session, note_session_end, note_start, watch_exit
from exporter.host.reader import require_response
from exporter.model import Deadline, Outcome, ProbeError, Reason
from exporter.probe.check import Probe
from exporter.probe.options import Arguments, Block, Options, Spelling

MAX_OUTPUT = 10 * 1024  # bytes, as in the kubelet (pkg/probe/exec/exec.go)
POLL_INTERVAL = 0.05  # seconds; without a pidfd, an exit is noticed this late if a descendant keeps the output open
_END_OF_NAME = re.compile(r"[\s=]")
_LOST_STATUS = (
    "{} ended, but something else collected its exit status: SIGCHLD is ignored in this process, or a handler or a "
    "thread of the application waits for every child process"
)
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


class EnvVar(Options):
    """An environment variable, as in a container of a manifest."""

    name: Annotated[str, Spelling(r"^[^=]+$", "must not be empty, and must not contain '='")]
    """Name of the variable."""
    value: Block = ""
    """Value of the variable. `$(NAME)` becomes the value of that variable of the exporter, and `$$` becomes `$`."""


class Exec(Probe):
    """Runs a command without a shell and checks that it exits with status 0 (pkg/probe/exec/exec.go).

    The command runs in the exporter's own container, in a new session. At the timeout, its whole process group is
    killed. If the command cannot be started, the result is `unknown`, because that shows nothing about the application.
    It is also `unknown` if an application that embeds the exporter ignores SIGCHLD or waits for every child process,
    because the exit status is then lost.

    As in a manifest, `$(NAME)` in an argument becomes the value of that environment variable if it is set, and `$$`
    becomes `$`. Unlike in the kubelet, the variables are those of the exporter's own environment.

    The command gets the exporter's environment, except the variables that secrets in the configuration are read from,
    in this check or any other. To pass such a variable to the command, name it in `env`. This keeps a secret out of
    output that a command prints by accident. It does not stop a command that looks for it, because a command runs as
    the same user as the exporter.
    """

    examples: ClassVar = (
        "- name: warm\n  exec: {command: [cat, /tmp/healthy]}",
        """\
- name: backup
  exec:
    command: [check-backup, --quiet]
    env:
      - {name: BACKUP_TOKEN, value: $(BACKUP_TOKEN)}""",
    )

    command: Arguments
    """The program and its arguments."""
    env: tuple[EnvVar, ...] = ()
    """Environment variables to set for the command, in addition to the exporter's own, as in a manifest."""

    _withheld: frozenset[str] = PrivateAttr(default=frozenset())  # names of variables
    _pid: int | None = PrivateAttr(default=None)  # of the command that is running
    _closed: bool = PrivateAttr(default=False)

    @property
    def target(self) -> str:
        # Not the arguments, which may hold secrets, nor a command line or a variable in place of the program.
        return _END_OF_NAME.split(self.command[0])[0]

    def probe(self, deadline: Deadline, environment: Mapping[str, str] = os.environ) -> Outcome:
        variables = self._build_environment(environment)
        arguments = [_expand(argument, {**environment, **variables}) for argument in self.command]
        if self._closed:
            raise ProbeError(Reason.ERROR, f"{self.target} is not started: the check is closed")
        if "/" in arguments[0]:
            require_response(arguments[0], deadline, self.target)  # starting a command waits until it has been found
        child = self._start(arguments, variables)
        self._pid = child.pid
        allowed = deadline.remaining()
        ended, output = False, b""
        try:
            if not self._closed:
                ended, output = _read_output(child, deadline)
        except ChildProcessError:
            raise ProbeError(Reason.ERROR, _LOST_STATUS.format(self.target)) from None
        finally:
            self._pid = None
            _release(child)
        if self._closed:
            raise ProbeError(
                Reason.ERROR, f"{self.target} was abandoned, because the check was removed or the exporter is stopping"
            )
        text = output.decode("utf-8", "replace").strip()
        if not ended:
            return Outcome.failed(Reason.TIMEOUT, f"{_describe_timeout(self.target, allowed, child)}: {text or 'none'}")
        summary = f"{self.target} {_describe_exit(child.returncode)}{': ' if text else ''}{text}"
        return Outcome.passed(summary) if child.returncode == 0 else Outcome.failed(Reason.EXIT, summary)

    def withhold(self, variables: frozenset[str]) -> None:
        self._withheld = variables

    def close(self) -> None:
        self._closed = True
        if self._pid is not None:
            kill_group(self._pid)  # the thread that runs the command reaps it

    def _build_environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the command's variables. A value can refer to any variable of the exporter, and to earlier ones."""
        variables = {name: value for name, value in environment.items() if name not in self._withheld}
        for variable in self.env:
            variables[variable.name] = _expand(variable.value, {**environment, **variables})
        return variables

    def _start(self, command: list[str], variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        try:
            child = subprocess.Popen(
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            exists = shutil.which(command[0], path=variables.get("PATH", os.defpath)) is not None
            fault = "its interpreter or loader does not exist" if exists else "no such command"
            raise ProbeError(Reason.MISSING, f"{self.target}: {fault}") from None
        except PermissionError:
            raise ProbeError(Reason.PERMISSION, f"{self.target}: permission denied") from None
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or error
            raise ProbeError(Reason.ERROR, f"{self.target} cannot be started: {cause}") from None
        note_start(child)
        return child


def _expand(argument: str, environment: Mapping[str, str]) -> str:
    """Return the argument with its references resolved, as Kubernetes does (third_party/forked/golang/expansion)."""
    return _REFERENCE.sub(lambda match: "$" if match[1] is None else environment.get(match[1], match[0]), argument)


def _read_output(child: "subprocess.Popen[bytes]", deadline: Deadline) -> tuple[bool, bytes]:
    """Return whether the command has ended by the deadline, and the first bytes of stdout followed by stderr.

    Waits for the exit, not for the end of the pipes: a descendant that keeps a pipe open must not block the worker.
    """
    assert child.stdout is not None
    assert child.stderr is not None
    buffers = {child.stdout.fileno(): b"", child.stderr.fileno(): b""}
    with selectors.DefaultSelector() as selector, watch_exit(child.pid, selector) as pidfd:
        for pipe in buffers:
            os.set_blocking(pipe, False)
            selector.register(pipe, selectors.EVENT_READ)
        while True:
            remaining = deadline.remaining()
            ended = has_ended(child, pidfd)
            wait = 0.0 if ended else max(0.0, remaining if pidfd is not None else min(remaining, POLL_INTERVAL))
            readable = [key.fd for key, _ in selector.select(wait) if key.fd in buffers]
            if (ended and all(len(buffers[pipe]) == MAX_OUTPUT for pipe in readable)) or (remaining <= 0 and not ended):
                return ended, b"".join(buffers.values())[:MAX_OUTPUT]
            for pipe in readable:
                chunk = os.read(pipe, 65536)
                buffers[pipe] += chunk[: MAX_OUTPUT - len(buffers[pipe])]
                if not chunk:
                    selector.unregister(pipe)


def _release(child: "subprocess.Popen[bytes]") -> None:
    """Kill the command's process group unless the command has ended, and close the pipes."""
    if child.returncode is None:
        # Before the pipes: a command may exit when its pipes are closed, and leave its children behind.
        kill_session(child)
    note_session_end(child)
    for pipe in (child.stdout, child.stderr):
        assert pipe is not None
        pipe.close()


def _describe_timeout(target: str, seconds: float, child: "subprocess.Popen[bytes]") -> str:
    """Return what happened to a command that has not ended in time, and the beginning of a sentence on its output."""
    fate = "was killed" if child.returncode is not None else f"has not ended yet after SIGKILL (pid {child.pid})"
    return f"{target} did not end within {seconds:.1f} s and {fate}; its output so far"


def _describe_exit(code: int) -> str:
    """Return the exit status in words. A negative one is the number of a signal (subprocess.Popen.returncode)."""
    if code >= 0:
        return f"exited with {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-code, f'signal {-code}')}"
