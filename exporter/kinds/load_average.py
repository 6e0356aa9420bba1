"""The kind `loadAverage`: how many processes want a CPU, for each CPU there is."""

import os
from collections.abc import Callable
from typing import ClassVar, Literal

from exporter.host.cgroup import machine_cpus
from exporter.model import Deadline, Measurement, Outcome
from exporter.probe.check import Probe
from exporter.probe.options import Ratio

_WINDOWS = ("1m", "5m", "15m")


class LoadAverage(Probe):
    """The machine's load average over a window, divided by the number of its CPUs.

    `/proc/loadavg` is the whole machine's, in a container too, and so is the number of CPUs it is divided by: never the
    container's quota or cpuset, for then others' work would look like its own. For a container there are the kinds
    `cpu` and `pressure` with `scope: container`. A load of 0.0 is healthy.

    The classic form is `os.getloadavg()[0] / os.cpu_count() < 0.9`, which is `loadAverage: {}`.
    """

    measures: ClassVar = {
        "load1": "Load average over 1 minute, as of the latest run.",
        "load5": "Load average over 5 minutes, as of the latest run.",
        "load15": "Load average over 15 minutes, as of the latest run.",
        "load_ratio": "Load average over the check's window divided by the number of CPUs, as of the latest run.",
        "cpus": "CPUs of the machine, as of the latest run.",
    }

    examples: ClassVar = (
        "- name: load\n  loadAverage: {}",
        "- name: load\n  loadAverage: {window: 5m, warnRatio: 0.7, failRatio: 2}\n  groups: []",
    )

    window: Literal["1m", "5m", "15m"] = "1m"
    """Which of the three load averages is judged."""
    fail_ratio: Ratio = 0.9
    """Load per CPU at and above which the check fails."""
    warn_ratio: Ratio | None = None
    """Load per CPU at and above which it warns."""

    @property
    def target(self) -> str:
        return "host"

    def liveness_risk(self) -> str | None:
        return "the load average is the whole machine's: a restart here does not lower what others cause"

    def probe(
        self,
        deadline: Deadline,
        getloadavg: Callable[[], tuple[float, float, float]] = os.getloadavg,
        cpu_count: Callable[[], int] = machine_cpus,
    ) -> Outcome:
        loads, cpus = getloadavg(), cpu_count()
        load = loads[_WINDOWS.index(self.window)]
        return Outcome.measured(
            f"load over {self.window} is {load:.2f} on {cpus} CPUs, {load / cpus:.2f} per CPU",
            Measurement("load_ratio", load / cpus, self.warn_ratio, self.fail_ratio),
            Measurement("load1", loads[0]),
            Measurement("load5", loads[1]),
            Measurement("load15", loads[2]),
            Measurement("cpus", cpus),
        )
