"""The kind `memory`: how much of this machine's memory is in use."""

from typing import ClassVar

import psutil

from exporter.check import Probe, Ratio
from exporter.model import Deadline, Measurement, Outcome


class Memory(Probe):
    """The part of the machine's memory that is not available for a new process without swapping.

    Available is the kernel's own estimate (`MemAvailable`), which counts caches that can be given up.
    """

    measures: ClassVar = {
        "memory_used_ratio": "Memory that is not available, as a part of the total, as of the latest run.",
        "memory_available_bytes": "Memory available without swapping, as of the latest run.",
        "memory_total_bytes": "Memory of the machine, as of the latest run.",
    }

    fail_ratio: Ratio = 0.9
    """Used part at and above which the check fails."""
    warn_ratio: Ratio | None = None
    """Used part at and above which it warns."""

    @property
    def target(self) -> str:
        return "host"

    def liveness_risk(self) -> str | None:
        return "this memory is the whole machine's: a restart here does not free what others hold"

    def probe(self, deadline: Deadline) -> Outcome:
        memory = psutil.virtual_memory()
        used = 1 - memory.available / memory.total
        return Outcome.judged(
            f"{used:.0%} of {memory.total / 2**30:.1f} GiB memory is in use",
            Measurement("memory_used_ratio", used, self.warn_ratio, self.fail_ratio),
            Measurement("memory_available_bytes", memory.available),
            Measurement("memory_total_bytes", memory.total),
        )
