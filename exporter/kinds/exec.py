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
FIRST_WAIT = 0.01  # seconds for which the pipes are not read; a command that fills one of them waits this long
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
        arguments = [_expand(argument, variables or {}, environment) for argument in self.command]
        if self._closed:
            raise ProbeError(Reason.ERROR, f"{self.target} is not started: the check is closed")
        if "/" in arguments[0]:
            require_response(arguments[0], deadline, self.target)  # starting a command waits until it has been found
        child, pipes = self._start(arguments, variables)
        self._pid = child.pid
        allowed = deadline.remaining()
        ended, output = False, b""
        try:
            if not self._closed:
                ended, output = _read_output(child, pipes, deadline)
        except ChildProcessError:
            raise ProbeError(Reason.ERROR, _LOST_STATUS.format(self.target)) from None
        finally:
            self._pid = None
            _release(child, pipes)
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

    def _build_environment(self, environment: Mapping[str, str]) -> dict[str, str] | None:
        """Return the command's variables; None if they are those of this process, which cost nothing to pass on.

        A value can refer to any variable of the exporter, and to earlier ones.
        """
        withheld = {name for name in self._withheld if name in environment}  # decodes only these names
        if not withheld and not self.env and environment is os.environ:
            return None
        variables = {name: value for name, value in environment.items() if name not in withheld}
        for variable in self.env:
            variables[variable.name] = _expand(variable.value, variables, environment)
        return variables

    def _start(
        self, command: list[str], variables: Mapping[str, str] | None
    ) -> tuple["subprocess.Popen[bytes]", list[int]]:
        """Return the child, and the pipes of its stdout and stderr."""
        pipes: list[int] = []
        ends: list[int] = []
        try:
            for _ in range(2):  # Popen would make a file object of each, which costs more than the pipe
                pipe, end = os.pipe()
                pipes.append(pipe)
                ends.append(end)
            ends.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            stdout, stderr, null = ends
            child = subprocess.Popen(
                command, env=variables, stdin=null, stdout=stdout, stderr=stderr, start_new_session=True
            )
            note_start(child)
            started, pipes = pipes, []
        except FileNotFoundError:
            path = (os.environ if variables is None else variables).get("PATH", os.defpath)
            exists = shutil.which(command[0], path=path) is not None
            fault = "its interpreter or loader does not exist" if exists else "no such command"
            raise ProbeError(Reason.MISSING, f"{self.target}: {fault}") from None
        except PermissionError:
            raise ProbeError(Reason.PERMISSION, f"{self.target}: permission denied") from None
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or error
            raise ProbeError(Reason.ERROR, f"{self.target} cannot be started: {cause}") from None
        finally:
            _close(*ends, *pipes)
        return child, started


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _expand(argument: str, *environments: Mapping[str, str]) -> str:
    """Return the argument with its references resolved, as Kubernetes does (third_party/forked/golang/expansion).

    A variable is that of the first environment that has it.
    """

    def resolve(match: re.Match[str]) -> str:
        name = match[1]
        found = (environment[name] for environment in environments if name in environment)
        return "$" if name is None else next(found, match[0])

    return _REFERENCE.sub(resolve, argument)


def _read_output(child: "subprocess.Popen[bytes]", pipes: list[int], deadline: Deadline) -> tuple[bool, bytes]:
    """Return whether the command has ended by the deadline, and the first bytes of stdout followed by stderr.

    Waits for the exit, not for the end of the pipes: a descendant that keeps a pipe open must not block the worker.
    """
    buffers = dict.fromkeys(pipes, b"")
    for pipe in pipes:
        os.set_blocking(pipe, False)
    with selectors.DefaultSelector() as selector, watch_exit(child.pid, selector) as pidfd:
        if pidfd is not None:
            # Most commands end at once. Each pipe that they close would wake this thread up once more.
            selector.select(max(0.0, min(FIRST_WAIT, deadline.remaining())))
        if not has_ended(child, pidfd):
            for pipe in pipes:
                selector.register(pipe, selectors.EVENT_READ)
        while not (ended := has_ended(child, pidfd)) and (remaining := deadline.remaining()) > 0:
            for key, _ in selector.select(remaining if pidfd is not None else min(remaining, POLL_INTERVAL)):
                if key.fd in buffers and _read_pipe(key.fd, buffers) == b"":
                    selector.unregister(key.fd)
    for pipe in pipes:
        while len(buffers[pipe]) < MAX_OUTPUT and _read_pipe(pipe, buffers):
            continue
    return ended, b"".join(buffers.values())[:MAX_OUTPUT]


def _read_pipe(pipe: int, buffers: dict[int, bytes]) -> bytes | None:
    """Add what is in a pipe to its first bytes, and return it: empty at the end, None if there is nothing yet."""
    try:
        chunk = os.read(pipe, 65536)
    except BlockingIOError:
        return None
    buffers[pipe] += chunk[: MAX_OUTPUT - len(buffers[pipe])]
    return chunk


def _release(child: "subprocess.Popen[bytes]", pipes: list[int]) -> None:
    """Kill the command's process group unless the command has ended, and close the pipes."""
    if child.returncode is None:
        # Before the pipes: a command may exit when its pipes are closed, and leave its children behind.
        kill_session(child)
    note_session_end(child)
    _close(*pipes)


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
