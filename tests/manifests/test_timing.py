"""The numbers of checks and probes, for every sensible old probe."""

from itertools import product

import pytest

from exporter.manifests.timing import (
    Gate,
    Timing,
    choose_liveness,
    choose_period,
    choose_readiness,
    choose_startup,
    choose_threshold,
    find_span,
)

DEFAULT = Timing()
OLD = [
    Timing(delay, period, timeout, success, failure)
    for delay, period, timeout, success, failure in product(
        (0, 5, 300), (1, 2, 3, 7, 10, 15, 30, 60, 300), (1, 2, 10, 30), (1, 4), (1, 2, 3, 10, 60)
    )
]


def make_check(old: Timing) -> Timing:
    return Timing(period=choose_period(old), timeout=old.timeout, failure_threshold=choose_threshold(old))


@pytest.mark.parametrize(
    ("old", "check", "liveness", "readiness"),
    [
        (DEFAULT, (2, 2), (10, 4), (6, 4, 1)),
        (Timing(period=5), (2, 2), (10, 4), (6, 3, 1)),
        (Timing(period=60, failure_threshold=10, timeout=30), (30, 2), (170, 4), (6, 86, 1)),
        (Timing(failure_threshold=1), (2, 1), (10, 4), (6, 2, 1)),
        (Timing(success_threshold=3), (2, 2), (10, 4), (6, 4, 5)),
    ],
)
def test_the_numbers_of_the_documentation(old, check, liveness, readiness):
    checks = [make_check(old)]
    live, ready = choose_liveness(old, checks, Gate.SAME), choose_readiness(old, checks)

    assert (checks[0].period, checks[0].failure_threshold) == check
    assert (live.period, live.failure_threshold) == liveness
    assert (ready.period, ready.failure_threshold, ready.success_threshold) == readiness


def test_the_kubelet_never_decides_earlier_than_with_the_old_probe():
    for old in OLD:
        check = make_check(old)
        live, ready = choose_liveness(old, [check], Gate.SAME), choose_readiness(old, [check])
        assert find_span(live, [check])[0] >= old.span[0], old
        assert find_span(ready, [check])[0] >= old.span[0], old
        assert (ready.success_threshold - 1) * ready.period >= (old.success_threshold - 1) * old.period, old
        assert choose_startup([old, old], [check]).start >= 2 * old.start, old


def test_counting_twice_does_not_double_the_time():
    """Compared with the old probe, or with the shortest time that the exporter's own absence allows."""
    for old in OLD:
        check = make_check(old)
        live, ready = choose_liveness(old, [check], Gate.SAME), choose_readiness(old, [check])
        assert find_span(live, [check])[1] <= 1.5 * max(old.span[1], 45 + old.timeout), old
        assert find_span(ready, [check])[1] <= 1.5 * max(old.span[1], 18 + old.timeout), old


def test_the_exporter_may_be_away_for_as_long_as_the_numbers_of_the_sidecar_allow():
    for old in (*OLD, None):
        live = choose_liveness(old, [make_check(old or DEFAULT)], Gate.SAME)
        assert live.patience >= 30
        assert live.failure_threshold == 4, "each failed probe is an event"


def test_a_start_begins_when_the_results_of_the_previous_process_are_out_of_date():
    for old in OLD:
        check = make_check(old)
        assert choose_startup([old], [check]).initial_delay > check.span[1]
        assert choose_readiness(old, [check]).initial_delay > check.span[1]


def test_a_liveness_probe_alone_gives_the_new_process_as_long_to_start_and_one_run_more():
    for old, period, timeout in product((*OLD, None), (1, 10, 120), (1, 30)):
        checks = [Timing(period=2), Timing(period=period, timeout=timeout, failure_threshold=1)]
        live = choose_liveness(old, checks, Gate.NONE)
        assert live.initial_delay > period + timeout, (old, period, timeout)
        assert live.start > (old.start if old else 0) + period + timeout, (old, period, timeout)


def test_a_liveness_probe_after_another_gate_allows_one_run_more():
    for old, period, timeout in product((*OLD, None), (1, 10, 120), (1, 30)):
        checks = [Timing(period=2), Timing(period=period, timeout=timeout, failure_threshold=1)]
        assert choose_liveness(old, checks, Gate.OTHER).patience > period + timeout, (old, period, timeout)


def test_traffic_begins_when_the_slowest_check_in_readiness_has_noticed_the_restart():
    slow = Timing(period=6, failure_threshold=2)

    assert choose_readiness(Timing(period=30), [Timing(period=2), slow]).initial_delay == slow.span[1] + 1
    assert choose_readiness(Timing(60), [slow]).initial_delay == 60


def test_a_check_adds_little_load():
    for old in OLD:
        assert min(old.period, max(2, old.period / 5), 10) <= choose_period(old) <= old.period


def test_a_slow_probe_does_not_delay_the_start_for_minutes():
    for old in OLD:
        check = make_check(old)
        assert check.period <= max(10, old.timeout)
        assert choose_startup([old], [check]).initial_delay <= 22 + 3 * old.timeout
