"""JSONPath: the values at a path are those that the library which parses the path finds."""

import json
from typing import Any

import jsonpath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import within

from exporter.probe.jsonpath import MAX_VISITS, Query, compile_path
from exporter.probe.jsonvalue import is_equal

DOCUMENT = {
    "a": [{"a": 1, "b": [1, 2.0, 3]}, {"a": 2, "b": "x"}, {"b": None}, [], [[5], {"a": {"a": "deep"}}], "text", True],
    "b": {"a": 3, "c": [True, False, None, 1, 1.0, "1", [1], {"a": 1}]},
    "": {"'": 1, '"': 2, "☺": 3},
    "limit": 2,
}
PATHS = [
    *("$", "$.a", "$['a']", "$.a[0]", "$.a[-1]", "$.a[99]", "$.a[-99]", "$[0]", "$.a.b", "$.x", "$['']['☺']", "$.*"),
    *("$.a[*]", "$[*][*]", "$.a[1:3]", "$.a[::-1]", "$.a[::2]", "$.a[-2:]", "$.a[5:1:-2]", "$.a[::0]", "$.b[1:]"),
    *("$..a", "$..*", "$..[0]", "$..[-1]", "$..a..a", "$..['a','b']", "$.a[0,1,0]", "$['b','a']", "$..b[0]"),
    *("$.a[?@.a]", "$.a[?!@.a]", "$.a[?@.a == 1]", "$.a[?@.a != 1]", "$.a[?@.a > 1]", "$.a[?@.a >= $.limit]"),
    *("$.a[?@.a < 2 || @.b == 'x']", "$.a[?@.a && @.b]", "$.a[?(@.a == 1 || @.a == 2) && !(@.b == 'x')]"),
    *("$.a[?@.b == null]", "$.a[?@.x == @.y]", "$.a[?@.x == null]", "$.a[?@.b[0] == 1]", "$.b.c[?@ == 1]"),
    *("$.b.c[?@ == '1']", "$.b.c[?@ == true]", "$.b.c[?@ == $.b.c[6]]", "$.b.c[?@ > '0']", "$.b.c[?@ <= '1']"),
    *("$.a[?length(@) > 1]", "$.a[?length(@.b) == 3]", "$.a[?count(@.*) == 2]", "$.a[?count(@..*) > 2]"),
    *("$.a[?value(@..a) == 'x']", "$.a[?value(@.b[0]) == 1]", "$.a[?length(value(@.b)) == 1]", "$..[?@.a == 1]"),
    *("$[?count($..a) == 6]", "$[?@[?@.a == 1]]", "$.a[?length('abc') == 3]", "$[?@.a == 1e0]", "$[?@ == -0]"),
]


def find(path: str, content: Any) -> list[Any]:
    return list(compile_path(path).find(content, within(60)))


def find_by_library(path: str, content: Any) -> list[Any]:
    return jsonpath.JSONPathEnvironment(strict=True).compile(path).findall(content)


@pytest.mark.parametrize("path", PATHS)
def test_the_values_of_a_path_are_those_that_the_library_finds(path):
    assert json.dumps(find(path, DOCUMENT)) == json.dumps(find_by_library(path, DOCUMENT))


def test_the_paths_find_something():
    """So that the comparison above cannot pass on empty lists."""
    assert sum(bool(find(path, DOCUMENT)) for path in PATHS) > 0.75 * len(PATHS)


scalars = st.none() | st.sampled_from([0, 1, 2, -1, 1.0, 2.5]) | st.sampled_from(["a", "b", "x", ""])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abx"), inner, max_size=3),
    max_leaves=20,
)


@settings(max_examples=60)
@given(content=st.lists(values, max_size=4) | st.dictionaries(st.sampled_from("abx"), values, max_size=3))
def test_any_content_has_the_values_that_the_library_finds(content):
    """Except for slices: the library also slices a string."""
    for path in (path for path in PATHS if ":" not in path):
        assert json.dumps(find(path, content)) == json.dumps(find_by_library(path, content)), path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.b.c[?@ < 2]", [1, 1.0]),  # section 2.3.5.2.2: true and false have no order; to the library they are numbers
        ("$.b.c[?@ < true]", []),
        ("$.b.c[?@ == $.one]", [[1]]),  # and true is not 1, however deep it is
        ("$.a[5][1:]", []),  # section 2.3.4.2.2: only an array has a slice; the library also takes one of a string
    ],
)
def test_the_rules_of_rfc_9535_that_the_library_does_not_follow(path, expected):
    assert json.dumps(find(path, {**DOCUMENT, "one": [1]})) == json.dumps(expected)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        ([1], [True], False),
        ({"a": [0]}, {"a": [False]}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ([1, 2], [1], False),
        ({"a": 1}, {"b": 1}, False),
        ("1", 1, False),
        (None, False, False),
        ([], {}, False),
    ],
)
def test_values_are_compared_as_json_does(one, other, equal):
    assert is_equal(one, other) is is_equal(other, one) is equal


def test_a_deep_content_needs_no_recursion():
    deep: Any = "end"
    for _ in range(100_000):
        deep = [deep]

    assert find("$..[?@ == 'end']", deep) == ["end"]
    while isinstance(deep, list):  # or freeing it would recurse
        (deep,) = deep


def test_a_query_visits_a_limited_number_of_values():
    """Nested descendant segments visit a value once for each value above it."""
    query = Query(None, within(60))
    query.spend(MAX_VISITS)
    with pytest.raises(ValueError, match=r"^visits more than 1000000 values$"):
        query.spend(1)

    deep: Any = "end"
    for _ in range(2000):
        deep = [deep]
    assert len(find("$..*", deep)) == 2000
    with pytest.raises(ValueError, match=r"^visits more than 1000000 values$"):
        find("$..*..*", deep)
    while isinstance(deep, list):  # or freeing it would recurse
        (deep,) = deep
