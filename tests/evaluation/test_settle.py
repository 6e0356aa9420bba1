"""Thresholds and streaks: the kubelet's worker (pkg/kubelet/prober/worker.go) with unknown as the start."""

import math
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import FAIL, LETTERS, PASS, UNKNOWN, result, settled, spec

from exporter.evaluation.settle import expire, settle
from exporter.model import STREAK_BOUNDS, Measurement, Outcome, Reason, State, Status


@pytest.mark.parametrize(
    ("letters", "status"),
    [
        ("", "unknown"),
        ("P", "pass"),
        ("W", "warn"),
        ("F", "unknown"),
        ("FF", "unknown"),
        ("FFF", "fail"),
        ("PF", "pass"),
        ("PFF", "pass"),
        ("PFFF", "fail"),
        ("PFFP", "pass"),
        ("PFFPFF", "pass"),
        ("PFFUF", "fail"),  # F F error F reaches failureThreshold 3
        ("PUUUUU", "pass"),
        ("UUU", "unknown"),
        ("FFFP", "pass"),
        ("FFFU", "fail"),
        ("PW", "warn"),
        ("WP", "pass"),
        ("WFFW", "warn"),
        ("WFFF", "fail"),
    ],
)
def test_with_three_failures_and_one_success(letters, status):
    assert settled(letters, failure_threshold=3, success_threshold=1).status == status


@pytest.mark.parametrize(
    ("letters", "status"),
    [("P", "unknown"), ("PP", "pass"), ("PU", "unknown"), ("PUP", "pass"), ("PFP", "fail"), ("PW", "warn"),
     ("FP", "fail"), ("FPP", "pass"), ("FPFP", "fail"), ("PPF", "fail")],
)  # fmt: skip
def test_with_one_failure_and_two_successes(letters, status):
    assert settled(letters, failure_threshold=1, success_threshold=2).status == status


def test_the_latest_and_the_settled_status_are_both_kept():
    state = settled("PF")

    assert (state.status, state.last.outcome.status) == (Status.PASS, Status.FAIL)


def test_a_settled_failure_carries_the_latest_reason():
    state = settle(settled("FFF"), result(type(FAIL).failed(Reason.TIMEOUT, "late")))

    assert (state.status, state.reason) == (Status.FAIL, Reason.TIMEOUT)


@pytest.mark.parametrize(
    ("letters", "reason"),
    [("P", None), ("W", "threshold"), ("PF", None), ("PU", None), ("FFFU", "connect"), ("WU", "threshold")],
)
def test_the_reason_belongs_to_the_settled_status(letters, reason):
    assert settled(letters).reason == reason


@pytest.mark.parametrize(
    ("letters", "reason"),
    [("", "pending"), ("U", "error"), ("F", "connect"), ("FU", "error"), ("UF", "connect"), ("FP", "pending")],
)
def test_the_reason_of_an_unknown_status_is_the_latest_run_s(letters, reason):
    state = settled(letters, success_threshold=2)

    assert (state.status, state.reason) == (Status.UNKNOWN, reason)


@pytest.mark.parametrize(("letters", "reason"), [("P", "stale"), ("FFF", "stale"), ("PU", "error")])
def test_a_check_that_cannot_run_says_so_when_its_result_is_too_old(letters, reason):
    stale = expire(settled(letters), 9999.0, 0.0)

    assert (stale.status, stale.reason) == (Status.UNKNOWN, reason)
    assert settle(stale, result(UNKNOWN)).reason == Reason.ERROR


def test_consecutive_failures_count_failures_only():
    counts = [settled(letters).consecutive_failures for letters in ("", "P", "F", "FF", "FUF", "FFP", "FFPF")]

    assert counts == [0, 0, 1, 2, 2, 0, 1]


def test_a_change_of_the_settled_status_is_counted_and_has_its_time():
    state = settled("PPFFFP")

    assert state.transitions == 3  # unknown -> pass -> fail -> pass
    assert state.since == pytest.approx(1_000_000 + 1005, abs=1e-6)


@pytest.mark.parametrize(
    ("letters", "second"), [("", None), ("F", None), ("U", None), ("P", 0), ("PFU", 0), ("PFW", 2), ("FPPF", 2)]
)
def test_the_latest_healthy_run_has_the_time_of_its_start(letters, second):
    expected = None if second is None else pytest.approx(1_000_000 + 1000 + second - 0.01, abs=1e-6)

    assert settled(letters).last_pass == expected


@pytest.mark.parametrize(
    ("letters", "streaks", "runs"),
    [
        ("PPUP", (), 0),
        ("PFF", (), 0),  # has not ended
        ("PFP", (1, 0, 0, 0, 0), 1),
        ("PFUFP", (0, 1, 0, 0, 0), 2),  # an unknown run neither counts nor ends a streak
        ("FPFW", (2, 0, 0, 0, 0), 2),
        (f"P{'F' * 3}P{'F' * 4}P{'F' * 5}P{'F' * 9}P{'F' * 10}P", (0, 0, 2, 2, 1), 31),
    ],
)
def test_a_streak_of_failures_is_counted_by_its_length_when_it_ends(letters, streaks, runs):
    state = settled(letters)

    assert (state.failure_streaks, state.failure_streak_runs) == (streaks, runs)


@pytest.mark.parametrize(("letters", "second"), [("PU", None), ("PUFF", 2), ("FPPFF", 0)])
def test_the_first_failure_has_the_time_of_its_start(letters, second):
    expected = None if second is None else pytest.approx(1_000_000 + 1000 + second - 0.01, abs=1e-6)

    assert settled(letters).first_failure == expected


@given(st.text("PWFU", max_size=99), st.sampled_from([bound + 1 for bound in STREAK_BOUNDS]))
def test_the_streaks_tell_how_often_another_failure_threshold_would_have_failed(letters, threshold):
    state = settled(letters)
    ended = sum(state.failure_streaks[STREAK_BOUNDS.index(threshold - 1) + 1 :])
    other = State(spec(failure_threshold=threshold))
    states = accumulate(letters, lambda state, letter: settle(state, result(LETTERS[letter])), initial=other)
    failed = sum(after.status is Status.FAIL is not before.status for before, after in pairwise(states))

    assert failed == ended + (state.consecutive_failures >= threshold)


def test_every_run_that_is_not_healthy_is_counted_by_reason():
    state = settled("PFWUFP")

    assert state.runs == 6
    assert state.failures == {Reason.CONNECT: 2, Reason.ERROR: 1}
    assert state.failed_since == {
        reason: pytest.approx(1_001_000 + second - 0.01, abs=1e-6)
        for reason, second in ((Reason.CONNECT, 1), (Reason.ERROR, 3))
    }


def test_a_state_goes_stale_exactly_after_its_time():
    state = settled("P", stale_after=31.0)

    assert expire(state, 1031.499, 0.0) is state
    stale = expire(state, 1031.5, 1_001_031.5)
    assert (stale.status, stale.reason, stale.since) == (Status.UNKNOWN, Reason.STALE, 1_001_031.5)
    assert stale.transitions == state.transitions + 1


def test_a_run_that_takes_its_whole_timeout_ends_in_time():
    """It begins when it is due, a period after the one before, and ends a moment after its deadline."""
    state = settled("P", period=10, timeout=1, failure_threshold=1, stale_after=11)
    ended = 1000.0 + 10 + 1.2

    failed = settle(expire(state, ended, 0.0), result(FAIL, at=ended))
    assert (failed.status, failed.transitions) == (Status.FAIL, state.transitions + 1)


def test_a_state_goes_stale_once():
    stale = expire(settled("P"), 9999.0, 0.0)

    assert expire(stale, 99999.0, 0.0) is stale


def test_an_unknown_run_does_not_keep_a_state_fresh():
    state = settle(settled("P", stale_after=31.0), result(UNKNOWN, at=1025.0))

    assert expire(state, 1031.5, 0.0).status is Status.UNKNOWN


def test_a_stale_state_recovers_by_the_same_thresholds():
    stale = expire(settled("PPP", failure_threshold=3), 9999.0, 0.0)

    assert settle(stale, result(PASS, at=10000.0)).status is Status.PASS
    failing = settle(stale, result(FAIL, at=10000.0))
    assert failing.status is Status.UNKNOWN
    assert failing.consecutive_failures == 1


def test_a_pending_state_never_goes_stale():
    state = State(spec())

    assert state.fresh_until == math.inf
    assert expire(state, 1e12, 0.0) is state


def test_latencies_are_counted_in_their_buckets():
    state = State(spec(latency_buckets=(0.1, 0.5)))
    assert state.latencies == ()
    for seconds in (0.05, 0.1, 0.3, 0.7, 0.9):
        state = settle(state, result(Outcome.passed("", Measurement("endpoint_latency_seconds", seconds))))
    state = settle(state, result(FAIL))  # no response, no latency

    assert state.latencies == (2, 1, 2)
    assert state.latency_sum == pytest.approx(2.05)


def test_without_buckets_no_latency_is_counted():
    state = settle(State(spec()), result(Outcome.passed("", Measurement("endpoint_latency_seconds", 1))))

    assert (state.latencies, state.latency_sum) == ((), 0.0)


def _reference(letters: str, failures: int, successes: int) -> str:
    """The same rule, written differently: the latest definitive results decide, if enough of them agree."""
    definitive = [letter for letter in letters if letter != "U"]
    status = "unknown"
    for end in range(1, len(definitive) + 1):
        seen = definitive[:end]
        if len(seen) >= failures and all(letter == "F" for letter in seen[-failures:]):
            status = "fail"
        elif len(seen) >= successes and all(letter in "PW" for letter in seen[-successes:]):
            status = {"P": "pass", "W": "warn"}[seen[-1]]
    return status


@given(st.text("PWFU", max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_any_history_settles_according_to_the_rule(letters, failures, successes):
    state = settled(letters, failure_threshold=failures, success_threshold=successes)

    assert state.status == _reference(letters, failures, successes)
    assert state.runs == len(letters)
    assert sum(state.failures.values()) == sum(letter in "FU" for letter in letters)
    assert (state.status is Status.PASS) == (state.reason is None)
    assert set(LETTERS) == set("PWFU")
