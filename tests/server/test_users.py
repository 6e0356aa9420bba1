"""Users with real password hashes, and the thread that compares them."""

import base64
import threading
import time
from collections.abc import Callable, Mapping

import bcrypt
import pytest
from support import PATIENCE, eventually
from web_files import hashed

from exporter.server.attempts import MAX_WAITING
from exporter.server.credentials import Credentials
from exporter.server.passwords import compare
from exporter.server.users import MAX_WRONG, Users


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape"))


def verify(users: Users, header: bytes | None, peer: str = "192.0.2.1") -> bool | None:
    """Verify and wait for the result."""
    results: list[bool | None] = []
    users.verify(header, peer, results.append)
    eventually(lambda: results)
    return results[0]


def authorize(users: Users, user: str, password: str) -> bool | None:
    """Do what the server does: check, and verify if the memory cannot tell."""
    header = basic(user, password)
    known = users.check(header)
    return verify(users, header) if known is None else known


@pytest.fixture(scope="module")
def users() -> Users:
    hashes = {"alice": hashed("open sesame"), "zoë": hashed("pässwörd ☃"), "long": hashed("x" * 72)}
    return Users(lambda: hashes)


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
        ("long", "x" * 2000, True),
        ("long", "x" * 71, False),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_user_is_let_in_by_the_password_alone(users, user, password, right):
    for _ in range(2):  # the second result is remembered
        assert authorize(users, user, password) is right
    assert users.check(basic(user, password)) is right


def test_a_remembered_password_opens_for_its_user_only(users):
    assert authorize(users, "alice", "open sesame")

    assert users.check(basic("zoë", "open sesame")) is None
    assert not authorize(users, "zoë", "open sesame")
    assert not authorize(users, "bob", "open sesame")


@pytest.mark.parametrize("header", [None, b"", b"Basic", b"Basic \xff\xfe", b"Bearer abc", basic("a" * 9000, "b")])
def test_a_missing_or_malformed_header_is_refused_at_once(users, header):
    results: list[bool | None] = []
    users.verify(header, "192.0.2.1", results.append)

    assert users.check(header) is False
    assert results == [False]


def test_without_users_everything_is_allowed():
    users = Users(dict)

    assert users.check(None) is True
    assert users.check(b"Basic !!!") is True


def test_hashes_of_every_prefix_open():
    """`htpasswd` writes $2y$, other tools $2a$ and $2b$; the algorithm is the same."""
    for prefix in ("$2a$", "$2b$", "$2y$"):
        hashes = {"a": prefix + hashed("b")[4:]}
        assert authorize(Users(hashes.copy), "a", "b")


# The memory


class Costs:
    """A stand-in for bcrypt that knows passwords from a dict, counts its runs, and can be held up."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        self.passwords = passwords
        self.order: list[tuple[str, str]] = []
        self.proceed = threading.Event()
        self.proceed.set()

    def __call__(self, credentials: Credentials, hashes: Mapping[str, str]) -> bool:
        self.order.append((credentials.user, credentials.password.decode()))
        assert self.proceed.wait(PATIENCE)
        return self.passwords.get(credentials.user) == credentials.password.decode()


@pytest.fixture
def costs() -> Costs:
    return Costs({"alice": "right", "bob": "right"})


@pytest.fixture
def guarded(costs: Costs) -> Users:
    return Users({"alice": "hash of alice", "bob": "hash of bob"}.copy, costs)


def test_known_credentials_run_bcrypt_once(guarded, costs):
    for _ in range(10):
        assert authorize(guarded, "alice", "right")
        assert not authorize(guarded, "alice", "wrong")
        assert not authorize(guarded, "eve", "wrong")

    assert costs.order == [("alice", "right"), ("alice", "wrong"), ("eve", "wrong")]


def test_the_memory_of_wrong_credentials_is_bounded_and_displaces_no_right_ones(guarded, costs):
    assert authorize(guarded, "alice", "right")
    assert not authorize(guarded, "eve", "old")
    for number in range(MAX_WRONG + 5):
        assert not authorize(guarded, "eve", str(number))
        assert guarded.check(basic("eve", "old")) is False  # it is used, so it is not the oldest

    assert len(guarded._memory._wrong) == MAX_WRONG
    assert guarded.check(basic("eve", "0")) is None
    assert guarded.check(basic("alice", "right")) is True


def test_a_changed_password_and_a_removed_user_count_from_the_next_request_on():
    hashes = {"alice": hashed("old"), "bob": hashed("right")}
    users = Users(lambda: hashes)
    assert authorize(users, "alice", "old")
    assert authorize(users, "bob", "right")
    assert not authorize(users, "alice", "new")

    hashes = {"alice": hashed("new")}

    assert not authorize(users, "alice", "old")
    assert authorize(users, "alice", "new")
    assert not authorize(users, "bob", "right")
    assert list(users._memory._right) == ["alice"]


@pytest.mark.parametrize(("later", "right"), [("new", True), ("other", False), (None, True)])
def test_an_attempt_is_compared_with_the_hashes_of_its_turn(costs, later, right):
    """Without users by then, everything is allowed."""

    def wait_and_compare(credentials: Credentials, hashes: Mapping[str, str]) -> bool:
        costs(credentials, hashes)
        return compare(credentials, hashes)

    hashes = {"alice": hashed("old")}
    users = Users(lambda: hashes, wait_and_compare)
    costs.proceed.clear()
    results: list[bool | None] = []
    users.verify(basic("eve", "first"), "192.0.2.66", lambda _right: None)
    eventually(lambda: costs.order)
    users.verify(basic("alice", "new"), "192.0.2.1", results.append)
    hashes = {"alice": hashed(later)} if later else {}
    costs.proceed.set()
    eventually(lambda: results)

    assert results == [right]
    hashes = {"bob": hashed("other")}
    assert users.check(basic("alice", "new")) is not True


def test_no_password_is_kept(guarded):
    authorize(guarded, "alice", "right")
    authorize(guarded, "alice", "a-wrong-secret")

    kept = repr([guarded._memory._right, guarded._memory._wrong])

    assert "alice" in kept
    assert "right" not in kept
    assert "a-wrong-secret" not in kept


# The queue and its thread


def test_wrong_passwords_never_delay_a_remembered_user(guarded, costs):
    assert authorize(guarded, "alice", "right")
    costs.proceed.clear()
    guarded.verify(basic("eve", "guess"), "192.0.2.66", lambda _right: None)
    eventually(lambda: len(costs.order) == 2)

    assert guarded.check(basic("alice", "right")) is True  # while bcrypt runs
    costs.proceed.set()


def test_one_guesser_does_not_delay_another_address(guarded, costs):
    """However many names a guesser tries, a newcomer comes before any further guess."""
    costs.proceed.clear()
    refused: list[bool | None] = []
    results: list[bool | None] = []
    for number in range(200):
        guarded.verify(basic(f"eve{number}", "guess"), "192.0.2.66", refused.append)
        eventually(lambda: costs.order)  # the first one runs, the rest waits
    guarded.verify(basic("alice", "right"), "192.0.2.1", results.append)
    guarded.verify(basic("bob", "wrong"), "192.0.2.2", results.append)
    costs.proceed.set()
    eventually(lambda: len(results) == 2 and len(refused) == 200)

    assert results == [True, False]
    assert costs.order[:4] == [("eve0", "guess"), ("alice", "right"), ("bob", "wrong"), ("eve1", "guess")]
    assert refused.count(None) == 200 - 1 - (MAX_WAITING - 2)


def test_a_second_password_for_a_waiting_user_is_refused_at_once(guarded, costs):
    costs.proceed.clear()
    guarded.verify(basic("eve", "1"), "192.0.2.66", lambda _right: None)
    eventually(lambda: costs.order)
    guarded.verify(basic("eve", "2"), "192.0.2.66", lambda _right: None)
    results: list[bool | None] = []
    guarded.verify(basic("eve", "3"), "192.0.2.66", results.append)

    assert results == [None]
    costs.proceed.set()


def test_equal_requests_share_one_run_even_while_it_runs(guarded, costs):
    costs.proceed.clear()
    results: list[bool | None] = []
    guarded.verify(basic("alice", "right"), "192.0.2.1", results.append)
    eventually(lambda: costs.order)
    for _ in range(3):
        guarded.verify(basic("alice", "right"), "192.0.2.1", results.append)
    costs.proceed.set()
    eventually(lambda: len(results) == 4)

    assert results == [True] * 4
    assert costs.order == [("alice", "right")]


def test_an_attempt_whose_client_has_gone_costs_nothing(guarded, costs):
    costs.proceed.clear()
    results: list[bool | None] = []
    guarded.verify(basic("eve", "1"), "192.0.2.66", results.append)
    eventually(lambda: costs.order)
    called: list[bool | None] = []
    guarded.verify(basic("eve", "2"), "192.0.2.66", called.append, lambda: True)
    guarded.verify(basic("alice", "right"), "192.0.2.1", results.append)
    costs.proceed.set()
    eventually(lambda: len(results) == 2)

    assert costs.order == [("eve", "1"), ("alice", "right")]
    assert called == []


def test_the_thread_ends_when_nothing_waits_and_starts_again(guarded):
    for password in ("right", "wrong"):
        authorize(guarded, "alice", password)
        wait_for_threads()


def wait_for_threads() -> None:
    eventually(lambda: "bcrypt" not in {thread.name for thread in threading.enumerate()})


def test_if_no_thread_can_be_started_every_waiting_request_is_refused_at_once(guarded, monkeypatch):
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    results: list[bool | None] = []
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        guarded.verify(basic("alice", "right"), "192.0.2.1", results.append)
    assert results == [None]

    assert authorize(guarded, "alice", "right")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_comparison_that_fails_stops_nobody_else(costs):
    def fail_for_eve(credentials: Credentials, hashes: Mapping[str, str]) -> bool:
        right = costs(credentials, hashes)
        if credentials.user == "eve":
            raise MemoryError
        return right

    users = Users({"alice": "hash"}.copy, fail_for_eve)
    costs.proceed.clear()
    results: list[bool | None] = []
    users.verify(basic("eve", "1"), "192.0.2.66", results.append)
    eventually(lambda: costs.order)
    users.verify(basic("alice", "right"), "192.0.2.1", results.append)
    costs.proceed.set()
    eventually(lambda: len(results) == 2)
    wait_for_threads()  # the exception is reported only as its thread ends, and belongs to this test

    assert results == [None, True]
    assert users.check(basic("eve", "1")) is None  # it is not remembered


def test_a_closed_event_loop_stops_nobody_else(guarded, costs):
    def fail(_right: bool | None) -> None:
        raise RuntimeError("Event loop is closed")

    costs.proceed.clear()
    results: list[bool | None] = []
    guarded.verify(basic("alice", "right"), "192.0.2.1", fail)
    eventually(lambda: costs.order)
    guarded.verify(basic("alice", "right"), "192.0.2.1", results.append)
    costs.proceed.set()
    eventually(lambda: results)

    assert results == [True]


# The cost of a wrong password


HASHES = {"cheap": hashed("right"), "middle": hashed("right", 6), "dear": hashed("right", 9)}


def count(monkeypatch: pytest.MonkeyPatch, call: Callable[[], bool]) -> tuple[bool, int]:
    """The result of a call, and the rounds of bcrypt that it takes: 2^cost for each run."""
    rounds: list[int] = []
    original = bcrypt.checkpw

    def checkpw(password: bytes, against: bytes) -> bool:
        rounds.append(2 ** int(against.split(b"$")[2]))
        return original(password, against)

    with monkeypatch.context() as patched:
        patched.setattr(bcrypt, "checkpw", checkpw)
        return call(), sum(rounds)


def test_a_wrong_password_costs_the_same_for_every_user_and_for_unknown_ones(monkeypatch):
    for user in (*HASHES, "unknown"):
        credentials = Credentials(user, b"wrong")
        assert count(monkeypatch, lambda: compare(credentials, HASHES)) == (False, 2**9), user  # noqa: B023


def test_a_right_password_costs_what_its_own_hash_does(monkeypatch):
    for user, cost in {"cheap": 4, "middle": 6, "dear": 9}.items():
        credentials = Credentials(user, b"right")
        assert count(monkeypatch, lambda: compare(credentials, HASHES)) == (True, 2**cost)  # noqa: B023


def test_an_unknown_user_takes_as_long_as_a_known_one():
    hashes = {"cheap": hashed("right"), "dear": hashed("right", 10)}

    def measure(user: str) -> float:
        began = time.process_time()
        for _ in range(5):
            compare(Credentials(user, b"wrong"), hashes)
        return time.process_time() - began

    measure("dear")  # imports bcrypt
    assert 0.4 < measure("cheap") / measure("unknown") < 2.5  # without the further runs it would be 1/64
    assert 0.4 < measure("dear") / measure("unknown") < 2.5


def test_nobody_is_let_in_by_a_hash_that_stands_for_nobody(monkeypatch):
    monkeypatch.setattr(bcrypt, "checkpw", lambda _password, hashed: hashed.endswith(b"." * 53))

    for user in (*HASHES, "unknown"):
        assert not compare(Credentials(user, b"wrong"), HASHES)


def test_many_threads_verify_and_check_at_the_same_time():
    """The results stay right, and nobody waits forever."""
    hashes = {"alice": hashed("right"), "bob": hashed("right")}
    users = Users(lambda: hashes)
    seen: list[tuple[str, bool | None]] = []

    def work(number: int) -> None:
        for turn in range(40):
            password = "right" if (number + turn) % 2 else f"wrong{turn % 3}"
            known = users.check(basic("alice", password))
            known = verify(users, basic("alice", password), f"192.0.2.{number}") if known is None else known
            seen.append((password, known))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert len(seen) == 8 * 40
    assert all(known is (password == "right") for password, known in seen)
