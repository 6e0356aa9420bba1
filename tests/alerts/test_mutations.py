"""Whoever changes a number, a duration, a comparison or a join in a rule breaks a test of that rule."""

from concurrent.futures import ThreadPoolExecutor

from mutants import files_of, mutants, rules, survivors, unit_of
from support import command

UNITS = sorted({unit_of(rule) for _, rule in rules()})
NO_NUMBER = (
    "with an objective of 0.999 no ratio is exactly 1 - 14.4 * (1 - 0.999): there is no such floating-point number"
)
NO_TREND = (
    "a trend of six hours that ends at exactly 0, while that of the last hour ends below, has no floating-point number"
)
EQUIVALENT = {
    "HealthCheckErrorBudgetBurn 1: expr, word 2: > -> >=": NO_NUMBER,
    "HealthCheckErrorBudgetBurn 1: expr, word 11: > -> >=": NO_NUMBER,
    "HealthGroupErrorBudgetBurn 1: expr, word 3: > -> >=": NO_NUMBER,
    "HealthGroupErrorBudgetBurn 1: expr, word 13: > -> >=": NO_NUMBER,
    "HealthDiskFilling 1: expr, word 5: < -> <=": NO_TREND,
}
"""Mutants that nobody can tell from the rule, and why."""


def _unnoticed(unit, folder):
    """The names of the mutants that pass all test files of their rule."""
    left = mutants(unit)
    assert left
    assert files_of(unit)
    for test in files_of(unit):
        left = survivors(left, test, folder, command("promtool"))
    return [each.name for each in left]


def test_every_changed_number_duration_comparison_and_join_breaks_a_test(tmp_path):
    folders = [tmp_path / unit for unit in UNITS]
    for each in folders:
        each.mkdir()

    with ThreadPoolExecutor(2) as pool:
        unnoticed = [name for names in pool.map(_unnoticed, UNITS, folders) for name in names]

    assert sorted(unnoticed) == sorted(EQUIVALENT)
