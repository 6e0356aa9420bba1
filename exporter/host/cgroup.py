"""The cgroup of a process, which in a container is the container's: what it uses and what it may use.

Only this file knows the layouts of version 1, version 2 and both together (man 7 cgroups). Any cgroup above that of the
process may have a limit, for everything in it together. The limit that is nearest to being reached is what matters: the
kernel kills or throttles when the first one is reached, whether or not it is the lowest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporter.host.folders import Folder, OwnFolder
from exporter.host.proc import parse_number, read_file
from exporter.model import ProbeError, Reason

UNLIMITED = 2**60
"""Bytes. Version 1 writes "no limit" as a number near 2**63, rounded to memory pages."""

_V2 = ""  # the name of the unified hierarchy among the controllers in /proc/self/cgroup


@dataclass(frozen=True, slots=True)
class CpuUse:
    """CPU time of one cgroup, counted since it was created."""

    cgroup: str  # the path of a cgroup above that of the process; empty for its own
    seconds: float
    quota: float | None  # CPUs it may use at once; None without a limit
    periods: int | None  # of the quota, in which it had work to do; None if the kernel does not count them
    throttled: int  # periods in which it had to wait


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory of one cgroup in bytes."""

    cgroup: str  # the path of a cgroup above that of the process; empty for its own
    used: int  # the kubelet's working set: without the file pages that the kernel reclaims first
    limit: int | None
    oom_kills: int | None  # processes of the process's own cgroup that were killed because memory ran out; None if the
    # kernel does not count them


class Cgroup:
    """The cgroup of a process. Its methods raise ProbeError if there is no cgroup that counts the resource."""

    def __init__(self, process: Path, find_mount: Callable[[str], Folder]) -> None:
        """`process` is the folder of the process in /proc.

        `find_mount` returns where the hierarchy of a controller of version 1 is mounted, or that of version 2 for "".
        """
        self.process = process
        self.listing = read_file(process / "cgroup") or ""
        """The paths of the cgroup, which no other container has at the same time."""
        self._find_mount = find_mount
        self._paths = dict(_parse_hierarchies(self.listing))

    def read_cpu(self) -> list[CpuUse]:
        """Return the CPU time, the quota, and how often the quota was used up.

        The first is the process's own cgroup. Those above it follow if they have a quota.
        """
        v1 = self._is_v1("cpu")
        quotas = {
            name: (level, (_read_quota_v1 if v1 else _read_quota_v2)(level))
            for name, level in self._list_levels("cpu" if v1 else _V2).items()
        }
        times = self._list_levels("cpuacct") if v1 else {}
        return [
            _read_cpu_v1(name, level, quota, times.get(name, times[""])) if v1 else _read_cpu_v2(name, level, quota)
            for name, (level, quota) in quotas.items()
            if not name or quota is not None
        ]

    def read_memory(self, machine: int = UNLIMITED) -> MemoryUse:
        """Return the working set and the limit of the cgroup that is nearest to its limit.

        Without a limit up to the memory of the machine, in bytes, it is the process's own cgroup.
        """
        v1 = self._is_v1("memory")
        levels = self._list_levels("memory" if v1 else _V2)
        limits = {name: (_read_limit_v1 if v1 else _read_limit_v2)(level) for name, level in levels.items()}
        uses = {
            name: (_read_working_set_v1 if v1 else _read_working_set_v2)(levels[name])
            for name, limit in limits.items()
            if not name or (limit is not None and limit <= machine)
        }
        nearest = max(uses, key=lambda name: _divide(uses[name], limits[name]))
        kills = _read_table(levels[""], "memory.oom_control" if v1 else "memory.events")
        return MemoryUse(nearest, uses[nearest], limits[nearest], kills.get("oom_kill"))

    def read_pressure(self, resource: str) -> str | None:
        """Return the text of a file such as `cpu.pressure`; None if the kernel has none, as in version 1."""
        return self._list_levels(_V2)[""].read(f"{resource}.pressure") if _V2 in self._paths else None

    def _is_v1(self, controller: str) -> bool:
        return controller in self._paths

    def _list_levels(self, controller: str) -> dict[str, Folder]:
        """Return the folder of the process's cgroup, named "", and those above it that this container can see."""
        if controller not in self._paths:
            message = f"{self.process / 'cgroup'} does not list such a cgroup: use scope: host"
            raise ProbeError(Reason.MISSING, message)
        mount, path = self._find_mount(controller), self._paths[controller]
        folder = mount.find(path)
        if ".." in path or not folder.exists():
            return {"": mount}  # without a cgroup namespace, a container has its own cgroup at the mount point
        above = {f"/{'/'.join(path[:depth])}": mount.find(path[:depth]) for depth in reversed(range(len(path)))}
        return {"": folder, **above}


def find_mount_below(cgroups: Path, controller: str) -> Folder:
    """Return where a hierarchy is mounted for this process, below the folder of the cgroup filesystems."""
    if controller == _V2:
        return OwnFolder(cgroups if (cgroups / "cgroup.controllers").exists() else cgroups / "unified")
    mounts = (path for path in cgroups.glob(f"*{controller}*") if controller in path.name.split(","))
    return OwnFolder(next(mounts, cgroups / controller))


def _parse_hierarchies(text: str) -> list[tuple[str, list[str]]]:
    """Return controllers and their paths, from lines such as `4:memory:/docker/1f`, `2:cpu,cpuacct:/` and `0::/`."""
    lines = (line.split(":", 2) for line in text.split("\n") if line.count(":") >= 2)
    return [
        (controller, [part for part in path.split("/") if part])
        for _, controllers, path in lines
        for controller in controllers.split(",")
    ]


def _divide(used: int, limit: int | None) -> float:
    if limit is None:
        return 0.0
    return used / limit if limit else math.inf


def _read_cpu_v1(name: str, level: Folder, quota: float | None, times: Folder) -> CpuUse:
    """`times` is the cgroup's folder in the other hierarchy, which may be less deep: then the process's own."""
    stat, seconds = _read_table(level, "cpu.stat"), _read_count(times, "cpuacct.usage") / 1e9
    return CpuUse(name, seconds, quota, stat.get("nr_periods"), stat.get("nr_throttled", 0))


def _read_cpu_v2(name: str, level: Folder, quota: float | None) -> CpuUse:
    stat = _read_table(level, "cpu.stat")
    if "usage_usec" not in stat:
        raise _make_missing_error(level, "cpu.stat")
    return CpuUse(name, stat["usage_usec"] / 1e6, quota, stat.get("nr_periods"), stat.get("nr_throttled", 0))


def _read_quota_v1(level: Folder) -> float | None:
    quota, period = (_read_number(level, f"cpu.cfs_{name}_us", 0) for name in ("quota", "period"))
    return quota / period if quota > 0 and period > 0 else None


def _read_quota_v2(level: Folder) -> float | None:
    quota, _, period = (level.read("cpu.max") or "max").partition(" ")
    if quota.strip() == "max":
        return None
    return parse_number(quota, f"{level}/cpu.max") / parse_number(period, f"{level}/cpu.max")


def _read_limit_v1(level: Folder) -> int | None:
    limit = _read_number(level, "memory.limit_in_bytes", UNLIMITED)
    return limit if limit < UNLIMITED else None


def _read_limit_v2(level: Folder) -> int | None:
    limit = (level.read("memory.max") or "max").strip()
    return None if limit == "max" else parse_number(limit, f"{level}/memory.max")


def _read_working_set_v1(level: Folder) -> int:
    idle = _read_table(level, "memory.stat").get("total_inactive_file", 0)
    return max(0, _read_count(level, "memory.usage_in_bytes") - idle)


def _read_working_set_v2(level: Folder) -> int:
    idle = _read_table(level, "memory.stat").get("inactive_file", 0)
    return max(0, _read_count(level, "memory.current") - idle)


def _read_count(folder: Folder, name: str) -> int:
    text = folder.read(name)
    if text is None:
        raise _make_missing_error(folder, name)
    return parse_number(text, f"{folder}/{name}")


def _read_number(folder: Folder, name: str, otherwise: int) -> int:
    text = folder.read(name)
    return parse_number(text, f"{folder}/{name}") if text else otherwise


def _read_table(folder: Folder, name: str) -> dict[str, int]:
    """Return the lines with a word and a number in a file; empty if it does not exist."""
    rows = (line.split() for line in (folder.read(name) or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


def _make_missing_error(folder: Folder, name: str) -> ProbeError:
    message = f"{folder}/{name} does not exist, so the kernel does not count this: use scope: host"
    return ProbeError(Reason.MISSING, message)
