"""docs/log.md lists every log line of the code with its level and its fields, and no others."""

import re
from pathlib import Path

import pytest
from docs.log_calls import Line, find_lines

PAGE = (Path(__file__).parents[2] / "docs" / "log.md").read_text()
ROWS = re.findall(r"^\| `([^`]+)` \| ([a-z, ]+) \|([^|\n]*)\|", PAGE, re.MULTILINE)
DROPPED = "COUNT log lines were dropped"
"""The only line without a call: the thread that writes the log adds it."""


def find_line(message: str) -> Line | None:
    """The line of the code that a message is of: the one with most in common."""
    return max((line for line in find_lines() if line.matches(message)), key=lambda line: line.fixed, default=None)


def test_the_lines_of_the_code_are_found():
    assert len(find_lines()) > 25
    assert find_line("check web: closing it failed") == ({"error"}, ("check ", ": closing it failed"), frozenset())
    assert find_line("the worker has ended") != find_line("the worker has ended in time; killing it")


@pytest.mark.parametrize(("message", "levels", "fields"), ROWS, ids=[row[0] for row in ROWS])
def test_every_documented_line_exists(message, levels, fields):
    line = find_line(message)

    if message == DROPPED:
        assert line is None
        return
    assert line is not None
    assert {*levels.split(", ")} <= line.levels
    assert {*re.findall(r"`(\w+)`", fields)} == line.fields


def test_every_line_is_documented_with_every_level():
    documented = {(find_line(message), level) for message, levels, _ in ROWS for level in levels.split(", ")}

    assert {(line, level) for line in find_lines() for level in line.levels} - documented == set()
