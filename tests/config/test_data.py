"""The data of a document: the types of YAML 1.2, merges and aliases."""

import json
import math

import pytest
from config.loading import parse
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nil", "nil"),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("+12", 12),
        ("-12", -12),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000),
        ("-1.5E-1", -0.15),
        ("12e03", 12000),
        ("2.147483648e+09", 2147483648),
        ("1e+16", 1e16),
        ("1.0", 1.0),
        ("1e999", math.inf),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("1,5", "1,5"),
        ("2001-12-14", "2001-12-14"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("=", "="),
        ("<<", "<<"),
        ("'010'", "010"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("!!float 5", 5.0),
        ("10s", "10s"),
    ],
)
def test_a_scalar_has_the_type_of_yaml_1_2(text, value):
    data = parse(f"a: {text}\n").data

    assert data == {"a": value}
    assert type(data["a"]) is type(value)


def test_nan_is_a_number():
    assert math.isnan(parse("a: .NaN\n").data["a"])


@pytest.mark.parametrize("key", ["on", "yes", "null", "~", "1", "1.5", "true", "2001-12-14"])
def test_a_key_is_its_text(key):
    assert parse(f"{key}: 1\n").data == {key: 1}


MERGES = """\
base: &base
  a: 1
  b: 2
  deep: {x: 1}
more: &more {b: 3, c: 4}
plain: {<<: *base, b: 5}
late: {b: 5, <<: *base}
list: {<<: [*more, *base]}
twice: {<<: *base, <<: *more}
nested:
  <<: {<<: *base, c: 6}
quoted: {"<<": 1}
"""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("plain", {"a": 1, "b": 5, "deep": {"x": 1}}),
        ("late", {"a": 1, "b": 5, "deep": {"x": 1}}),
        ("list", {"a": 1, "b": 3, "c": 4, "deep": {"x": 1}}),
        ("twice", {"a": 1, "b": 2, "c": 4, "deep": {"x": 1}}),
        ("nested", {"a": 1, "b": 2, "c": 6, "deep": {"x": 1}}),
        ("quoted", {"<<": 1}),
    ],
)
def test_a_merge_adds_missing_keys_and_the_first_mapping_wins(key, value):
    assert parse(MERGES).data[key] == value


def test_a_merged_key_has_the_line_where_it_is_written():
    document = parse(MERGES)

    assert document.find_line(("plain", "a")) == 2
    assert document.find_line(("plain", "b")) == 6
    assert document.find_line(("late", "b")) == 7


def test_an_alias_refers_to_the_latest_anchor_of_its_name():
    assert parse("a: &x 1\nb: *x\nc: &x 2\nd: *x\n").data == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_aliases_give_separate_copies():
    data = parse("a: &a {x: []}\nb: *a\n").data
    data["a"]["x"].append(1)

    assert data["b"] == {"x": []}


WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cn"], exclude_characters="\ufeff\ufffe\uffff")
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_has_the_same_value_as_yaml(data):
    document = parse(json.dumps(data, ensure_ascii=False))

    assert document.complaints == []
    assert document.data == (data if data != "" else None)
