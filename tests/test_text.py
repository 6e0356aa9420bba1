"""Text from outside before it goes to a terminal, a log or a client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.text import format_number, replace_surrogates, replace_unprintable, shorten

ANY = st.text(st.characters(codec=None))


@pytest.mark.parametrize(
    ("text", "printable"),
    [
        ("", ""),
        ("grün ✓", "grün ✓"),
        ("two\nlines\r\n", "two?lines??"),
        ("\x1b[31mred", "?[31mred"),
        ("right\u202eleft", "right?left"),
        ("half a \ud800 pair", "half a ? pair"),
    ],
    ids=repr,
)
def test_unprintable_characters_are_replaced(text, printable):
    assert replace_unprintable(text) == printable


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.1 + 0.2, "0.3"),
        (-99_999.9, "-99999.9"),
        (1_000_000, "1000000"),
        (2_147_483_648, "2147483648"),
        (-1_234_567.891, "-1234567.89"),
        (1e15, "1e+15"),
        (1e-7, "1e-07"),
    ],
)
def test_a_number_is_shown_with_its_whole_part(number, text):
    assert format_number(number) == text


@given(ANY)
def test_any_text_becomes_one_printable_line_of_the_same_length(text):
    printable = replace_unprintable(text, " ")

    assert printable.isprintable()
    assert len(printable) == len(text)


@given(ANY)
def test_any_text_can_be_encoded_and_only_surrogates_change(text):
    encodable = replace_surrogates(text)

    encodable.encode("utf-8")
    assert encodable == "".join("?" if "\ud800" <= character <= "\udfff" else character for character in text)


@pytest.mark.parametrize(("text", "short"), [("", ""), ("abcd", "abcd"), ("abcde", "abc…")])
def test_a_long_text_is_cut_and_marked(text, short):
    assert shorten(text, 4) == short


def test_a_short_text_is_returned_as_the_same_object():
    text = "healthy"

    assert shorten(text, 7) is text
    assert replace_unprintable(text) is text
