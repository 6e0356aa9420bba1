"""The kind `pressure`: how much of the time tasks were stalled waiting for CPU, memory or I/O (Linux PSI)."""

import re
from pathlib import Path
from typing import ClassVar, Literal

from exporter.host.mounts import explain_absence
from exporter.host.proc import read_file
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.probe.of import Scoped, name_target, read_cgroup
from exporter.probe.options import Ratio


class Pressure(Scoped):
    """Checks the share of time in which tasks were stalled waiting for CPU, memory or I/O.

    The kernel averages it (pressure stall information, PSI). A high load average or full memory may be harmless;
    pressure is lost time. It requires Linux 4.20 with PSI, and cgroup version 2 for a container. `scope: container` is
    the exporter's own container, which in a pod is not the application's: for that, use the option `of`. For the whole
    machine's CPUs, the line `full` has no meaning: it is 0 or missing.
    """

    measures: ClassVar = {
        "pressure_stalled_ratio": "Share of time in which tasks were stalled, averaged over the check's window, in the "
        "latest run.",
    }
    examples: ClassVar = (
        "- name: memory-pressure\n  pressure: {resource: memory, line: full, failRatio: 0.2}\n  groups: []",
        "- name: io-pressure\n  pressure: {resource: io, window: 300s, warnRatio: 0.3}\n  groups: []",
        "- name: nginx-pressure\n  pressure: {resource: memory, scope: container, of: {process: nginx}}\n  groups: []",
        "- name: own-cpu-pressure\n  pressure: {resource: cpu, scope: container}\n  groups: []",
    )

    resource: Literal["cpu", "memory", "io"]
    """Resource that tasks wait for."""
    window: Literal["10s", "60s", "300s"] = "60s"
    """Which of the kernel's three averages to use."""
    line: Literal["some", "full"] = "some"
    """`some`: at least one task was stalled. `full`: all tasks with work to do were stalled, so none made progress."""
    fail_ratio: Ratio = 0.6  # as systemd-oomd's DefaultMemoryPressureLimit
    """Fails when the stalled share reaches this value."""
    warn_ratio: Ratio | None = None
    """Warns when the stalled share reaches this value."""

    @property
    def target(self) -> str:
        return name_target(f"{self.resource} of {self.scope}", self.of)

    def liveness_risk(self) -> str | None:
        if self.of is not None:
            return None
        if self.scope == "container":
            return "this is the pressure in the exporter's own container, which in a pod is not the application's"
        return "this pressure is the whole machine's; a restart adds to it"

    def probe(self, deadline: Deadline, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Outcome:
        text = self._read_host(proc) if self.scope == "host" else self._read_container(deadline, proc, cgroups)
        average = re.search(rf"^{self.line} .*\bavg{self.window.rstrip('s')}=(\d+(?:\.\d+)?)(?!\S)", text, re.MULTILINE)
        if average is None:
            use = ": use line: some" if self.line == "full" else ""
            message = f"this kernel has no average of {self.window} in the line {self.line} for {self.resource}{use}"
            raise ProbeError(Reason.MISSING, message)
        ratio = float(average[1]) / 100
        tasks = "some tasks" if self.line == "some" else "all tasks"
        share = Measurement("pressure_stalled_ratio", ratio, self.warn_ratio, self.fail_ratio)
        message = f"{tasks} waited for {self.resource} in {share.quantity} of the last {self.window[:-1]} s"
        return Outcome.measured(message, share)

    def _read_host(self, proc: Path) -> str:
        path = proc / "pressure" / self.resource
        text = read_file(path)
        if text is None:
            needs = "this kind needs Linux 4.20 with CONFIG_PSI, and on some systems the kernel parameter psi=1"
            raise ProbeError(Reason.MISSING, explain_absence(path, proc, needs))
        return text

    def _read_container(self, deadline: Deadline, proc: Path, cgroups: Path) -> str:
        text = read_cgroup(self.of, lambda cgroup: cgroup.read_pressure(self.resource), deadline, proc, cgroups)
        if text is None:
            needs = "a container needs cgroup version 2 and a kernel with PSI; otherwise use scope: host"
            raise ProbeError(Reason.MISSING, f"this cgroup has no {self.resource}.pressure: {needs}")
        return text
