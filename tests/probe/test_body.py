"""The body of a response: its text, and what a message shows of it."""

import gzip
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import within

from exporter.probe.body import Body, BodyExpectations
from exporter.probe.decoding import MAX_MEMBERS
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
            '"a" (21 bytes, text/plain, gzip)',
        ),
        (body(b"a", "text/plain", "br"), "a body compressed with br (1 bytes, text/plain)"),
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
    assert response.find_fault(BodyExpectations(text, f"^{text}$"), within(60)) is None


EXPECTED = {
    "text": BodyExpectations(contains="end"),
    "pattern": BodyExpectations(matches="end"),
    "json": BodyExpectations(json_path=(JsonExpectation.model_validate({"path": "$"}),)),
}
ABSENT = {"text": BodyExpectations(not_contains="end"), "pattern": BodyExpectations(not_matches="e.d")}
RAW_DEFLATE = zlib.compress(b'"end"', wbits=-15)
MEMBERS = gzip.compress(b'"e') + gzip.compress(b'nd"')
COMPRESSED = {
    "gzip": ("gzip", gzip.compress(b'"end"')),
    "several members": ("x-gzip", MEMBERS),
    "bytes after the end": ("GZip", gzip.compress(b'"end"') + b"\0" * 8),
    "deflate": ("deflate", zlib.compress(b'"end"')),
    "deflate without a frame": ("deflate", RAW_DEFLATE),
}


@pytest.mark.parametrize(("coding", "content"), COMPRESSED.values(), ids=COMPRESSED)
def test_expectations_apply_to_the_decoded_body(coding, content):
    response = body(content, encoding=coding)

    assert all(response.find_fault(expected, within(60)) is None for expected in EXPECTED.values())
    assert all(response.find_fault(expected, within(60)) is not None for expected in ABSENT.values())


@pytest.mark.parametrize("expected", [*EXPECTED.values(), *ABSENT.values()], ids=[*EXPECTED, "no text", "no pattern"])
@pytest.mark.parametrize(
    ("coding", "fault"),
    [
        ("br", "the body is compressed (br) and is not decoded"),
        ("gzip, br", "the body is compressed (an unknown method) and is not decoded"),
        ("gzip", "the body is not valid gzip"),
        ("deflate", "the body is not valid deflate"),
    ],
)
def test_a_body_that_cannot_be_decoded_meets_no_expectation(expected, coding, fault):
    response = body(b'{"end": 1}', encoding=coding)

    assert response.find_fault(expected, within(60)) == fault
    assert response.find_fault(BodyExpectations(), within(60)) is None


def test_a_compressed_body_that_breaks_off_meets_no_expectation():
    """A body that is longer than what is read does not break off."""
    content = gzip.compress(random.Random(1).randbytes(2 * MAXIMUM), compresslevel=1)

    assert body(content[:1000], encoding="gzip").find_fault(ABSENT["text"], within(60)) == "the body is not valid gzip"
    assert body(content, encoding="gzip").find_fault(ABSENT["text"], within(60)) is None


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_decoded_up_to_the_maximum(coding):
    bomb = gzip.compress(b"\0" * 2**25) if coding == "gzip" else zlib.compress(b"\0" * 2**25)
    tracemalloc.start()
    try:
        fault = body(bomb, encoding=coding).find_fault(EXPECTED["text"], within(60))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert fault is not None
    assert fault.startswith("the body does not contain the expected text; only its first 1 MiB was searched; received ")
    assert peak < 12 * MAXIMUM


def test_a_file_has_a_maximum_number_of_members():
    members = gzip.compress(b"x") * MAX_MEMBERS

    assert len(body(members, encoding="gzip").text) == MAX_MEMBERS
    assert len(body(members * 2, encoding="gzip").text) == MAX_MEMBERS


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br"]))
def test_any_content_is_decoded_or_is_an_obstacle(content, coding):
    for data in (content, gzip.compress(content), gzip.compress(content)[: len(content)]):
        assert isinstance(body(data, encoding=coding).text, str)


@pytest.mark.parametrize(
    ("expected", "fault"),
    [
        (ABSENT["text"], 'the body contains the text that it must not contain; received "the end" (7 bytes)'),
        (ABSENT["pattern"], 'the body matches e.d; received "the end" (7 bytes)'),
        (BodyExpectations(not_contains="End", not_matches="^end"), None),
    ],
    ids=["text", "pattern", "neither"],
)
def test_what_a_body_must_not_contain_is_a_fault(expected, fault):
    assert body(b"the end").find_fault(expected, within(60)) == fault


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "the body does not contain the expected text; only its first 1 MiB was searched; received "),
        ("pattern", "the body does not match end; only its first 1 MiB was searched; received "),
        ("json", "the body is too long for jsonPath, which reads less than 1 MiB; received "),
    ],
)
def test_a_body_that_is_longer_than_what_is_read_is_called_so(kind, words):
    fault = body(LONG).find_fault(EXPECTED[kind], within(60))

    assert fault is not None
    assert fault.startswith(words)


def test_a_json_document_that_is_cut_never_passes():
    """Its beginning may be valid JSON."""
    content = b"1".ljust(MAXIMUM) + b"2"

    assert body(content).find_fault(EXPECTED["json"], within(60)) is not None
    assert body(content[: MAXIMUM - 1]).find_fault(EXPECTED["json"], within(60)) is None


def test_a_value_that_is_not_the_expected_one_is_shown_before_the_body():
    expectation = JsonExpectation.model_validate({"path": "$.n", "max": 5})
    fault = body(b'{"n": 6}', "application/json").find_fault(BodyExpectations(json_path=(expectation,)), within(60))

    assert fault == '$.n is 6, above 5; received "{"n": 6}" (8 bytes, application/json)'
