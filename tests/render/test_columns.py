"""Text that fits the columns of a terminal, whatever its characters."""

import doctest

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.render import columns
from exporter.render.columns import ELLIPSIS, cut, cut_middle, measure, pad, wrap

TEXTS = st.text(st.sampled_from("ab -健ｗ界\u0301é…"), max_size=40)
WIDTHS = st.integers(2, 30)


def test_the_examples():
    results = doctest.testmod(columns)

    assert (results.failed, results.attempted) == (0, 3)


@given(TEXTS, WIDTHS)
@settings(max_examples=200)
def test_a_cut_text_fits_and_a_short_one_stays(text, width):
    for shortened in (cut(text, width), cut_middle(text, width)):
        assert measure(shortened) <= width
        assert (shortened == text) == (measure(text) <= width)
        assert shortened == text or ELLIPSIS in shortened


@given(TEXTS, WIDTHS)
@settings(max_examples=200)
def test_every_line_of_a_wrapped_text_fits_and_nothing_is_lost(text, width):
    lines = list(wrap(text, width))

    assert all(0 < measure(line) <= width or not measure(line) for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(text.split())


def test_a_text_is_wrapped_between_words():
    assert list(wrap("connection refused by 健康健康", 12)) == ["connection", "refused by", "健康健康"]


def test_a_long_word_is_broken():
    assert list(wrap("a abcdefghij", 4)) == ["a", "abcd", "efgh", "ij"]


def test_a_padded_text_has_the_width_of_its_column():
    assert measure(pad("健康", 7)) == 7
