"""Which values that a query returns are numbers, and what becomes of those that are not."""

from decimal import Decimal

import pytest

from exporter.kinds.redis import Redis
from exporter.model import Reason, Status
from exporter.probe.limits import parse_number

NUMBERS = (
    *((5, 5), (1.5, 1.5), (True, 1), (Decimal("2.5"), 2.5)),
    *(("7", 7), (" 7\n", 7), ("-1.5e3", -1500), (b"8", 8)),
)
OTHERS = (
    *("nan", "NaN", "inf", "-Infinity", "1e999", "1_000", b"1_0", "\uff11\uff12", "0x10", "", "text", b"\xff"),
    *(float("nan"), float("inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), 10**400, [1], {}),
)


@pytest.mark.parametrize(("value", "number"), NUMBERS, ids=repr)
def test_a_number_and_its_text_are_numbers(value, number):
    assert parse_number(value) == number


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("options", [{"fail": 1e300}, {"warn": 1e300}, {"fail": -1e300, "falling": True}], ids=str)
def test_a_value_that_is_not_a_finite_number_passes_no_limit(value, options):
    outcome = Redis(**options).compare("redis_value", "it responded", value)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.BODY)
    assert outcome.summary == "it responded with a value that is not a number"
    assert not outcome.measurements


def test_a_missing_value_passes_no_limit():
    outcome = Redis(fail=1).compare("redis_value", "it responded", None)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
