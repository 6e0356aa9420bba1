"""What a program uses, together with all its child processes."""

from contextlib import suppress

import psutil
from support import Process


def list_processes(process: Process) -> list[psutil.Process]:
    """The program and all processes that descend from it."""
    itself = psutil.Process(process.pid)
    return [itself, *itself.children(recursive=True)]


def list_statuses(process: Process) -> list[str]:
    """The states of the processes, such as `psutil.STATUS_DISK_SLEEP`."""
    statuses = []
    for member in list_processes(process):
        with suppress(psutil.NoSuchProcess):
            statuses.append(member.status())
    return statuses


def count_descriptors(process: Process) -> int:
    return _add(process, "num_fds")


def count_threads(process: Process) -> int:
    return _add(process, "num_threads")


def measure_memory(process: Process) -> int:
    """Bytes of memory that would be free if the processes ended: shared pages do not count."""
    return _add(process, "memory_full_info", "uss")


def measure_cpu(process: Process) -> float:
    """Seconds of CPU time of the processes that run, and of the children for which they have waited."""
    return float(
        sum(_add(process, "cpu_times", part) for part in ("user", "system", "children_user", "children_system"))
    )


def _add(process: Process, method: str, field: str | None = None) -> int:
    total = 0
    for member in list_processes(process):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            value = getattr(member, method)()
            total += getattr(value, field) if field else value
    return total
