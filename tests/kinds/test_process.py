"""The kind `process` with real processes, and with scans during which processes end or are hidden."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from faults.namespaces import namespaces
from pydantic import ValidationError
from support import PATIENCE, Exporter, command, ended, eventually, unavailable, within

from exporter.kinds.exec import Exec
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


@contextmanager
def running_program(folder: Path, name: str):
    """A real process of a program with this name."""
    shutil.copy(shutil.which("sleep"), folder / name)
    child = subprocess.Popen([folder / name, "60"])
    try:
        eventually(lambda: psutil.Process(child.pid).name() == name)
        yield child
    finally:
        child.kill()
        child.wait()


def test_a_process_is_found_by_its_whole_name_and_as_ps_cuts_it(tmp_path):
    name = "sandpiper-counts-waves"
    with running_program(tmp_path, name) as child:
        shown = subprocess.run(
            [command("ps"), "-o", "comm=", "-p", str(child.pid)], capture_output=True, text=True, check=True
        )
        assert shown.stdout.strip() == name[:15]
        for found in (name, name[:15]):
            assert run_check(name=found).summary.startswith(f"process {found}: 1 running (pid {child.pid}); ")
        for missing in (name[:14], name[:16], name + "s"):
            assert run_check(name=missing).reason is Reason.MISSING


@contextmanager
def running_script(path: Path):
    """A real process of a shell script with this path."""
    path.write_text("#!/bin/sh\nread line\n")
    path.chmod(0o755)
    with subprocess.Popen([path, "sandpiper-counts-nests"], stdin=subprocess.PIPE) as child:
        eventually(lambda: psutil.Process(child.pid).name() == path.name[:15])
        yield child


def test_a_script_is_found_by_its_whole_name_and_not_by_its_arguments(tmp_path):
    with running_script(tmp_path / "sandpiper-counts-waves") as child:
        found = run_check(name="sandpiper-counts-waves")
        argument = run_check(name="sandpiper-counts-nests")

    assert found.summary.startswith(f"process sandpiper-counts-waves: 1 running (pid {child.pid}); ")
    assert argument.reason is Reason.MISSING


def test_a_name_is_found_in_full_if_the_kernel_cuts_it_within_a_character(tmp_path):
    name = "ü" * 8  # of two bytes each; the kernel keeps 15
    shutil.copy(shutil.which("sleep"), tmp_path / name)
    child = subprocess.Popen([tmp_path / name, "60"])
    try:
        eventually(lambda: psutil.Process(child.pid).name().startswith("ü"))
        summary = run_check(name=name).summary
    finally:
        child.kill()
        child.wait()

    assert summary.startswith(f"process {name}: 1 running (pid {child.pid}); ")


@pytest.mark.parametrize(
    "wanted", ["sandpiper", "Sandpiper-counts", "sandpiper-count-waves", "/usr/bin/sandpiper-counts-waves"]
)
def test_a_similar_name_is_in_the_summary_if_the_right_one_is_not_found(tmp_path, wanted):
    with running_program(tmp_path, "sandpiper-counts-waves") as child:
        summary = run_check(name=wanted).summary

    assert summary == f"no process {wanted} is running; similar names: sandpiper-counts-waves (pid {child.pid})"


def test_a_program_that_changes_its_name_is_in_the_summary(word):
    rename = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'MainThread'); print(flush=True); time.sleep(60)"
    with running(word, code=rename) as child:
        program = Path(sys.executable).name
        scanned = {"pids": lambda: [1, child.pid]}
        summary = run_check(name=program, outside=scanned).summary

    assert summary.endswith(f"similar names: MainThread, whose command line begins with {program} (pid {child.pid})")


def test_a_process_that_a_signal_has_stopped_does_not_run(word):
    with running(word) as child:
        child.send_signal(signal.SIGSTOP)
        eventually(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
        stopped = run_check(command_line=word)
        child.send_signal(signal.SIGCONT)
        eventually(lambda: run_check(command_line=word).status is Status.PASS)

    assert (stopped.status, stopped.reason) == (Status.FAIL, Reason.THRESHOLD)
    words = f"0 running, 1 stopped by a signal until SIGCONT (pid {child.pid}), expected at least 1"
    assert stopped.summary.endswith(words)
    assert values(stopped) == {"processes": 0}


def test_a_process_that_a_debugger_has_stopped_counts_and_warns(word):
    traced = (
        "import ctypes, os, signal, sys\n"
        "if ctypes.CDLL(None).ptrace(0, 0, 0, 0): sys.exit('no ptrace')\n"  # PTRACE_TRACEME
        "print(flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    )
    with running(word, code=traced) as child:
        ended = (psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE)
        if eventually(lambda: (status := psutil.Process(child.pid).status()) in ended and status) == ended[1]:
            unavailable("a process cannot be traced here")
        outcome = run_check(command_line=word)

    assert (outcome.status, values(outcome)["processes"]) == (Status.WARN, 1)
    assert f"1 stopped by a debugger (pid {child.pid})" in outcome.summary


@pytest.mark.parametrize("by", ["name", "whole name", "command_line", "pid_file"])
def test_a_process_whose_main_thread_has_ended_runs_while_another_thread_does(word, tmp_path, by):
    exit_thread = {"x86_64": 60, "aarch64": 93}.get(platform.machine())  # the number of the system call
    if exit_thread is None:
        unavailable("the number of the system call exit is not known for this processor")
    name = word[:15] if by == "whole name" else word[-15:]
    code = (
        "import ctypes, threading, time\n"
        f"ctypes.CDLL(None).prctl(15, {name.encode()})\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print(flush=True)\n"
        f"ctypes.CDLL(None).syscall({exit_thread}, 0)"
    )
    with running(word, code=code) as child:
        eventually(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
        (tmp_path / "pid").write_text(str(child.pid))
        ways = {"name": name, "whole name": word, "command_line": word, "pid_file": str(tmp_path / "pid")}
        outcome = run_check(**{by.removeprefix("whole "): ways[by]})

    assert outcome.status is Status.PASS
    assert f"1 running (pid {child.pid})" in outcome.summary
    assert values(outcome)["process_memory_bytes"] > 2**20


def test_a_command_of_a_check_does_not_count(word):
    sleep = f"{sys.executable} -c 'import time; time.sleep(60)' {word}"
    probe = Exec(command=["sh", "-c", f"{sleep} & wait", word])
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(probe.probe, within(PATIENCE))
        outcome = eventually(lambda: "an exporter (pids" in (seen := run_check(command_line=word)).summary and seen)
        probe.close()
        with pytest.raises(ProbeError, match="was abandoned"):
            run.result(PATIENCE)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)


def test_what_a_command_of_a_check_has_left_behind_does_not_count_but_a_daemon_does(word):
    def start(before: str) -> int:
        script = f"{before}{sys.executable} -c 'import time; time.sleep(60)' {word} & echo $!"
        return int(Exec(command=["sh", "-c", script.replace("$", "$$")]).probe(within(PATIENCE)).summary.split()[-1])

    left, daemon = start(""), start("setsid ")
    try:
        eventually(lambda: all(word in psutil.Process(pid).cmdline() for pid in (left, daemon)))  # and not still sh
        outcome = run_check(command_line=f"sleep.60.*{word}")
        assert outcome.status is Status.PASS
        assert f"1 running (pid {daemon}), not counting what belongs to an exporter (pid {left})" in outcome.summary
    finally:
        for pid in (left, daemon):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("form", ["{}", "{}\n", " {} \n/var/lib/data\n5432\n"], ids=["bare", "line", "postmaster"])
def test_a_process_is_found_by_its_pid_file(tmp_path, form):
    path = tmp_path / "pid"
    with running() as child:
        path.write_text(form.format(child.pid))
        outcome = run_check(pid_file=str(path))

    assert outcome.status is Status.PASS
    assert values(outcome)["processes"] == 1


NO_PID = "the file does not begin with a PID"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "the file does not exist"),
        (b"4194304\n", "the file has the PID 4194304"),  # the first one that Linux never uses
        *((content, NO_PID) for content in (b"", b"none\n", b"-1", b"9999999999999999999", b"\xff\x00", b"\xc2\xb2")),
    ],
)
def test_a_pid_file_without_a_running_process_is_missing(tmp_path, content, cause):
    path = tmp_path / "pid"
    if content is not None:
        path.write_bytes(content)
    outcome = run_check(pid_file=str(path))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert outcome.summary == f"no process of {path} is running: {cause}"


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


def test_neither_of_two_exporters_counts_the_processes_of_their_checks(word, tmp_path):
    """`serve` is two processes and starts commands; this test is the other exporter."""
    config = tmp_path / "health.yml"
    sleep = f"{sys.executable} -c 'import time; time.sleep(0.5)' {word}; exit 1"
    config.write_text(
        f"""
        checks:
          - {{name: app, process: {{commandLine: {word}}}, periodSeconds: 1, timeoutSeconds: 60}}
          - {{name: own, process: {{commandLine: exporter serve, maxCount: 0, minCount: 0}}, timeoutSeconds: 60}}
          - name: command
            exec: {{command: [sh, -c, {json.dumps(sleep)}, {word}]}}
            periodSeconds: 1
            timeoutSeconds: 60
        """
    )
    with ended(Exporter(config=config)) as exporter:
        runs = 'health_check_runs_total{check="%s",kind="%s"}'
        found = eventually(lambda: "not counting" in (seen := run_check(command_line=word)).summary and seen)
        eventually(lambda: exporter.metrics()[runs % ("command", "exec")] >= 4)
        eventually(lambda: exporter.metrics()[runs % ("app", "process")] >= 3)
        metrics = exporter.metrics()
        page = exporter.get("/healthz/own").status

    assert found.reason is Reason.MISSING
    assert metrics['health_check_last_up{check="app",kind="process"}'] == 0
    assert 'health_check_last_pass_timestamp_seconds{check="app",kind="process"}' not in metrics
    assert page == 200


FORKING = """
import mmap, os, sys, time
own, shared = bytearray(b"x") * int(sys.argv[1]), mmap.mmap(-1, int(sys.argv[2]))
for page in range(0, len(shared), 4096):
    shared[page] = 1
for _ in range(4):
    if os.fork() == 0:
        sum(shared[::4096])
        os.write(1, b"x")
        time.sleep(60)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("own", "shared", "scan", "exact"),
    [(48, 1, True, True), (1, 48, True, True), (1, 48, False, False)],
    ids=["memory from before a fork", "shared memory", "shared memory without the kernel's help"],
)
def test_memory_that_processes_share_counts_once(monkeypatch, word, own, shared, scan, exact):
    """Five processes share 48 MiB, which is 240 MiB resident."""
    if not scan:
        monkeypatch.setattr("exporter.host.processes.MAX_PSS_SCAN", 0)
    arguments = [sys.executable, "-c", FORKING, str(own * 2**20), str(shared * 2**20), word]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, bufsize=0, start_new_session=True) as child:
        try:
            assert b"".join(child.stdout.read(1) for _ in range(4)) == b"xxxx"
            outcome = run_check(command_line=f"{word}$", warn_memory_bytes=2**40)
        finally:
            os.killpg(child.pid, signal.SIGKILL)

    assert values(outcome)["processes"] == 5
    assert 48 * 2**20 <= values(outcome)["process_memory_bytes"] < 150 * 2**20
    assert ("counted for each process" in outcome.summary) is not exact


def test_a_process_without_memory_has_not_reached_its_limit_for_all_we_know(word):
    """Such as a thread of the kernel."""

    class KernelThread(psutil.Process):
        def memory_info(self):
            return SimpleNamespace(rss=0, shared=0)

    with running(word) as child:
        found = {"pids": lambda: [1, child.pid], "process": KernelThread}
        limited = run_check(command_line=word, outside=found, fail_memory_bytes=2**30)
        plain = run_check(command_line=word, outside=found)

    assert (limited.status, limited.reason) == (Status.UNKNOWN, Reason.MISSING)
    assert plain.status is Status.PASS


@pytest.mark.parametrize(
    ("limits", "status", "reason"),
    [
        ({}, "pass", None),
        ({"warn_age_seconds": 5}, "unknown", "missing"),
        ({"min_age_seconds": 5, "min_count": 2}, "fail", "threshold"),
    ],
    ids=str,
)
def test_where_proc_has_only_processes_they_are_found_and_their_age_is_not_known(word, limits, status, reason):
    with running(word) as child, namespaces("mounts") as inside:
        inside.run("mount", "-t", "proc", "-o", "subset=pid", "proc", "/proc")
        outcome = inside(run_check, command_line=word, **limits)

    assert (outcome.status, outcome.reason) == (status, reason)
    assert f"1 running (pid {child.pid})" in outcome.summary
    assert "process_age_seconds" not in values(outcome)
    assert ("ProcSubset=pid" in outcome.summary) is bool(limits)


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
