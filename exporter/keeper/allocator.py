"""The C library's memory allocator, configured for many threads of which one runs at a time.

Theory of operation. glibc gives threads separate areas of memory, called arenas, up to eight for each CPU, so that they
do not wait for each other. Each arena keeps the most memory that its threads have ever used at once, because a few
small blocks between large free ones keep it from shrinking. But Python's threads take turns anyway. So one arena
serves all of them, and takes much less memory.

Each thread also keeps freed blocks for itself until it ends, up to seven of each size, and up to 230 KiB in total. In a
pool of workers, memory grows for hours, as more and more workers have run a demanding check once. So this cache is off.

glibc also learns from the sizes of freed blocks: at first it returns blocks of 128 KiB or more to the system, later
only larger ones. Bodies and expositions would then leave gaps in the arena. A fixed size keeps it from learning.

glibc reads these settings from GLIBC_TUNABLES when a program starts (https://sourceware.org/glibc/manual/latest/,
Memory Allocation Tunables), and has no function for the cache. So the program starts itself again, in the same process.
"""

import os
import sys

ARENAS = 1
DIRECT_SIZE = 128 * 1024
"""Bytes from which a block is requested from the system directly, and is returned to it when it is freed."""

TUNABLES = f"glibc.malloc.arena_max={ARENAS}:glibc.malloc.mmap_threshold={DIRECT_SIZE}:glibc.malloc.tcache_count=0"

_VARIABLE = "GLIBC_TUNABLES"
_PREVIOUS = "HEALTH_EXPORTER_GLIBC_TUNABLES"  # what the variable was before; set only while the program starts again


def configure() -> None:
    """Start the program again with these settings, unless it already runs with them. Call it first.

    Commands of checks inherit the environment as it was. Does nothing with another C library than glibc, or where the
    program cannot be started again.
    """
    previous = os.environ.pop(_PREVIOUS, None)
    if previous is None:
        _restart()
    elif previous:
        os.environ[_VARIABLE] = previous
    else:
        os.environ.pop(_VARIABLE, None)


def _restart() -> None:
    previous = os.environ.get(_VARIABLE, "")
    tunables = f"{TUNABLES}:{previous}" if previous else TUNABLES  # the last setting of a name counts
    environment = {**os.environ, _VARIABLE: tunables, _PREVIOUS: previous}
    try:
        if os.confstr("CS_GNU_LIBC_VERSION") and _is_repeatable():
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606  # no shell
    except (OSError, ValueError):  # ValueError: another C library, or Python does not know where it is
        return


def _is_repeatable() -> bool:
    """Return whether the same program would start: not one that it has read from standard input, or another Python.

    Raises OSError without /proc.
    """
    return "-" not in sys.orig_argv and os.path.samefile(sys.executable, "/proc/self/exe")  # noqa: PTH121  # pathlib takes longer to import than all of this
