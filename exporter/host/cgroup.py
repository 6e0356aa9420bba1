"""The cgroup that this process is in, which in a container is the container's: what it uses and what it may use.

The only place that knows the layouts of version 1, of version 2 and of both together (man 7 cgroups). A limit may stand
on any level above the process; what counts is the level with the lowest, so that level's numbers are told.
"""

import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporter.model import ProbeError, Reason

UNLIMITED = 2**60
"""Version 1 has no word for "no limit": it shows a number of bytes near 2**63, rounded to pages."""

_V2 = ""  # the name that the unified hierarchy has among the controllers in /proc/self/cgroup


@dataclass(frozen=True, slots=True)
class CpuUse:
    """CPU time, counted since the cgroup was made."""

    seconds: float
    quota: float | None  # CPUs it may use at once; None where there is no limit
    periods: int | None  # of the quota, in which it wanted to run; None where they are not counted
    throttled: int  # periods in which it had to wait


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory in bytes."""

    used: int  # the kubelet's working set: without file pages that the kernel gives up first
    limit: int | None
    oom_kills: int | None  # processes killed for want of memory; None where they are not counted


class Cgroup:
    """The cgroup of this process. Raises ProbeError where there is none, or none that counts what is asked for."""

    def __init__(self, proc: Path, cgroups: Path) -> None:
        """`proc` is where proc is mounted, `cgroups` where the cgroups are."""
        self._proc = proc
        self._cgroups = cgroups
        self._paths = dict(_hierarchies(read(proc / "self" / "cgroup") or ""))

    def cpu(self) -> CpuUse:
        """The CPU time, the quota, and how often it was reached."""
        if self._is_v1("cpu"):
            levels = self._levels("cpu")
            level = _tightest(levels, _quota_v1)
            times = self._levels("cpuacct")
            usage = times[levels.index(level)] if len(times) == len(levels) else times[0]
            seconds, quota = _count(usage / "cpuacct.usage") / 1e9, _quota_v1(level)
            stat = _table(level / "cpu.stat")
        else:
            level = _tightest(self._levels(_V2), _quota_v2)
            stat = _table(level / "cpu.stat")
            if "usage_usec" not in stat:
                raise _missing(level / "cpu.stat")
            seconds, quota = stat["usage_usec"] / 1e6, _quota_v2(level)
        return CpuUse(seconds, quota, stat.get("nr_periods"), stat.get("nr_throttled", 0))

    def memory(self) -> MemoryUse:
        """The working set and its limit."""
        if self._is_v1("memory"):
            level = _tightest(self._levels("memory"), _limit_v1)
            used, idle, limit = level / "memory.usage_in_bytes", "total_inactive_file", _limit_v1(level)
            kills = _table(level / "memory.oom_control")
        else:
            level = _tightest(self._levels(_V2), _limit_v2)
            used, idle, limit = level / "memory.current", "inactive_file", _limit_v2(level)
            kills = _table(level / "memory.events")
        working_set = max(0, _count(used) - _table(level / "memory.stat").get(idle, 0))
        return MemoryUse(working_set, limit, kills.get("oom_kill"))

    def pressure(self, resource: str) -> str | None:
        """The file `cpu.pressure` and the like; None where the kernel keeps none, as in version 1."""
        return read(self._levels(_V2)[0] / f"{resource}.pressure") if _V2 in self._paths else None

    def _is_v1(self, controller: str) -> bool:
        return controller in self._paths

    def _levels(self, controller: str) -> list[Path]:
        """The folder of the process's cgroup and those above it, as far up as this container sees."""
        if controller not in self._paths:
            raise ProbeError(Reason.MISSING, f"{self._proc / 'self/cgroup'} names no cgroup: use scope host")
        mount = self._mount(controller)
        own = mount.joinpath(*self._paths[controller])
        if ".." in self._paths[controller] or not own.is_dir():
            return [mount]  # a container without a cgroup namespace sees its own as the top
        return [own, *own.parents[: len(self._paths[controller])]]

    def _mount(self, controller: str) -> Path:
        if controller == _V2:
            alone = (self._cgroups / "cgroup.controllers").exists()
            return self._cgroups if alone else self._cgroups / "unified"
        together = (each for each in self._cgroups.glob(f"*{controller}*") if controller in each.name.split(","))
        return next(together, self._cgroups / controller)


def read(path: Path) -> str | None:
    """What a file of the kernel says; None where there is none. Raises ProbeError where it may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise ProbeError(Reason.PERMISSION, f"{path} may not be read") from None
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:  # how a kernel with psi=0 shows a pressure
            return None
        raise


def machine_cpus(proc: Path = Path("/proc")) -> int:
    """The number of CPUs that the machine has online, whatever this process may use.

    The C library's answer, os.cpu_count(), is with musl the number that this process may use.
    """
    lines = (read(proc / "stat") or "").splitlines()
    return sum(re.match(r"cpu\d", line) is not None for line in lines) or os.cpu_count() or 1


def allowed_cpus(proc: Path) -> int:
    """The number of CPUs that this process may run on: those of its cpuset, or the machine's."""
    lines = (read(proc / "self" / "status") or "").splitlines()
    listed = next((line.partition(":")[2] for line in lines if line.startswith("Cpus_allowed_list:")), "")
    spans = [span.partition("-") for span in listed.strip().split(",") if span]
    return sum(int(last or first) - int(first) + 1 for first, _, last in spans) or machine_cpus(proc)


def _hierarchies(text: str) -> list[tuple[str, list[str]]]:
    """The path in each hierarchy by controller, from `4:memory:/docker/1f`, `2:cpu,cpuacct:/` and `0::/`."""
    lines = (line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2)
    return [
        (controller, [part for part in path.split("/") if part])
        for _, controllers, path in lines
        for controller in controllers.split(",")
    ]


def _tightest(levels: list[Path], limit: Callable[[Path], float | None]) -> Path:
    """The level with the lowest limit; the process's own where there is none."""
    limited = [(found, index) for index, level in enumerate(levels) if (found := limit(level)) is not None]
    return levels[min(limited)[1]] if limited else levels[0]


def _quota_v1(level: Path) -> float | None:
    quota, period = read(level / "cpu.cfs_quota_us"), read(level / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and period and int(quota) > 0 else None


def _quota_v2(level: Path) -> float | None:
    quota, _, period = (read(level / "cpu.max") or "max").partition(" ")
    return None if quota.strip() == "max" else int(quota) / int(period)


def _limit_v1(level: Path) -> int | None:
    limit = int(read(level / "memory.limit_in_bytes") or UNLIMITED)
    return limit if limit < UNLIMITED else None


def _limit_v2(level: Path) -> int | None:
    limit = (read(level / "memory.max") or "max").strip()
    return None if limit == "max" else int(limit)


def _count(path: Path) -> int:
    text = read(path)
    if text is None:
        raise _missing(path)
    return int(text)


def _table(path: Path) -> dict[str, int]:
    """A file of lines with a word and a number; empty where there is none."""
    rows = (line.split() for line in (read(path) or "").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _missing(path: Path) -> ProbeError:
    return ProbeError(Reason.MISSING, f"{path} does not exist, so this cgroup is not counted: use scope host")
