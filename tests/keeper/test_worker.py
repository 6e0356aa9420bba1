"""The back-off between workers, and how their end is described."""

import os
import signal
import subprocess

import pytest

from exporter.keeper.shared import Shared
from exporter.keeper.worker import MAX_SILENCE, MAX_START, SILENT, BackOff, Worker, describe_end


@pytest.fixture
def worker():
    """A worker whose process does nothing, and the memory that it shares."""
    shared = Shared()
    with subprocess.Popen(["sleep", "3600"]) as process:
        child = Worker(process.pid, shared, None, -1)
        yield child, shared
        child.kill()


def test_the_back_off_grows_until_a_worker_is_steady():
    back_off = BackOff()

    assert [back_off.extend(steady=False) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert back_off.extend(steady=True) == 0
    assert [back_off.extend(steady=False) for _ in range(2)] == [1, 2]


def test_the_back_off_stays_finite():
    back_off = BackOff()

    assert [back_off.extend(steady=False) for _ in range(3000)][-1] == 30


def test_an_end_is_described_by_its_signal_or_exit_code():
    assert describe_end(0) == {"exit_code": 0}
    assert describe_end(2) == {"exit_code": 2}
    assert [describe_end(-number)["signal"] for number in (9, 11, 6, 7)] == ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS"]
    assert describe_end(-33) == {"signal": "33"}


def test_a_worker_that_beats_is_not_silent(worker):
    child, shared = worker
    shared.state = 1
    child.update()
    for _ in range(3 * MAX_SILENCE):
        shared.beat()
        assert child.tick() is None
        assert child.serving


def test_silence_is_counted_in_ticks(worker):
    child, shared = worker
    shared.state = 1
    child.update()
    shared.beat()
    reasons = [child.tick() for _ in range(MAX_SILENCE + 1)]

    assert reasons == [None] * MAX_SILENCE + ["the worker does not respond"]
    assert (child.serving, child.silent) == (False, True)
    shared.beat()
    assert child.tick() is None
    assert child.serving


def test_a_worker_that_loads_has_more_time(worker):
    child, _ = worker
    reasons = [child.tick() for _ in range(MAX_START)]

    assert reasons == [None] * (MAX_START - 1) + ["the worker does not respond"]
    assert not child.silent


def test_a_stopped_worker_is_found(worker):
    child, _ = worker
    os.kill(child.pid, signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)

    assert [child.tick() for _ in range(SILENT)] == [None] * (SILENT - 1) + ["the worker is stopped"]
