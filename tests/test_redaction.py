"""What a message shows of a value that may be a secret."""

from decimal import Decimal
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.redaction import (
    MASK,
    MAX_QUOTED,
    MAX_REDACTED,
    MIN_PIECE,
    describe,
    find_strings,
    mask_urls,
    quote,
    redact,
    show_key,
)


class Speechless:
    """An object without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("hunter2", "text of 7 characters"),
        ("x", "text of 1 character"),
        ("", "empty text"),
        (5, "a number"),
        (0, "a number"),
        (1.5, "a number"),
        (True, "true"),
        (False, "false"),
        ({"a": 1}, "a mapping"),
        ({}, "a mapping"),
        (["a"], "a list"),
        (("a",), "a list"),
        ({"a"}, "a list"),
        (frozenset("a"), "a list"),
        (b"a", "bytes"),
    ],
)
def test_a_value_is_described_by_its_type_and_length(value, text):
    assert describe(value) == text


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("httpGet", "httpGet"),
        ("x", "x"),
        ("tls_server-config9", "tls_server-config9"),
        ("a" * 41, "a" * 41),
        ("a" * 42, "<42 characters>"),
        ("a.b", "'a.b'"),
        ("", "<0 characters>"),
        ("9a", "<2 characters>"),
        ("-", "<1 character>"),
        ("a b", "<3 characters>"),
        ("a\n", "<2 characters>"),
        ("é", "<1 character>"),
        ("Authorization: Bearer x", "<23 characters>"),
    ],
)
def test_a_key_is_shown_if_it_looks_like_one(key, shown):
    assert show_key(key) == shown


@pytest.mark.parametrize(
    ("text", "values", "shown"),
    [
        ("no hunter2 here", "hunter2", "no *** here"),
        ("hunter2", "hunter2", "***"),
        ("hunter2hunter2", "hunter2", "***"),
        ("hunter2 and hunter2", "hunter2", "*** and ***"),
        ("HUNTER2", "hunter2", "***"),
        ("hunter2", "HUNTER2", "***"),
        ("'hunte", "hunter2", "'***"),
        ("nter", "hunter2", "***"),
        ("hun", "hunter2", "hun"),
        ("hunxer2", "hunter2", "hunxer2"),
        ("abc", "abc", "abc"),
        ("abcd", "abcd", "***"),
        ("", "hunter2", ""),
        ("hunter2", "", "hunter2"),
        ("hunter2", None, "hunter2"),
        ("hunter2", [["x", {"key": ("hunter2",)}]], "***"),
        ("hunter2", {"deep": {"hunter2"}}, "***"),
        ("hunter2", frozenset(["hunter2"]), "***"),
        ("the key password is bad", {"password": 1}, "the key password is bad"),
        ("the key pass word is bad", {"pass word": 1}, "the key *** is bad"),
        ("the key 7777 is bad", {7777: 1}, "the key *** is bad"),
        ("abcdef", ["abc", "def"], "abcdef"),
        ("5432 in x5432y and 15432", 5432, "*** in x***y and 15432"),
        ("5432.5 and 54325", 5432.5, "*** and 54325"),
        ("543", 543, "543"),
        ("1234 12345", [1234, 12345], "*** ***"),
        ("true True 1111", True, "true True 1111"),
        ("xxxx", "xxxx", "***"),
        ("abxx xxcd", ["ab", "cd"], "abxx xxcd"),
        ("no /etc/x.y", PurePath("/etc/x.y"), "no ***"),
        ("None", None, "None"),
        ("sorted", [sorted], "sorted"),
        ("1234.5", Decimal("1234.5"), "***"),
        ("speechless hunter2", [Speechless(), "hunter2"], "speechless ***"),
        ("hunter2 in hunter2.example", "hunter2", "*** in ***.example"),
    ],
)
def test_what_a_text_has_in_common_with_a_value_is_masked(text, values, shown):
    assert redact(text, values) == shown


def test_what_is_public_is_shown():
    assert redact("no route to db.example for probe", ["db.example", "probe"], "DB.example:80") == (
        "no route to db.example for ***"
    )


def test_a_long_text_is_cut():
    text = "x" * MAX_REDACTED + "hunter2"

    assert redact(text, "hunter2") == "x" * MAX_REDACTED
    assert redact(text[:-8], "hunter2") == text[:-8]


@given(st.text(), st.text(), st.text(min_size=MIN_PIECE))
def test_no_piece_of_a_value_is_left(before, after, value):
    shown = redact(before + value + after, value).split("***")
    pieces = {value[start : start + MIN_PIECE].casefold() for start in range(len(value) - MIN_PIECE + 1)}

    assert len(shown) > 1
    for part in shown:
        assert not any(part[start : start + MIN_PIECE].casefold() in pieces for start in range(len(part)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:hunter2@h/x", "***@h/x"),
        ("http://u:hunter2/x@h", "***@h"),
        ("http://u:hunt@er2@h/", "***@h/"),
        ("u:hunter2@h", "***@h"),
        ("@h", "@h"),
        ("at http://u:p@h:1/x and u:p@i\n", "at ***@h:1/x and ***@i\n"),
        ("/x?token=hunter2", "/x?***"),
        ("/x?hunter2 is bad", "/x?*** is bad"),
        ("u:p@h/x?y=z", "***@h/x?***"),
        ("/x?y=u@h", "***@h"),
        ("really? yes", "really? yes"),
        ("a  b\tc", "a  b\tc"),
        ("a? b@", "a? ***@"),
    ],
)
def test_credentials_and_queries_of_urls_are_masked(text, shown):
    assert mask_urls(text) == shown


@pytest.mark.parametrize(
    ("query", "strings"),
    [
        ("SELECT 1", []),
        ("SELECT 'a' FROM t WHERE x = \"b c\"", ["a", "b c"]),
        ("SELECT dblink('password=x', 'SELECT')", ["password=x", "SELECT"]),
        ("SELECT 'not closed", ["not closed"]),
        ("SELECT 'XaX'", ["XaX"]),
        ("SELECT $$a b$$, $x$c$$d$x$, $1", ["$$a b$$", "$x$c$$d$x$"]),
        ("SELECT $$a\nb", ["$$a\nb"]),
        ('up{job=~"a|b"} > 1', ["a|b"]),
        ("up{job=`a`} > 1", ["a"]),
        ('up{job="a"}', ["a", 'up{job="a"}']),
        ("hunter2", ["hunter2"]),
        (" hunter2\n", [" hunter2\n"]),
    ],
)
def test_the_strings_in_a_query_may_be_secrets(query, strings):
    assert find_strings(query) == strings


@given(st.text(min_size=MIN_PIECE, max_size=200), st.text(max_size=300), st.text(max_size=300))
def test_a_quotation_has_nothing_in_common_with_a_secret(secret, before, after):
    quotation = quote(f"{before}{secret}{after}".encode("utf-8", "replace"), [secret])

    assert quotation.isprintable()
    assert len(quotation) <= MAX_QUOTED + 2
    if secret.isprintable() and secret.isascii() and MASK not in secret:
        assert secret not in quotation
