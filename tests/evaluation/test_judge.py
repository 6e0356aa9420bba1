"""The verdict of each group for each condition of a check."""

import pytest
from make import in_groups, settled, snapshot

from exporter.evaluation.judge import find_causes, judge
from exporter.evaluation.settle import expire
from exporter.model import Group, Hold, State, Status

CONDITIONS = {"pass": "P", "warn": "W", "fail": "FFF", "pending": "", "failing, not settled": "F", "failing once": "PF"}


@pytest.mark.parametrize("group", Group)
@pytest.mark.parametrize(
    ("condition", "up"),
    [
        ("pass", True),
        ("warn", True),
        ("failing once", True),
        ("fail", False),
        ("pending", None),
        ("failing, not settled", None),
    ],
)
def test_the_verdict_depends_on_the_group_and_the_condition(group, condition, up):
    state = settled(CONDITIONS[condition], groups=in_groups(*Group))
    expected = group is Group.LIVENESS if up is None else up

    assert judge(snapshot([state]), group).up is expected


def test_a_stale_check_keeps_liveness_up():
    stale = expire(settled("FFF", groups=in_groups(Group.LIVENESS)), 9999.0, 0.0)

    assert judge(snapshot([stale]), Group.LIVENESS).up
    assert not judge(snapshot([stale]), Group.ALL).up


def test_a_check_counts_for_its_groups_and_for_all():
    failing = settled("FFF", name="db", groups=in_groups(Group.READINESS))
    verdicts = {group: judge(snapshot([failing]), group).up for group in Group}

    assert verdicts == {Group.LIVENESS: True, Group.READINESS: False, Group.STARTUP: True, Group.ALL: False}


@pytest.mark.parametrize("group", Group)
def test_a_group_without_checks_is_up(group):
    assert judge(snapshot([]), group).up


def test_the_verdict_names_the_checks_that_decided_it():
    states = [
        settled("P", name="a"),
        settled("FFF", name="b"),
        settled("W", name="c"),
        State(settled("", name="d").spec),
    ]
    verdict = judge(snapshot(states), Group.READINESS)

    assert [state.spec.name for state in verdict.culprits] == ["b", "d"]
    assert [state.spec.name for state in verdict.members] == ["a", "b", "c", "d"]


def test_an_excluded_check_does_not_decide():
    states = [settled("P", name="a"), settled("FFF", name="b")]

    assert judge(snapshot(states), Group.ALL).without(["b"]).up
    assert not judge(snapshot(states), Group.ALL).without(["a"]).up


def test_draining_makes_readiness_false_and_nothing_else():
    verdicts = {group: judge(snapshot([settled("P")], draining=True), group) for group in Group}

    assert {group: verdict.up for group, verdict in verdicts.items()} == {
        group: group is not Group.READINESS for group in Group
    }
    assert {group: verdict.draining for group, verdict in verdicts.items()} == {
        group: group is Group.READINESS for group in Group
    }
    assert [verdict.group for verdict in verdicts.values()] == [*Group]
    assert judge(snapshot([]), Group.READINESS).draining is False


@pytest.mark.parametrize("group", Group)
def test_without_a_configuration_only_liveness_is_up(group):
    verdict = judge(snapshot([], degraded=True), group)

    assert verdict.up == verdict.without(["configuration"]).up == (group is Group.LIVENESS)


HOLD = Hold("debugging", 1_001_900.0, 1000.0, 1900.0)


@pytest.mark.parametrize("group", Group)
@pytest.mark.parametrize("letters", ["P", "W", "FFF", ""])
def test_a_hold_makes_liveness_true_and_nothing_else(letters, group):
    states = [settled(letters, name="a", groups=in_groups(*Group))]
    free, held = (judge(snapshot(states, hold=hold), group) for hold in (None, HOLD))

    assert held.culprits == free.culprits
    if group is Group.LIVENESS:
        assert (held.up, held.hold, held.status) == (True, HOLD, Status.WARN)
        assert held.without(["a"]).up
        assert held.without(["b"]).up
    else:
        assert held == free


@pytest.mark.parametrize(("letters", "status"), [("P", Status.PASS), ("W", Status.WARN), ("FFF", Status.FAIL)])
def test_the_status_of_a_verdict_is_pass_warn_or_fail(letters, status):
    assert judge(snapshot([settled(letters)]), Group.ALL).status is status


def dependent(name: str, letters: str, *parents: str):
    return settled(letters, name=name, depends_on=parents)


@pytest.mark.parametrize(
    ("states", "causes_of_app"),
    [
        ([dependent("app", "FFF", "db"), dependent("db", "FFF")], ("db",)),
        ([dependent("app", "FFF", "db"), dependent("db", "P")], ()),
        ([dependent("app", "FFF", "db"), dependent("db", "F")], ()),  # not settled: no evidence
        ([dependent("app", "P", "db"), dependent("db", "FFF")], ()),  # healthy nevertheless
        ([dependent("app", "FFF", "api"), dependent("api", "FFF", "db"), dependent("db", "FFF")], ("db",)),
        ([dependent("app", "FFF", "api"), dependent("api", "P", "db"), dependent("db", "FFF")], ("db",)),
        ([dependent("app", "", "db"), dependent("db", "FFF")], ("db",)),  # unknown
        ([dependent("app", "FFF", "db", "dns"), dependent("db", "FFF", "dns"), dependent("dns", "FFF")], ("dns",)),
        ([dependent("app", "FFF", "db", "dns"), dependent("db", "FFF"), dependent("dns", "FFF")], ("db", "dns")),
        ([dependent("app", "FFF", "gone")], ()),
        ([dependent("app", "FFF", "gone", "db"), dependent("db", "FFF")], ("db",)),
        ([dependent("app", "FFF", "b"), dependent("b", "FFF", "app")], ("b",)),  # a cycle ends
    ],
)
def test_the_causes_are_the_failing_dependencies(states, causes_of_app):
    assert find_causes(snapshot(states), states[0]) == causes_of_app


def test_the_verdict_lists_a_suppressed_check_last_and_still_counts_it():
    states = [dependent("app", "FFF", "db"), dependent("other", "P"), dependent("db", "FFF")]
    verdict = judge(snapshot(states), Group.ALL)

    assert [state.spec.name for state in verdict.culprits] == ["db", "app"]
    assert [state.spec.name for state in verdict.members] == ["other", "db", "app"]
    assert not judge(snapshot(states), Group.ALL).without(["db"]).up
