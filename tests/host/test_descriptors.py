"""The limit of open files, in processes of their own."""

import subprocess
import sys

import pytest
from support import PATIENCE, Exporter, Process, ended, eventually, get

from exporter.host import descriptors
from exporter.host.descriptors import BASE, MAX_DESCRIPTORS, PER_RUN, RESERVE, Descriptors, raise_limit

STARVED = """
import os, resource, socket
from exporter.host.descriptors import raise_limit, reserve

with reserve():  # without a raised limit it does nothing
    pass
limits = raise_limit()
print(limits.usual, limits.total, resource.getrlimit(resource.RLIMIT_NOFILE))
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
waste = []
try:
    while True:
        waste.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(error.strerror)
try:
    listener.accept()
except OSError as error:
    print(error.strerror)
with reserve():
    connection, _ = listener.accept()
connection.sendall(b"200")
print(client.recv(3).decode())
try:
    os.open("/dev/null", os.O_RDONLY)
except OSError as error:
    print(error.strerror)
"""


def run(limits: str) -> list[str]:
    command = ["sh", "-ec", f'{limits}; exec "$@"', "sh", sys.executable, "-c", STARVED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_listener_accepts_when_everything_else_is_used_up():
    assert run("ulimit -n 40") == [
        "35 40 (35, 40)",
        "Too many open files",
        "Too many open files",
        "200",
        "Too many open files",
    ]


def test_the_soft_limit_is_raised_and_the_hard_one_stays():
    first, *_ = run("ulimit -S -n 64; ulimit -H -n 4096")

    assert first == "4064 4096 (4064, 4096)"
    assert RESERVE == 4096 - 4064


@pytest.mark.parametrize(
    ("soft", "hard", "total"),
    [
        (1024, 2**20, MAX_DESCRIPTORS),
        (1024, descriptors.resource.RLIM_INFINITY, MAX_DESCRIPTORS),
        (2**20, 2**20, 2**20),
    ],
    ids=["high", "unlimited", "already higher"],
)
def test_the_soft_limit_is_not_raised_beyond_a_maximum(monkeypatch, soft, hard, total):
    limits = [(soft, hard)]
    monkeypatch.setattr(descriptors, "_limits", Descriptors(0, 0))
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(descriptors.resource, "setrlimit", lambda _, pair: limits.append(pair))

    assert raise_limit().total == total
    assert limits[1:] == [(total - RESERVE, hard)]


@pytest.mark.parametrize(("workers", "enough"), [(1, True), (100, True), (101, False)])
def test_the_need_of_the_checks_is_estimated(workers, enough):
    assert Descriptors(BASE + 100 * PER_RUN, 1000).suffice(workers) is enough


class Limited(Exporter):
    """The exporter with a low limit of open files."""

    def __init__(self, limit: int, *arguments: str) -> None:
        serve = [sys.executable, "-m", "exporter", "serve", "--web.listen-address", "127.0.0.1:0", *arguments]
        Process.__init__(self, ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *serve])


def test_a_limit_that_is_too_low_is_logged_at_the_start(tmp_path):
    checks = [f"{{name: c{number}, exec: {{command: ['true']}}}}" for number in range(20)]
    (tmp_path / "health.yml").write_text(f"checks: [{', '.join(checks)}]")
    config = ("--config.file", str(tmp_path / "health.yml"))
    with ended(Limited(80, *config)) as exporter:
        line = exporter.line("the limit of open files is too low for these checks").string
        assert "level=warn" in line
        assert "limit=70 needed=144 checks_at_once=11" in line
    with ended(Limited(1000, *config)) as exporter:
        eventually(lambda: get(f"{exporter.url}/livez").status == 200)
        assert not [line for line in exporter.lines if "limit of open files" in line]
