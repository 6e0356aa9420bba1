"""The header of basic authentication, as clients, broken clients and attackers send it."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.server.credentials import MAX_HEADER, Credentials, parse


def basic(content: bytes, scheme: bytes = b"Basic") -> bytes:
    return scheme + b" " + base64.b64encode(content)


ALICE = Credentials("alice", b"open sesame")


@pytest.mark.parametrize(
    ("header", "credentials"),
    [
        (basic(b"alice:open sesame"), ALICE),
        (basic(b"alice:open sesame", b"basic"), ALICE),
        (basic(b"alice:open sesame", b"BASIC"), ALICE),
        (basic(b"alice:open sesame", b"Basic  "), ALICE),
        (b" \t" + basic(b"alice:open sesame") + b"\t ", ALICE),
        (basic("zoë:pässwörd ☃".encode()), Credentials("zoë", "pässwörd ☃".encode())),
        (basic(b"alice:a:b:c"), Credentials("alice", b"a:b:c")),
        (basic(b"alice:"), Credentials("alice", b"")),
        (basic(b":secret"), Credentials("", b"secret")),
        (basic(b":"), Credentials("", b"")),
        (basic(b"alice:\xff\xfe"), Credentials("alice", b"\xff\xfe")),
        (basic(b"alice:" + b"x" * 2000), Credentials("alice", b"x" * 2000)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_valid_headers(header, credentials):
    assert parse(header) == credentials


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Basic",
        b"Basic ",
        b"Basic:",
        b"Basic \xff\xfe",
        b"\xff\xfe",
        basic(b"alice"),
        basic(b""),
        basic(b"alice:open sesame", b"Bearer"),
        basic(b"alice:open sesame", b"Digest"),
        basic(b"alice:open sesame", b"Basi"),
        basic(b"alice:open sesame").replace(b" ", b"\t"),
        basic(b"alice:open sesame").replace(b" ", b""),
        basic(b"alice:open sesame") + b"!",
        basic(b"alice:open sesame") + b" x",
        basic(b"alice:open sesame") + b"," + basic(b"alice:open sesame"),
        basic(b"alice:open sesam").rstrip(b"="),
        b"Basic YWxp\r\nY2U6",
        b"Basic YWxpY2U6b3BlbiBzZXNhbWU\xc3\xa9",
        basic(b"alice:open sesame\0"),
        basic(b"alice\0:open sesame"),
        basic(b"alice:open\nsesame"),
        basic(b"alice:open\x7fsesame"),
        basic(b"\xff\xfe:open sesame"),
        basic("zoë:a".encode("latin-1")),
        basic("alice:a".encode("utf-16")),
        basic(b"x" * 9000 + b":a"),
        b"Basic " + b"A" * 9000,
        b"x" * 9000,
        basic(b"a:" + b"x" * MAX_HEADER),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_malformed_headers_are_not_credentials(header):
    assert parse(header) is None


def test_the_longest_header_is_parsed():
    header = basic(b"a:" + b"x" * 3064)
    assert len(header) + 2 == MAX_HEADER

    assert parse(header + b"  ") is not None
    assert parse(header + b"   ") is None


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"Basic " + rest))
@example(b"Basic =")
@example(b"Basic A===")
@example(b"Basic ====")
def test_no_header_raises(header):
    credentials = parse(header)

    assert credentials is None or ":" not in credentials.user


CONTROLS = "".join(map(chr, [*range(32), 127]))
PRINTABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=CONTROLS))


@given(PRINTABLE.filter(lambda user: ":" not in user), PRINTABLE)
def test_every_user_and_password_is_parsed(user, password):
    header = basic(f"{user}:{password}".encode())

    assert parse(header) == ((user, password.encode()) if len(header) <= MAX_HEADER else None)
