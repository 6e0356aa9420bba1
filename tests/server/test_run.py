"""One run of the server."""

import sys

import pytest

from exporter.server.run import SWITCH_INTERVAL, Run


@pytest.fixture
def switch_interval():
    usual = sys.getswitchinterval()
    yield
    sys.setswitchinterval(usual)


def test_other_threads_keep_the_event_loop_waiting_for_a_limited_time(switch_interval):
    intervals = []

    def tick():
        intervals.append(sys.getswitchinterval())
        run._stop()

    class Reloader:
        def request(self):
            pass

    run = Run([], Reloader(), tick, lambda: None, shutdown_delay=0.0)
    run.until_stopped()

    assert intervals == [pytest.approx(SWITCH_INTERVAL)]
