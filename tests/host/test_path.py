"""Questions about paths are answered by real child processes, which are given up when they hang."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import eventually

from exporter.host.path import PathError, PathQuery
from exporter.model import Deadline, ProbeError, Reason, Status

HANGS = (sys.executable, "-c", "import time; time.sleep(60)")


def within(seconds: float) -> Deadline:
    return Deadline(time.monotonic() + seconds)


def test_the_fields_come_in_the_order_they_are_asked_for(tmp_path):
    path = tmp_path / "file"
    path.write_text("12345")
    seen = path.stat()

    assert PathQuery("stat", "st_size", "st_mtime_ns").run(str(path), within(10)) == [5, seen.st_mtime_ns]
    assert PathQuery("stat", "st_mtime_ns", "st_size").run(str(path), within(10)) == [seen.st_mtime_ns, 5]


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_path_that_may_not_be_looked_at_is_no_evidence(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    try:
        with pytest.raises(ProbeError) as caught:
            PathQuery("stat", "st_size").run(str(closed / "file"), within(10))
    finally:
        closed.chmod(0o700)

    assert caught.value.reason is Reason.PERMISSION


def test_an_answer_that_says_not_allowed_is_no_evidence():
    asked = PathQuery("stat", "st_size", command=(sys.executable, "-c", "print(13)"))
    with pytest.raises(ProbeError) as caught:
        asked.run("/closed", within(10))

    assert caught.value.reason is Reason.PERMISSION


def test_a_path_that_does_not_answer_is_given_up_at_the_deadline():
    asked = PathQuery("stat", "st_size", command=HANGS)
    began = time.monotonic()
    with pytest.raises(PathError, match="did not answer in time") as caught:
        asked.run("/dead", within(0.3))

    assert caught.value.reason is Reason.TIMEOUT
    assert 0.3 <= time.monotonic() - began < 0.55
    assert asked._child.poll() is not None  # the asking process has ended


def test_after_a_timeout_the_next_question_is_asked_anew():
    asked = PathQuery("stat", "st_size", command=HANGS)
    for _ in range(2):
        with pytest.raises(PathError, match="did not answer in time"):
            asked.run("/dead", within(0.1))


def test_while_a_process_hangs_no_second_one_is_started():
    asked = PathQuery("stat", "st_size", command=HANGS)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(asked.run, "/dead", within(30))
        try:
            child = eventually(lambda: asked._child)
            with pytest.raises(PathError, match=f"pid {child.pid} waits for it") as caught:
                asked.run("/dead", within(5))
            assert asked._child is child
        finally:
            asked.close()
        with pytest.raises(ProbeError, match="ended with -9"):
            first.result(10)

    assert caught.value.reason is Reason.TIMEOUT


def test_a_question_that_was_never_asked_can_be_closed():
    PathQuery("stat", "st_size").close()


def test_a_process_that_cannot_answer_is_no_evidence():
    asked = PathQuery("stat", "st_size", command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(ProbeError, match="ended with 3"):
        asked.run("/", within(10))


def test_questions_are_asked_side_by_side():
    """A question that hangs holds up nobody else's."""
    hanging = PathQuery("stat", "st_size", command=HANGS)
    thread = threading.Thread(target=pytest.raises, args=((PathError, ProbeError), hanging.run, "/dead", within(30)))
    thread.start()
    try:
        eventually(lambda: hanging._child)
        assert PathQuery("stat", "st_nlink").run("/", within(10))[0] > 0
    finally:
        hanging.close()
        thread.join(10)
