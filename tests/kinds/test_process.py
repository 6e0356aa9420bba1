"""The kind `process` with real processes, and with scans during which processes end or are hidden."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from pydantic import ValidationError
from support import eventually

from exporter.kinds.process import Process
from exporter.model import Deadline, ProbeError, Reason, Status

SECRET = "token=hunter2"


@contextmanager
def running(*arguments, executable=sys.executable, code="import time; print(flush=True); time.sleep(60)"):
    """A real process that has started, with these arguments on its command line."""
    child = subprocess.Popen([executable, "-c", code, *arguments], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.fixture
def word(tmp_path):
    """A word that is on no other command line."""
    return f"heron-{os.getpid()}-{tmp_path.name}"


def run_check(within=10.0, outside=None, **options):
    return Process(**options).probe(Deadline(time.monotonic() + within), **(outside or {}))


def values(outcome):
    return {measurement.name: measurement.value for measurement in outcome.measurements}


def test_a_process_is_found_by_its_command_line(word):
    with running(word, SECRET):
        outcome = run_check(command_line=f"time.sleep.* {word} ")

    assert outcome.status is Status.PASS
    assert values(outcome)["processes"] == 1
    assert 0 <= values(outcome)["process_age_seconds"] < 30
    assert 2**20 < values(outcome)["process_memory_bytes"] < 2**30
    assert "hunter2" not in outcome.summary


def test_a_process_is_found_by_its_whole_name(tmp_path):
    name = "sandpiper-counts-waves"  # longer than the 15 characters that the kernel stores
    shutil.copy(shutil.which("sleep"), tmp_path / name)
    child = subprocess.Popen([tmp_path / name, "60"])
    try:
        eventually(lambda: run_check(name=name).status is Status.PASS)
        assert run_check(name="sandpiper").reason is Reason.MISSING
        assert run_check(name=name[:15]).reason is Reason.MISSING
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("form", ["{}", "{}\n", " {} \n/var/lib/data\n5432\n"], ids=["bare", "line", "postmaster"])
def test_a_process_is_found_by_its_pid_file(tmp_path, form):
    path = tmp_path / "pid"
    with running() as child:
        path.write_text(form.format(child.pid))
        outcome = run_check(pid_file=str(path))

    assert outcome.status is Status.PASS
    assert values(outcome)["processes"] == 1


@pytest.mark.parametrize("content", [None, b"", b"none\n", b"-1", b"9999999999999999999", b"\xff\x00", b"\xc2\xb2"])
def test_a_pid_file_without_a_running_process_is_missing(tmp_path, content):
    path = tmp_path / "pid"
    if content is not None:
        path.write_bytes(content)
    outcome = run_check(pid_file=str(path))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)


def test_a_pid_file_that_is_a_fifo_is_an_error_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pid")
    with pytest.raises(ProbeError, match="it is a FIFO, not a regular file"):
        run_check(pid_file=str(tmp_path / "pid"))


def test_a_pid_file_that_is_a_directory_is_an_error_and_is_closed_again(tmp_path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ProbeError, match="Is a directory"):
        run_check(pid_file=str(tmp_path))

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_process_that_has_ended_is_missing(word, tmp_path):
    with running(word) as child:
        (tmp_path / "pid").write_text(str(child.pid))
        assert run_check(command_line=word).status is Status.PASS
    outcomes = [run_check(command_line=word), run_check(pid_file=str(tmp_path / "pid"))]

    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [(Status.FAIL, Reason.MISSING)] * 2
    assert values(outcomes[0]) == {"processes": 0}


def test_a_zombie_does_not_count(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        eventually(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
        (tmp_path / "pid").write_text(str(child.pid))
        outcome = run_check(pid_file=str(tmp_path / "pid"))
        named = run_check(name=psutil.Process(child.pid).name(), outside={"pids": lambda: [1, child.pid]})
    finally:
        child.wait()

    assert outcome.reason is Reason.MISSING
    assert values(named)["processes"] == 0


def test_the_exporter_itself_is_not_counted(tmp_path):
    (tmp_path / "pid").write_text(str(os.getpid()))

    assert run_check(pid_file=str(tmp_path / "pid")).reason is Reason.MISSING


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        ({}, "pass", None),
        ({"min_count": 2}, "pass", None),
        ({"min_count": 3}, "fail", "threshold"),
        ({"max_count": 2}, "pass", None),
        ({"max_count": 1}, "fail", "threshold"),
        ({"min_count": 0, "max_count": 0}, "fail", "threshold"),
        ({"min_age_seconds": 3600}, "fail", "threshold"),
        ({"warn_age_seconds": 3600}, "warn", "threshold"),
        ({"min_age_seconds": 0.001, "warn_age_seconds": 0.001}, "pass", None),
        ({"fail_memory_bytes": 1}, "fail", "threshold"),
        ({"warn_memory_bytes": 1, "fail_memory_bytes": 2**40}, "warn", "threshold"),
        ({"warn_memory_bytes": 2**40}, "pass", None),
    ],
    ids=str,
)
def test_count_age_and_memory_are_compared_with_their_limits(word, options, status, reason):
    with running(word) as first, running(word) as second:
        outside = {"wall": lambda: time.time() + 60, "pids": lambda: [1, first.pid, second.pid]}
        outcome = run_check(command_line=word, outside=outside, **options)

    assert (outcome.status, outcome.reason) == (status, reason)
    assert values(outcome)["processes"] == 2


def test_the_age_is_that_of_the_youngest_and_the_memory_that_of_all(word):
    processes = {1: (100.0, 5), 2: (160.0, 7)}  # start, memory

    class Running:
        def __init__(self, pid):
            self.pid = pid

        def name(self):
            return word

        def status(self):
            return psutil.STATUS_RUNNING

        def create_time(self):
            return processes[self.pid][0]

        def memory_info(self):
            return SimpleNamespace(rss=processes[self.pid][1])

    outcome = run_check(name=word, outside={"pids": lambda: [1, 2], "process": Running, "wall": lambda: 200.0})

    assert values(outcome) == {"processes": 2, "process_age_seconds": 40, "process_memory_bytes": 12}


def test_the_expected_count_may_be_zero(word):
    outcome = run_check(command_line=word, min_count=0, max_count=0)

    assert outcome.status is Status.PASS
    assert values(outcome) == {"processes": 0}


@pytest.mark.parametrize("option", ["name", "command_line"])
def test_a_process_that_ends_during_the_scan_is_skipped(word, option):
    def find_ended(pid):
        raise psutil.NoSuchProcess(pid)

    outcome = run_check(**{option: word}, outside={"pids": lambda: [1, 77], "process": find_ended})

    assert outcome.reason is Reason.MISSING


def find_hidden(pid):
    raise psutil.AccessDenied(pid)


@pytest.mark.parametrize(
    "outside",
    [{"pids": lambda: [1, 77], "process": find_hidden}, {"pids": lambda: [os.getpid()]}],
    ids=["unreadable", "invisible"],
)
@pytest.mark.parametrize("limits", [{}, {"min_count": 0, "max_count": 0}], ids=["too few", "enough"])
def test_hidden_processes_make_the_result_unknown(word, outside, limits):
    with pytest.raises(ProbeError, match="hidden") as caught:
        run_check(name=word, outside=outside, **limits)

    assert caught.value.reason is Reason.PERMISSION


def test_hidden_processes_do_not_matter_if_enough_are_found(word):
    def find(pid):
        return find_hidden(pid) if pid == 1 else psutil.Process(pid)

    with running(word) as child:
        outcome = run_check(command_line=word, outside={"pids": lambda: [1, child.pid], "process": find})

    assert outcome.status is Status.PASS


def test_a_scan_ends_at_the_deadline(word):
    with pytest.raises(ProbeError) as caught:
        run_check(name=word, within=0)

    assert caught.value.reason is Reason.TIMEOUT


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"name": "a", "pid_file": "/b"},
        {"name": ""},
        {"command_line": "("},
        {"name": "a", "max_count": 0},
        {"name": "a", "min_count": -1},
        {"name": "a", "min_age_seconds": 0},
        {"name": "a", "fail_memory_bytes": 1.5},
    ],
    ids=str,
)
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValidationError):
        Process(**options)


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"name": "nginx"}, "process nginx"),
        ({"command_line": "celery .* worker"}, "process matching celery .* worker"),
        ({"pid_file": "/run/x.pid"}, "process of /run/x.pid"),
    ],
    ids=str,
)
def test_the_target_names_the_option(options, target):
    assert Process(**options).target == target


def test_a_restart_does_not_fix_a_process_that_is_too_young():
    assert Process(name="a").liveness_risk() is None
    assert Process(name="a", min_age_seconds=60).liveness_risk()
