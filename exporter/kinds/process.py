"""The kind `process`: whether a process runs, how many of it, how long and with how much memory."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import psutil
from pydantic import Field, model_validator

from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.probe.check import Probe
from exporter.probe.expect import Pattern, found

PID_FILE_LIMIT = 64  # bytes; the pid comes first in every format there is

_Text = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(strict=True, ge=0)]
_Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
_Bytes = Annotated[int, Field(strict=True, gt=0)]


@dataclass(frozen=True, slots=True)
class _Running:
    """What is told of one process."""

    created: float
    memory: int


class Process(Probe):
    """Looks for running processes by one of `name`, `commandLine` and `pidFile`.

    It sees the processes of the exporter's own container, and those of the whole pod where the pod says
    `shareProcessNamespace: true`, which a sidecar needs. The exporter itself and zombies are not counted. Where other
    users' processes are hidden (hidepid), too few seen are no evidence: the check could not look.
    """

    measures: ClassVar = {
        "processes": "Processes found, as of the latest run.",
        "process_age_seconds": "Time since the youngest of the processes started, as of the latest run.",
        "process_memory_bytes": "Resident memory of the processes together, as of the latest run.",
    }

    examples: ClassVar = (
        "- name: nginx\n  process: {name: nginx}",
        "- name: workers\n  process: {commandLine: 'celery .* worker', minCount: 4, warnMemoryBytes: 2147483648}",
        "- name: database\n  process: {pidFile: /run/postgresql/15-main.pid, warnAgeSeconds: 60}",
    )

    name: _Text | None = None
    """The whole name of the program, as `ps -o comm` tells it."""
    command_line: Pattern | None = None
    """A regular expression (RE2) found anywhere in the command line, its arguments joined by spaces. Needs the extra
    `expect`."""
    pid_file: _Text | None = None
    """Path of a file that begins with the process's number. Reused numbers are not told apart."""
    min_count: _Count = 1
    """The least number of processes that passes."""
    max_count: _Count | None = None
    """The greatest number of processes that passes."""
    min_age_seconds: _Seconds | None = None
    """Age of the youngest process at and below which the check fails."""
    warn_age_seconds: _Seconds | None = None
    """Age of the youngest process at and below which it warns: it was restarted a short time ago."""
    warn_memory_bytes: _Bytes | None = None
    """Resident memory of all the processes together at and above which it warns."""
    fail_memory_bytes: _Bytes | None = None
    """Resident memory of all the processes together at and above which it fails."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(way is not None for way in (self.name, self.command_line, self.pid_file)) != 1:
            raise ValueError("needs exactly one of name, commandLine and pidFile")
        if self.max_count is not None and self.min_count > self.max_count:
            raise ValueError("minCount (1 if not given) must not be above maxCount")
        return self

    @property
    def target(self) -> str:
        if self.name is not None:
            return f"process {self.name}"
        return f"process of {self.pid_file}" if self.pid_file is not None else f"process matching {self.command_line}"

    def liveness_risk(self) -> str | None:
        return None if self.min_age_seconds is None else "a restart makes its processes younger than minAgeSeconds"

    def probe(
        self,
        deadline: Deadline,
        pids: Callable[[], Iterable[int]] = psutil.pids,
        process: Callable[[int], psutil.Process] = psutil.Process,
        wall: Callable[[], float] = time.time,
    ) -> Outcome:
        listed = set(pids())
        running, hidden = [], 1 not in listed  # there is always a first process
        for pid in listed & (_written(self.pid_file) if self.pid_file else listed) - {os.getpid()}:
            if deadline.remaining() <= 0:
                raise ProbeError(Reason.TIMEOUT, f"{len(listed)} processes could not be looked through in time")
            try:
                running += self._wanted(process(pid))
            except psutil.NoSuchProcess:  # ended meanwhile, or a zombie
                continue
            except psutil.AccessDenied:
                hidden = True
        if hidden and self._uncertain(len(running)):
            message = f"{self.target}: {len(running)} seen, but processes of other users are hidden (hidepid)"
            raise ProbeError(Reason.PERMISSION, message)
        return self._conclude(running, wall())

    def _wanted(self, process: psutil.Process) -> list[_Running]:
        """This process, if it is one of those that are looked for."""
        if self.name is not None and process.name() != self.name:
            return []
        if self.command_line is not None and not found(self.command_line, " ".join(process.cmdline())):
            return []
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return []
        return [_Running(process.create_time(), process.memory_info().rss)]

    def _uncertain(self, count: int) -> bool:
        """Whether one more, which was not seen, could change the answer."""
        return count < self.min_count or (self.max_count is not None and count <= self.max_count)

    def _conclude(self, running: list[_Running], now: float) -> Outcome:
        count = len(running)
        if count == 0 and self.min_count > 0:
            return Outcome.failed(Reason.MISSING, f"no {self.target} runs", Measurement("processes", 0))
        counted = Outcome.counted(f"{self.target}: {count} running", "processes", count, self.min_count, self.max_count)
        if count == 0:
            return counted
        age = max(0.0, now - max(each.created for each in running))
        memory = sum(each.memory for each in running)
        limits = self.warn_age_seconds, self.min_age_seconds
        return Outcome.worst(
            counted,
            Outcome.measured(
                f"the youngest is {age:.1f} s old", Measurement("process_age_seconds", age, *limits, falling=True)
            ),
            Outcome.measured(
                f"{memory / 2**20:.1f} MiB in use",
                Measurement("process_memory_bytes", memory, self.warn_memory_bytes, self.fail_memory_bytes),
            ),
        )


def _written(path: str) -> set[int]:
    """The process whose number the file begins with; none where it does not. Raises ProbeError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # which does not wait for the other end of a pipe
    except PermissionError:
        raise ProbeError(Reason.PERMISSION, f"{path} may not be read") from None
    except (FileNotFoundError, NotADirectoryError):
        return set()
    try:
        words = os.read(handle, PID_FILE_LIMIT).split()
    except OSError as error:  # a directory, or a pipe with nothing in it yet
        raise ProbeError(Reason.ERROR, f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(handle)
    return {int(words[0])} if words and words[0].isdigit() else set()
