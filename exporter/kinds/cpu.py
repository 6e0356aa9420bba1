"""The kind `cpu`: how much CPU time was used, and how often a container was throttled."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr, model_validator

from exporter.host.cgroup import Cgroup, CpuUse
from exporter.host.mounts import explain_absence
from exporter.host.proc import count_allowed_cpus, count_machine_cpus, parse_number, read_file
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.probe.of import Scoped, name_target, read_cgroup
from exporter.probe.options import Ratio

MIN_ELAPSED = 0.05
"""Seconds. If the counters have advanced by less since the previous run, a ratio of them says nothing."""


@dataclass(frozen=True, slots=True)
class _Use:
    """The CPU time that was used between two runs."""

    elapsed: float  # seconds
    used: float  # seconds of CPU time
    cpus: float  # how many may be used at once
    whose: str = ""  # words for the summary
    periods: int | None = None  # of the quota; None if there is no quota
    throttled: int = 0  # periods in which the container was throttled

    @property
    def ratio(self) -> float:
        return self.used / (self.elapsed * self.cpus)

    @property
    def throttled_ratio(self) -> float:
        return max(0, self.throttled) / self.periods if self.periods and self.periods > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Machine:
    """The ticks of all CPUs of the machine, by field, at one moment."""

    identity: ClassVar[str] = ""
    source: Path
    ticks: tuple[int, ...]
    cpus: int

    @property
    def counted(self) -> bool:
        return any(self.ticks)

    def compare(self, before: "_Machine") -> list[_Use]:
        """Return the use since then; nothing if the counters have gone back.

        A single field that decreases, as `iowait` may (man 5 proc_stat), counts as unchanged.
        """
        if sum(self.ticks) < sum(before.ticks):
            return []
        spent = [max(0, now - then) for then, now in zip(before.ticks, self.ticks, strict=True)]
        second = os.sysconf("SC_CLK_TCK")
        used = sum(spent) - sum(spent[3:5])  # without idle and iowait
        return [_Use(sum(spent) / second / self.cpus, used / second, self.cpus)]


@dataclass(frozen=True, slots=True)
class _Container:
    """The counters of the container's cgroup, and of those above it with a quota, at one moment."""

    source: Path
    time: float
    levels: dict[str, CpuUse]
    cpus: int
    identity: str
    """Differs from that of a container that it has replaced."""

    @property
    def counted(self) -> bool:
        return self.levels[""].seconds > 0

    def compare(self, before: "_Container") -> list[_Use]:
        """Return the use since then, of each cgroup whose counters have not gone back."""
        return [
            self._compare_level(then, now, self.time - before.time)
            for name, now in self.levels.items()
            if (then := before.levels.get(name)) is not None and now.seconds >= then.seconds
        ]

    def _compare_level(self, then: CpuUse, now: CpuUse, elapsed: float) -> _Use:
        cpus = self.cpus if now.quota is None else now.quota if now.cgroup else min(now.quota, self.cpus)
        whose = f" by the cgroup {now.cgroup} above the container" if now.cgroup else ""
        periods = None if now.periods is None else now.periods - (then.periods or 0)
        return _Use(elapsed, now.seconds - then.seconds, cpus, whose, periods, now.throttled - then.throttled)


class Cpu(Scoped):
    """Checks the share of CPU time that was used since the previous run of this check.

    The first run passes without a number, because there is nothing to compare it with. If a later run has no number,
    because the kernel does not count CPU time, the result is `unknown`. `scope: container` is the exporter's own
    container, which in a pod is not the application's: for that, use the option `of`. Its use is a share of its quota
    (the CPU limit), or of the CPUs it may run on if it has no quota or a larger one. If cgroups above the container
    have quotas too, such as that of a pod, and the container can see them, the one that is nearest to its quota counts.
    The kernel enforces a quota in periods, usually of 100 ms, and throttles a container that has used up its quota
    before the period ends.
    """

    measures: ClassVar = {
        "cpu_used_ratio": "Share of CPU time that was used between the two latest runs of the check.",
        "cpu_throttled_ratio": "Share of the CPU quota's periods in which the container was throttled, between the two "
        "latest runs of the check.",
    }
    examples: ClassVar = (
        "- name: cpu\n  cpu: {warnRatio: 0.8}\n  groups: []",
        "- name: nginx-cpu\n  cpu: {scope: container, of: {process: nginx}, warnThrottledRatio: 0.25}\n  groups: []",
        "- name: own-cpu\n  cpu: {scope: container, warnThrottledRatio: 0.25}\n  groups: []",
    )

    fail_ratio: Ratio = 0.95
    """Fails when the used share reaches this value."""
    warn_ratio: Ratio | None = None
    """Warns when the used share reaches this value."""
    fail_throttled_ratio: Ratio | None = None
    """Fails when the share of throttled periods reaches this value. Requires `scope: container`."""
    warn_throttled_ratio: Ratio | None = None
    """Warns when the share of throttled periods reaches this value. Requires `scope: container`."""

    _previous: Any = PrivateAttr(default=None)  # a _Machine or a _Container

    @model_validator(mode="after")
    def _validate_throttling(self) -> Self:
        throttled = self.fail_throttled_ratio is not None or self.warn_throttled_ratio is not None
        if throttled and self.scope == "host":
            raise ValueError("failThrottledRatio and warnThrottledRatio require scope: container")
        return self

    @property
    def target(self) -> str:
        return name_target(self.scope, self.of)

    def liveness_risk(self) -> str | None:
        if self.of is not None:
            return None
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
        now: _Machine | _Container
        if self.scope == "host":
            now = _read_machine(proc)
        else:
            now = read_cgroup(self.of, partial(_read_container, clock, cgroups), deadline, proc, cgroups)
        if not now.counted:
            raise ProbeError(
                Reason.MISSING, f"{now.source}: this kernel does not count CPU time, so there is no number"
            )
        before, self._previous = self._previous, now
        if before is None or before.identity != now.identity:
            return Outcome.passed("no number yet: the first run only starts the count")
        uses = now.compare(before)
        if not uses or uses[0].elapsed < MIN_ELAPSED:
            self._previous = before if uses else now
            message = f"{now.source}: the counters of CPU time have not advanced since the previous run"
            raise ProbeError(Reason.MISSING, f"{message}, so there is no number")
        return self._compare(uses)

    def _compare(self, uses: list[_Use]) -> Outcome:
        use = max(uses, key=lambda use: use.ratio)
        share = Measurement("cpu_used_ratio", use.ratio, self.warn_ratio, self.fail_ratio)
        message = f"{share.quantity} of {use.cpus:g} CPUs used in {use.elapsed:.1f} s{use.whose}"
        usage = Outcome.measured(message, share)
        limited = [use for use in uses if use.periods is not None]
        return Outcome.worst(usage, self._compare_throttling(limited)) if limited else usage

    def _compare_throttling(self, uses: list[_Use]) -> Outcome:
        use = max(uses, key=lambda use: use.throttled_ratio)
        limits = self.warn_throttled_ratio, self.fail_throttled_ratio
        share = Measurement("cpu_throttled_ratio", use.throttled_ratio, *limits)
        message = f"throttled in {share.quantity} of {max(0, use.periods or 0)} periods{use.whose}"
        return Outcome.measured(message, share)


def _read_machine(proc: Path) -> _Machine:
    """Return the CPU time of all CPUs of the machine (man 5 proc_stat). Time taken by a hypervisor counts as used."""
    source = proc / "stat"
    text = read_file(source)
    if text is None:
        raise ProbeError(Reason.MISSING, explain_absence(source, proc, "this kind needs Linux"))
    # The fields are user, nice, system, idle, iowait, irq, softirq and steal; user and nice include the guests' time.
    ticks = tuple(parse_number(field, source) for field in text.partition("\n")[0].split()[1:9])
    return _Machine(source, ticks, count_machine_cpus(proc))


def _read_container(clock: Callable[[], float], source: Path, cgroup: Cgroup) -> _Container:
    levels = {use.cgroup: use for use in cgroup.read_cpu()}
    return _Container(source, clock(), levels, count_allowed_cpus(cgroup.process), cgroup.listing)
