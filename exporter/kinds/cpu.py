"""The kind `cpu`: how much of the CPU time there is was used, and how often a container had to wait for it."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import PrivateAttr, model_validator

from exporter.host.cgroup import Cgroup, allowed_cpus, machine_cpus, read
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.probe.check import Probe
from exporter.probe.options import Ratio


@dataclass(frozen=True, slots=True)
class _Count:
    """What has been counted up to now."""

    at: float  # seconds
    used: float  # seconds of CPU time
    cpus: float  # that may be used at once; no count, but what holds now
    periods: int | None = None
    throttled: int = 0


class Cpu(Probe):
    """The part of CPU time that was used since the previous run of this check. Its first run passes, without a number.

    `scope: container` is the exporter's own container, which in a pod is not the application's. Its use is judged
    against its quota (the CPU limit), or against the CPUs it may run on where it has none or a larger one. The kernel
    enforces a quota in periods of, usually, 100 ms; a container that used it up before the period's end was throttled.
    """

    measures: ClassVar = {
        "cpu_used_ratio": "Part of the CPU time that was used between the two latest runs, as of the latest run.",
        "cpu_throttled_ratio": "Part of the quota's periods between the two latest runs in which the container was "
        "throttled, as of the latest run.",
    }

    examples: ClassVar = (
        "- name: cpu\n  cpu: {warnRatio: 0.8}\n  groups: []",
        "- name: own-cpu\n  cpu: {scope: container, warnThrottledRatio: 0.25}\n  groups: []",
    )

    scope: Literal["host", "container"] = "host"
    """Whose CPU time is looked at."""
    fail_ratio: Ratio = 0.95
    """Used part at and above which the check fails."""
    warn_ratio: Ratio | None = None
    """Used part at and above which it warns."""
    fail_throttled_ratio: Ratio | None = None
    """Part of throttled periods at and above which the check fails; of `scope: container`."""
    warn_throttled_ratio: Ratio | None = None
    """Part of throttled periods at and above which it warns; of `scope: container`."""

    _previous: _Count | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _quotas(self) -> Self:
        throttled = self.fail_throttled_ratio is not None or self.warn_throttled_ratio is not None
        if throttled and self.scope == "host":
            raise ValueError("only a container is throttled: failThrottledRatio and warnThrottledRatio need its scope")
        return self

    @property
    def target(self) -> str:
        return self.scope

    def liveness_risk(self) -> str | None:
        if self.scope == "container":
            return "this CPU time is the exporter's own container's, which in a pod is not the application's"
        return "this CPU time is the whole machine's: a restart here does not stop what others do"

    def probe(
        self,
        deadline: Deadline,
        proc: Path = Path("/proc"),
        cgroups: Path = Path("/sys/fs/cgroup"),
        clock: Callable[[], float] = time.monotonic,
    ) -> Outcome:
        now = _host(proc) if self.scope == "host" else _container(proc, cgroups, clock)
        before, self._previous = self._previous, now
        if before is None:
            return Outcome.passed("no number yet: the first run only begins to count")
        passed, used = now.at - before.at, now.used - before.used
        if passed <= 0 or used < 0:
            return Outcome.passed("no number: the kernel's counters did not go on since the previous run")
        ratio = used / (passed * now.cpus)
        usage = Outcome.measured(
            f"{ratio:.0%} of {now.cpus:g} CPUs used in {passed:.1f} s",
            Measurement("cpu_used_ratio", ratio, self.warn_ratio, self.fail_ratio),
        )
        return usage if now.periods is None else Outcome.worst(usage, self._throttling(before, now))

    def _throttling(self, before: _Count, now: _Count) -> Outcome:
        periods = (now.periods or 0) - (before.periods or 0)
        ratio = max(0.0, (now.throttled - before.throttled) / periods) if periods > 0 else 0.0
        return Outcome.measured(
            f"throttled in {ratio:.0%} of {max(0, periods)} periods",
            Measurement("cpu_throttled_ratio", ratio, self.warn_throttled_ratio, self.fail_throttled_ratio),
        )


def _host(proc: Path) -> _Count:
    """The machine's CPU time, from the sum over its CPUs (man 5 proc_stat). What a hypervisor takes counts as used."""
    text = read(proc / "stat")
    if text is None:
        raise ProbeError(Reason.MISSING, f"{proc / 'stat'} does not exist: this kind needs Linux")
    ticks = [int(each) for each in text.splitlines()[0].split()[1:9]]  # those after them are in the first two already
    idle, second, cpus = ticks[3] + ticks[4], os.sysconf("SC_CLK_TCK"), machine_cpus(proc)
    return _Count(sum(ticks) / second / cpus, (sum(ticks) - idle) / second, cpus)


def _container(proc: Path, cgroups: Path, clock: Callable[[], float]) -> _Count:
    cpu, cpus = Cgroup(proc, cgroups).cpu(), allowed_cpus(proc)
    cpus_or_quota = cpus if cpu.quota is None else min(cpu.quota, cpus)
    return _Count(clock(), cpu.seconds, cpus_or_quota, cpu.periods, cpu.throttled)
