"""When checks run: the timetable by arithmetic, the pool with real threads."""

import math
import threading
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import FAIL, PASS, check
from support import Clock, eventually

from exporter.evaluation.schedule import HEADROOM, Schedule, Timetable, offset, phase, pool_size
from exporter.evaluation.store import Store
from exporter.model import Status


def starts(timetable: Timetable, until: float, took: float = 0.0, now: float = 0.0) -> list[tuple[str, float]]:
    """What a pool without limits would start until then, if every run took so long."""
    log: list[tuple[str, float]] = []
    ending: list[tuple[float, object]] = []
    while True:
        soonest = min((end for end, _ in ending), default=math.inf)
        now = max(now, min(timetable.next_due(), soonest))
        if now > until:
            return log
        for end, each in [pair for pair in ending if pair[0] <= now]:
            ending.remove((end, each))
            timetable.done(each, now)
        while taken := timetable.take(now):
            log.append((taken[0].spec.name, now))
            ending.append((now + took, taken[0]))


def timetable(*checks, now: float = 0.0, offset: float = 0.0) -> Timetable:
    made = Timetable(offset)
    made.replace(checks, now)
    return made


@pytest.mark.parametrize("period", [0.2, 1, 10, 3600])
def test_all_first_runs_come_within_the_first_second_or_period(period):
    checks = [check(f"check-{number}", period=period) for number in range(100)]
    first = starts(timetable(*checks), min(1, period))

    assert {name for name, _ in first} == {each.spec.name for each in checks}


def test_five_hundred_checks_are_spread_over_the_period():
    checks = [check(f"check-{number}", period=10) for number in range(500)]
    after_the_first_two = [moment for _, moment in starts(timetable(*checks), 100) if moment >= 20]
    slices = [sum(int(moment) == second for moment in after_the_first_two) for second in range(20, 100)]

    assert max(slices) <= 1.2 * 50
    assert sum(slices) == 500 * 8


def test_the_phase_depends_on_the_name_only():
    assert phase("api") == phase("api") != phase("apj")
    assert all(0 <= phase(f"{number}") < 1 for number in range(1000))


@pytest.mark.parametrize("hosts", [["api-7d9c-abcde", "api-7d9c-fghij", "api-7d9c-klmno"], ["db-0", "db-1", "db-2"]])
def test_replicas_that_start_together_come_to_ask_at_different_moments(hosts):
    tables = [Timetable(offset(host)) for host in hosts]
    for each in tables:
        each.replace([check(period=10)], 0.0)
    firsts, *later = zip(*(starts(each, 60) for each in tables), strict=False)

    assert max(moment for _, moment in firsts) <= 1
    for moments in later:
        within = sorted(moment % 10 for _, moment in moments)
        gaps = [(after - before) % 10 for before, after in zip(within, [*within[1:], within[0]], strict=True)]
        assert min(gaps) > 1


@given(st.text(min_size=1, max_size=20), st.integers(1, 100), st.integers(1, 5), st.floats(0, 300))
def test_runs_come_at_the_period_and_a_streak_never_grows_faster(name, period, failures, delay):
    stale_after = failures * period + 1
    one = check(name, period=period, failure_threshold=failures, initial_delay=delay, stale_after=stale_after)
    moments = [moment for _, moment in starts(timetable(one, offset=phase(name[::-1])), delay + 10 * period)]
    gaps = [later - earlier for earlier, later in pairwise(moments)]

    assert delay <= moments[0] <= delay + 1
    assert all(gap == pytest.approx(period) for gap in gaps[1:])
    assert 0 < gaps[0] < 2 * period + 1e-6
    if failures > 1:
        assert gaps[0] >= period - 1e-6
    assert gaps[0] + one.spec.timeout <= stale_after + 1e-6


def test_a_run_longer_than_the_period_is_followed_by_the_next_at_once():
    moments = [moment for _, moment in starts(timetable(check(period=10)), 60, took=14)]
    gaps = [later - earlier for earlier, later in pairwise(moments)]

    assert gaps[1:] == [pytest.approx(14)] * len(gaps[1:])


def test_a_check_is_never_under_way_twice():
    table = timetable(check(period=1))
    taken = table.take(1.0)

    assert taken is not None
    assert table.take(1000.0) is None
    assert table.next_due() == math.inf


def test_after_a_pause_each_check_runs_once_and_the_runs_are_spread():
    checks = [check(f"check-{number}", period=10) for number in range(100)]
    table = timetable(*checks)
    starts(table, 30)
    resumed = starts(table, 100.0, now=90.0)

    assert sorted(name for name, _ in resumed) == sorted(each.spec.name for each in checks)
    busiest = max(sum(int(moment) == second for _, moment in resumed) for second in range(90, 100))
    assert busiest <= 30


def test_a_check_that_starts_late_says_how_late():
    table = timetable(check(period=10))
    due = table.next_due()
    taken = table.take(due + 3)

    assert taken is not None
    assert taken[1] == pytest.approx(3)


def test_an_unchanged_check_keeps_its_place_at_a_reload():
    same, other = check("same"), check("other")
    table = timetable(same)
    starts(table, 25)
    due = table.next_due()
    removed = table.replace((same, other), 25.0)

    assert removed == ()
    assert due in (table.next_due(), dict(_all_due(table))["same"])
    assert table.replace((other,), 26.0) == (same,)


def _all_due(table: Timetable) -> list[tuple[str, float]]:
    return [(entry.check.spec.name, entry.due) for entry in table._entries.values()]


def test_a_changed_check_waits_for_the_run_of_its_old_self():
    old, new = check(period=10), check(period=20)
    table = timetable(old)
    table.take(1.0)
    table.replace((new,), 2.0)
    assert table.take(4.0) is None

    table.done(old, 5.0)

    taken = table.take(5.0)
    assert taken is not None
    assert taken[0] is new


def test_a_removed_check_does_not_come_back_when_its_run_ends():
    old = check()
    table = timetable(old)
    table.take(1.0)
    table.replace((), 2.0)
    table.done(old, 3.0)

    assert table.next_due() == math.inf
    assert not table.under_way


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from(["take", "done", "replace"]), st.integers(0, 7), st.floats(0, 30)), max_size=60)
)
def test_whatever_happens_no_check_runs_twice_at_once(steps):
    now, table, running = 0.0, Timetable(), {}
    pool = [check(f"c{number % 4}", period=5 + number) for number in range(8)]
    for step, number, passed in steps:
        now += passed
        if step == "replace":
            table.replace(tuple({each.spec.name: each for each in pool[: number + 1]}.values()), now)
        elif step == "take":
            if taken := table.take(now):
                assert taken[0].spec.name not in running
                running[taken[0].spec.name] = taken[0]
        elif running:
            name = sorted(running)[number % len(running)]
            table.done(running.pop(name), now)
        assert set(table.under_way) == set(running)


@pytest.mark.parametrize(
    ("count", "period", "timeout", "size"),
    [(0, 10, 1, 0), (1, 10, 1, 1), (3, 10, 1, 3), (50, 10, 1, 8 + HEADROOM), (500, 10, 1, 75 + HEADROOM),
     (5000, 30, 1, 250 + HEADROOM), (10, 1, 30, 10)],
)  # fmt: skip
def test_the_pool_fits_the_configuration(count, period, timeout, size):
    assert pool_size([check(f"{number}", period=period, timeout=timeout).spec for number in range(count)]) == size


@pytest.fixture
def running():
    """A store and its schedule, stopped at the end."""
    store = Store()
    schedule = Schedule(store)
    yield store, schedule
    schedule.stop()


def test_checks_run_and_their_results_are_stored(running):
    store, schedule = running
    schedule.replace(
        store.configure([check("fast", period=0.05), check("bad", FAIL, period=0.05, failure_threshold=2)])
    )

    eventually(lambda: all(state.runs >= 5 for state in store.snapshot().states.values()))
    assert [state.status for state in store.snapshot().states.values()] == [Status.PASS, Status.FAIL]


def test_a_hung_check_delays_no_other(running):
    store, schedule = running
    release = threading.Event()

    def hang(deadline):
        release.wait(30)
        return PASS

    hanging = [check(f"hung-{number}", hang, period=1, timeout=0.1) for number in range(5)]
    quick = [check(f"quick-{number}", period=0.1) for number in range(20)]
    schedule.replace(store.configure([*hanging, *quick]))
    eventually(lambda: schedule.vitals().stuck == 5, what="the hung ones count as stuck")
    began = {name: state.runs for name, state in store.snapshot().states.items()}
    eventually(lambda: min(store.snapshot().states[each.spec.name].runs for each in quick) >= 10)

    assert all(began[each.spec.name] == 0 for each in hanging)
    assert schedule.vitals().busy >= 5
    assert schedule.vitals().lag < 1
    assert schedule.vitals().running
    release.set()
    eventually(lambda: schedule.vitals().stuck == 0)


def test_what_could_not_be_started_for_long_means_the_schedule_is_not_running():
    """The only worker hangs, and another check is due."""
    release = threading.Event()
    clock = Clock()
    store = Store(clock)
    schedule = Schedule(store, clock)
    hung, other = check("hung", lambda deadline: release.wait(30) or PASS), check("other")
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


def test_the_pool_follows_the_configuration(running):
    store, schedule = running
    for count in (3, 20, 2, 0):
        schedule.replace(store.configure([check(f"c{number}", period=0.1) for number in range(count)]))
        eventually(lambda: schedule.vitals().workers == pool_size(s.spec for s in store.snapshot().states.values()))


def test_an_early_check_wakes_the_worker_that_waits_for_a_later_one(running):
    store, schedule = running
    schedule.replace(store.configure([check("rare", period=3600)]))
    eventually(lambda: store.snapshot().states["rare"].runs == 1)
    schedule.replace(store.configure([check("rare", period=3600), check("often", period=0.05)]))

    eventually(lambda: store.snapshot().states["often"].runs >= 5, within=3)


def test_starts_are_on_time(running):
    """Many short checks on one pool: the leader hands over, and nobody waits for a sleeping thread."""
    store, schedule = running
    schedule.replace(store.configure([check(f"c{number}", period=0.1 + number / 1000) for number in range(50)]))
    eventually(lambda: min(state.runs for state in store.snapshot().states.values()) >= 10)

    assert schedule.vitals().lag < 0.5


def test_a_removed_check_is_told_to_give_up(running):
    store, schedule = running
    closed = []

    class Closing(type(check().probe)):
        def close(self) -> None:
            closed.append(self)

    from exporter.probe.check import Check

    closing = Check(check().spec, Closing())
    schedule.replace(store.configure([closing]))
    schedule.replace(store.configure([]))

    assert closed == [closing.probe]


def test_stopping_waits_for_nobody(running):
    store, schedule = running
    release = threading.Event()
    schedule.replace(store.configure([check("hung", lambda deadline: release.wait(30) or PASS, period=1)]))
    eventually(lambda: schedule.vitals().busy == 1)
    began = time.monotonic()
    schedule.stop()

    assert time.monotonic() - began < 1
    release.set()
