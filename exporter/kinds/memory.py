"""The kind `memory`: how much of the memory of the machine, or of the container, is in use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import psutil

from exporter.host.cgroup import Cgroup
from exporter.model import Deadline, Measurement, Outcome
from exporter.probe.check import Probe
from exporter.probe.options import Ratio


class Memory(Probe):
    """The part of the machine's or the container's memory that is in use.

    The machine's available memory is the kernel's own estimate (`MemAvailable`), which counts caches that can be given
    up. `scope: container` is the exporter's own container, which in a pod is not the application's. Its used memory is
    the working set by which the kubelet evicts, judged against its limit, or against the machine's memory where it has
    none or a larger one.
    """

    measures: ClassVar = {
        "memory_used_ratio": "Memory in use, as a part of the total, as of the latest run.",
        "memory_available_bytes": "Memory that may still be used without swapping, as of the latest run.",
        "memory_total_bytes": "Memory of the machine, or the container's limit, as of the latest run.",
        "memory_oom_kills": "Processes of the container that were killed for want of memory, as of the latest run.",
    }

    examples: ClassVar = (
        "- name: memory\n  memory: {warnRatio: 0.8, failRatio: 0.95}",
        "- name: own-memory\n  memory: {scope: container}\n  groups: []",
    )

    scope: Literal["host", "container"] = "host"
    """Whose memory is looked at."""
    fail_ratio: Ratio = 0.9
    """Used part at and above which the check fails."""
    warn_ratio: Ratio | None = None
    """Used part at and above which it warns."""

    @property
    def target(self) -> str:
        return self.scope

    def liveness_risk(self) -> str | None:
        if self.scope == "container":
            return "this memory is the exporter's own container's, which in a pod is not the application's"
        return "this memory is the whole machine's: a restart here does not free what others hold"

    def probe(
        self,
        deadline: Deadline,
        machine: Callable[[], Any] = psutil.virtual_memory,
        proc: Path = Path("/proc"),
        cgroups: Path = Path("/sys/fs/cgroup"),
    ) -> Outcome:
        memory = machine()
        if self.scope == "host":
            return self._conclude("", memory.total - memory.available, memory.total)
        own = Cgroup(proc, cgroups).memory()
        kills = () if own.oom_kills is None else (Measurement("memory_oom_kills", own.oom_kills),)
        if own.limit is None or own.limit > memory.total:
            return self._conclude("the container has no lower limit: ", own.used, memory.total, *kills)
        return self._conclude("container: ", own.used, own.limit, *kills)

    def _conclude(self, whose: str, used: int, total: int, *others: Measurement) -> Outcome:
        ratio = used / total if total else 1.0  # a limit of 0 is a limit
        amount = f"{total / 2**30:.1f} GiB" if total >= 2**30 else f"{total / 2**20:.1f} MiB"
        return Outcome.measured(
            f"{whose}{ratio:.0%} of {amount} memory is in use",
            Measurement("memory_used_ratio", ratio, self.warn_ratio, self.fail_ratio),
            Measurement("memory_available_bytes", max(0, total - used)),
            Measurement("memory_total_bytes", total),
            *others,
        )
