"""Prints at the end of a run how many faults of the table were injected, and how many of them the exporter survived."""

import pytest
from faults.rows import ROWS, Row


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes = collect_outcomes(terminalreporter)
    injected = [row for row in ROWS if any(outcomes.get(test) for test in row.tests)]
    broken = [row for row in injected if any("failed" in outcomes.get(test, ()) for test in row.tests)]
    without_test = [row for row in ROWS if not row.tests]
    waiting = len(ROWS) - len(injected) - len(without_test)
    terminalreporter.section("faults")
    terminalreporter.line(
        f"{len(ROWS)} faults: {len(injected)} injected in this run, {len(injected) - len(broken)} of them held; "
        f"{waiting} have tests that did not run, {len(without_test)} have no test"
    )
    for row in broken:
        terminalreporter.line(f"broke: {describe(row)}")
    for row in without_test:
        terminalreporter.line(f"no test: {describe(row)} {row.reason}")


def collect_outcomes(terminalreporter: pytest.TerminalReporter) -> dict[str, set[str]]:
    """How the cases of each test ended, by the name of the test in the table: `passed`, `failed`; skipped ones not."""
    outcomes: dict[str, set[str]] = {}
    for outcome, key in (("passed", "passed"), ("failed", "failed"), ("failed", "error")):
        for report in terminalreporter.stats.get(key, ()):
            name = report.nodeid.removeprefix("tests/").partition("[")[0]
            outcomes.setdefault(name, set()).add(outcome)
    return outcomes


def describe(row: Row) -> str:
    return f"{row.slug}: {row.fault}"
