"""The kind `loadAverage`: how many processes run or wait to run, per CPU."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

from exporter.host.proc import count_machine_cpus, read_file
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.probe.check import Probe
from exporter.probe.options import Ratio

_WINDOWS = ("1m", "5m", "15m")


class LoadAverage(Probe):
    """Checks the machine's load average over a window, divided by the number of its CPUs.

    Even in a container, `/proc/loadavg` is the whole machine's. It is therefore divided by the machine's CPUs, never by
    the container's quota or cpuset; otherwise the load of other containers would look like this one's. For a container,
    use the kinds `cpu` and `pressure` with `scope: container`. A load of 0.0 is healthy.

    The classic form is `os.getloadavg()[0] / os.cpu_count() < 0.9`, which is `loadAverage: {}`.
    """

    measures: ClassVar = {
        "load1": "Load average over 1 minute, in the latest run.",
        "load5": "Load average over 5 minutes, in the latest run.",
        "load15": "Load average over 15 minutes, in the latest run.",
        "load_ratio": "Load average over the check's window divided by the number of CPUs, in the latest run.",
        "cpus": "CPUs of the machine, in the latest run.",
    }
    examples: ClassVar = (
        "- name: load\n  loadAverage: {}",
        "- name: load\n  loadAverage: {window: 5m, warnRatio: 0.7, failRatio: 2}\n  groups: []",
    )

    window: Literal["1m", "5m", "15m"] = "1m"
    """Which of the three load averages to use."""
    fail_ratio: Ratio = 0.9
    """Fails when the load per CPU reaches this value."""
    warn_ratio: Ratio | None = None
    """Warns when the load per CPU reaches this value."""

    @property
    def target(self) -> str:
        return "host"

    def liveness_risk(self) -> str | None:
        return "the load average is the whole machine's; a restart cannot reduce load that other processes cause"

    def probe(
        self,
        deadline: Deadline,
        getloadavg: Callable[[], tuple[float, float, float]] = os.getloadavg,
        cpu_count: Callable[[], int] = count_machine_cpus,
        proc: Path = Path("/proc"),
    ) -> Outcome:
        loads, cpus = getloadavg(), cpu_count()
        if not any(loads) and (read_file(proc / "loadavg") or "").split()[3:4] == ["0/0"]:
            # Threads that run, and all threads. At least this one exists, so the file is not filled in, as in gVisor.
            raise ProbeError(Reason.MISSING, f"{proc / 'loadavg'}: this kernel does not count the load average")
        numbers = [Measurement(name, value) for name, value in zip(("load1", "load5", "load15"), loads, strict=True)]
        load = numbers[_WINDOWS.index(self.window)]
        share = Measurement("load_ratio", load.value / cpus, self.warn_ratio, self.fail_ratio)
        message = f"load over {self.window} is {load.quantity}, {share.quantity} of {cpus} CPU{'s' * (cpus > 1)}"
        return Outcome.measured(message, share, *numbers, Measurement("cpus", cpus))
