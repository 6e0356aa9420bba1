"""The memory allocator, in processes of their own, because its settings last."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE, Exporter, ended

from exporter.host.allocator import ARENAS, DIRECT_SIZE

HEAP_SIZE = 64 * 2**20
"""glibc puts every arena but the first at a multiple of this address (HEAP_MAX_SIZE)."""

LIMIT = "from exporter.host.allocator import limit_arenas; limit_arenas()"
ALLOCATE_IN_THREADS = """
import threading

meeting = threading.Barrier(9)

def allocate():
    block = bytearray(10_000)
    meeting.wait()
    meeting.wait()

for _ in range(8):
    threading.Thread(target=allocate, daemon=True).start()
meeting.wait()
print(open("/proc/self/maps").read().strip())
"""
ALLOCATE_AFTER_A_LARGER_BLOCK = f"""
import ctypes

del (larger := [bytearray(8 * {DIRECT_SIZE})])[:]
block = bytearray({DIRECT_SIZE})
address = ctypes.addressof(ctypes.c_char.from_buffer(block))
heap = next(line for line in open("/proc/self/maps") if line.endswith("[heap]\\n")).split()[0]
begin, end = (int(number, 16) for number in heap.split("-"))
print("in the arena" if begin <= address < end else "directly from the system")
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")


def run(*code: str) -> str:
    command = [sys.executable, "-c", "\n".join(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def count_arenas(maps: str) -> int:
    mappings = (line.split() for line in maps.splitlines())
    starts = [int(words[0].split("-")[0], 16) for words in mappings if words[1] == "rw-p" and words[4] == "0"]
    return 1 + sum(start % HEAP_SIZE == 0 for start in starts)


def test_all_threads_share_one_arena():
    assert count_arenas(run(ALLOCATE_IN_THREADS)) > ARENAS
    assert count_arenas(run(LIMIT, ALLOCATE_IN_THREADS)) == ARENAS


def test_a_large_block_comes_from_the_system_even_after_a_larger_one_was_freed():
    assert run(ALLOCATE_AFTER_A_LARGER_BLOCK) == "in the arena\n"
    assert run(LIMIT, ALLOCATE_AFTER_A_LARGER_BLOCK) == "directly from the system\n"


def test_the_exporter_has_one_arena():
    with ended(Exporter()) as exporter:
        exporter.metrics()
        assert count_arenas(Path(f"/proc/{exporter.worker}/maps").read_text()) == ARENAS


@pytest.mark.parametrize(
    "environment",
    ["import ctypes; ctypes.CDLL = lambda _: object()", "import sys; sys.modules['ctypes'] = None"],
    ids=["another C library", "no ctypes"],
)
def test_without_mallopt_nothing_changes(environment):
    assert count_arenas(run(environment, LIMIT, ALLOCATE_IN_THREADS)) > ARENAS
