"""The verdicts: what each question makes of each condition."""

import pytest
from make import in_groups, settled, snapshot

from exporter.judge import judge
from exporter.model import Group, State, Status
from exporter.settle import expire

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
def test_each_question_has_its_answer_for_each_condition(group, condition, up):
    state = settled(CONDITIONS[condition], groups=in_groups(*Group))
    expected = group is Group.LIVENESS if up is None else up

    assert judge(snapshot([state]), group).up is expected


def test_a_stale_liveness_check_does_not_kill():
    stale = expire(settled("FFF", groups=in_groups(Group.LIVENESS)), 9999.0, 0.0)

    assert judge(snapshot([stale]), Group.LIVENESS).up
    assert not judge(snapshot([stale]), Group.ALL).up


def test_a_check_has_a_say_in_its_groups_and_in_all():
    failing = settled("FFF", name="db", groups=in_groups(Group.READINESS))
    verdicts = {group: judge(snapshot([failing]), group).up for group in Group}

    assert verdicts == {Group.LIVENESS: True, Group.READINESS: False, Group.STARTUP: True, Group.ALL: False}


@pytest.mark.parametrize("group", Group)
def test_without_checks_the_answer_is_yes(group):
    assert judge(snapshot([]), group).up


def test_the_verdict_names_what_decided_it():
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

    assert judge(snapshot(states), Group.ALL, ["b"]).up
    assert not judge(snapshot(states), Group.ALL, ["a"]).up


def test_draining_makes_readiness_false_and_nothing_else():
    verdicts = {group: judge(snapshot([settled("P")], draining=True), group).up for group in Group}

    assert verdicts == {group: group is not Group.READINESS for group in Group}


@pytest.mark.parametrize(("letters", "status"), [("P", Status.PASS), ("W", Status.WARN), ("FFF", Status.FAIL)])
def test_the_verdict_is_one_of_three_words(letters, status):
    assert judge(snapshot([settled(letters)]), Group.ALL).status is status
