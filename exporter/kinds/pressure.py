"""The kind `pressure`: for how much of the time work stood still for want of CPU, memory or I/O (Linux PSI)."""

import re
from pathlib import Path
from typing import ClassVar, Literal

from exporter.host.cgroup import Cgroup, read
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.probe.check import Probe
from exporter.probe.options import Ratio


class Pressure(Probe):
    """The part of the time in which tasks were stalled because they waited for a resource, as the kernel averages it.

    Where a load average or a full memory may be harmless, pressure is time lost. It needs Linux 4.20 with PSI, and for
    a container cgroup version 2. `scope: container` is the exporter's own container, which in a pod is not the
    application's. For the whole machine's CPUs the line `full` has no meaning, and is 0 or not there.
    """

    measures: ClassVar = {
        "pressure_stalled_ratio": "Part of the time in which tasks were stalled, averaged over the check's window, "
        "as of the latest run.",
    }

    examples: ClassVar = (
        "- name: memory-pressure\n  pressure: {resource: memory, line: full, failRatio: 0.2}\n  groups: []",
        "- name: io-pressure\n  pressure: {resource: io, window: 300s, warnRatio: 0.3}\n  groups: []",
        "- name: own-cpu-pressure\n  pressure: {resource: cpu, scope: container}\n  groups: []",
    )

    resource: Literal["cpu", "memory", "io"]
    """What is waited for."""
    scope: Literal["host", "container"] = "host"
    """Whose tasks are looked at."""
    window: Literal["10s", "60s", "300s"] = "60s"
    """Which of the kernel's three averages is judged."""
    line: Literal["some", "full"] = "some"
    """`some`: at least one task waited. `full`: all that had work waited, and nothing was done."""
    fail_ratio: Ratio = 0.6  # as systemd-oomd's DefaultMemoryPressureLimit
    """Stalled part at and above which the check fails."""
    warn_ratio: Ratio | None = None
    """Stalled part at and above which it warns."""

    @property
    def target(self) -> str:
        return f"{self.resource} of {self.scope}"

    def liveness_risk(self) -> str | None:
        if self.scope == "container":
            return "this pressure is the exporter's own container's, which in a pod is not the application's"
        return "this pressure is the whole machine's: a restart here adds to it"

    def probe(self, deadline: Deadline, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Outcome:
        text = self._host(proc) if self.scope == "host" else self._container(proc, cgroups)
        average = re.search(rf"^{self.line} .*\bavg{self.window.rstrip('s')}=([\d.]+)", text, re.MULTILINE)
        if average is None:
            raise ProbeError(Reason.MISSING, f"this kernel has no line {self.line} for {self.resource}: use line some")
        ratio = float(average[1]) / 100
        tasks = "some tasks" if self.line == "some" else "all tasks"
        return Outcome.measured(
            f"{tasks} waited for {self.resource} in {ratio:.1%} of the last {self.window}",
            Measurement("pressure_stalled_ratio", ratio, self.warn_ratio, self.fail_ratio),
        )

    def _host(self, proc: Path) -> str:
        path = proc / "pressure" / self.resource
        text = read(path)
        if text is None:
            needs = "Linux 4.20 with CONFIG_PSI is needed, on some systems started with the parameter psi=1"
            raise ProbeError(Reason.MISSING, f"{path} tells nothing: {needs}")
        return text

    def _container(self, proc: Path, cgroups: Path) -> str:
        text = Cgroup(proc, cgroups).pressure(self.resource)
        if text is None:
            needs = "cgroup version 2 and a kernel with PSI are needed, or scope host"
            raise ProbeError(Reason.MISSING, f"this cgroup tells no {self.resource}.pressure: {needs}")
        return text
