"""System calls on paths run in child processes. A mount that hangs blocks them so that nothing can end them."""

import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from faults.fuse import mounted
from host.scripted import script_paths
from support import PATIENCE, eventually, unavailable, within

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
    with (
        closing(PathQuery("stat", "st_size", processes=script_paths("os.write(0, b'13\\n')"))) as query,
        pytest.raises(ProbeError) as caught,
    ):
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
    process = query._blocked
    assert caught.value.reason is Reason.TIMEOUT
    assert deadline.remaining() <= 0
    assert dead.waiting() == 1

    with pytest.raises(PathError, match=f"pid {process.child.pid} is blocked on it") as caught:
        query.run(str(dead.path), within(10))
    assert caught.value.reason is Reason.TIMEOUT
    assert query._blocked is process

    dead.release()
    assert process.child.wait(60) == -9
    assert query.run(str(dead.path), within(10))[0] > 0


def hangs(query):
    """Whether a call hangs. On a busy machine, its process may not have started in time."""
    with pytest.raises((PathError, ProbeError)) as caught:
        query.run("/dead", within(0.2))
    return isinstance(caught.value, PathError) and "did not respond in time" in str(caught.value)


def test_a_process_that_is_killed_before_it_blocks_does_not_count_as_blocked():
    with closing(PathQuery("stat", "st_size", processes=script_paths("os.kill(os.getpid(), 19)"))) as query:
        for _ in range(2):
            eventually(lambda: hangs(query))
            assert query._blocked.child.wait(60) == -9


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
    with (
        closing(PathQuery("stat", "st_size", processes=script_paths("raise SystemExit(3)"))) as query,
        pytest.raises(ProbeError, match="exited with 3"),
    ):
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


CHROOT = """
import json, os, sys
os.chroot(sys.argv[1])
os.chdir("/")
def look(path):
    try:
        return os.stat(path).st_ino
    except OSError as error:
        return error.errno
print(json.dumps([look(path) for path in json.load(sys.stdin)]))
"""
PARTS = ("a", "b", "c", "d", "..", ".", "")


def make_tree(folder, dice):
    """Make folders, files and links at random, whose targets may be anything."""
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "b").mkdir()
    (folder / "c").write_text("file")
    for place in ("a", "b", "a/b", "a/b/c"):
        for name in "abcd":
            if not os.path.lexists(folder / place / name):
                target = "/".join(dice.choices(PARTS, k=dice.randint(1, 5)))
                (folder / place / name).symlink_to(dice.choice(("", "/")) + target or ".")


@pytest.mark.parametrize("seed", range(3))
def test_a_path_below_a_root_folder_is_followed_as_by_the_kernel_after_chroot(tmp_path, seed):
    if os.geteuid() != 0:
        unavailable("chroot needs root")
    dice = random.Random(seed)
    make_tree(tmp_path, dice)
    paths = ["/" + "/".join(dice.choices(PARTS, k=dice.randint(1, 6))) for _ in range(60)]
    arguments = [sys.executable, "-c", CHROOT, str(tmp_path)]
    done = subprocess.run(arguments, input=json.dumps(paths), capture_output=True, text=True, timeout=PATIENCE)
    root, query = os.open(tmp_path, os.O_PATH), PathQuery("stat", "st_ino")
    try:
        found = {path: query._call(path, within(PATIENCE), root) for path in paths}
    finally:
        os.close(root)

    expected = dict(zip(paths, json.loads(done.stdout), strict=True))
    assert {path: numbers[:2][-1] for path, numbers in found.items()} == expected
    assert len(set(expected.values())) > 5
