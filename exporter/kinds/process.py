"""The kind `process`: whether processes run, how many, for how long and with how much memory."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

import psutil
from pydantic import model_validator

from exporter.host.reader import explained, read
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.probe.check import Probe
from exporter.probe.expect import Pattern, matches
from exporter.probe.options import Count, FilePath, PositiveCount, Seconds, Text

MAX_PID_FILE = 64  # every format of PID file begins with the PID


@dataclass(frozen=True, slots=True)
class _Running:
    """One process that matches."""

    started: float  # wall clock
    memory: int  # resident, in bytes


class Process(Probe):
    """Checks that processes run, found by one of `name`, `commandLine` and `pidFile`.

    The check sees the processes of the exporter's own container. In a pod with `shareProcessNamespace: true`, it sees
    the processes of the whole pod; a sidecar needs this setting. The exporter itself and zombies do not count. If the
    processes of other users are hidden (hidepid) and one more process could change the result, the result is `unknown`.
    """

    measures: ClassVar = {
        "processes": "Processes that were found in the latest run.",
        "process_age_seconds": "Time since the start of the youngest process that was found in the latest run.",
        "process_memory_bytes": "Resident memory of all processes that were found in the latest run.",
    }
    examples: ClassVar = (
        "- name: nginx\n  process: {name: nginx}",
        "- name: workers\n  process: {commandLine: 'celery .* worker', minCount: 4, warnMemoryBytes: 2147483648}",
        "- name: database\n  process: {pidFile: /run/postgresql/15-main.pid, warnAgeSeconds: 60}",
    )

    name: Text | None = None
    """Full name of the program, including what `ps -o comm` cuts off after 15 characters."""
    command_line: Pattern | None = None
    """Regular expression (RE2) to find anywhere in the command line, whose arguments are joined by spaces. Requires the
    extra `expect`."""
    pid_file: FilePath | None = None
    """Path of a file that begins with the PID. A different process with a reused PID is not recognized."""
    min_count: Count = 1
    """Fails when fewer processes run."""
    max_count: Count | None = None
    """Fails when more processes run."""
    min_age_seconds: Seconds | None = None
    """Fails when the youngest process is at most this many seconds old."""
    warn_age_seconds: Seconds | None = None
    """Warns when the youngest process is at most this many seconds old, because it restarted recently."""
    warn_memory_bytes: PositiveCount | None = None
    """Warns when the resident memory of all the processes together reaches this number of bytes."""
    fail_memory_bytes: PositiveCount | None = None
    """Fails when the resident memory of all the processes together reaches this number of bytes."""

    @model_validator(mode="after")
    def _validate_options(self) -> Self:
        if sum(way is not None for way in (self.name, self.command_line, self.pid_file)) != 1:
            raise ValueError("needs exactly one of name, commandLine and pidFile")
        if self.max_count is not None and self.min_count > self.max_count:
            raise ValueError("minCount (1 by default) must not be above maxCount")
        return self

    @property
    def target(self) -> str:
        if self.name is not None:
            return f"process {self.name}"
        return f"process of {self.pid_file}" if self.pid_file is not None else f"process matching {self.command_line}"

    def liveness_risk(self) -> str | None:
        return None if self.min_age_seconds is None else "a restart makes the processes younger than minAgeSeconds"

    def probe(
        self,
        deadline: Deadline,
        pids: Callable[[], Iterable[int]] = psutil.pids,
        process: Callable[[int], psutil.Process] = psutil.Process,
        wall: Callable[[], float] = time.time,
    ) -> Outcome:
        visible = set(pids())
        running, hidden = [], 1 not in visible  # PID 1 always exists
        for pid in visible & (_read_pid(self.pid_file, deadline) if self.pid_file else visible) - {os.getpid()}:
            if deadline.remaining() <= 0:
                raise ProbeError(Reason.TIMEOUT, f"could not go through {len(visible)} processes in time")
            try:
                running += self._match(process(pid))
            except psutil.NoSuchProcess:  # it has ended during the scan, or is a zombie
                continue
            except psutil.AccessDenied:
                hidden = True
        if hidden and self._is_uncertain(len(running)):
            message = f"{self.target}: {len(running)} found, but processes of other users are hidden (hidepid)"
            raise ProbeError(Reason.PERMISSION, message)
        return self._compare(running, wall())

    def _match(self, process: psutil.Process) -> list[_Running]:
        """Return the process in a list, or an empty list if it does not match the options."""
        if self.name is not None and process.name() != self.name:
            return []
        if self.command_line is not None and not matches(self.command_line, " ".join(process.cmdline())):
            return []
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return []
        return [_Running(process.create_time(), process.memory_info().rss)]

    def _is_uncertain(self, count: int) -> bool:
        """Return whether one more process, which is hidden, could change the result."""
        return count < self.min_count or (self.max_count is not None and count <= self.max_count)

    def _compare(self, running: list[_Running], now: float) -> Outcome:
        count = len(running)
        if count == 0 and self.min_count > 0:
            return Outcome.failed(Reason.MISSING, f"no {self.target} is running", Measurement("processes", 0))
        counted = Outcome.counted(f"{self.target}: {count} running", "processes", count, self.min_count, self.max_count)
        if count == 0:
            return counted
        age = max(0.0, now - max(process.started for process in running))
        memory = sum(process.memory for process in running)
        limits = self.warn_age_seconds, self.min_age_seconds
        return Outcome.worst(
            counted,
            Outcome.measured(
                f"the youngest is {age:.1f} s old", Measurement("process_age_seconds", age, *limits, falling=True)
            ),
            Outcome.measured(
                f"{memory / 2**20:.1f} MiB of memory in use",
                Measurement("process_memory_bytes", memory, self.warn_memory_bytes, self.fail_memory_bytes),
            ),
        )


def _read_pid(path: str, deadline: Deadline) -> set[int]:
    """Return the PID at the beginning of the file; empty if there is none. Raises ProbeError if it cannot be read."""
    with explained():
        try:
            words = read(path, MAX_PID_FILE, deadline).split()
        except (FileNotFoundError, NotADirectoryError):
            return set()
    return {int(words[0])} if words and words[0].isdigit() else set()
