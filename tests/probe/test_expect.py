"""Expectations of a response's body."""

import itertools
import math
import re
import sys
import time
import tracemalloc
from typing import Any

import pytest
from pydantic import ValidationError
from support import Clock, within

from exporter.model import Deadline
from exporter.probe.body import Body, BodyExpectations
from exporter.probe.expect import JsonExpectation, compile_pattern
from exporter.probe.jsonvalue import parse_json

DOCUMENT = {
    "status": "up",
    "queue": 12,
    "on": True,
    "none": None,
    "checks": [{"up": True, "n": 1}, {"up": False, "n": 5}],
}


def find_body_fault(
    content: bytes,
    contains: str | None,
    pattern: str | None,
    expectations: tuple[JsonExpectation, ...],
    deadline: Deadline,
) -> str | None:
    """Why a body does not meet the expectations, without the beginning of the body."""
    fault = Body(content, 2**20).find_fault(BodyExpectations(contains, pattern, json_path=expectations), deadline)
    return fault and fault.partition("; received ")[0]


@pytest.mark.parametrize(
    ("expectation", "complaint"),
    [
        ({"path": "$.status", "equals": "up"}, None),
        ({"path": "$.status", "equals": "ok"}, '$.status is "up", expected "ok"'),
        ({"path": "$.status", "matches": "^(up|ok)$"}, None),
        ({"path": "$.status", "matches": "^d"}, '$.status is "up", which does not match ^d'),
        ({"path": "$.queue", "max": 12}, None),
        ({"path": "$.queue", "max": 11.5}, "$.queue is 12, above 11.5"),
        ({"path": "$.queue", "min": 12, "max": 13}, None),
        ({"path": "$.queue", "min": 13}, "$.queue is 12, below 13"),
        ({"path": "$.status", "min": 1}, '$.status is "up", which is not a number'),
        ({"path": "$.on", "max": 1}, "$.on is true, which is not a number"),
        ({"path": "$.on", "equals": True}, None),
        ({"path": "$.on", "equals": 1}, "$.on is true, expected 1"),
        ({"path": "$.queue", "equals": 12.0}, None),
        ({"path": "$.none"}, None),
        ({"path": "$.none", "equals": None}, None),
        ({"path": "$.queue", "matches": "12"}, "$.queue is 12, which does not match 12"),
        ({"path": "$.gone"}, "$.gone is missing from the body"),
        ({"path": "$.checks[*].n", "max": 5}, None),
        ({"path": "$.checks[*].up", "equals": True}, "$.checks[*].up is false, expected true"),
        ({"path": "$.checks[?@.n > 3].up", "equals": False}, None),
    ],
)
def test_values_of_a_json_document_are_compared(expectation, complaint):
    assert JsonExpectation.model_validate(expectation).find_fault(DOCUMENT, within(60)) == complaint


@pytest.mark.parametrize(
    ("expectation", "complaint"),
    [
        ({"path": "$["}, "is not a valid JSONPath"),
        ({"path": "$[?match(@.a, 'b')]"}, "is not a valid JSONPath"),
        ({"path": "$[?startswith(@.a, 'b')]"}, "is not a valid JSONPath"),
        ({"path": "$.~a"}, "is not a valid JSONPath"),
        ({"path": "$.a", "matches": "("}, "is not a valid RE2 regular expression: missing ): ("),
        ({"path": "$.a", "matches": r"(a)\1"}, "is not a valid RE2 regular expression: invalid escape sequence"),
        ({"path": "$.a", "min": 2, "max": 1}, "min must not be above max"),
        ({"path": "$.a", "min": math.nan}, "finite"),
        ({"path": "$.a", "min": True}, "valid number"),
    ],
)
def test_an_impossible_expectation_is_an_error(expectation, complaint):
    with pytest.raises(ValidationError) as raised:
        JsonExpectation.model_validate(expectation)
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("body", "options", "complaint"),
    [
        (b"all is well", {"contains": "well"}, None),
        (b"all is bad", {"contains": "well"}, "the body does not contain the expected text"),
        ("schön".encode(), {"contains": "schön"}, None),
        (b"v1.22", {"matches": r"^v1\.\d+$"}, None),
        (b"v2", {"matches": r"^v1\.\d+$"}, r"the body does not match ^v1\.\d+$"),
        (b"\xff\xfe", {"matches": "."}, None),
        (b"no json", {"expectations": ({"path": "$.a"},)}, "the body is not valid JSON"),
        (b"[" * 90_000, {"expectations": ({"path": "$.a"},)}, "the body is nested too deeply"),
        (b"[" * 90_000 + b"]" * 90_000, {"expectations": ({"path": "$.a"},)}, "the body is nested too deeply"),
        (b"[" + b"[]," * 50_000 + b"[]]", {"expectations": ({"path": "$"},)}, "the body has more than 100000 values"),
        (b"\xff\xfe\xff", {"expectations": ({"path": "$"},)}, "the body is not valid JSON"),
        (b'{"a": 1}', {"expectations": ({"path": "$.a"}, {"path": "$.b"})}, "$.b is missing from the body"),
    ],
)
def test_a_body_is_compared_with_all_expectations(body, options, complaint):
    expectations = tuple(JsonExpectation.model_validate(item) for item in options.get("expectations", ()))

    fault = find_body_fault(body, options.get("contains"), options.get("matches"), expectations, within(60))
    assert fault == complaint


@pytest.mark.parametrize("limit", [{}, {"min": -1e308}, {"max": 1e308}, {"equals": 5}, {"equals": None}])
@pytest.mark.parametrize(
    ("number", "complaint"),
    [
        (b"NaN", "the body is not valid JSON: NaN is not a number in JSON"),
        (b"Infinity", "the body is not valid JSON: Infinity is not a number in JSON"),
        (b"-Infinity", "the body is not valid JSON: -Infinity is not a number in JSON"),
        (b"1e999", "the body has a number that is out of range"),
        (b"-1e999", "the body has a number that is out of range"),
        (b"9" * 5000, "the body has a number with too many digits"),
    ],
    ids=lambda value: value[:9].decode() if isinstance(value, bytes) else None,
)
def test_a_number_that_is_not_finite_never_passes(number, complaint, limit):
    """Wherever it is in the body, and whatever is expected of it."""
    expectation = JsonExpectation.model_validate({"path": "$.n", **limit})

    assert find_body_fault(b'{"n": %s}' % number, None, None, (expectation,), within(60)) == complaint
    assert find_body_fault(b'{"n": 5, "m": [%s]}' % number, None, None, (expectation,), within(60)) == complaint


@pytest.mark.parametrize("path", ["$.*", "$..*", "$..*..*", "$[?count(@..*) > 0]"])
def test_the_values_that_a_path_visits_take_no_memory(path):
    """Beyond that of the parsed body."""
    body = b"[" + b"[1]," * 24_000 + b"[1]]"
    expectation = JsonExpectation.model_validate({"path": path})
    tracemalloc.start()
    try:
        assert find_body_fault(body, None, None, (expectation,), within(60)) is None
        _, with_path = tracemalloc.get_traced_memory()
        tracemalloc.clear_traces()
        parse_json(body)
        _, without = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert with_path - without < 2**20


NESTED = b"[" * 90 + b",".join([b"[1,[2]]"] * 8000) + b"]" * 90


@pytest.mark.parametrize("path", ["$..*..*..x", "$..[?count(@..*) > 1e9]", "$..[?count(@..*) > 1e9].x"])
def test_a_path_that_multiplies_the_work_is_a_fault(path):
    expectation = JsonExpectation.model_validate({"path": path})

    assert find_body_fault(NESTED, None, None, (expectation,), within(60)) == f"{path} visits more than 1000000 values"


@pytest.mark.parametrize("path", ["$..x", "$..*..x", "$..[?count(@..*) > 1e9]", "$..[?@ == $[0]].x"])
def test_the_deadline_ends_the_search_for_values(path):
    expectation = JsonExpectation.model_validate({"path": path})
    clock = Clock()
    reads = itertools.count()

    def read() -> float:
        return clock.advance(1) if next(reads) else clock.now

    with pytest.raises(TimeoutError):
        find_body_fault(NESTED, None, None, (expectation,), Deadline(clock.now + 5, read))
    assert clock.now == 1005  # the fifth reading of the clock, while most of the values were still unseen


def test_a_string_in_the_body_is_not_parsed_again():
    string, item = (JsonExpectation.model_validate({"path": path, "max": 5}) for path in ("$", "$[0]"))

    assert find_body_fault(b'"[1]"', None, None, (string,), within(60)) == '$ is "[1]", which is not a number'
    assert find_body_fault(b'"[1]"', None, None, (item,), within(60)) == "$[0] is missing from the body"


def test_half_of_a_surrogate_pair_is_compared_like_any_text():
    expectation = JsonExpectation.model_validate({"path": "$", "matches": "^x"})

    assert find_body_fault(b'"\\ud800"', None, None, (expectation,), within(60)) == (
        '$ is "\\ud800", which does not match ^x'
    )
    assert find_body_fault(b'"x\\ud800"', None, None, (expectation,), within(60)) is None


def test_values_that_are_nested_too_deeply_to_compare_are_a_fault():
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]

    for path in ("$[?@ == $[1]]", "$[0]"):
        expectation = JsonExpectation.model_validate({"path": path, "equals": deep})
        fault = expectation.find_fault([deep, copy_nested(5000)], within(60))
        assert fault == f"{path} compares values that are nested too deeply"
    fault = JsonExpectation.model_validate({"path": "$[0]", "equals": 1}).find_fault([deep], within(60))
    # How deep json.dumps goes depends on the version of Python.
    assert re.fullmatch(r"\$\[0\] is (a deeply nested value|\[+…), expected 1", fault or "")


def copy_nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def test_a_long_value_is_shortened():
    complaint = JsonExpectation.model_validate({"path": "$", "equals": 1}).find_fault("x" * 10_000, within(60))

    assert complaint is not None
    assert len(complaint) < 100


def test_a_regular_expression_takes_linear_time():
    started = time.process_time()
    find_body_fault(b"a" * 100_000 + b"!", None, "(a+)+$", (), within(60))

    assert time.process_time() - started < 1  # CPU time; Python's own re would take practically forever


@pytest.mark.parametrize("module", ["re2", "jsonpath"])
def test_a_missing_extra_does_not_make_an_option_invalid(monkeypatch, module):
    compile_pattern.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ValidationError, match=r"Value error, requires the extra expect"):
        JsonExpectation.model_validate({"path": f"$.{module}", "matches": "a"})  # a path is compiled once
