"""The filter of the status page: what a query selects, and how it becomes a query again."""

import pytest
from make import in_groups, settled

from exporter.model import Group
from exporter.render.filters import MAX_QUERY, Filter, divide, parse, render_form

STATES = [
    settled("FFF", name="database", kind="tcpSocket", target="db.shop:5432", owner="data"),
    settled("P", name="api", groups=in_groups(Group.LIVENESS, Group.READINESS), owner="shop"),
    settled("P", name="disk", groups=in_groups()),
]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, "database api disk"),
        ({"status": "fail"}, "database"),
        ({"group": "liveness"}, "api"),
        ({"group": "readiness"}, "database api"),
        ({"group": "no group"}, "disk"),
        ({"owner": "shop"}, "api"),
        ({"owner": "no owner"}, "disk"),
        ({"q": "DB.shop"}, "database"),
        ({"q": "data", "status": "pass"}, ""),
        ({"status": "wrong", "group": "wrong", "by": "wrong"}, "database api disk"),
    ],
)
def test_a_query_selects_checks(query, names):
    assert " ".join(state.spec.name for state in STATES if parse(query).admits(state)) == names


def test_a_long_query_is_cut():
    assert parse({"q": "x" * (MAX_QUERY + 1)}).q == "x" * MAX_QUERY


def test_a_filter_becomes_the_query_that_it_comes_from():
    chosen = Filter(status="fail", owner="a&b", q="\ud800 x")

    assert chosen.encode() == "?status=fail&owner=a%26b&q=%3F+x"
    assert chosen.encode(status="", q="") == "?owner=a%26b"
    assert Filter().encode() == "?"


@pytest.mark.parametrize(
    ("by", "sections"),
    [
        ("", ["fail", "pass"]),
        ("owner", ["data", "shop", "no owner"]),
        ("group", ["readiness", "liveness, readiness", "no group"]),
    ],
)
def test_the_checks_are_in_sections(by, sections):
    assert list(divide(STATES, by)) == sections


def test_there_are_no_choices_of_owners_without_owners():
    assert 'name="owner"' in render_form(STATES, Filter(), "")
    assert "owner" not in render_form([settled("P")], Filter(), "")
