"""The pool of workers, with real threads."""

import math
import random
import sys
import threading
import time

import pytest
from make import FAIL, PASS, check
from support import PATIENCE, Clock, eventually

from exporter.evaluation.schedule import (
    HEADROOM,
    LAG_WINDOW,
    OVERDUE,
    TAKEOVER,
    Peak,
    PoolError,
    Schedule,
    compute_pool_size,
)
from exporter.evaluation.store import Store
from exporter.evaluation.timetable import compute_shift
from exporter.model import Result, Status
from exporter.probe.check import Check


@pytest.mark.parametrize(
    ("count", "period", "timeout", "size"),
    [(0, 10, 1, 0), (1, 10, 1, 1), (3, 10, 1, 3), (50, 10, 1, 8 + HEADROOM), (500, 10, 1, 75 + HEADROOM),
     (5000, 30, 1, 250 + HEADROOM), (10, 1, 30, 10)],
)  # fmt: skip
def test_the_pool_fits_the_configuration(count, period, timeout, size):
    assert (
        compute_pool_size([check(f"{number}", period=period, timeout=timeout).spec for number in range(count)]) == size
    )


def test_a_run_longer_than_its_period_keeps_one_worker_busy():
    specs = [check("slow", period=10, timeout=30).spec, *(check(f"c{number}", period=100).spec for number in range(99))]

    assert compute_pool_size(specs) == 3 + HEADROOM


@pytest.fixture
def running():
    """A store and its schedule, stopped at the end."""
    store = Store()
    schedule = Schedule(store)
    yield store, schedule
    schedule.stop()


def until(release):
    """A probe that hangs until it is released."""

    def hang(deadline):
        release.wait(PATIENCE)
        return PASS

    return hang


def test_checks_run_and_their_results_are_stored(running):
    store, schedule = running
    schedule.replace(
        store.configure([check("fast", period=0.05), check("bad", FAIL, period=0.05, failure_threshold=2)])
    )

    eventually(lambda: all(state.runs >= 5 for state in store.snapshot().states.values()))
    assert [state.status for state in store.snapshot().states.values()] == [Status.PASS, Status.FAIL]


def test_checks_that_hang_do_not_stop_the_others(running):
    store, schedule = running
    release = threading.Event()
    hang = until(release)

    hanging = [check(f"hung-{number}", hang, period=1, timeout=0.1) for number in range(5)]
    quick = [check(f"quick-{number}", period=0.1) for number in range(20)]
    names = [check.spec.name for check in quick]
    schedule.replace(store.configure([*hanging, *quick]))
    eventually(lambda: schedule.vitals().stuck == 5, what="five stuck runs")
    before = store.snapshot().states
    eventually(lambda: all(store.snapshot().states[name].runs >= before[name].runs + 10 for name in names))

    assert all(store.snapshot().states[check.spec.name].runs == 0 for check in hanging)
    assert schedule.vitals().busy >= 5
    assert schedule.vitals().running
    release.set()
    eventually(lambda: schedule.vitals().stuck == 0)


def test_a_check_that_is_overdue_means_that_the_schedule_is_not_running():
    """The only worker hangs, and another check is due."""
    release = threading.Event()
    clock = Clock()
    store = Store(clock)
    schedule = Schedule(store, clock)
    hung, other = check("hung", lambda deadline: release.wait(PATIENCE) or PASS), check("other")
    try:
        schedule.replace(store.configure([hung]))
        clock.advance(1)
        eventually(lambda: schedule.vitals().busy == 1, what="the worker hangs")
        schedule._timetable.replace((hung, other), clock())
        clock.advance(10)
        assert schedule.vitals().running
        clock.advance(2)
        assert not schedule.vitals().running
    finally:
        release.set()
        schedule.stop()


@pytest.fixture
def paused(clock):
    """A schedule without workers, whose hundred checks are due at moments that are exact numbers, and its timetable."""
    schedule = Schedule(Store(clock), clock)
    schedule._timetable.replace([check(f"check-{number}", timeout=2) for number in range(100)], clock())
    return schedule, schedule._timetable


def test_the_lag_is_that_of_the_check_that_is_overdue_most(paused, clock):
    schedule, timetable = paused
    due = timetable.next_due()

    assert (schedule.vitals().lag, schedule.vitals().running) == (0.0, True)
    clock.now = due + 0.5
    assert (schedule.vitals().lag, schedule.vitals().running) == (0.5, True)
    clock.now = math.nextafter(due + OVERDUE, 0)
    assert schedule.vitals().running
    clock.now = due + OVERDUE
    assert (schedule.vitals().lag, schedule.vitals().running) == (OVERDUE, False)


def test_a_run_is_stuck_a_second_after_its_deadline(paused, clock):
    schedule, timetable = paused
    clock.now = timetable.next_due()
    timetable.take(clock.now)
    deadline = clock.now + 2

    for now, stuck in ((deadline, 0), (deadline + 1, 0), (math.nextafter(deadline + 1, math.inf), 1)):
        clock.now = now
        assert (schedule.vitals().busy, schedule.vitals().stuck) == (1, stuck)


def test_workers_that_are_missing_mean_that_the_schedule_is_not_running(clock):
    schedule = Schedule(Store(clock), clock)
    assert schedule.vitals().running

    schedule._size = 1
    assert not schedule.vitals().running


def test_only_the_workers_that_are_missing_are_started(running, monkeypatch):
    """As daemons, because a worker that hangs must not keep the process from exiting."""
    store, schedule = running
    started = []
    monkeypatch.setattr(
        threading.Thread, "start", lambda self, start=threading.Thread.start: (started.append(self), start(self))
    )
    for count in (3, 3, 5):
        schedule.replace(store.configure([check(f"c{number}") for number in range(count)]))

    assert [(thread.name, thread.daemon) for thread in started] == [("worker", True)] * 5


def test_a_worker_that_is_not_needed_leaves_the_pool_as_it_leaves_the_lock(clock):
    schedule = Schedule(Store(clock), clock)
    schedule._workers = {threading.current_thread(), threading.Thread()}
    schedule._size = 1

    assert schedule._take() is None
    assert threading.current_thread() not in schedule._workers
    assert len(schedule._workers) == 1


def test_a_worker_that_dies_leaves_the_pool(running, monkeypatch):
    store, schedule = running
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(store, "record", lambda *_: sys.exit())  # which is not an Exception
    schedule.replace(store.configure([check()]))

    eventually(lambda: schedule.vitals().workers == 0)
    assert not schedule.vitals().running


def test_a_run_has_the_clock_of_the_schedule(clock):
    seen = []
    store = Store(clock)
    schedule = Schedule(store, clock)
    try:
        schedule.replace(store.configure([check("api", lambda deadline: seen.append(deadline) or PASS, timeout=3)]))
        clock.advance(1)
        eventually(lambda: schedule.vitals().workers == 1 and seen)
        assert (seen[0].clock, seen[0].at) == (clock, 1004.0)
    finally:
        schedule.stop()


def test_the_host_shifts_the_checks():
    shifts = [Schedule(Store(), **host)._timetable._shift for host in ({}, {"host": ""}, {"host": "db-1"})]

    assert shifts == [compute_shift(""), compute_shift(""), compute_shift("db-1")]


def test_the_pool_follows_the_configuration(running):
    store, schedule = running
    for count in (3, 20, 2, 0):
        schedule.replace(store.configure([check(f"c{number}", period=0.1) for number in range(count)]))
        eventually(
            lambda: schedule.vitals().workers == compute_pool_size(s.spec for s in store.snapshot().states.values())
        )


def test_an_early_check_wakes_the_worker_that_waits_for_a_later_one(running):
    store, schedule = running
    schedule.replace(store.configure([check("rare", period=3600)]))
    eventually(lambda: store.snapshot().states["rare"].runs == 1)
    schedule.replace(store.configure([check("rare", period=3600), check("often", period=0.05)]))

    eventually(lambda: store.snapshot().states["often"].runs >= 5)


def test_checks_that_are_due_together_run_in_one_thread(running, monkeypatch):
    """If each start woke a worker, a run would take twice the CPU time."""
    monkeypatch.setattr("exporter.evaluation.schedule.TAKEOVER", PATIENCE)
    store, schedule = running
    workers = set()

    def note(deadline):
        workers.add(threading.current_thread())
        time.sleep(0.001)  # others could run meanwhile
        return PASS

    schedule.replace(store.configure([check(f"c{number}", note, period=0.1) for number in range(20)]))
    eventually(lambda: all(state.runs > 1 for state in store.snapshot().states.values()))
    workers.clear()
    runs = store.snapshot().states["c0"].runs
    eventually(lambda: store.snapshot().states["c0"].runs > runs + 5)

    assert len(workers) == 1


def test_only_the_leader_and_the_deputy_wake_up_for_a_check(running):
    store, schedule = running
    rare = (check(f"rare-{number}", period=3600, timeout=3600) for number in range(20))
    schedule.replace(store.configure([check("often", period=0.1), *rare]))
    eventually(lambda: all(state.runs > 1 for state in store.snapshot().states.values() if state.spec.period < 1))

    def offsets():
        with schedule._lock:
            due = schedule._timetable.next_due()
            return sorted(alarm - due for alarm in schedule._alarms.values() if alarm <= due + TAKEOVER)

    eventually(lambda: offsets() == [0, pytest.approx(TAKEOVER)])


def test_a_worker_wakes_up_for_each_check_while_one_is_free(running):
    """Whatever is due, and whichever runs take long: whenever this looks, somebody is on the way."""
    store, schedule = running
    chance = random.Random(17)

    def dawdle(deadline):
        time.sleep(chance.choice((0, 0, 0, 0.01, 2 * TAKEOVER, 0.2)))
        return PASS

    checks = [check(f"c{number}", dawdle, period=0.1 * (1 + number % 7), timeout=0.2) for number in range(40)]
    schedule.replace(store.configure(checks))
    looks = []

    def look():
        with schedule._lock:
            due = max(schedule._timetable.next_due(), time.monotonic())
            awake = len(schedule._workers) - len(schedule._timetable.deadlines) - len(schedule._waiting)
            if schedule._waiting and not awake and due < math.inf:
                looks.append(due)
                assert min(schedule._alarms.values()) <= due + TAKEOVER
        return sum(state.runs for state in store.snapshot().states.values()) > 600

    eventually(look)
    assert looks


def test_workers_that_still_run_removed_checks_do_not_count(running):
    """Otherwise the other workers leave, and the remaining checks wait until the last removed one ends."""
    store, schedule = running
    release = threading.Event()
    hang = until(release)

    hanging = [check(f"hung-{number}", hang, timeout=PATIENCE) for number in range(10)]
    schedule.replace(store.configure([*hanging, check("quick", period=0.1)]))
    eventually(lambda: schedule.vitals().busy >= 10 and store.snapshot().states["quick"].runs)
    schedule.replace(store.configure([check("quick", period=0.1)]))
    runs = store.snapshot().states["quick"].runs
    eventually(lambda: store.snapshot().states["quick"].runs > runs + 2)
    assert schedule.vitals().running
    assert schedule.vitals().workers >= 11

    release.set()
    eventually(lambda: schedule.vitals().workers == 1)


def test_new_checks_get_workers_while_removed_ones_still_run(running):
    store, schedule = running
    release = threading.Event()
    hang = until(release)

    for generation in range(3):
        checks = [check(f"{generation}-{number}", hang, timeout=PATIENCE) for number in range(5)]
        schedule.replace(store.configure(checks))
        eventually(lambda busy=5 * (generation + 1): schedule.vitals().busy == busy)
    release.set()
    eventually(lambda: schedule.vitals().workers == 5)


def test_a_start_that_is_dropped_counts_for_the_lag(paused, clock):
    schedule, timetable = paused
    schedule._workers, schedule._size = {threading.current_thread()}, 1
    clock.now = timetable.next_due() + 10.5  # the first start is dropped, because it is late by more than a period

    assert schedule._take()
    assert schedule._peak.largest == 10.5


def test_a_worker_that_could_not_wait_is_not_waited_for(paused, clock, monkeypatch):
    schedule, _ = paused
    monkeypatch.setattr(threading.Condition, "wait", lambda *_: 1 / 0)
    with schedule._lock, pytest.raises(ZeroDivisionError):
        schedule._wait(clock())

    assert (schedule._waiting, schedule._alarms) == ({}, {})


def test_the_same_few_workers_do_the_work(running):
    """If the worker that has waited longest was notified, or a reload woke all of them, all 34 would take turns."""
    store, schedule = running
    workers = set()

    def note(deadline):
        workers.add(threading.current_thread())
        time.sleep(0.005)  # until another worker leads
        return PASS

    often = [check(f"often-{number}", note, period=0.05) for number in range(4)]
    rare = [check(f"rare-{number}", period=3600, timeout=3600) for number in range(30)]
    schedule.replace(store.configure([*often, *rare]))
    eventually(lambda: all(state.runs for state in store.snapshot().states.values()))
    workers.clear()
    for _ in range(40):
        runs = store.snapshot().states["often-0"].runs
        eventually(lambda runs=runs: store.snapshot().states["often-0"].runs > runs)
        schedule.replace(store.configure([*often, *rare]))

    assert schedule.vitals().workers == 34
    assert len(workers) < 15, len(workers)


def test_the_reported_lag_is_the_largest_of_the_last_two_windows():
    peak = Peak(since=0.0)
    peak.note(3.0, 10.0)
    peak.note(1.0, 20.0)
    assert peak.largest == 3.0
    peak.note(0.5, 31.0)  # the second window begins
    assert peak.largest == 3.0
    peak.note(0.2, 62.0)  # the third
    assert peak.largest == 0.5
    peak.note(0.1, 200.0)  # nothing was noted for longer than two windows
    assert peak.largest == 0.1


@pytest.mark.parametrize(
    ("later", "largest"),
    [(LAG_WINDOW, 3.0), (LAG_WINDOW + 0.5, 3.0), (2 * LAG_WINDOW, 3.0), (2 * LAG_WINDOW + 0.5, 1.0)],
)
def test_a_lag_is_reported_until_two_windows_are_over(later, largest):
    peak = Peak(since=100.0)
    peak.note(3.0, 100.0)
    peak.note(1.0, 100.0 + later)

    assert peak.largest == largest
    assert (peak.current, peak.since) == ((3.0, 100.0) if later == LAG_WINDOW else (1.0, 100.0 + later))


def test_the_probe_of_a_removed_check_is_closed(running):
    store, schedule = running
    closed = []

    class Closing(type(check().probe)):
        def close(self) -> None:
            closed.append(self)

    closing = Check(check().spec, Closing())
    schedule.replace(store.configure([closing]))
    schedule.replace(store.configure([]))

    assert closed == [closing.probe]


def test_stopping_does_not_wait_for_runs(running):
    store, schedule = running
    release, ended = threading.Event(), threading.Event()

    def hang(deadline):
        release.wait(PATIENCE)
        ended.set()
        return PASS

    schedule.replace(store.configure([check("hung", hang, period=1)]))
    eventually(lambda: schedule.vitals().busy == 1)
    schedule.stop()

    assert not ended.is_set()
    release.set()


@pytest.fixture
def scarce(monkeypatch):
    """`scarce(count)`: the system starts so many more threads."""
    start = threading.Thread.start

    def limit(count: int) -> None:
        left = [None] * count

        def refuse(thread: threading.Thread) -> None:
            if not left:
                raise RuntimeError("can't start new thread")
            left.pop()
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)

    return limit


def test_without_enough_threads_the_previous_checks_stay(running, scarce):
    store, schedule = running
    schedule.replace(store.configure([check("old", period=0.05)]))
    before = store.snapshot()
    scarce(3)
    many = [check(f"new{number}") for number in range(20)]
    with pytest.raises(PoolError, match=r"need \d+ threads, and only 4 could be started: can't start new thread"):
        schedule.hire(many)

    assert store.snapshot().states.keys() == before.states.keys()
    assert schedule.vitals().running
    runs = store.snapshot().states["old"].runs
    eventually(lambda: store.snapshot().states["old"].runs >= runs + 3)
    eventually(lambda: schedule.vitals().workers == 1, what="those that were started in vain end")

    scarce(100)
    schedule.hire(many)
    schedule.replace(store.configure(many))
    assert schedule.vitals().workers == compute_pool_size(check.spec for check in many)


def test_a_result_that_cannot_be_recorded_costs_no_worker(running, monkeypatch, caplog):
    store, schedule = running
    recorded = []

    def record(check: Check, result: Result) -> None:
        recorded.append(check)
        if len(recorded) <= 3:
            raise MemoryError

    monkeypatch.setattr(store, "record", record)
    schedule.replace(store.configure([check("a", period=0.05)]))
    eventually(lambda: len(recorded) >= 6)

    assert schedule.vitals().running
    assert [record.message for record in caplog.records] == ["check a: the result could not be recorded"] * 3


def test_a_probe_that_cannot_be_closed_does_not_spoil_a_reload(running, caplog):
    store, schedule = running

    class Broken(type(check().probe)):
        def close(self) -> None:
            raise KeyError("x")

    schedule.replace(store.configure([Check(check("old").spec, Broken())]))
    schedule.replace(store.configure([check("new", period=0.05)]))

    assert [record.message for record in caplog.records] == ["check old: closing it failed"]
    eventually(lambda: store.snapshot().states["new"].runs >= 1)
