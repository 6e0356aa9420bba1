"""The option `of`: another container than the exporter's own, named by a process in it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from pydantic import model_validator

from exporter.host.cgroup import Cgroup, find_mount_below
from exporter.host.mounts import read_mount_id
from exporter.host.reader import call
from exporter.model import Deadline, ProbeError, Reason
from exporter.probe.check import Probe
from exporter.probe.expect import Pattern, matches
from exporter.probe.options import Options, Text

if TYPE_CHECKING:
    from exporter.host.container import Container

_T = TypeVar("_T")


class Of(Options):
    """The container of a process, in place of the exporter's own.

    The exporter can look at the files and the cgroup of another container if these conditions are met:

    - The exporter sees the process. In a pod, set `shareProcessNamespace: true`; in a Compose file,
      `pid: service:NAME`.
    - The exporter has access to it (ptrace(2), "Ptrace access mode checking"). Give both containers the same
      `runAsUser` and `runAsGroup`, and drop the capabilities of the process's container (`drop: [ALL]`). The process
      must not change its user after it has started. Alternatively, run the exporter as root with the capability
      `SYS_PTRACE`; without root, Kubernetes does not grant an added capability.
    - For `memory`, `cpu` and `pressure`, `/sys/fs/cgroup` is mounted in the container, as container runtimes do.

    If a condition is not met, the result is `unknown` with the reason `missing` or `permission`, and the summary names
    the condition. While no such process runs, for example because its container restarts, the result is `unknown`, too.

    If several processes match, the one that the others descend from is used. If they are in different containers, the
    result is `unknown`. Exporters do not count. Symbolic links are followed inside the container.

    A name is not an identity. While the process is absent, for example because its container restarts, a process of
    any other container that the exporter sees can have its name, and then counts.

    In turn, a process with the exporter's user ID can then read the exporter's files and environment.
    """

    process: Text | None = None
    """Names the program that runs in the container, like the option `name` of the kind `process`."""
    command_line: Pattern | None = None
    """Finds the process by a regular expression (RE2) anywhere in its command line, like the option of the same name of
    the kind `process`. Requires the extra `expect`."""

    @model_validator(mode="after")
    def _validate_options(self) -> Self:
        if (self.process is None) == (self.command_line is None):
            raise ValueError("needs exactly one of process and commandLine")
        return self

    def __str__(self) -> str:
        return f"process {self.process}" if self.process is not None else f"process matching {self.command_line}"

    def open(self, deadline: Deadline) -> "AbstractContextManager[Container]":
        """Find the container. Raises ProbeError, as `open_container` does."""
        from exporter.host.container import open_container  # imports psutil, which few checks need
        from exporter.host.scan import Wanted

        wanted = Wanted(self.process, None if self.command_line is None else partial(matches, self.command_line))
        return open_container(str(self), wanted, deadline)


def open_container_of(of: Of | None, deadline: Deadline) -> "AbstractContextManager[Container | None]":
    """Find the container that is meant; None for the exporter's own."""
    return nullcontext() if of is None else of.open(deadline)


def read_cgroup(of: Of | None, read: Callable[[Cgroup], _T], deadline: Deadline, proc: Path, cgroups: Path) -> _T:
    """Return what a function reads from the cgroup of the container that is meant. Raises ProbeError.

    Another container may have a mount that does not respond. Until it does, no further thread reads from it; one may
    read from the container that replaces it.
    """
    if of is None:
        return read(Cgroup(proc / "self", partial(find_mount_below, cgroups)))

    stack, once = ExitStack(), Lock()  # whoever takes the lock closes the container

    def read_theirs() -> _T:
        if not once.acquire(blocking=False):
            raise TimeoutError
        with stack:
            return container.read_cgroup(read)

    container = stack.enter_context(of.open(deadline))
    try:
        # A thread that is blocked in a container keeps its root folder open, so no later one has the same mount ID.
        mount = read_mount_id(container.root)
        return call(f"container of {of}, mount {mount}", read_theirs, str(id(read)), deadline)
    except TimeoutError:
        raise ProbeError(Reason.TIMEOUT, f"the container of {of} did not respond in time") from None
    finally:
        if once.acquire(blocking=False):  # no thread has begun
            stack.close()


class Scoped(Probe):
    """A check of a resource of the whole machine or of a container."""

    scope: Literal["host", "container"] = "host"
    """What to measure: the machine or a container, the exporter's own without `of`."""
    of: Of | None = None
    """Names a process whose container to measure, in place of the exporter's own. Requires `scope: container`, and a
    process namespace that both containers share."""

    @model_validator(mode="after")
    def _require_container(self) -> Self:
        if self.of is not None and self.scope != "container":
            raise ValueError("of requires scope: container")
        return self


def name_target(target: str, of: Of | None) -> str:
    """Return the target of a check, with the container that is meant."""
    return target if of is None else f"{target} of {of}"
