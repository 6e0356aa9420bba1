"""What the exporter's processes use, from /proc: the process that was started, and every descendant."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MIN_AGE = 1.0  # seconds; a younger process may be a command that still shows its parent's command line


@dataclass(frozen=True)
class Usage:
    """The exporter's own processes together, and the number of other descendants, such as commands of exec checks."""

    rss: float  # MiB
    private_dirty: float  # MiB
    descriptors: int
    threads: int
    processes: int
    children: int
    cpu: float  # seconds


def measure(pid: int, now: float) -> Usage:
    root = psutil.Process(pid)
    descendants = root.children(recursive=True)
    own = [root, *(process for process in descendants if _is_exporter(process, now))]
    rss = dirty = cpu = 0.0
    descriptors = threads = 0
    for process in own:
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            rss += _kib(rollup, "Rss") / 1024
            dirty += _kib(rollup, "Private_Dirty") / 1024
            descriptors += process.num_fds()
            threads += process.num_threads()
            times = process.cpu_times()
            cpu += times.user + times.system
    return Usage(rss, dirty, descriptors, threads, len(own), len(descendants) + 1 - len(own), cpu)


def _is_exporter(process: psutil.Process, now: float) -> bool:
    with suppress(psutil.Error):
        arguments = process.cmdline()
        own = "-m" in arguments and "exporter" in arguments
        for_paths = any("path_calls" in argument for argument in arguments)
        return (own or for_paths) and now - process.create_time() > MIN_AGE
    return False


def _kib(rollup: str, field: str) -> int:
    found = re.search(rf"^{field}: +(\d+) kB$", rollup, re.MULTILINE)
    return int(found[1]) if found else 0
