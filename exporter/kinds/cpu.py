"""The kind `cpu`: how much CPU time was used, and how often a container was throttled."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import PrivateAttr, model_validator

from exporter.host.cgroup import Cgroup
from exporter.host.proc import count_allowed_cpus, count_machine_cpus, read_file
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.probe.check import Probe
from exporter.probe.options import Ratio


@dataclass(frozen=True, slots=True)
class _Counters:
    """The kernel's counters at one moment."""

    time: float  # seconds
    used: float  # seconds of CPU time
    cpus: float  # how many may be used at once; not a counter, but the current value
    periods: int | None = None  # of the quota; None if there is no quota
    throttled: int = 0  # periods in which the container was throttled


class Cpu(Probe):
    """Checks the share of CPU time that was used since the previous run of this check.

    The first run passes without a number, because there is nothing to compare it with. `scope: container` is the
    exporter's own container, which in a pod is not the application's. Its use is a share of its quota (the CPU limit),
    or of the CPUs it may run on if it has no quota or a larger one. The kernel enforces a quota in periods, usually of
    100 ms, and throttles a container that has used up its quota before the period ends.
    """

    measures: ClassVar = {
        "cpu_used_ratio": "Share of CPU time that was used between the two latest runs of the check.",
        "cpu_throttled_ratio": "Share of the CPU quota's periods in which the container was throttled, between the two "
        "latest runs of the check.",
    }
    examples: ClassVar = (
        "- name: cpu\n  cpu: {warnRatio: 0.8}\n  groups: []",
        "- name: own-cpu\n  cpu: {scope: container, warnThrottledRatio: 0.25}\n  groups: []",
    )

    scope: Literal["host", "container"] = "host"
    """Whose CPU time to measure: that of the machine or that of the exporter's own container."""
    fail_ratio: Ratio = 0.95
    """Fails when the used share reaches this value."""
    warn_ratio: Ratio | None = None
    """Warns when the used share reaches this value."""
    fail_throttled_ratio: Ratio | None = None
    """Fails when the share of throttled periods reaches this value. Requires `scope: container`."""
    warn_throttled_ratio: Ratio | None = None
    """Warns when the share of throttled periods reaches this value. Requires `scope: container`."""

    _previous: _Counters | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _validate_scope(self) -> Self:
        throttled = self.fail_throttled_ratio is not None or self.warn_throttled_ratio is not None
        if throttled and self.scope == "host":
            raise ValueError("failThrottledRatio and warnThrottledRatio require scope: container")
        return self

    @property
    def target(self) -> str:
        return self.scope

    def liveness_risk(self) -> str | None:
        if self.scope == "container":
            return "this is the CPU time of the exporter's own container, which in a pod is not the application's"
        return "this CPU time is the whole machine's; a restart cannot reduce the use of other processes"

    def probe(
        self,
        deadline: Deadline,
        proc: Path = Path("/proc"),
        cgroups: Path = Path("/sys/fs/cgroup"),
        clock: Callable[[], float] = time.monotonic,
    ) -> Outcome:
        now = _read_host(proc) if self.scope == "host" else _read_container(proc, cgroups, clock)
        before, self._previous = self._previous, now
        if before is None:
            return Outcome.passed("no number yet: the first run only starts the count")
        elapsed, used = now.time - before.time, now.used - before.used
        if elapsed <= 0 or used < 0:
            return Outcome.passed("no number: the kernel's counters have not advanced since the previous run")
        ratio = used / (elapsed * now.cpus)
        usage = Outcome.measured(
            f"{ratio * 100:.0f} % of {now.cpus:g} CPUs used in {elapsed:.1f} s",
            Measurement("cpu_used_ratio", ratio, self.warn_ratio, self.fail_ratio),
        )
        return usage if now.periods is None else Outcome.worst(usage, self._compare_throttling(before, now))

    def _compare_throttling(self, before: _Counters, now: _Counters) -> Outcome:
        periods = (now.periods or 0) - (before.periods or 0)
        ratio = max(0.0, (now.throttled - before.throttled) / periods) if periods > 0 else 0.0
        return Outcome.measured(
            f"throttled in {ratio * 100:.0f} % of {max(0, periods)} periods",
            Measurement("cpu_throttled_ratio", ratio, self.warn_throttled_ratio, self.fail_throttled_ratio),
        )


def _read_host(proc: Path) -> _Counters:
    """Return the CPU time of all CPUs of the machine (man 5 proc_stat). Time taken by a hypervisor counts as used."""
    text = read_file(proc / "stat")
    if text is None:
        raise ProbeError(Reason.MISSING, f"{proc / 'stat'} does not exist: this kind needs Linux")
    # The fields are user, nice, system, idle, iowait, irq, softirq and steal; user and nice include the guests' time.
    ticks = [int(field) for field in text.splitlines()[0].split()[1:9]]
    idle, second, cpus = ticks[3] + ticks[4], os.sysconf("SC_CLK_TCK"), count_machine_cpus(proc)
    return _Counters(sum(ticks) / second / cpus, (sum(ticks) - idle) / second, cpus)


def _read_container(proc: Path, cgroups: Path, clock: Callable[[], float]) -> _Counters:
    cpu, cpus = Cgroup(proc, cgroups).read_cpu(), count_allowed_cpus(proc)
    cpus_or_quota = cpus if cpu.quota is None else min(cpu.quota, cpus)
    return _Counters(clock(), cpu.seconds, cpus_or_quota, cpu.periods, cpu.throttled)
