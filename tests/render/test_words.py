"""Numbers and sentences for people."""

import pytest
from make import settled, snapshot

from exporter.model import Measurement
from exporter.render.words import format_headline, format_limits, sort_worst_first


def shown(**letters):
    return snapshot(settled(each, name=name, failure_threshold=1) for name, each in letters.items())


@pytest.mark.parametrize(
    ("letters", "text"),
    [
        ({}, "no checks"),
        ({"a": "P"}, "1 check, all pass"),
        ({"a": "P", "b": "P"}, "2 checks, all pass"),
        ({"a": "F"}, "1 fail of 1 check"),
        ({"a": "F", "b": "P", "c": "F"}, "2 fail of 3 checks"),
        ({"a": "W", "b": "", "c": "F", "d": "P"}, "1 fail, 1 unknown, 1 warn of 4 checks"),
    ],
)
def test_the_headline_counts_what_is_not_well(letters, text):
    assert format_headline(shown(**letters)) == text


def test_what_is_wrong_comes_first_and_otherwise_the_configuration_s_order():
    states = sort_worst_first(shown(a="P", b="W", c="", d="F", e="P", f="F"))

    assert [state.spec.name for state in states] == ["d", "f", "c", "b", "a", "e"]


@pytest.mark.parametrize(
    ("warn", "fail", "text"),
    [(None, None, ""), (0.7, None, "warn 70 %"), (None, 0.9, "fail 90 %"), (0.7, 0.9, "warn 70 %, fail 90 %")],
)
def test_limits_are_those_that_are_set(warn, fail, text):
    assert format_limits(Measurement("load_ratio", 0.5, warn, fail)) == text
