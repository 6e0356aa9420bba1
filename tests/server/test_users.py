"""Users with real password hashes."""

import time

import pytest
from web_files import hashed

from exporter.server.users import MAX_KNOWN, Users


@pytest.fixture(scope="module")
def users() -> Users:
    return Users({"alice": hashed("open sesame"), "zoë": hashed("pässwörd ☃"), "long": hashed("x" * 72)})


@pytest.mark.parametrize(
    ("user", "password", "right"),
    [
        ("alice", "open sesame", True),
        ("alice", "open sesam", False),
        ("alice", "Open sesame", False),
        ("alice", "", False),
        ("alice", "open sesame\0", False),
        ("alice", "x" * 1_000_000, False),
        ("zoë", "pässwörd ☃", True),
        ("zoë", "password", False),
        ("zo\udceb", "pässwörd ☃", False),
        ("alice", "\udcff", False),
        ("bob", "open sesame", False),
        ("", "", False),
        ("x" * 1_000_000, "open sesame", False),
        ("alice\0", "open sesame", False),
        ("long", "x" * 72, True),
        ("long", "x" * 71, False),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_user_is_let_in_by_the_password_alone(users, user, password, right):
    for _ in range(2):  # the second answer is remembered, where it is a yes
        assert users.authorize(user, password) is right


def test_a_remembered_password_opens_for_its_user_only(users):
    assert users.authorize("alice", "open sesame")

    assert not users.authorize("zoë", "open sesame")
    assert not users.authorize("bob", "open sesame")
    assert not users.authorize("alice\0open", "sesame")


def test_nobody_is_let_in_by_the_hash_that_stands_for_nobody(users):
    users._nobody = hashed("a").encode()

    assert not users.authorize("bob", "a")


def test_a_password_that_was_right_costs_no_second_run_of_bcrypt():
    users = Users({"alice": hashed("open sesame", cost=10)})
    users.authorize("alice", "open sesame")
    began = time.process_time()
    for _ in range(100):
        assert users.authorize("alice", "open sesame")

    assert time.process_time() - began < 1  # a hundred runs take more than four seconds


def test_what_is_remembered_is_bounded():
    users = Users({str(number): hashed("a") for number in range(MAX_KNOWN + 5)})
    for number in range(MAX_KNOWN + 5):
        assert users.authorize(str(number), "a")

    assert len(users._known) == MAX_KNOWN
    assert users.authorize(str(MAX_KNOWN + 4), "a")


def test_an_unknown_user_takes_as_long_as_a_known_one():
    users = Users({"alice": hashed("open sesame", cost=10)})

    def cost(user: str) -> float:
        began = time.process_time()
        for _ in range(5):
            users.authorize(user, "wrong")
        return time.process_time() - began

    assert 0.4 < cost("alice") / cost("bob") < 2.5  # without the comparison it would be thousands


def test_hashes_of_every_prefix_open():
    """`htpasswd` writes $2y$, other tools $2a$ and $2b$; the algorithm is the same."""
    for prefix in ("$2a$", "$2b$", "$2y$"):
        assert Users({"a": prefix + hashed("b")[4:]}).authorize("a", "b")
