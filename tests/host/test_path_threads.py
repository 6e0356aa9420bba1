"""Threads for system calls that may block forever."""

import errno
import subprocess
import sys
import threading
import time

import pytest
from support import PATIENCE, Clock, eventually, within

from exporter.host import path_threads
from exporter.host.path_threads import MAX_THREADS, PathThreads
from exporter.model import Deadline


@pytest.fixture
def release():
    """An event for which the calls of a test wait; set at the end."""
    event = threading.Event()
    yield event
    event.set()


def test_a_call_returns_or_raises_what_the_function_does():
    pool = PathThreads()

    def fail() -> None:
        raise FileNotFoundError(errno.ENOENT, "gone")

    assert pool.run("a", lambda: 1, "read", within(PATIENCE)) == 1
    with pytest.raises(FileNotFoundError) as raised:
        pool.run("a", fail, "read", within(PATIENCE))
    assert (raised.value.filename, raised.value.strerror) == ("a", "gone")
    with pytest.raises(KeyError):
        pool.run("a", lambda: {}["x"], "read", within(PATIENCE))


def test_one_thread_makes_many_calls():
    pool = PathThreads()
    threads = {pool.run("a", threading.get_ident, "read", within(PATIENCE)) for _ in range(100)}

    assert (len(threads), pool.count()) == (1, 1)


def test_a_thread_without_work_ends(monkeypatch):
    monkeypatch.setattr(path_threads, "IDLE", 0.01)
    pool = PathThreads()
    for _ in range(3):
        assert pool.run("a", lambda: 1, "read", within(PATIENCE)) == 1
        eventually(lambda: pool.count() == 0)


def test_a_call_that_hangs_ends_at_its_deadline_and_is_not_repeated(release):
    pool, calls = PathThreads(), []

    def hang() -> str:
        calls.append(1)
        release.wait()
        return "late"

    with pytest.raises(TimeoutError, match="no response in time"):
        pool.run("a", hang, "read", within(0.05))
    for name in ("read", "sign"):
        with pytest.raises(TimeoutError, match="still no response"):
            pool.run("a", hang, name, Deadline(1e9, Clock()))
    assert pool.run("b", lambda: 2, "read", within(PATIENCE)) == 2
    assert len(calls) == 1

    release.set()
    assert eventually(lambda: works(pool, "a"))


def works(pool: PathThreads, path: str) -> bool:
    try:
        return pool.run(path, lambda: True, "read", within(PATIENCE))
    except TimeoutError:
        return False


def test_callers_with_the_same_path_wait_for_one_call(release):
    pool, calls, results = PathThreads(), [], []

    def slow() -> str:
        calls.append(1)
        release.wait()
        return "same"

    def run() -> None:
        begun.append(1)
        results.append(pool.run("a", slow, "read", within(PATIENCE)))

    begun: list[int] = []
    callers = [threading.Thread(target=run) for _ in range(5)]
    for caller in callers:
        caller.start()
    eventually(lambda: calls and len(begun) == 5)
    time.sleep(0.1)  # until the last one waits
    release.set()
    for caller in callers:
        caller.join(PATIENCE)

    assert results == ["same"] * 5
    assert len(calls) == 1


def test_when_all_threads_are_stuck_calls_fail_at_once(release):
    pool = PathThreads()

    def is_stuck(path: str) -> bool:
        with pytest.raises(TimeoutError) as raised:
            pool.run(path, release.wait, "read", within(0.02))
        return raised.value.strerror == "still no response"  # otherwise its thread may not have begun

    for number in range(MAX_THREADS):
        eventually(lambda path=f"dead {number}": is_stuck(path))

    with pytest.raises(OSError, match=f"not tried, because {MAX_THREADS} other files do not respond") as raised:
        pool.run("a", lambda: 1, "read", Deadline(1e9, Clock()))
    assert (raised.value.errno, raised.value.filename) == (errno.EAGAIN, "a")
    assert pool.count() == MAX_THREADS

    release.set()
    assert eventually(lambda: recovers(pool))


def recovers(pool: PathThreads) -> bool:
    try:
        return pool.run("a", lambda: True, "read", within(PATIENCE))
    except OSError:
        return False


def test_a_call_waits_for_a_thread_that_is_only_busy(release):
    pool = PathThreads(max_threads=1)
    busy = threading.Thread(target=pool.run, args=("a", release.wait, "read", within(PATIENCE)))
    busy.start()
    eventually(lambda: pool.count() == 1)

    with pytest.raises(TimeoutError, match="no response in time"):
        pool.run("b", lambda: 1, "read", within(0.05))
    threading.Timer(0.05, release.set).start()
    assert pool.run("b", lambda: 2, "read", within(PATIENCE)) == 2
    busy.join(PATIENCE)


def test_without_a_thread_a_call_fails_and_a_later_one_works(monkeypatch):
    pool = PathThreads()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="can't start new thread"):
            pool.run("a", lambda: 1, "read", within(PATIENCE))
    assert pool.run("a", lambda: 1, "read", within(PATIENCE)) == 1


def test_threads_end_before_a_fork_and_work_in_both_processes():
    pool = PathThreads()
    assert pool.run("a", lambda: 1, "read", within(PATIENCE)) == 1
    pool.retire()
    assert pool.count() == 0
    assert pool.run("a", lambda: 2, "read", within(PATIENCE)) == 2


FORK = """
import os, threading
from exporter.host.reader import read

assert read("/proc/self/status", 4) == b"Name"
pid = os.fork()
assert threading.active_count() == 1, threading.enumerate()
assert read("/proc/self/status", 4) == b"Name"
if pid == 0:
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_forked_process_reads_files():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=PATIENCE)

    assert (done.stdout, done.stderr) == ("3\n", "")
