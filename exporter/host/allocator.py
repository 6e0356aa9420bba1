"""The C library's memory allocator, configured for many threads of which one runs at a time.

Theory of operation. glibc gives threads separate areas of memory, called arenas, up to eight for each CPU, so that they
do not wait for each other. Each arena keeps the most memory that its threads have ever used at once, because a few
small blocks between large free ones keep it from shrinking. But Python's threads take turns anyway. So one arena
serves all of them, and takes much less memory.

glibc also learns from the sizes of freed blocks: at first it returns blocks of 128 KiB or more to the system, later
only larger ones. Bodies and expositions would then leave gaps in the arena. A fixed size keeps it from learning.
"""

from contextlib import suppress

ARENAS = 1
DIRECT_SIZE = 128 * 1024
"""Bytes from which a block is requested from the system directly, and is returned to it when it is freed."""

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h of glibc


def limit_arenas() -> None:
    """Save memory in a process with many threads. To be called before the first of them starts.

    Does nothing with another C library than glibc, or without a ctypes that works.
    """
    # A hardened kernel forbids memory that ctypes allocates when it is imported: MemoryError or OSError.
    with suppress(ImportError, AttributeError, MemoryError, OSError):
        import ctypes  # 0.2 MiB, only for a process that runs checks

        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, ARENAS)
        mallopt(_M_MMAP_THRESHOLD, DIRECT_SIZE)
