"""Every change of a number, a duration, a comparison or a join in a rule breaks a test of the rule."""

from concurrent.futures import ThreadPoolExecutor

from alerts.mutants import find_survivors, find_test_files, get_unit, load_rules, make_mutants
from support import command

UNITS = sorted({unit for _, rule in load_rules() if find_test_files(unit := get_unit(rule))})
"""The alerts with unit tests. The others are tested by incidents, whose messages are compared as a whole."""
NO_TREND = (
    "no floating-point numbers make the trend of six hours end at exactly 0 while that of the last hour ends below 0"
)
EQUIVALENT: dict[str, str] = {
    "HealthDiskFilling 1: expr, word 7: < -> <=": NO_TREND,
}
"""The mutants that no test can distinguish from the rule, and the reason."""


def find_uncaught(unit, folder):
    """Return the names of the mutants that pass all test files of their unit."""
    survivors = make_mutants(unit)
    assert survivors
    assert find_test_files(unit)
    for test in find_test_files(unit):
        survivors = find_survivors(survivors, test, folder, command("promtool"))
    return [mutant.name for mutant in survivors]


def test_every_changed_number_duration_comparison_and_join_breaks_a_test(tmp_path):
    folders = [tmp_path / unit for unit in UNITS]
    for folder in folders:
        folder.mkdir()

    with ThreadPoolExecutor(2) as pool:
        uncaught = [name for names in pool.map(find_uncaught, UNITS, folders) for name in names]

    assert sorted(uncaught) == sorted(EQUIVALENT)
