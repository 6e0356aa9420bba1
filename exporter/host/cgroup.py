"""The cgroup of this process, which in a container is the container's: what it uses and what it may use.

Only this file knows the layouts of version 1, version 2 and both together (man 7 cgroups). Any level above the process
may have a limit. The lowest limit applies, so the numbers are those of its level.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporter.host.proc import read_file
from exporter.model import ProbeError, Reason

UNLIMITED = 2**60
"""Bytes. Version 1 writes "no limit" as a number near 2**63, rounded to memory pages."""

_V2 = ""  # the name of the unified hierarchy among the controllers in /proc/self/cgroup


@dataclass(frozen=True, slots=True)
class CpuUse:
    """CPU time, counted since the cgroup was created."""

    seconds: float
    quota: float | None  # CPUs it may use at once; None without a limit
    periods: int | None  # of the quota, in which it had work to do; None if the kernel does not count them
    throttled: int  # periods in which it had to wait


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory in bytes."""

    used: int  # the kubelet's working set: without the file pages that the kernel reclaims first
    limit: int | None
    oom_kills: int | None  # processes killed because memory ran out; None if the kernel does not count them


class Cgroup:
    """The cgroup of this process. Its methods raise ProbeError if there is no cgroup that counts the resource."""

    def __init__(self, proc: Path, cgroups: Path) -> None:
        """`proc` is the mount point of proc, `cgroups` that of the cgroup filesystems."""
        self._proc = proc
        self._cgroups = cgroups
        self._paths = dict(_parse_hierarchies(read_file(proc / "self" / "cgroup") or ""))

    def read_cpu(self) -> CpuUse:
        """Return the CPU time, the quota, and how often the quota was used up."""
        if self._is_v1("cpu"):
            levels = self._list_levels("cpu")
            level = _find_lowest(levels, _read_quota_v1)
            times = self._list_levels("cpuacct")
            usage = times[levels.index(level)] if len(times) == len(levels) else times[0]
            seconds, quota = _read_count(usage / "cpuacct.usage") / 1e9, _read_quota_v1(level)
            stat = _read_table(level / "cpu.stat")
        else:
            level = _find_lowest(self._list_levels(_V2), _read_quota_v2)
            stat = _read_table(level / "cpu.stat")
            if "usage_usec" not in stat:
                raise _make_missing_error(level / "cpu.stat")
            seconds, quota = stat["usage_usec"] / 1e6, _read_quota_v2(level)
        return CpuUse(seconds, quota, stat.get("nr_periods"), stat.get("nr_throttled", 0))

    def read_memory(self) -> MemoryUse:
        """Return the working set, its limit, and the number of OOM kills."""
        if self._is_v1("memory"):
            level = _find_lowest(self._list_levels("memory"), _read_limit_v1)
            used, idle, limit = level / "memory.usage_in_bytes", "total_inactive_file", _read_limit_v1(level)
            kills = _read_table(level / "memory.oom_control")
        else:
            level = _find_lowest(self._list_levels(_V2), _read_limit_v2)
            used, idle, limit = level / "memory.current", "inactive_file", _read_limit_v2(level)
            kills = _read_table(level / "memory.events")
        working_set = max(0, _read_count(used) - _read_table(level / "memory.stat").get(idle, 0))
        return MemoryUse(working_set, limit, kills.get("oom_kill"))

    def read_pressure(self, resource: str) -> str | None:
        """Return the text of a file such as `cpu.pressure`; None if the kernel has none, as in version 1."""
        return read_file(self._list_levels(_V2)[0] / f"{resource}.pressure") if _V2 in self._paths else None

    def _is_v1(self, controller: str) -> bool:
        return controller in self._paths

    def _list_levels(self, controller: str) -> list[Path]:
        """Return the folder of the process's cgroup and its parents, up to the highest that this container can see."""
        if controller not in self._paths:
            listing = self._proc / "self" / "cgroup"
            raise ProbeError(Reason.MISSING, f"{listing} does not list such a cgroup: use scope: host")
        mount = self._find_mount(controller)
        folder = mount.joinpath(*self._paths[controller])
        if ".." in self._paths[controller] or not folder.is_dir():
            return [mount]  # without a cgroup namespace, a container has its own cgroup at the mount point
        return [folder, *folder.parents[: len(self._paths[controller])]]

    def _find_mount(self, controller: str) -> Path:
        if controller == _V2:
            pure = (self._cgroups / "cgroup.controllers").exists()
            return self._cgroups if pure else self._cgroups / "unified"
        mounts = (path for path in self._cgroups.glob(f"*{controller}*") if controller in path.name.split(","))
        return next(mounts, self._cgroups / controller)


def _parse_hierarchies(text: str) -> list[tuple[str, list[str]]]:
    """Return controllers and their paths, from lines such as `4:memory:/docker/1f`, `2:cpu,cpuacct:/` and `0::/`."""
    lines = (line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2)
    return [
        (controller, [part for part in path.split("/") if part])
        for _, controllers, path in lines
        for controller in controllers.split(",")
    ]


def _find_lowest(levels: list[Path], limit: Callable[[Path], float | None]) -> Path:
    """Return the level with the lowest limit; the process's own level if none has a limit."""
    limits = [(value, index) for index, level in enumerate(levels) if (value := limit(level)) is not None]
    return levels[min(limits)[1]] if limits else levels[0]


def _read_quota_v1(level: Path) -> float | None:
    quota, period = read_file(level / "cpu.cfs_quota_us"), read_file(level / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def _read_quota_v2(level: Path) -> float | None:
    quota, _, period = (read_file(level / "cpu.max") or "max").partition(" ")
    return None if quota.strip() == "max" else int(quota) / int(period)


def _read_limit_v1(level: Path) -> int | None:
    limit = int(read_file(level / "memory.limit_in_bytes") or UNLIMITED)
    return limit if limit < UNLIMITED else None


def _read_limit_v2(level: Path) -> int | None:
    limit = (read_file(level / "memory.max") or "max").strip()
    return None if limit == "max" else int(limit)


def _read_count(path: Path) -> int:
    text = read_file(path)
    if text is None:
        raise _make_missing_error(path)
    return int(text)


def _read_table(path: Path) -> dict[str, int]:
    """Return the lines with a word and a number in a file; empty if it does not exist."""
    rows = (line.split() for line in (read_file(path) or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _make_missing_error(path: Path) -> ProbeError:
    return ProbeError(Reason.MISSING, f"{path} does not exist, so the kernel does not count this: use scope: host")
