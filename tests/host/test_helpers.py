"""Threads for system calls that may block forever."""

import errno
import subprocess
import sys
import threading

import pytest
from support import PATIENCE, Clock, eventually, within

from exporter.host import helpers as helpers_module
from exporter.host.helpers import MAX_HELPERS, Helpers
from exporter.model import Deadline


@pytest.fixture
def release():
    """An event for which the calls of a test wait; set at the end."""
    event = threading.Event()
    yield event
    event.set()


def test_a_call_returns_or_raises_what_the_function_does():
    helpers = Helpers()

    def fail() -> None:
        raise FileNotFoundError(errno.ENOENT, "gone")

    assert helpers.run("a", lambda: 1, "read", within(PATIENCE)) == 1
    with pytest.raises(FileNotFoundError) as raised:
        helpers.run("a", fail, "read", within(PATIENCE))
    assert (raised.value.filename, raised.value.strerror) == ("a", "gone")
    with pytest.raises(KeyError):
        helpers.run("a", lambda: {}["x"], "read", within(PATIENCE))


def test_one_helper_makes_many_calls():
    helpers = Helpers()
    threads = {helpers.run("a", threading.get_ident, "read", within(PATIENCE)) for _ in range(100)}

    assert (len(threads), helpers.count()) == (1, 1)


def test_a_helper_without_work_ends(monkeypatch):
    monkeypatch.setattr(helpers_module, "IDLE", 0.01)
    helpers = Helpers()
    for _ in range(3):
        assert helpers.run("a", lambda: 1, "read", within(PATIENCE)) == 1
        eventually(lambda: helpers.count() == 0)


def test_a_call_that_hangs_ends_at_its_deadline_and_is_not_repeated(release):
    helpers, calls = Helpers(), []

    def hang() -> str:
        calls.append(1)
        release.wait()
        return "late"

    with pytest.raises(TimeoutError, match="no response in time"):
        helpers.run("a", hang, "read", within(0.05))
    for name in ("read", "sign"):
        with pytest.raises(TimeoutError, match="still no response"):
            helpers.run("a", hang, name, Deadline(1e9, Clock()))
    assert helpers.run("b", lambda: 2, "read", within(PATIENCE)) == 2
    assert len(calls) == 1

    release.set()
    assert eventually(lambda: works(helpers, "a"))


def works(helpers: Helpers, path: str) -> bool:
    try:
        return helpers.run(path, lambda: True, "read", within(PATIENCE))
    except TimeoutError:
        return False


def test_callers_with_the_same_path_wait_for_one_call(release):
    helpers, calls, results = Helpers(), [], []

    def slow() -> str:
        calls.append(1)
        release.wait()
        return "same"

    def run() -> None:
        results.append(helpers.run("a", slow, "read", within(PATIENCE)))

    callers = [threading.Thread(target=run) for _ in range(5)]
    for caller in callers:
        caller.start()
    eventually(lambda: calls)
    release.set()
    for caller in callers:
        caller.join(PATIENCE)

    assert results == ["same"] * 5
    assert len(calls) == 1


def test_when_all_helpers_are_stuck_calls_fail_at_once(release):
    helpers = Helpers()

    def is_stuck(path: str) -> bool:
        with pytest.raises(TimeoutError) as raised:
            helpers.run(path, release.wait, "read", within(0.02))
        return raised.value.strerror == "still no response"  # otherwise its helper may not have begun

    for number in range(MAX_HELPERS):
        eventually(lambda path=f"dead {number}": is_stuck(path))

    with pytest.raises(OSError, match=f"not tried, because {MAX_HELPERS} other files do not respond") as raised:
        helpers.run("a", lambda: 1, "read", Deadline(1e9, Clock()))
    assert (raised.value.errno, raised.value.filename) == (errno.EAGAIN, "a")
    assert helpers.count() == MAX_HELPERS

    release.set()
    assert eventually(lambda: recovers(helpers))


def recovers(helpers: Helpers) -> bool:
    try:
        return helpers.run("a", lambda: True, "read", within(PATIENCE))
    except OSError:
        return False


def test_a_call_waits_for_a_helper_that_is_only_busy(release):
    helpers = Helpers(max_helpers=1)
    busy = threading.Thread(target=helpers.run, args=("a", release.wait, "read", within(PATIENCE)))
    busy.start()
    eventually(lambda: helpers.count() == 1)

    with pytest.raises(TimeoutError, match="no response in time"):
        helpers.run("b", lambda: 1, "read", within(0.05))
    threading.Timer(0.05, release.set).start()
    assert helpers.run("b", lambda: 2, "read", within(PATIENCE)) == 2
    busy.join(PATIENCE)


def test_without_a_thread_a_call_fails_and_a_later_one_works(monkeypatch):
    helpers = Helpers()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="can't start new thread"):
            helpers.run("a", lambda: 1, "read", within(PATIENCE))
    assert helpers.run("a", lambda: 1, "read", within(PATIENCE)) == 1


def test_helpers_end_before_a_fork_and_work_in_both_processes():
    helpers = Helpers()
    assert helpers.run("a", lambda: 1, "read", within(PATIENCE)) == 1
    helpers.retire()
    assert helpers.count() == 0
    assert helpers.run("a", lambda: 2, "read", within(PATIENCE)) == 2


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
