"""The kind `memory`: how much of the machine's or the container's memory is in use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import psutil

from exporter.host.cgroup import UNLIMITED
from exporter.host.mounts import explain_absence
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason
from exporter.probe.of import Scoped, name_target, read_cgroup
from exporter.probe.options import Ratio


class Memory(Scoped):
    """Checks the share of the machine's or the container's memory that is in use.

    The machine's available memory is the kernel's own estimate (`MemAvailable`), which includes caches that can be
    reclaimed. `scope: container` is the exporter's own container, which in a pod is not the application's: for that,
    use the option `of`. Its used memory is the working set, which the kubelet uses for evictions, as a share of the
    container's limit, or of the machine's memory if it has no limit or a larger one. If cgroups above the container
    have limits too, such as those of a pod or of a systemd slice, and the container can see them, the one that is
    nearest to its limit counts.
    """

    measures: ClassVar = {
        "memory_used_ratio": "Memory in use as a share of the total, in the latest run.",
        "memory_available_bytes": "Memory that can still be used without swapping, in the latest run.",
        "memory_total_bytes": "Memory of the machine, or the container's limit, in the latest run.",
        "memory_oom_kills_total": "Processes of the container killed for lack of memory, up to the latest run.",
    }
    examples: ClassVar = (
        "- name: memory\n  memory: {warnRatio: 0.8, failRatio: 0.95}",
        "- name: nginx-memory\n  memory: {scope: container, of: {process: nginx}}\n  groups: [liveness, startup]",
        "- name: own-memory\n  memory: {scope: container}\n  groups: []",
    )

    fail_ratio: Ratio = 0.9
    """Fails when the used share reaches this value."""
    warn_ratio: Ratio | None = None
    """Warns when the used share reaches this value."""

    @property
    def target(self) -> str:
        return name_target(self.scope, self.of)

    def liveness_risk(self) -> str | None:
        if self.of is not None:
            return None
        if self.scope == "container":
            return "this is the memory of the exporter's own container, which in a pod is not the application's"
        return "this memory is the whole machine's; a restart cannot free the memory of other processes"

    def probe(
        self,
        deadline: Deadline,
        machine: Callable[[], Any] = psutil.virtual_memory,
        proc: Path = Path("/proc"),
        cgroups: Path = Path("/sys/fs/cgroup"),
    ) -> Outcome:
        if self.scope == "host":
            memory = _read_machine(machine, proc)
            return self._compare("", memory.total - memory.available, memory.total)
        total = _find_total(machine)
        container = read_cgroup(self.of, lambda cgroup: cgroup.read_memory(total), deadline, proc, cgroups)
        kills = () if container.oom_kills is None else (Measurement("memory_oom_kills_total", container.oom_kills),)
        if container.limit is None or container.limit > total:
            total = _read_machine(machine, proc).total
            return self._compare("the container has no lower limit: ", container.used, total, *kills)
        whose = f"the cgroup {container.cgroup} above the container: " if container.cgroup else "container: "
        return self._compare(whose, container.used, container.limit, *kills)

    def _compare(self, whose: str, used: int, total: int, *others: Measurement) -> Outcome:
        ratio = used / total if total else 1.0  # a limit of 0 is always reached
        use = Measurement("memory_used_ratio", ratio, self.warn_ratio, self.fail_ratio)
        whole = Measurement("memory_total_bytes", total)
        free = Measurement("memory_available_bytes", max(0, total - used))
        message = f"{whose}{use.quantity} of {whole.quantity} of memory is in use"
        return Outcome.measured(message, use, free, whole, *others)


def _read_machine(machine: Callable[[], Any], proc: Path) -> Any:
    """Return the machine's memory. Raises ProbeError if the kernel reports none."""
    try:
        memory = machine()
    except FileNotFoundError:
        needs = "use scope: container"
        raise ProbeError(Reason.MISSING, explain_absence(proc / "meminfo", proc, needs)) from None
    except KeyError as error:
        line = error.args[0].decode().rstrip(":")
        raise ProbeError(Reason.MISSING, f"{proc / 'meminfo'} has no line {line}") from None
    if memory.total <= 0:
        raise ProbeError(Reason.MISSING, f"{proc / 'meminfo'} reports no memory at all, so its use cannot be measured")
    return memory


def _find_total(machine: Callable[[], Any]) -> int:
    """Return the machine's memory, or no limit if it is not known: a container may have a limit of its own."""
    try:
        return int(machine().total) or UNLIMITED
    except (OSError, KeyError):
        return UNLIMITED
