"""The queue of attempts to authenticate: bounded, and fair between addresses."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.server.attempts import (
    MAX_REQUESTS,
    MAX_SUSPECTS,
    MAX_WAITING,
    Attempt,
    Request,
    Waiting,
    name_source,
)
from exporter.server.credentials import Credentials


def attempt(peer: str, user: str = "ops", password: bytes = b"guess", *, gone: bool = False) -> Attempt:
    return Attempt(peer, Credentials(user, password), [Request(lambda _result: None, lambda: gone)])


def take_all(waiting: Waiting) -> list[tuple[str, str]]:
    return [(taken.peer, taken.credentials.user) for taken in iter(waiting.take, None)]


def test_addresses_take_turns_however_much_each_sends():
    waiting = Waiting()
    for peer, user in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("b", "2"), ("c", "1")]:
        assert waiting.add(attempt(peer, user)) is None

    assert take_all(waiting) == [("a", "1"), ("b", "1"), ("c", "1"), ("a", "2"), ("b", "2"), ("a", "3")]
    assert len(waiting) == 0


def test_an_address_that_sends_more_after_its_turn_waits_for_the_others():
    waiting = Waiting()
    for peer in "ab":
        waiting.add(attempt(peer))
    assert (waiting.take() or attempt("none")).peer == "a"
    waiting.add(attempt("a"))

    assert take_all(waiting) == [("b", "ops"), ("a", "ops")]


def test_a_second_password_for_the_same_user_from_the_same_address_is_refused():
    waiting = Waiting()
    assert waiting.add(attempt("a", password=b"first")) is None
    second = attempt("a", password=b"second")

    assert waiting.add(second) is second
    assert waiting.add(attempt("b", password=b"second")) is None
    assert len(waiting) == 2


def test_requests_with_the_same_credentials_share_one_attempt():
    waiting = Waiting()
    for _ in range(MAX_REQUESTS):
        assert waiting.add(attempt("a")) is None
    one_more = attempt("a")

    assert waiting.add(one_more) is one_more
    assert len(waiting) == 1
    taken = waiting.take()
    assert taken is not None
    assert len(taken.requests) == MAX_REQUESTS


def test_a_limited_number_of_attempts_wait():
    waiting = Waiting()
    for number in range(MAX_WAITING):
        assert waiting.add(attempt(f"address {number}")) is None
    late = attempt("late")

    assert waiting.add(late) is late
    assert len(waiting) == MAX_WAITING


def test_an_address_that_fills_the_queue_loses_its_newest_attempt_to_a_newcomer():
    waiting = Waiting(4)
    for user in "1234":
        waiting.add(attempt("a", user))
    refused = attempt("a", "5")
    assert waiting.add(refused) is refused

    displaced = waiting.add(attempt("b"))

    assert displaced is not None
    assert (displaced.peer, displaced.credentials.user) == ("a", "4")
    assert take_all(waiting) == [("a", "1"), ("b", "ops"), ("a", "2"), ("a", "3")]


def test_an_address_with_two_attempts_gives_one_to_a_newcomer():
    waiting = Waiting(2)
    for user in "12":
        waiting.add(attempt("a", user))
    displaced = waiting.add(attempt("b"))

    assert displaced is not None
    assert displaced.credentials.user == "2"


def test_addresses_with_one_attempt_each_do_not_displace_each_other():
    waiting = Waiting(2)
    waiting.add(attempt("a"))
    waiting.add(attempt("b"))
    newcomer = attempt("c")

    assert waiting.add(newcomer) is newcomer
    assert take_all(waiting) == [("a", "ops"), ("b", "ops")]


def test_an_address_whose_latest_password_was_wrong_waits_until_nobody_else_does():
    waiting = Waiting()
    waiting.note("guesser", right=False)
    waiting.note("forgiven", right=False)
    waiting.note("forgiven", right=True)
    for peer in ("guesser", "a", "forgiven"):
        waiting.add(attempt(peer))

    assert take_all(waiting) == [("a", "ops"), ("forgiven", "ops"), ("guesser", "ops")]


def test_many_guessing_addresses_make_room_for_one_that_has_not_guessed():
    waiting = Waiting(size=3)
    for peer in "abcd":
        waiting.note(peer, right=False)
    for peer in "abc":
        waiting.add(attempt(peer))
    guess = attempt("d")

    assert waiting.add(guess) is guess
    displaced = waiting.add(attempt("newcomer"))
    assert displaced is not None
    assert displaced.peer in "abc"
    assert take_all(waiting)[0] == ("newcomer", "ops")


def test_guessing_addresses_do_not_displace_others():
    waiting = Waiting(size=2)
    for peer in "ab":
        waiting.add(attempt(peer))
    waiting.note("guesser", right=False)
    guess = attempt("guesser")

    assert waiting.add(guess) is guess


def test_a_limited_number_of_guessing_addresses_are_remembered():
    waiting = Waiting()
    for number in range(MAX_SUSPECTS + 1):
        waiting.note(str(number), right=False)
    for peer in ("1", "0"):
        waiting.add(attempt(peer))

    assert take_all(waiting) == [("0", "ops"), ("1", "ops")]


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:0:0:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_the_addresses_of_one_ipv6_network_take_one_turn(address, source):
    assert name_source(address) == source


def test_an_abandoned_attempt_has_no_place():
    waiting = Waiting(2)
    for user in "12":
        waiting.add(attempt("a", user, gone=True))

    assert waiting.add(attempt("a", "3")) is None
    assert waiting.add(attempt("a", "1", b"other")) is None
    assert take_all(waiting) == [("a", "3"), ("a", "1")]


def test_an_attempt_is_abandoned_when_no_client_waits_for_it():
    shared = attempt("a", gone=True)
    assert shared.join(attempt("a"))

    assert not shared.is_abandoned()
    assert len(shared.requests) == 1
    assert attempt("a", gone=True).is_abandoned()


KEYS = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from([b"1", b"2"]))


@given(st.lists(KEYS | st.none(), max_size=60), st.integers(1, 6))
def test_nothing_is_lost_and_every_address_keeps_a_fair_share(steps, size):
    """Every attempt is taken, refused, or shares another's; and whoever is refused has no less than a fair share."""
    waiting = Waiting(size)
    added, settled = 0, 0
    for step in steps:
        if step is None:
            taken = waiting.take()
            settled += len(taken.requests) if taken else 0
            continue
        added += 1
        newcomer = attempt(*step)
        loser = waiting.add(newcomer)
        settled += len(loser.requests) if loser else 0
        held = Counter(peer for peer, users in waiting._peers.items() for _ in users)
        assert len(waiting) == held.total() <= size
        if loser is not None and loser is not newcomer:
            assert held[loser.peer] >= held[newcomer.peer]
    while taken := waiting.take():
        settled += len(taken.requests)

    assert settled == added
