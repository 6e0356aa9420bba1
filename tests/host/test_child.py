"""Children are killed and reaped, alone or with their process group."""

import subprocess
import sys

import psutil
from support import eventually

from exporter.host.child import kill, kill_group, kill_session

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def start(**options) -> tuple["subprocess.Popen[bytes]", psutil.Process]:
    """A child process, and its own child."""
    child = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, **options)
    return child, psutil.Process(int(child.stdout.readline()))


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended, even if PID 1 has not reaped it yet."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


class Blocked:
    """A child that is blocked in the kernel: it does not die when it is killed."""

    def __init__(self) -> None:
        self.calls = []

    def kill(self) -> None:
        self.calls.append("kill")

    def wait(self, timeout: float) -> None:
        self.calls.append("wait")
        raise subprocess.TimeoutExpired("blocked", timeout)


def test_a_killed_child_is_waited_for_but_not_until_it_dies():
    child = Blocked()
    kill(child)

    assert child.calls == ["kill", "wait"]


def test_killing_one_process_leaves_its_children_running():
    child, grandchild = start()
    try:
        with child.stdout:
            kill(child)
            child.wait(60)
        assert child.returncode == -9
        assert not is_gone(grandchild)
    finally:
        grandchild.kill()


def test_a_killed_session_takes_its_children_along():
    child, grandchild = start(start_new_session=True)
    with child.stdout:
        kill_session(child)
        child.wait(60)
        eventually(lambda: is_gone(grandchild), within=60)

    assert child.returncode == -9


def test_a_group_that_no_longer_exists_is_not_an_error():
    child = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    child.wait(60)
    kill_group(child.pid)
