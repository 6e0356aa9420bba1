"""Processes for calls on paths are kept for the next call, replaced if they hang, and end with the exporter."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import psutil
import pytest
from faults.fuse import mounted
from faults.namespaces import namespaces
from host.scripted import script_paths
from support import PATIENCE, eventually, within

from exporter.host import path_processes
from exporter.host.path import _PROCESSES, PathError, PathQuery
from exporter.host.path_processes import MAX_BLOCKED, MAX_IDLE, PathProcesses, find_place
from exporter.model import ProbeError, Reason

RESPOND = "os.write(0, b'0 %d\\n' % os.getpid())"  # to `run` with one field


@pytest.fixture
def pool():
    """Processes that respond with their own PID."""
    return script_paths(RESPOND)


@pytest.fixture
def query(pool):
    with closing(PathQuery("stat", "pid", processes=pool)) as query:
        yield query


def run(query: PathQuery) -> int:
    """The PID of the process that responds."""
    return query.run("/", within(PATIENCE))[0]


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_makes_the_calls_of_all_queries(pool, query):
    with closing(PathQuery("stat", "pid", processes=pool)) as other:
        assert len({run(query), run(other), run(query)}) == 1


def test_it_ends_with_the_last_query(pool, query):
    other = PathQuery("stat", "pid", processes=pool)
    pid = run(query)
    run(other)
    query.close()
    assert run(other) == pid

    other.close()
    assert is_gone(pid)


def test_a_query_that_is_closed_starts_none(query):
    query.close()
    with pytest.raises(ProbeError, match="the check is closed"):
        query.run("/", within(PATIENCE))
    query.close()


def test_a_few_idle_processes_are_kept(pool):
    users = range(MAX_IDLE + 2)
    processes = [pool.lend(user, "/") for user in users]
    for process in processes:
        process.call(b"stat pid\0/\0", None, within(PATIENCE))
    for user in users:
        pool.take_back(user)

    assert [process.is_running() for process in processes] == [False] * 2 + [True] * MAX_IDLE
    for user in users:
        pool.close(user)
    assert not any(process.is_running() for process in processes)


def test_an_idle_process_ends_unless_it_is_the_only_one(pool, monkeypatch):
    processes = [pool.lend(user, "/") for user in "ab"]
    for process in processes:
        process.call(b"stat pid\0/\0", None, within(PATIENCE))
    monkeypatch.setattr(path_processes, "IDLE", -1.0)
    pool.take_back("a")
    assert processes[0].is_running()

    pool.take_back("b")
    assert [process.is_running() for process in processes] == [False, True]
    for user in "ab":
        pool.close(user)


def test_a_process_that_was_killed_meanwhile_is_replaced(query):
    pid = run(query)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_gone(pid))

    assert run(query) != pid


def test_it_inherits_no_descriptor_and_keeps_no_folder_busy(query):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(listener.fileno(), True)
        process = Path(f"/proc/{run(query)}")

    assert sorted(path.name for path in (process / "fd").iterdir()) == ["0", "1", "2"]
    assert (process / "cwd").readlink() == Path("/")


def test_a_relative_path_is_below_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("12345")
    with closing(PathQuery("stat", "st_size")) as query:
        query.run("/", within(PATIENCE))
        monkeypatch.chdir(tmp_path)
        assert query.run("file", within(PATIENCE)) == [5]


@pytest.fixture
def late(tmp_path):
    """A query whose process starts when somebody opens the FIFO for writing."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with closing(PathQuery("stat", "pid", processes=script_paths(RESPOND, first=f"open({str(fifo)!r})"))) as query:
        yield query, fifo


def test_a_process_that_has_not_started_in_time_is_no_evidence_and_goes_on(late):
    query, fifo = late
    with pytest.raises(ProbeError, match="has not started in time") as caught:
        query.run("/", within(0.1))
    assert caught.value.reason is Reason.TIMEOUT
    [process] = query._processes._idle

    with fifo.open("w"):
        assert run(query) == process.child.pid


def test_a_process_that_never_starts_is_replaced(late, monkeypatch):
    query, fifo = late
    with pytest.raises(ProbeError):
        query.run("/", within(0.1))
    [process] = query._processes._idle
    monkeypatch.setattr(path_processes, "IDLE", -1.0)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(run, query)
        eventually(lambda: not process.is_running())
        with fifo.open("w"):
            assert other.result(PATIENCE) != process.child.pid


def is_stuck(query: PathQuery, path: Path) -> bool:
    """Whether a call on a path that hangs has blocked the process, or had blocked it."""
    with pytest.raises((PathError, ProbeError)):
        query.run(str(path), within(0.2))
    return query._blocked is not None and query._blocked.is_running()


def test_when_many_are_blocked_no_process_is_started_and_one_that_responds_goes_on(tmp_path):
    assert PathProcesses([])._max_blocked == MAX_BLOCKED
    pool = PathProcesses(_PROCESSES._command, max_blocked=2)
    with mounted(tmp_path) as mount, ExitStack() as stack:
        *hanging, good, other = (
            stack.enter_context(closing(PathQuery("stat", "st_nlink", processes=pool))) for _ in range(4)
        )
        kept = pool.lend("busy", "/")
        mount.hang("stat")
        for query in hanging:
            eventually(partial(is_stuck, query, mount.path))
        with pytest.raises(ProbeError, match="because 2 processes are blocked") as caught:
            other.run("/", within(PATIENCE))
        assert caught.value.reason is Reason.TIMEOUT

        pool.take_back("busy")
        assert good.run("/", within(PATIENCE))[0] > 0
        assert kept.is_running()
        mount.release()
        eventually(lambda: not any(query._blocked.is_running() for query in hanging))
        pool.lend("busy", "/")
        assert other.run("/", within(PATIENCE))[0] > 0
        pool.take_back("busy")
        pool.close("busy")


def test_a_thread_with_other_mounts_uses_another_process(query):
    with namespaces("mounts") as inside:
        assert inside(find_place) != find_place()
        assert inside(run, query) != run(query)


PARENT = """
import os, sys, time
from exporter.host.path import PathQuery
from exporter.model import Deadline
def run():
    query.run("/", Deadline(time.monotonic() + 60))
    print(query._processes._idle[0].child.pid, flush=True)
query = PathQuery("stat", "st_nlink")
run()
{then}
time.sleep(60)
"""


def start(then: str = "") -> tuple["subprocess.Popen[str]", int]:
    """An exporter with a process for paths, and the PID of that."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(then=then)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


def test_it_ends_when_the_exporter_is_killed():
    parent, pid = start()
    with parent:
        assert not is_gone(pid)
        parent.kill()
    eventually(lambda: is_gone(pid))


def test_a_fork_of_the_exporter_keeps_none_and_starts_its_own():
    parent, pid = start("if os.fork() == 0: run()")
    with parent:
        assert parent.stdout is not None
        theirs = int(parent.stdout.readline())
        assert theirs != pid
        fork = psutil.Process(theirs).parent()
        parent.kill()
        eventually(lambda: is_gone(pid))
        assert fork is not None
        assert not is_gone(theirs)
        fork.kill()
    eventually(lambda: is_gone(theirs))


def test_calls_at_the_same_time_each_have_a_process(pool, query):
    """The second one does not wait for the first."""
    with closing(PathQuery("stat", "pid", processes=pool)) as other:
        process = pool.lend("busy", "/")
        pids = [run(query), run(other)]
        pool.take_back("busy")
        pool.close("busy")

    assert process.child.pid not in pids
