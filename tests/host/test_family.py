"""Which processes belong to an exporter, from fake trees of processes and from this process's children."""

import os
import subprocess
import sys
import warnings

import psutil
import pytest
from support import eventually

from exporter.host.child import note_end, note_session_end, note_start
from exporter.host.family import Family

PYTHON = "/usr/bin/python3"
SERVE = (PYTHON, "/venv/bin/health-exporter", "serve")
TREE = {  # by PID, which are larger than those of real processes: the parent and the command line
    10_000_001: (0, ("/bin/sh", "/entrypoint.sh")),
    10_000_010: (10_000_001, SERVE),  # the keeper
    10_000_011: (10_000_010, SERVE),  # its worker
    10_000_012: (10_000_011, ("sleep", "1")),  # a command of a check
    10_000_013: (10_000_012, ("sleep", "2")),
    10_000_014: (10_000_010, ("nginx",)),  # an orphan: the keeper is PID 1
    10_000_015: (10_000_014, ("nginx", "worker")),
    10_000_020: (10_000_001, (PYTHON, "-m", "exporter", "check", "--name", "a")),
    10_000_021: (10_000_020, ("sleep", "3")),
    10_000_030: (10_000_001, (PYTHON, "-I", "-m", "exporter", "ask", "livez")),
    10_000_031: (10_000_001, ("health-exporter", "validate")),
    10_000_032: (10_000_001, (PYTHON, "-IX", "dev", "-W", "ignore::UserWarning", "-m", "exporter", "serve")),
    10_000_033: (10_000_001, ("/opt/python3.14t", "-Xutf8=1", "-Wignore", "/venv/bin/health-exporter", "serve")),
    10_000_034: (10_000_001, ("python3-dbg", "-m", "exporter", "serve")),
    10_000_040: (10_000_001, ("vim", "/etc/health-exporter", "serve")),
    10_000_041: (10_000_001, ("tail", "-f", "health-exporter")),
    10_000_042: (10_000_001, (PYTHON, "-m", "exporter.plugin", "serve")),
    10_000_043: (10_000_001, (PYTHON, "my-health-exporter", "serve")),
    10_000_044: (10_000_001, (PYTHON, "-X", "dev", "app.py", "-m", "exporter", "serve")),
    10_000_045: (10_000_001, ()),  # a thread of the kernel, or a zombie
    10_000_050: (10_000_051, ("circular",)),  # its parent's PID was reused during the scan
    10_000_051: (10_000_050, ("circular",)),
    10_000_060: (10_000_099, ("orphan", "of (a) hidden process")),
}
BELONGS = {10, 11, 12, 13, 20, 21, 30, 31, 32, 33, 34}


@pytest.fixture
def proc(tmp_path):
    for pid, (parent, words) in TREE.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b (c) S {parent} {pid} 0 0 -1 0")
        (tmp_path / str(pid) / "cmdline").write_text("".join(f"{word}\0" for word in words))
    return tmp_path


def test_exporters_and_what_their_checks_started_belong_to_the_family_and_orphans_do_not(proc):
    family = Family(proc)

    assert {pid % 1000 for pid in TREE if family.includes(pid)} == BELONGS


def test_a_process_that_has_ended_belongs_to_no_family(proc):
    assert not Family(proc).includes(10_000_099)
    assert not Family(proc / "absent").includes(10_000_012)


def test_this_process_belongs_and_its_parent_does_not():
    assert Family().includes(os.getpid())
    assert not Family().includes(os.getppid())


LEAVE = "{program} -c 'import time; time.sleep(60)' & echo $!"


@pytest.fixture
def started():
    """A child that leads a session and has a child; the second one's PID. The exporter has started the first."""
    child = subprocess.Popen(
        ["sh", "-c", LEAVE.format(program=sys.executable) + "; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    note_start(child)
    descendant = int(child.stdout.readline())
    yield child, descendant
    for process in (child.stdin, child.stdout):
        process.close()
    if psutil.pid_exists(descendant):
        os.kill(descendant, 9)
    child.wait(60)
    note_end(child)


def test_a_command_and_its_children_belong_to_the_family(started):
    child, descendant = started

    assert Family().includes(child.pid)
    assert Family().includes(descendant)


def test_what_a_command_has_left_in_its_session_belongs_to_the_family_until_it_ends(started):
    child, descendant = started
    child.stdin.close()
    child.wait(60)
    note_session_end(child)
    assert psutil.Process(descendant).ppid() != child.pid

    assert Family().includes(descendant)
    os.kill(descendant, 9)
    eventually(lambda: not psutil.pid_exists(descendant) or psutil.Process(descendant).status() == "zombie")
    eventually(lambda: not Family().includes(child.pid))


def test_a_command_that_leaves_nothing_is_forgotten():
    child = subprocess.Popen(["true"], start_new_session=True)
    note_start(child)
    assert Family().includes(child.pid)
    child.wait(60)
    note_session_end(child)

    assert not Family().includes(child.pid)


def test_a_child_that_was_killed_and_abandoned_is_forgotten():
    child = subprocess.Popen(["sleep", "60"])
    note_start(child)
    assert Family().includes(child.pid)
    child.kill()
    child.wait(60)

    assert not Family().includes(child.pid)


def test_a_forked_process_has_started_nothing_itself(started):
    child, _ = started
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about threads of other tests
        pid = os.fork()
    if pid == 0:
        os.write(writing, str(Family().includes(child.pid)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == "False"
    os.waitpid(pid, 0)
