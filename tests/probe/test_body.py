"""The body of a response: its text, and what a message shows of it."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import within

from exporter.probe.body import Body
from exporter.probe.expect import JsonExpectation

MAXIMUM = 2**20
LONG = b"x" * MAXIMUM + b"end"


def body(content: bytes, content_type: str = "", encoding: str = "") -> Body:
    """A body as far as it is read."""
    return Body(content[:MAXIMUM], MAXIMUM, content_type, encoding)


@pytest.mark.parametrize(
    ("response", "noun"),
    [
        (body(b""), "an empty body"),
        (body(b"", "text/plain", "gzip"), "an empty body"),
        (body(b"ok\n", "text/plain; charset=utf-8"), r'"ok\n" (3 bytes, text/plain)'),
        (body("grün".encode(), "text/plain"), '"grün" (5 bytes, text/plain)'),
        (body("grün".encode("latin-1"), "text/plain"), r'"gr\xfcn" (4 bytes, text/plain)'),
        (body("grün".encode("latin-1"), "text/plain;charset=ISO-8859-1"), '"grün" (4 bytes, text/plain)'),
        (body(b"\x1b[2J\0", "text/plain"), r'"\x1b[2J\x00" (5 bytes, text/plain)'),
        (body(b"a", "no media type"), '"a" (1 bytes)'),
        (body(b"a", "text/\x1b[2J"), '"a" (1 bytes)'),
        (body(b"a", "text/" + "x" * 1000), f'"a" (1 bytes, text/{"x" * 80})'),
        (body(b"x" * 81), f'"{"x" * 79}…" (81 bytes)'),
        (body(LONG), f'"{"x" * 79}…" (1048576 bytes or more)'),
        (
            body(gzip.compress(b"a", mtime=0), "text/plain", "gzip"),
            "a body compressed with gzip (21 bytes, text/plain)",
        ),
        (body(b"a", "", "identity"), '"a" (1 bytes)'),
        (body(b"a", "", "\x1b[2J"), "a body compressed with an unknown method (1 bytes)"),
        (body(b"postgres://me:hunter2@db/shop refused", "text/plain"), '"***@db/shop refused" (37 bytes, text/plain)'),
        (body(b"GET /a?token=hunter2 failed"), '"GET /a?*** failed" (27 bytes)'),
        (body(b'<?xml version="1.0"?><up/>'), '"<?xml version="1.0"?><up/>" (26 bytes)'),
    ],
)
def test_a_message_shows_the_beginning_the_length_and_the_media_type(response, noun):
    assert response.describe() == noun


@given(st.binary(max_size=300), st.text(max_size=60), st.text(max_size=30))
def test_whatever_is_received_a_message_is_one_printable_line(content, content_type, encoding):
    noun = Body(content, MAXIMUM, content_type, encoding).describe()

    assert noun.isprintable()
    assert len(noun) < 300


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("", "utf-8"),
        ("utf-8", "utf-8"),
        ("ISO-8859-1", "cp1252"),
        ('"iso-8859-15"', "iso-8859-15"),
        ("koi8-r", "koi8-r"),
        ("Shift_JIS", "shift_jis"),
        ("utf-16", "utf-16"),
        ("punycode", "utf-8"),
        ("no-such-charset", "utf-8"),
    ],
)
def test_the_text_is_decoded_by_the_charset_of_the_content_type(charset, codec):
    text = {"koi8-r": "привет", "shift_jis": "正常"}.get(codec, "größer")
    response = body(text.encode(codec), f"text/html; charset={charset}")

    assert response.text == text
    assert response.find_fault(text, f"^{text}$", (), within(60)) is None


EXPECTED = {
    "text": ("end", None, ()),
    "pattern": (None, "end", ()),
    "json": (None, None, (JsonExpectation.model_validate({"path": "$"}),)),
}


@pytest.mark.parametrize("expected", EXPECTED.values(), ids=EXPECTED)
def test_a_body_that_is_compressed_is_called_so(expected):
    fault = body(gzip.compress(b'"end"'), encoding="gzip").find_fault(*expected, within(60))

    assert fault == "the body is compressed (gzip) and is not decoded"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "the body does not contain the expected text; only its first 1 MiB was searched; received "),
        ("pattern", "the body does not match end; only its first 1 MiB was searched; received "),
        ("json", "the body is too long for jsonPath, which reads less than 1 MiB; received "),
    ],
)
def test_a_body_that_is_longer_than_what_is_read_is_called_so(kind, words):
    fault = body(LONG).find_fault(*EXPECTED[kind], within(60))

    assert fault is not None
    assert fault.startswith(words)


def test_a_json_document_that_is_cut_never_passes():
    """Its beginning may be valid JSON."""
    content = b"1".ljust(MAXIMUM) + b"2"

    assert body(content).find_fault(*EXPECTED["json"], within(60)) is not None
    assert body(content[: MAXIMUM - 1]).find_fault(*EXPECTED["json"], within(60)) is None


def test_a_value_that_is_not_the_expected_one_is_shown_before_the_body():
    expectation = JsonExpectation.model_validate({"path": "$.n", "max": 5})
    fault = body(b'{"n": 6}', "application/json").find_fault(None, None, (expectation,), within(60))

    assert fault == '$.n is 6, above 5; received "{"n": 6}" (8 bytes, application/json)'
