"""One run of the server."""

import gc
import socket
import sys

import pytest

from exporter.server.run import SWITCH_INTERVAL, Run


@pytest.fixture
def switch_interval():
    usual = sys.getswitchinterval()
    yield
    sys.setswitchinterval(usual)


class Reloader:
    def request(self):
        pass


class Keeper:
    """A link to no keeper."""

    keeper = 1

    def __init__(self, sock: socket.socket) -> None:
        self.fileno = sock.fileno

    def note(self) -> None:
        pass

    beat = take_over = end = note


def test_other_threads_keep_the_event_loop_waiting_for_a_limited_time(switch_interval):
    intervals = []

    def tick():
        intervals.append(sys.getswitchinterval())
        run._stop()

    run = Run([], Reloader(), tick, lambda: None, shutdown_delay=0.0)
    run.until_stopped()

    assert intervals == [pytest.approx(SWITCH_INTERVAL)]


def test_a_worker_collects_garbage_but_not_its_modules(switch_interval):
    found = []

    def tick():
        found.append((gc.isenabled(), gc.get_freeze_count() > frozen))
        run._stop()

    here, there = socket.socketpair()
    with here, there:
        run = Run([], Reloader(), tick, lambda: None, 0.0, Keeper(here))
        frozen = gc.get_freeze_count()
        gc.disable()
        try:
            run.until_stopped()
        finally:
            gc.enable()
            gc.unfreeze()

    assert found == [(True, True)]
