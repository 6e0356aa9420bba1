"""When checks are due: slots, first runs, missed ticks and reloads."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import check as make_check

from exporter.evaluation.timetable import Timetable, compute_shift, compute_slot
from exporter.probe.check import Check


def starts(timetable: Timetable, until: float, took: float = 0.0, now: float = 0.0) -> list[tuple[str, float]]:
    """The starts of an unlimited pool until then, if every run takes this long."""
    log: list[tuple[str, float]] = []
    runs: list[tuple[float, Check]] = []
    while True:
        soonest = min((end for end, _ in runs), default=math.inf)
        now = max(now, min(timetable.next_due(), soonest))
        if now > until:
            return log
        for end, check in [run for run in runs if run[0] <= now]:
            runs.remove((end, check))
            timetable.finish(check, now)
        while check := timetable.take(now):
            log.append((check.spec.name, now))
            runs.append((now + took, check))


def timetable_of(*checks: Check, now: float = 0.0, shift: float = 0.0) -> Timetable:
    timetable = Timetable(shift)
    timetable.replace(checks, now)
    return timetable


@pytest.mark.parametrize("count", [100, 300])
@pytest.mark.parametrize("period", [0.2, 1, 10, 3600])
def test_all_first_runs_are_due_within_the_first_second_or_period(period, count):
    checks = [make_check(f"check-{number}", period=period) for number in range(count)]
    first = starts(timetable_of(*checks), min(1, period))

    assert {name for name, _ in first} == {check.spec.name for check in checks}


def test_five_hundred_checks_are_spread_over_the_period():
    checks = [make_check(f"check-{number}", period=10) for number in range(500)]
    after_the_first_two = [moment for _, moment in starts(timetable_of(*checks), 100) if moment >= 20]
    slices = [sum(int(moment) == second for moment in after_the_first_two) for second in range(20, 100)]

    assert max(slices) <= 1.2 * 50
    assert sum(slices) == 500 * 8


def test_the_slot_depends_on_the_name_only():
    assert compute_slot("api") == compute_slot("api") != compute_slot("apj")
    assert compute_slot("api") == 0.8281515117269009  # in every version, so that an upgrade moves no check
    assert compute_slot("\udc80") == compute_slot("?")  # a host name may be any bytes
    assert all(0 <= compute_slot(f"{number}") < 1 for number in range(1000))


def test_the_shift_of_a_host_is_seven_times_its_slot_within_one_period():
    for host in ("", "node.example", *(f"db-{number}" for number in range(20))):
        assert compute_shift(host) == pytest.approx(7 * compute_slot(host) - math.floor(7 * compute_slot(host)))


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.75, compute_shift("db-1")])
@pytest.mark.parametrize("name", [f"check-{number}" for number in range(20)])
def test_the_second_run_is_the_first_in_the_slot_after_a_period(name, shift):
    origin, period = 1000.0, 16.0
    timetable = timetable_of(make_check(name, period=period, stale_after=1000), now=origin, shift=shift)
    (_, first), (_, second), (_, third) = starts(timetable, origin + 3.9 * period, now=origin)[:3]
    slots = [origin + round((compute_slot(name) + shift) % 1 * period, 1) + number * period for number in range(5)]

    assert first == pytest.approx(origin + 0.01 * compute_slot(name))
    assert second == pytest.approx(next(slot for slot in slots if slot >= first + period))
    assert third == pytest.approx(second + period)


def test_the_second_run_waits_for_the_next_slot_if_the_first_came_just_after_one():
    """A slot at the beginning of the period is before the first run, so a period later it is too early."""
    timetable = timetable_of(make_check("api", period=16, stale_after=1000), shift=1 - compute_slot("api"))
    (_, first), (_, second) = starts(timetable, 40)[:2]

    assert 0 < first < 0.01
    assert second == pytest.approx(32)


def find_second(stale_after: float) -> tuple[float, float]:
    """When the first and the second run of a check are due."""
    (_, first), (_, second) = starts(timetable_of(make_check(period=16, stale_after=stale_after), shift=0.5), 40)[:2]
    return first, second


def test_the_second_run_is_a_period_earlier_if_the_first_result_would_be_stale_as_it_ends():
    first, second = find_second(1000)
    age = second + 1 - first  # as the second run ends, with a timeout of 1 s

    assert find_second(math.nextafter(age, math.inf)) == (first, second)
    assert find_second(age) == (first, second - 16)


def test_the_second_run_is_not_the_first_one_again():
    """The first run is in the slot itself, and its result is stale before the next."""
    slot = compute_slot("api")
    check = make_check("api", period=1, failure_threshold=1, stale_after=2)
    runs = starts(timetable_of(check, now=-0.01 * slot, shift=1 - slot), 3, now=-0.01 * slot)

    assert [moment for _, moment in runs] == [0, 1, 2, 3]


def test_checks_are_due_together_ten_times_a_second():
    """After the first runs, and also a check that a reload adds."""
    timetable = timetable_of(*(make_check(f"check-{number}", period=1) for number in range(100)), shift=0.123)
    starts(timetable, 3.03)
    added = make_check("added", period=1)
    timetable.replace([*(entry.check for entry in timetable._entries.values()), added], 3.03)
    moments = {name: moment for name, moment in starts(timetable, 8, now=3.03) if moment > 6}

    assert len(moments) == 101
    assert {round(moment % 0.1, 6) for moment in moments.values()} <= {0.0, 0.1}
    assert len({round(moment % 1, 3) % 1 for moment in moments.values()}) == 10


@pytest.mark.parametrize("hosts", [["api-7d9c-abcde", "api-7d9c-fghij", "api-7d9c-klmno"], ["db-0", "db-1", "db-2"]])
def test_replicas_that_start_together_run_a_check_at_different_moments(hosts):
    timetables = [timetable_of(make_check(period=10), shift=compute_shift(host)) for host in hosts]
    firsts, *later = zip(*(starts(timetable, 60) for timetable in timetables), strict=False)

    assert max(moment for _, moment in firsts) <= 1
    for moments in later:
        within = sorted(moment % 10 for _, moment in moments)
        gaps = [(after - before) % 10 for before, after in zip(within, [*within[1:], within[0]], strict=True)]
        assert min(gaps) > 1


@given(st.text(min_size=1, max_size=20), st.integers(1, 100), st.integers(1, 5), st.floats(0, 300))
def test_runs_follow_the_period_and_a_streak_never_grows_faster(name, period, failures, delay):
    stale_after = failures * period + 1
    check = make_check(name, period=period, failure_threshold=failures, initial_delay=delay, stale_after=stale_after)
    moments = [moment for _, moment in starts(timetable_of(check, shift=compute_slot(name[::-1])), delay + 10 * period)]
    gaps = [later - earlier for earlier, later in pairwise(moments)]

    assert delay <= moments[0] <= delay + 1
    assert all(gap == pytest.approx(period) for gap in gaps[1:])
    assert 0 < gaps[0] < 2 * period + 1e-6
    if failures > 1:
        assert gaps[0] >= period - 1e-6
    assert gaps[0] + check.spec.timeout <= stale_after + 1e-6


def test_a_run_longer_than_the_period_is_followed_immediately_by_the_next():
    moments = [moment for _, moment in starts(timetable_of(make_check(period=10)), 60, took=14)]
    gaps = [later - earlier for earlier, later in pairwise(moments)]

    assert gaps[1:] == [pytest.approx(14)] * len(gaps[1:])


@pytest.mark.parametrize(("took", "later"), [(0, 10), (9, 10), (11, 10), (20, 20), (24, 20), (39.5, 30)])
def test_of_the_ticks_during_a_run_only_the_latest_is_left(took, later):
    check = make_check(period=10, stale_after=1000)
    timetable = timetable_of(check, shift=1 - compute_slot(check.spec.name))  # in a slot that is an exact number
    for _ in range(2):
        due = timetable.next_due()
        timetable.take(due)
        timetable.finish(check, due)
    due = timetable.next_due()
    timetable.take(due)
    timetable.finish(check, due + took)

    assert timetable.next_due() == pytest.approx(due + later)


def test_a_check_is_due_at_the_moment_itself_and_its_deadline_counts_from_the_start():
    check = make_check(timeout=3)
    timetable = timetable_of(check)
    due = timetable.next_due()

    assert timetable.take(due) == check
    assert timetable.deadlines == {"api": due + 3}


def test_a_start_that_is_late_by_one_period_is_made_and_by_more_is_dropped():
    checks = [make_check(f"check-{number}", period=16) for number in range(100)]  # the slots are exact numbers
    late, too_late = timetable_of(*checks), timetable_of(*checks)
    due = late.next_due()

    first = min(checks, key=lambda check: compute_slot(check.spec.name))
    assert late.take(due + 16) is first
    assert too_late.take(math.nextafter(due + 16, math.inf)) not in (None, first)


def test_the_runs_of_a_check_never_overlap():
    timetable = timetable_of(make_check(period=1))

    assert timetable.take(1.0) is not None
    assert timetable.take(1000.0) is None
    assert timetable.next_due() == math.inf


def test_after_a_pause_every_check_runs_once_and_the_runs_are_spread():
    checks = [make_check(f"check-{number}", period=10) for number in range(100)]
    timetable = timetable_of(*checks)
    starts(timetable, 30)
    resumed = starts(timetable, 100.0, now=90.0)

    assert sorted(name for name, _ in resumed) == sorted(check.spec.name for check in checks)
    busiest = max(sum(int(moment) == second for _, moment in resumed) for second in range(90, 100))
    assert busiest <= 30


def test_a_start_is_overdue_from_its_due_time_on():
    timetable = timetable_of(make_check(period=10))
    due = timetable.next_due()

    assert (timetable.overdue(due - 3), timetable.overdue(due), timetable.overdue(due + 3)) == (0, 0, pytest.approx(3))


def test_an_unchanged_check_keeps_its_due_time_at_a_reload():
    same, other = make_check("same"), make_check("other")
    timetable = timetable_of(same)
    starts(timetable, 25)
    due = timetable.next_due()
    removed = timetable.replace((same, other), 25.0)

    assert removed == ()
    assert timetable._entries["same"].due == due
    assert timetable.replace((other,), 26.0) == (same,)


def test_a_changed_check_waits_for_the_run_of_its_previous_configuration():
    old, new = make_check(period=10), make_check(period=20)
    timetable = timetable_of(old)
    timetable.take(1.0)
    timetable.replace((new,), 2.0)
    assert timetable.take(4.0) is None

    timetable.finish(old, 5.0)

    check = timetable.take(5.0)
    assert check is new


def test_a_check_that_waits_for_its_previous_run_delays_no_other():
    old, new, other = make_check("api"), make_check("api", period=20), make_check("other", initial_delay=1)
    timetable = timetable_of(old)
    timetable.take(1.0)
    timetable.replace((new, other), 2.0)

    check = timetable.take(4.0)
    assert check is other


def test_a_check_that_waited_and_was_removed_waits_no_more():
    old, waiting, again, delayed = make_check(), make_check(), make_check(), make_check(initial_delay=50)
    timetable = timetable_of(old)
    timetable.take(1.0)
    timetable.replace((waiting,), 2.0)
    assert timetable.take(4.0) is None
    timetable.replace((), 5.0)
    timetable.finish(old, 6.0)

    timetable.replace((again,), 7.0)
    assert timetable.take(8.0) is again
    timetable.replace((delayed,), 9.0)
    timetable.finish(again, 10.0)

    assert timetable.next_due() >= 59.0


def test_a_removed_check_is_not_due():
    timetable = timetable_of(make_check("gone"), make_check("kept", initial_delay=5))
    timetable.replace((), 0.0)

    assert timetable.next_due() == math.inf
    assert timetable.take(10.0) is None


def test_a_removed_check_is_not_scheduled_again_when_its_run_ends():
    old = make_check()
    timetable = timetable_of(old)
    timetable.take(1.0)
    timetable.replace((), 2.0)
    timetable.finish(old, 3.0)

    assert timetable.next_due() == math.inf
    assert not timetable.deadlines


@given(
    st.lists(st.tuples(st.sampled_from(["take", "done", "replace"]), st.integers(0, 7), st.floats(0, 30)), max_size=60)
)
def test_no_sequence_of_events_makes_runs_of_a_check_overlap(steps):
    now, timetable, running = 0.0, Timetable(), {}
    pool = [make_check(f"c{number % 4}", period=5 + number) for number in range(8)]
    for step, number, passed in steps:
        now += passed
        if step == "replace":
            timetable.replace(tuple({check.spec.name: check for check in pool[: number + 1]}.values()), now)
        elif step == "take":
            if check := timetable.take(now):
                assert check.spec.name not in running
                running[check.spec.name] = check
        elif running:
            name = sorted(running)[number % len(running)]
            timetable.finish(running.pop(name), now)
        assert set(timetable.deadlines) == set(running)
