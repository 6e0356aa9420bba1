"""Helpers for servers from Debian's packages, which run on a free port with their own data and can be frozen."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import Process, command, ended, eventually, free_port, unavailable

from exporter.model import Deadline, Outcome
from exporter.probe.check import Probe

MAX_OVERRUN = 20.0
"""Seconds a run may end after its deadline: a busy machine may delay it. Scripted servers hang for 30 s or more."""


@contextmanager
def folder(user: str) -> Iterator[Path]:
    """A new folder, removed at the end. It belongs to this user if the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="health-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(path, user, user)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def mariadb(home: Path, statements: str, *options: str, start: Callable[..., Process] = Process) -> Iterator[Process]:
    """A MariaDB server with its data in this folder, which belongs to `mysql`, after these statements, one per line.

    Its socket is `home/socket`. `start` starts it, for example in namespaces.
    """
    (home / "start.sql").write_text("".join(line + "\n" for line in statements.strip().splitlines()))
    common = ["--no-defaults", f"--datadir={home / 'data'}"]
    install = [command("mariadb-install-db"), *common, "--skip-test-db", "--skip-name-resolve"]
    subprocess.run(as_user("mysql", *install), check=True, capture_output=True, timeout=60, cwd=home)
    serve = [command("mariadbd"), *common, f"--socket={home}/socket", f"--init-file={home}/start.sql", *options]
    with ended(start(as_user("mysql", *serve), cwd=home)) as process:
        process.line("ready for connections")
        yield process


def run_postgres_program(home: Path, program: str, *arguments: str, **options: Any) -> None:
    """Run a program of PostgreSQL, such as `initdb` or `psql`, as the user `postgres` in this folder."""
    words = as_user("postgres", str(_find_postgres() / program), *arguments)
    done = subprocess.run(words, capture_output=True, timeout=60, cwd=home, text=True, **options)
    assert done.returncode == 0, f"{words}: {done.stderr}"


@contextmanager
def postgres(home: Path, data: Path, **settings: object) -> Iterator[Process]:
    """A PostgreSQL server with its data in this folder, on a free port of loopback. Its socket is in `home`."""
    port = free_port()
    all_settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": home,
        "fsync": "off",
        **settings,
    }
    words = [part for name, value in all_settings.items() for part in ("-c", f"{name}={value}")]
    start = as_user("postgres", str(_find_postgres() / "postgres"), "-D", str(data), *words)
    with ended(Process(start, cwd=home)) as process:
        process.line("ready to accept .*connections")
        process.port = port
        yield process


def _find_postgres() -> Path:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return programs[-1] if programs else unavailable("postgresql is not installed (tests/peers.sh installs it)")


def as_user(user: str, *arguments: str) -> list[str]:
    """The command, run as this user if the tests run as root: some servers refuse to run as root."""
    if os.geteuid() != 0:
        return list(arguments)
    return [command("setpriv"), f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *arguments]


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    """The process, stopped for the length of the block: its port still accepts connections, but nothing responds."""
    process.signal(signal.SIGSTOP)
    eventually(lambda: is_stopped(process.pid), what="the process has stopped")
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    """Whether every thread of the process has stopped (proc(5): the field `state` follows the name in brackets)."""
    states = (stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat"))
    return set(states) == {"T"}


def run_probe(probe: Probe, timeout: float = 30.0) -> Outcome:
    """One run of the probe, which ends by its deadline."""
    deadline = Deadline(time.monotonic() + timeout)
    outcome = probe.probe(deadline)
    assert deadline.remaining() > -MAX_OVERRUN, f"it ended {-deadline.remaining():.2f} s after its deadline"
    return outcome
