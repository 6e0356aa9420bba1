"""JSON of a target, with a maximum of values and of levels."""

import pytest

from exporter.probe.jsonvalue import MAX_DEPTH, MAX_VALUES, parse_json


def test_a_text_has_a_maximum_number_of_values():
    values = [b"1"] * (MAX_VALUES + 1)

    assert len(parse_json(b"[" + b",".join(values[1:]) + b"]")) == MAX_VALUES == 100_000
    with pytest.raises(ValueError, match="has more than 100000 values"):
        parse_json(b"[" + b",".join(values) + b"]")


@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a": ', b"}"), (b'{"]": ', b"}"), (b'["]\\"]", ', b"]")])
def test_a_text_has_a_maximum_number_of_levels(begin, end):
    def nest(levels: int) -> bytes:
        return b"[[], " + begin * (levels - 1) + b"1" + end * (levels - 1) + b"]"

    assert MAX_DEPTH == 100
    assert parse_json(nest(MAX_DEPTH))
    with pytest.raises(ValueError, match="is nested too deeply"):
        parse_json(nest(MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"[]," * 1000 + b"[]]",
        b'["' + b"[" * 1000 + b'"]',
        b'["\\"' + b"[{" * 1000 + b'\\\\", "' + b"[" * 1000 + b'"]',
    ],
    ids=["one after the other", "in a string", "in a string with escapes"],
)
def test_brackets_that_are_not_nested_do_not_count(text):
    assert parse_json(text)


def test_a_text_in_utf_16_is_nested_too_deeply_too():
    """A byte of U+2220 is that of a quotation mark."""
    with pytest.raises(ValueError, match="is nested too deeply"):
        parse_json(('["\u2220", ' + "[" * 90_000).encode("utf-16"))


def test_a_search_for_strings_takes_linear_time():
    """With backtracking, a million quotation marks that are escaped would take hours."""
    with pytest.raises(ValueError, match="is not valid JSON"):
        parse_json(b"[]" * 200 + b'"' + b'\\"' * 500_000)
