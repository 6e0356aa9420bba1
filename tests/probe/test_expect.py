"""What a body must hold."""

import math
import time

import pytest
from pydantic import ValidationError

from exporter.probe.expect import JsonExpectation, body_complaint

DOCUMENT = {
    "status": "up",
    "queue": 12,
    "on": True,
    "none": None,
    "checks": [{"up": True, "n": 1}, {"up": False, "n": 5}],
}


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
        ({"path": "$.status", "min": 1}, '$.status is "up", which is no number'),
        ({"path": "$.on", "max": 1}, "$.on is true, which is no number"),
        ({"path": "$.on", "equals": True}, None),
        ({"path": "$.on", "equals": 1}, "$.on is true, expected 1"),
        ({"path": "$.queue", "equals": 12.0}, None),
        ({"path": "$.none"}, None),
        ({"path": "$.none", "equals": None}, None),
        ({"path": "$.queue", "matches": "12"}, "$.queue is 12, which does not match 12"),
        ({"path": "$.gone"}, "$.gone is not in the answer"),
        ({"path": "$.checks[*].n", "max": 5}, None),
        ({"path": "$.checks[*].up", "equals": True}, "$.checks[*].up is false, expected true"),
        ({"path": "$.checks[?@.n > 3].up", "equals": False}, None),
    ],
)
def test_what_a_json_value_must_be(expectation, complaint):
    assert JsonExpectation.model_validate(expectation).complaint(DOCUMENT) == complaint


@pytest.mark.parametrize(
    ("expectation", "complaint"),
    [
        ({"path": "$["}, "is no JSONPath"),
        ({"path": "$[?match(@.a, 'b')]"}, "is no JSONPath"),
        ({"path": "$.a", "matches": "("}, "is no regular expression of RE2's syntax: missing ): ("),
        ({"path": "$.a", "matches": r"(a)\1"}, "is no regular expression of RE2's syntax: invalid escape sequence"),
        ({"path": "$.a", "min": 2, "max": 1}, "min must not be above max"),
        ({"path": "$.a", "min": math.nan}, "finite"),
        ({"path": "$.a", "min": True}, "valid number"),
    ],
)
def test_what_cannot_be_expected_is_told_at_once(expectation, complaint):
    with pytest.raises(ValidationError) as raised:
        JsonExpectation.model_validate(expectation)
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("body", "options", "complaint"),
    [
        (b"all is well", {"contains": "well"}, None),
        (b"all is bad", {"contains": "well"}, "the body does not contain what it should"),
        ("schön".encode(), {"contains": "schön"}, None),
        (b"v1.22", {"matches": r"^v1\.\d+$"}, None),
        (b"v2", {"matches": r"^v1\.\d+$"}, r"the body does not match ^v1\.\d+$"),
        (b"\xff\xfe", {"matches": "."}, None),
        (b"no json", {"expectations": ({"path": "$.a"},)}, "the body is no JSON"),
        (b"[" * 100_000, {"expectations": ({"path": "$.a"},)}, "the body is no JSON"),
        (b'{"a": 1}', {"expectations": ({"path": "$.a"}, {"path": "$.b"})}, "$.b is not in the answer"),
    ],
)
def test_what_a_body_must_hold(body, options, complaint):
    expectations = tuple(JsonExpectation.model_validate(each) for each in options.get("expectations", ()))

    assert body_complaint(body, options.get("contains"), options.get("matches"), expectations) == complaint


def test_a_shown_value_is_bounded():
    wrong = JsonExpectation.model_validate({"path": "$", "equals": 1}).complaint("x" * 10_000)

    assert wrong is not None
    assert len(wrong) < 100


def test_no_regular_expression_takes_for_ever():
    began = time.process_time()
    body_complaint(b"a" * 100_000 + b"!", None, "(a+)+$", ())

    assert time.process_time() - began < 1
