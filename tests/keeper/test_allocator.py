"""The memory allocator, in processes of their own, because its settings last."""

import os
import platform
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from support import PATIENCE, Exporter, ended, eventually

from exporter.keeper.allocator import ARENAS, DIRECT_SIZE, TUNABLES

HEAP_SIZE = 64 * 2**20
"""glibc reserves so many bytes for every arena but the first, at a multiple of this address (HEAP_MAX_SIZE)."""

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
FREE = """
import ctypes

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks used".split()]
    _fields_ += [("fordblks", ctypes.c_size_t), ("keepcost", ctypes.c_size_t)]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Info
library.malloc.restype = ctypes.c_void_p
blocks = [ctypes.c_void_p(library.malloc(1000)) for _ in range(7)]
before = library.mallinfo2().used
for block in blocks:
    library.free(block)
print("free" if before - library.mallinfo2().used >= 7000 else "kept")
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")


def run(code: str, tunables: str = "") -> str:
    environment = os.environ | {"GLIBC_TUNABLES": tunables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True, env=environment).stdout


def count_arenas(maps: str) -> int:
    """Count the first arena, and each other one: a mapping with what is reserved for its growth behind it."""
    words = [line.split() for line in maps.splitlines()]
    mappings = [(*(int(number, 16) for number in first.split("-")), mode) for first, mode, *_ in words]
    return 1 + sum(
        start % HEAP_SIZE == 0 and mode == "rw-p" and (reserved, limit, rest) == (end, start + HEAP_SIZE, "---p")
        for (start, end, mode), (reserved, limit, rest) in pairwise(mappings)
    )


def test_all_threads_share_one_arena():
    assert count_arenas(run(ALLOCATE_IN_THREADS)) > ARENAS
    assert count_arenas(run(ALLOCATE_IN_THREADS, TUNABLES)) == ARENAS


def test_a_large_block_comes_from_the_system_even_after_a_larger_one_was_freed():
    assert run(ALLOCATE_AFTER_A_LARGER_BLOCK) == "in the arena\n"
    assert run(ALLOCATE_AFTER_A_LARGER_BLOCK, TUNABLES) == "directly from the system\n"


def test_a_freed_block_is_free_for_all_threads():
    assert run(FREE) == "kept\n"
    assert run(FREE, TUNABLES) == "free\n"


def test_the_exporter_has_one_arena():
    with ended(Exporter()) as exporter:
        exporter.metrics()
        assert count_arenas(Path(f"/proc/{exporter.worker}/maps").read_text()) == ARENAS


@pytest.mark.parametrize("tunables", ["", "glibc.malloc.check=0"])
def test_commands_inherit_the_environment_as_it_was(tmp_path, tunables):
    file, config = tmp_path / "environment", tmp_path / "health.yml"
    shell = f"env > {file}.new && mv {file}.new {file}"
    config.write_text(f"checks: [{{name: environment, exec: {{command: [sh, -c, '{shell}']}}}}]")
    given = {"GLIBC_TUNABLES": tunables} if tunables else {}
    with ended(Exporter(config=config, env=given)):
        eventually(file.exists)
    inherited = [line for line in file.read_text().splitlines() if "GLIBC_TUNABLES" in line]

    assert inherited == [f"{name}={value}" for name, value in given.items()]


@pytest.mark.parametrize(
    "environment",
    [
        "os.confstr = lambda _: None",
        "sys.executable = ''",
        "sys.executable = '/nowhere'",
        "sys.executable = '/bin/true'",
        "sys.orig_argv = ['python3', '-', 'serve']",
    ],
    ids=["another C library", "no known interpreter", "no interpreter", "another program", "program on standard input"],
)
def test_without_a_second_start_nothing_changes(environment):
    code = f"import os, sys; {environment}; from exporter.keeper import allocator; allocator.configure(); print('same')"
    assert run(code) == "same\n"
