"""The text of an exception and its traceback, without values that may be secrets."""

import re

import pytest
from make import check

from exporter.evaluation.failure import MAX_CHAIN, describe, format_traceback


def fail() -> None:
    raise ValueError("low")


def fail_again(how: str) -> None:
    try:
        fail()
    except ValueError as error:
        match how:
            case "from":
                raise KeyError("high") from error
            case "within":
                raise KeyError("high")  # noqa: B904  # the context is what is tested
            case "from none":
                raise KeyError("high") from None


TRACE = re.compile(r'Traceback \(most recent call last\):\n((?:  File ".*", line \d+, in \w+\n(?:    .*\n)+)+)(.+)')


def find_parts(text: str) -> list[tuple[list[str], str]]:
    """The names of the functions and the message of each part of a traceback."""
    parts = [TRACE.fullmatch(part) for part in text.split("\n\n")]
    return [(re.findall(r", in (\w+)", part[1]), part[2]) for part in parts]


@pytest.mark.parametrize(
    ("how", "parts"),
    [
        ("from", [(["fail_again", "fail"], "ValueError: low"), (["trace", "fail_again"], "KeyError: 'high'")]),
        ("within", [(["fail_again", "fail"], "ValueError: low"), (["trace", "fail_again"], "KeyError: 'high'")]),
        ("from none", [(["trace", "fail_again"], "KeyError: 'high'")]),
    ],
)
def test_a_traceback_shows_what_led_to_the_exception_as_python_does(how, parts):
    def trace() -> str:
        try:
            fail_again(how)
        except KeyError as error:
            return format_traceback(error, check(), ())
        return ""

    assert find_parts(trace()) == parts


@pytest.mark.parametrize(("length", "shown"), [(1, 1), (MAX_CHAIN, MAX_CHAIN), (MAX_CHAIN + 5, MAX_CHAIN)])
def test_a_traceback_has_a_limited_number_of_exceptions(length, shown):
    error: Exception | None = None
    for number in range(length):
        error, previous = ValueError(f"number {number}"), error
        error.__cause__ = previous

    text = format_traceback(error, check(), ())
    assert text.count("Traceback") == shown
    assert text.endswith(f"ValueError: number {length - 1}")


def test_an_exception_of_several_lines_keeps_its_notes():
    error = ValueError("low")
    error.add_note("a note")

    assert describe(error, check(), ()) == "ValueError: low\na note"


def test_secrets_are_masked_in_every_part():
    error = ValueError("canary")
    error.__cause__ = KeyError("a canary")

    assert describe(error, check(), ["canary"]) == "ValueError: ***"
    assert "canary" not in format_traceback(error, check(), ["canary"])
