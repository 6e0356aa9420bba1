"""System calls on paths run in child processes. A mount that hangs blocks them so that nothing can end them."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults.fuse import mounted
from support import eventually, within

from exporter.host.path import PathError, PathQuery, find_python
from exporter.model import ProbeError, Reason, Status


def test_the_fields_come_in_the_order_of_the_arguments(tmp_path):
    path = tmp_path / "file"
    path.write_text("12345")
    status = path.stat()

    assert PathQuery("stat", "st_size", "st_mtime_ns").run(str(path), within(10)) == [5, status.st_mtime_ns]
    assert PathQuery("stat", "st_mtime_ns", "st_size").run(str(path), within(10)) == [status.st_mtime_ns, 5]


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("absent", Reason.MISSING, "does not exist"),
        ("file/below", Reason.MISSING, "does not exist"),
        ("loop", Reason.ERROR, "Too many levels of symbolic links"),
        ("x" * 300, Reason.ERROR, "File name too long"),
    ],
    ids=["absent", "below a file", "loop", "too long"],
)
def test_a_bad_path_has_its_reason(tmp_path, path, reason, words):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(PathError, match=words) as caught:
        PathQuery("stat", "st_size").run(str(tmp_path / path), within(10))

    outcome = caught.value.outcome()
    assert (outcome.status, outcome.reason) == (Status.FAIL, reason)


@pytest.mark.skipif(os.geteuid() == 0, reason="root has access to every path")
def test_without_permission_the_check_cannot_run(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    try:
        with pytest.raises(ProbeError) as caught:
            PathQuery("stat", "st_size").run(str(closed / "file"), within(10))
    finally:
        closed.chmod(0o700)

    assert caught.value.reason is Reason.PERMISSION


def test_a_permission_error_of_the_system_call_is_not_a_failure():
    query = PathQuery("stat", "st_size", command=(sys.executable, "-c", "print(13)"))
    with pytest.raises(ProbeError) as caught:
        query.run("/closed", within(10))

    assert caught.value.reason is Reason.PERMISSION


@pytest.fixture
def dead(tmp_path):
    """A mount that does not respond."""
    with mounted(tmp_path) as mount:
        mount.hang("stat")
        yield mount


def test_a_system_call_that_does_not_return_is_abandoned_at_the_deadline(dead):
    """Not even SIGKILL ends its process, and no second process is started until it has ended."""
    query = PathQuery("stat", "st_nlink")
    deadline = within(3)
    with pytest.raises(PathError, match="did not respond in time") as caught:
        query.run(str(dead.path), deadline)
    child = query._child
    assert caught.value.reason is Reason.TIMEOUT
    assert deadline.remaining() <= 0
    assert dead.waiting() == 1

    with pytest.raises(PathError, match=f"pid {child.pid} is blocked on it") as caught:
        query.run(str(dead.path), within(10))
    assert caught.value.reason is Reason.TIMEOUT
    assert query._child is child

    dead.release()
    assert child.wait(60) == -9
    assert query.run(str(dead.path), within(10))[0] > 0


def test_a_process_that_is_killed_before_it_blocks_does_not_count_as_blocked():
    query = PathQuery("stat", "st_size", command=(sys.executable, "-c", "import time; time.sleep(60)"))
    for _ in range(2):
        with pytest.raises(PathError, match="did not respond in time"):
            query.run("/dead", within(0.1))
        assert query._child.wait(60) == -9  # it was killed, it did not end after its 60 s


def test_closing_abandons_a_call_in_progress(dead):
    query = PathQuery("stat", "st_nlink")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(query.run, str(dead.path), within(60))
        eventually(lambda: dead.waiting() == 1)
        query.close()
        dead.release()  # a process that is blocked can die only then
        with pytest.raises(ProbeError, match="exited with -9"):
            run.result(10)


def test_a_query_that_has_never_run_can_be_closed():
    PathQuery("stat", "st_size").close()


def test_a_child_process_that_breaks_is_not_a_failure():
    query = PathQuery("stat", "st_size", command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(ProbeError, match="exited with 3"):
        query.run("/", within(10))


def test_a_query_that_is_blocked_does_not_block_others(dead):
    hanging = PathQuery("stat", "st_nlink")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(hanging.run, str(dead.path), within(60))
        eventually(lambda: dead.waiting() == 1)
        assert PathQuery("stat", "st_nlink").run("/", within(10))[0] > 0
        assert not run.done()
        dead.release()
        assert run.result(10)[0] > 0


@pytest.mark.parametrize("executable", ["/usr/bin/uwsgi-core", ""])
def test_python_is_found_inside_another_program(executable):
    python = find_python(executable)
    version = subprocess.run([python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True)

    assert version.stdout.strip() == str(sys.version_info[:2])
    assert find_python(sys.executable) == sys.executable
