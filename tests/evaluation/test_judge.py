"""The verdicts: what each question makes of each condition."""

import pytest
from make import in_groups, settled, snapshot

from exporter.evaluation.judge import causes, judge
from exporter.evaluation.settle import expire
from exporter.model import Group, State, Status

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


def dependent(name: str, letters: str, *parents: str):
    return settled(letters, name=name, depends_on=parents)


@pytest.mark.parametrize(
    ("states", "causes_of_app"),
    [
        ([dependent("app", "FFF", "db"), dependent("db", "FFF")], ("db",)),
        ([dependent("app", "FFF", "db"), dependent("db", "P")], ()),
        ([dependent("app", "FFF", "db"), dependent("db", "F")], ()),  # not settled: no evidence
        ([dependent("app", "P", "db"), dependent("db", "FFF")], ()),  # well all the same
        ([dependent("app", "FFF", "api"), dependent("api", "FFF", "db"), dependent("db", "FFF")], ("db",)),
        ([dependent("app", "FFF", "api"), dependent("api", "P", "db"), dependent("db", "FFF")], ("db",)),
        ([dependent("app", "", "db"), dependent("db", "FFF")], ("db",)),  # unknown
        ([dependent("app", "FFF", "db", "dns"), dependent("db", "FFF", "dns"), dependent("dns", "FFF")], ("dns",)),
        ([dependent("app", "FFF", "db", "dns"), dependent("db", "FFF"), dependent("dns", "FFF")], ("db", "dns")),
        ([dependent("app", "FFF", "gone")], ()),
        ([dependent("app", "FFF", "b"), dependent("b", "FFF", "app")], ("b",)),  # a circle ends
    ],
)
def test_what_fails_because_of_another_names_it(states, causes_of_app):
    assert causes(snapshot(states), states[0]) == causes_of_app


def test_the_verdict_names_the_parent_first_and_still_counts_the_child():
    states = [dependent("app", "FFF", "db"), dependent("other", "P"), dependent("db", "FFF")]
    verdict = judge(snapshot(states), Group.ALL)

    assert [state.spec.name for state in verdict.culprits] == ["db", "app"]
    assert [state.spec.name for state in verdict.members] == ["other", "db", "app"]
    assert not judge(snapshot(states), Group.ALL, exclude=["db"]).up
