"""The thread that polls, with functions that fail and hang."""

import threading

from support import PATIENCE, eventually

from exporter.server.poller import Poller


def test_a_function_is_called_again_and_again_whatever_it_raises(caplog):
    calls = []

    def fail() -> None:
        calls.append(1)
        raise SystemExit if len(calls) == 1 else KeyError("x")

    poller = Poller("things", fail, interval=0.01)
    poller.start()
    eventually(lambda: len(calls) >= 3)
    poller.stop()

    assert {record.message for record in caplog.records} == {"things: unexpected error"}


def test_a_call_can_be_had_at_once():
    calls = []
    poller = Poller("things", lambda: calls.append(1), interval=PATIENCE)
    poller.start()
    eventually(lambda: len(calls) == 1)
    poller.wake()
    eventually(lambda: len(calls) == 2)
    poller.stop()


def test_stopping_does_not_wait_for_a_call_that_hangs():
    release, ended = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait(PATIENCE)
        ended.set()

    poller = Poller("things", hang)
    poller.start()
    poller.stop()

    assert not ended.is_set()
    release.set()
    eventually(ended.is_set)
