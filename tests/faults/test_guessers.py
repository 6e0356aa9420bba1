"""Guessed passwords, against the real exporter. A guess takes about a second, because one hash has the cost 14."""

import base64
import re
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import PATIENCE, Answer, Exporter, eventually, get
from web_files import hashed, written

from exporter.server.attempts import MAX_WAITING

GUESSER = "127.0.0.66"  # every address that begins with 127 is this machine's
GUESSES = 200


@pytest.fixture(scope="module")
def hashes() -> dict[str, str]:
    return {"alice": hashed("right"), "carol": hashed("right"), "slow": hashed("right", 14)}


@pytest.fixture
def exporter(start: Callable[..., Exporter], tmp_path: Path, hashes: dict[str, str]) -> Exporter:
    text = "basic_auth_users:\n" + "".join(f"  {user}: {hash_}\n" for user, hash_ in hashes.items())
    return start(
        "checks: [{name: a, exec: {command: ['true']}}]\n",
        *("--web.config.file", str(written(tmp_path, text))),
        *("--probe.listen-address", "127.0.0.1:0"),
    )


def credentials(user: str, password: str = "right") -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def request(exporter: Exporter, user: str, path: str = "/metrics") -> Answer:
    return exporter.get(path, headers={"Authorization": credentials(user)})


@pytest.fixture
def guesses(exporter: Exporter) -> Iterator[list[socket.socket]]:
    """Connections from one address, each with a guess for another user; alice's password is remembered."""
    assert request(exporter, "alice").status == 200
    address = urlsplit(exporter.url)
    with ExitStack() as stack:
        sockets = []
        for number in range(GUESSES):
            target = str(address.hostname), int(address.port or 0)
            sock = stack.enter_context(socket.create_connection(target, PATIENCE, (GUESSER, 0)))
            header = credentials(f"eve{number}", "guess")
            sock.sendall(f"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: {header}\r\n\r\n".encode())
            sockets.append(sock)
        yield sockets


def unanswered(guesses: list[socket.socket]) -> int:
    return len(guesses) - len(select.select(guesses, [], [], 0)[0])


def test_guesses_delay_nobody_else(exporter, guesses):
    """Neither a user whose password is remembered, nor a new one from another address, nor a probe."""
    eventually(lambda: unanswered(guesses) <= MAX_WAITING + 1, what="the others are refused")

    for path in ("/metrics", "/", "/livez", "/-/healthy"):
        assert request(exporter, "alice", path).status == 200
    assert exporter.get("/metrics").status == 401
    probes = exporter.line(rf"address=(?!{re.escape(exporter.url)}/)(http://\S+)/").group(1)
    assert get(f"{probes}/-/healthy").status == 200
    assert request(exporter, "carol").status == 200

    assert unanswered(guesses) > MAX_WAITING // 2  # so none of these requests has waited for the guesses


def test_guesses_without_a_place_are_refused_at_once(exporter, guesses):
    eventually(lambda: unanswered(guesses) <= MAX_WAITING + 1, what="the others are refused")
    answered = select.select(guesses, [], [], 0)[0]
    answers = [sock.recv(65536).decode() for sock in answered]

    statuses = Counter(answer.split()[1] for answer in answers)
    assert statuses["503"] >= GUESSES - 3 * MAX_WAITING
    assert statuses.keys() <= {"503", "401"}
    assert all("\r\nretry-after: 1\r\n" in answer.lower() for answer in answers if " 503 " in answer)


def test_guesses_whose_clients_have_gone_cost_nothing(exporter, guesses):
    """A new user from the guesser's own address, who comes after all of them, waits for one guess at most."""
    for sock in guesses:
        sock.close()
    address = urlsplit(exporter.url)

    def ask_from_there() -> str:
        with socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE, (GUESSER, 0)) as sock:
            sock.sendall(f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials('carol')}\r\n\r\n".encode())
            return sock.recv(12).decode()

    eventually(lambda: ask_from_there() == "HTTP/1.1 200")  # 503 until the exporter has noticed
    cpu = read_cpu(exporter.pid)

    assert cpu < MAX_WAITING // 2  # seconds; all of the waiting guesses would take twice as much


def read_cpu(pid: int) -> float:
    """The CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_malformed_header_is_401_without_a_traceback(exporter):
    address = urlsplit(exporter.url)
    for header in (b"Basic \xff\xfe", b"\xff", b"Basic " + b"A" * 9000, b"Basic AAAA\0", b"Digest a"):
        with socket.create_connection((str(address.hostname), int(address.port or 0)), PATIENCE) as sock:
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: " + header + b"\r\n\r\n")
            status = sock.recv(12).decode().split()[1]

        assert status == ("400" if b"\0" in header else "401"), header  # HTTP itself forbids NUL
    assert not any("Traceback" in line or "level=error" in line for line in exporter.lines)
