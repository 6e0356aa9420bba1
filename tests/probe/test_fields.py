"""Values of a response by their names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import Measurement, Reason, Status
from exporter.net.errors import DialError
from exporter.probe.fields import ABSENT, Field, Table, judge_fields

LATENCY = Measurement("endpoint_latency_seconds", 0.5)
TABLE = Table(("list", "items"), (("databases", 1), (b"pools", b"2"), ("wide", None)))


def judge(values: dict, *fields: dict):
    return judge_fields([Field.model_validate(field) for field in fields], values, "redis_field", "responded", LATENCY)


@pytest.mark.parametrize(
    ("values", "field", "status", "reason", "summary"),
    [
        ({"a": b"5"}, {"fail": 6}, "pass", None, "a is 5 (fail at 6)"),
        ({"a": b"5"}, {"warn": 5}, "warn", Reason.THRESHOLD, "a is 5: warn limit 5 reached"),
        ({"a": "x"}, {}, "pass", None, "a has a value"),
        ({"a": "x"}, {"fail": 6}, "fail", Reason.BODY, "a is not a number"),
        ({"a": b"up"}, {"equals": "up"}, "pass", None, "a is as expected"),
        ({"a": 5}, {"equals": "5"}, "pass", None, "a is as expected"),
        ({"a": "down"}, {"equals": "up"}, "fail", Reason.BODY, 'a is "down", expected "up"'),
        ({"a": None}, {"equals": "None"}, "fail", Reason.MISSING, "a has no value"),
        ({}, {}, "fail", Reason.MISSING, "a is missing"),
    ],
)
def test_a_field_is_judged_by_what_is_expected(values, field, status, reason, summary):
    outcome = judge(values, {"name": "a", **field})

    assert (outcome.status, outcome.reason, outcome.summary) == (status, reason, f"responded: {summary}")
    assert outcome.measurements[-1] is LATENCY


def test_the_summary_names_the_fields_that_are_not_healthy():
    outcome = judge(
        {"a": 1, "b": 9, "c": "no"}, {"name": "a"}, {"name": "b", "warn": 9}, {"name": "c", "equals": "yes"}
    )

    assert outcome.status is Status.FAIL
    assert outcome.summary == 'responded: b is 9: warn limit 9 reached; c is "no", expected "yes"'
    assert [(number.key, number.labels) for number in outcome.measurements[:2]] == [
        ("redis_field:a", {"field": "a"}),
        ("redis_field:b", {"field": "b"}),
    ]


def test_a_row_is_found_by_its_values():
    assert TABLE.find_row({"LIST": "pools"}) == (b"pools", b"2")
    assert TABLE.find_row({"list": "pools", "items": "2"}) == (b"pools", b"2")
    assert TABLE.find_row({}) == ("databases", 1)
    assert Table((), ()).find_row({}) is None
    for values in ({"list": "pool"}, {"list": "pools", "items": "1"}, {"name": "pools"}):
        with pytest.raises(DialError, match=r"the result has no (row|column)") as raised:
            TABLE.find_row(values)
        assert raised.value.reason is Reason.MISSING


def test_a_field_is_a_column_or_else_the_name_of_a_row():
    row = TABLE.rows[0]

    assert (TABLE.find_field("Items", row), TABLE.find_field("POOLS", row)) == (1, b"2")
    assert TABLE.find_field("wide", row) is None
    assert TABLE.find_field("narrow", row) is ABSENT
    assert TABLE.find_field("items", None) is ABSENT
    assert Table(("a",), ((1,),)).find_field("1", (1,)) is ABSENT


@given(st.dictionaries(st.text(), st.none() | st.text() | st.floats() | st.binary()))
def test_any_value_gives_an_outcome(values):
    for expected in ({}, {"fail": 1}, {"equals": "a"}):
        fields = [{"name": name or "-", **expected} for name in values] or [{"name": "a"}]
        assert judge(values, *fields).reason is not Reason.ERROR
