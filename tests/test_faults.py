"""The table of faults is complete: each fault has tests that exist, or a reason why there are none."""

import ast
from functools import cache
from pathlib import Path

from faults.rows import ROWS

TESTS = Path(__file__).parent


@cache
def list_functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_its_own_name():
    assert len({row.slug for row in ROWS}) == len(ROWS)


def test_every_fault_has_tests_or_a_reason():
    assert [row.slug for row in ROWS if bool(row.tests) == bool(row.reason)] == []


def test_every_test_of_a_fault_exists():
    missing = []
    for row in ROWS:
        for test in row.tests:
            file, _, function = test.partition("::")
            if not (TESTS / file).exists() or function not in list_functions(TESTS / file):
                missing.append(f"{row.slug}: {test}")

    assert missing == []
