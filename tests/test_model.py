"""The nouns: the values they accept, and the properties that follow."""

import doctest
import math

import pytest
from make import snapshot
from support import Clock

from exporter import model
from exporter.model import BADNESS, Deadline, Group, Measurement, Outcome, Reason, Spec, Status


def test_the_examples_in_the_docstrings_are_true():
    results = doctest.testmod(model)

    assert results.attempted >= 5
    assert results.failed == 0


def test_every_status_has_its_badness():
    assert sorted(BADNESS) == sorted(Status)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Load",
        "load-1",
        "1load",
        "lo ad",
        "load1\n",
        "ä",
        "check_up",
        "group_up",
        "exporter_x",
        "answers_x",
        "x_limit",
    ],
)
def test_an_invalid_or_reserved_name_of_a_measurement_is_rejected(name):
    with pytest.raises(ValueError, match="cannot be the name of a measurement"):
        Measurement(name, 1)


def test_a_name_is_reserved_with_its_underscore_only():
    assert Measurement("answers", 1).name == "answers"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_measurement_is_a_finite_number(number):
    with pytest.raises(ValueError, match="not finite"):
        Measurement("load1", number)
    with pytest.raises(ValueError, match="not finite"):
        Measurement("load1", 1, fail=number)


def test_a_count_is_not_negative():
    assert Measurement("memory_oom_kills_total", 0).value == 0
    with pytest.raises(ValueError, match="a count is not negative"):
        Measurement("memory_oom_kills_total", -1)


@pytest.mark.parametrize(
    ("value", "warn", "fail", "status"),
    [
        (0.0, 0.7, 0.9, "pass"),
        (0.69, 0.7, 0.9, "pass"),
        (0.7, 0.7, 0.9, "warn"),
        (0.9, 0.7, 0.9, "fail"),
        (5.0, None, 0.9, "fail"),
        (5.0, 0.7, None, "warn"),
        (5.0, None, None, "pass"),
        (0.0, None, 0.0, "fail"),  # a limit of 0 is a limit
    ],
)
def test_a_value_equal_to_a_limit_has_reached_it(value, warn, fail, status):
    assert Measurement("x", value, warn, fail).status == status


@pytest.mark.parametrize(("value", "status"), [(31, "pass"), (30, "warn"), (8, "warn"), (7, "fail"), (-1, "fail")])
def test_limits_may_be_lower_limits(value, status):
    assert Measurement("days", value, 30, 7, falling=True).status == status


@pytest.mark.parametrize("status", Status)
def test_an_outcome_has_a_reason_if_and_only_if_it_is_not_pass(status):
    wrong = Reason.ERROR if status is Status.PASS else None
    with pytest.raises(ValueError, match="if and only if"):
        Outcome(status, wrong)


@pytest.mark.parametrize(
    ("value", "status", "summary"),
    [
        (0.5, "pass", "half (warn at 0.7 and fail at 0.9)"),
        (0.7, "warn", "half: warn limit 0.7 reached"),
        (0.95, "fail", "half: fail limit 0.9 reached"),
    ],
)
def test_the_summary_shows_the_limits_or_the_one_that_was_reached(value, status, summary):
    outcome = Outcome.measured("half", Measurement("x", value, 0.7, 0.9), Measurement("y", 1))

    assert (outcome.status, outcome.summary) == (status, summary)
    assert [measurement.name for measurement in outcome.measurements] == ["x", "y"]


def test_a_deadline_runs_out():
    clock = Clock(10)
    deadline = Deadline(12, clock)
    clock.advance(1.5)

    assert deadline.remaining() == 0.5
    clock.advance(1)
    assert deadline.remaining() == -0.5


def test_every_check_belongs_to_all():
    spec = Spec("a", "exec", groups=frozenset({Group.STARTUP}))

    assert [group for group in Group if spec.belongs_to(group)] == [Group.STARTUP, Group.ALL]


def test_a_snapshot_without_checks_stays_fresh():
    assert snapshot([]).fresh_until == math.inf


@pytest.mark.parametrize(
    ("count", "least", "most", "status", "limits"),
    [
        (3, None, None, "pass", {}),
        (0, 0, None, "pass", {}),  # no count is below 0
        (0, 1, None, "fail", {"fail": 0}),
        (1, 1, None, "pass", {"fail": 0}),
        (2, None, 2, "pass", {"fail": 3}),
        (3, None, 2, "fail", {"fail": 3}),
        (0, 1, 2, "fail", {"fail": 3}),
        (1, 1, 1, "pass", {"fail": 2}),
        (1, None, 0, "fail", {"fail": 1}),
    ],
)
def test_a_count_is_healthy_from_the_least_to_the_most(count, least, most, status, limits):
    outcome = Outcome.counted("counted", "things", count, least, most)

    assert outcome.status == status
    assert outcome.measurements[0].limits == limits


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [("pass", "pass"), ("pass warn", "warn"), ("warn unknown pass", "unknown"), ("unknown fail warn", "fail")],
)
def test_of_several_outcomes_the_worst_decides_and_all_are_kept(statuses, worst):
    outcomes = [
        Outcome(Status(status), None if status == "pass" else Reason.ERROR, status, (Measurement(status, 1),))
        for status in statuses.split()
    ]
    outcome = Outcome.worst(*outcomes)

    assert outcome.status == worst
    assert outcome.summary == statuses.replace(" ", "; ")
    assert [measurement.name for measurement in outcome.measurements] == statuses.split()


def test_of_outcomes_that_are_equally_bad_the_first_gives_the_reason():
    outcomes = [Outcome.failed(reason, "") for reason in (Reason.MISSING, Reason.THRESHOLD)]

    assert Outcome.worst(Outcome.passed(""), *outcomes).reason is Reason.MISSING


def test_reasons_are_a_closed_list():
    with pytest.raises(TypeError, match="a reason is a Reason, not 'nonsense'"):
        Outcome.failed("nonsense", "x")  # type: ignore[arg-type]


def test_a_target_is_a_text():
    with pytest.raises(TypeError, match="the target of the check 'x' is not a text: None"):
        Spec("x", "plugin", None)  # type: ignore[arg-type]
