"""System calls on paths run in real child processes, which are killed when they do not return."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import eventually, within

from exporter.host.path import PathError, PathQuery
from exporter.model import ProbeError, Reason, Status

HANGS = (sys.executable, "-c", "import time; time.sleep(60)")


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


def test_a_system_call_that_does_not_return_is_abandoned_at_the_deadline():
    query = PathQuery("stat", "st_size", command=HANGS)
    deadline = within(0.3)
    with pytest.raises(PathError, match="did not respond in time") as caught:
        query.run("/dead", deadline)

    assert caught.value.reason is Reason.TIMEOUT
    assert deadline.remaining() <= 0
    assert query._child.wait(60) == -9  # it was killed, it did not end after its 60 s


def test_after_a_timeout_the_next_run_starts_a_new_process():
    query = PathQuery("stat", "st_size", command=HANGS)
    for _ in range(2):
        with pytest.raises(PathError, match="did not respond in time"):
            query.run("/dead", within(0.1))
        query._child.wait(60)


def test_at_most_one_process_is_blocked():
    query = PathQuery("stat", "st_size", command=HANGS)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(query.run, "/dead", within(30))
        try:
            child = eventually(lambda: query._child)
            with pytest.raises(PathError, match=f"pid {child.pid} is blocked on it") as caught:
                query.run("/dead", within(5))
            assert query._child is child
        finally:
            query.close()
        with pytest.raises(ProbeError, match="exited with -9"):
            first.result(10)

    assert caught.value.reason is Reason.TIMEOUT


def test_a_query_that_has_never_run_can_be_closed():
    PathQuery("stat", "st_size").close()


def test_a_child_process_that_breaks_is_not_a_failure():
    query = PathQuery("stat", "st_size", command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(ProbeError, match="exited with 3"):
        query.run("/", within(10))


def test_a_query_that_is_blocked_does_not_block_others():
    hanging = PathQuery("stat", "st_size", command=HANGS)
    thread = threading.Thread(target=pytest.raises, args=((PathError, ProbeError), hanging.run, "/dead", within(30)))
    thread.start()
    try:
        eventually(lambda: hanging._child)
        assert PathQuery("stat", "st_nlink").run("/", within(10))[0] > 0
    finally:
        hanging.close()
        thread.join(10)
