"""The processes that this one can see: their names, whether they run, and how much memory they use together."""

import difflib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MAX_NAME = 15  # bytes of a program's name that the kernel stores, and that ps, pgrep and top show
MAX_PSS_SCAN = 2 * 2**30
"""Bytes of resident memory for which the kernel is asked for proportional shares. It needs about 10 ms of CPU time for
1 GiB, and many sessions of a database may have hundreds of GiB together."""
MAX_LISTED = 5  # PIDs in a message
MAX_SIMILAR = 3  # processes with a similar name in a message


def has_name(process: psutil.Process, wanted: str) -> bool:
    """Return whether a program has this name, in full or as the kernel cuts it.

    The full name is the first argument that begins with what the kernel has kept: that of a script follows its
    interpreter's. psutil does not find that of a script, or one that is cut within a character.
    """
    name, full = os.fsencode(process.name()), os.fsencode(wanted)
    kept = name[:MAX_NAME]
    if full in (name, kept):
        return True
    if len(kept) < MAX_NAME or not full.startswith(kept):
        return False
    programs = (os.fsencode(argument).rpartition(b"/")[2] for argument in _read_arguments(process))
    return next((program for program in programs if program.startswith(kept)), None) == full


def read_command_line(process: psutil.Process) -> str:
    """Return the arguments joined by spaces, also of a process whose main thread has ended."""
    return " ".join(_read_arguments(process))


def _read_arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.ZombieProcess:
        thread = find_live_thread(process)
        return list(thread.cmdline()) if thread else []


def find_live_thread(process: psutil.Process) -> psutil.Process | None:
    """Return the process, or one of its threads if its main thread has ended; None if all have.

    Then the kernel shows the state, the memory and the command line only for the thread.
    """
    if process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        return process
    others = [thread.id for thread in process.threads() if thread.id != process.pid]
    return psutil.Process(others[0]) if others else None


@dataclass(frozen=True, slots=True)
class Running:
    """One process, or a thread of it if its main thread has ended, at the time of a scan."""

    pid: int
    live: psutil.Process
    started: float | None  # wall clock; None if the kernel does not report when it was started itself
    memory: int  # resident, in bytes
    shared: int  # part of that which other processes may share, not counting pages shared since a fork

    @classmethod
    def of(cls, process: psutil.Process, live: psutil.Process) -> "Running":
        """Return the process, one of whose threads runs. Raises psutil.Error."""
        try:
            started = process.create_time()
        except FileNotFoundError:  # /proc/stat, which has the time of the start of the system
            started = None
        size = live.memory_info()
        return cls(process.pid, live, started, size.rss, getattr(size, "shared", 0))


def measure_memory(running: Sequence[Running]) -> tuple[int, bool]:
    """Return the memory of processes together in bytes, and whether that is exact.

    Memory that several of them share counts once. It is their proportional share (Pss of man 5 proc_pid_smaps), or the
    resident memory of a single process. If the shares of other users' processes are not readable, or take too long to
    compute, memory that was shared by a fork counts for each process.
    """
    total = sum(process.memory for process in running)
    if len(running) == 1:
        return total, True
    if total <= MAX_PSS_SCAN:
        with suppress(psutil.Error, AttributeError):  # macOS has no shares
            return sum(process.live.memory_full_info().pss for process in running), True
    shared = [process.shared for process in running]
    return total - sum(shared) + max(shared), False


def list_pids(pids: Iterable[int]) -> str:
    """Return the PIDs in words, the lowest first: `pid 4711`, or `pids 7, 8, 9`.

    >>> list_pids([9, 8, 7])
    'pids 7, 8, 9'
    >>> list_pids(range(1, 9))
    'pids 1, 2, 3, 4, 5 and 3 more'
    """
    numbers = sorted(pids)
    more = f" and {len(numbers) - MAX_LISTED} more" if len(numbers) > MAX_LISTED else ""
    return f"pid{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:MAX_LISTED]))}{more}"


def find_similar(names: Iterable[tuple[int, str]], wanted: str) -> list[str]:
    """Return processes in words, given as PID and name, that are similar to what is wanted.

    Some programs change their names, as Node.js does to MainThread: then the command line begins with the wanted one.
    """
    found: dict[str, list[int]] = {}
    for pid, name in names:
        if _is_similar(name.lower(), wanted.lower()):
            found.setdefault(name, []).append(pid)
        elif _find_program(pid) == wanted:
            found.setdefault(f"{name}, whose command line begins with {wanted}", []).append(pid)
    return [f"{name} ({list_pids(pids)})" for name, pids in sorted(found.items())[:MAX_SIMILAR]]


def _is_similar(name: str, wanted: str) -> bool:
    return bool(
        (len(name) > 2 and name in wanted) or wanted in name or difflib.get_close_matches(wanted, [name], 1, 0.75)
    )


def _find_program(pid: int) -> str:
    """Return the last part of the program in a command line; empty if it cannot be read."""
    with suppress(psutil.Error):
        return Path(next(iter(psutil.Process(pid).cmdline()), "")).name
    return ""
