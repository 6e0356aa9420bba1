"""Helpers for all tests: a clock that is set by hand, real peers, and the real exporter as a process."""

import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import pytest

from exporter.model import Deadline

# How long a test waits for an event that usually comes within a second. A long limit costs nothing when the event
# comes, so it is far beyond what a busy machine needs, and well below pytest's `timeout`.
PATIENCE = 60.0  # seconds


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        self.now += seconds
        return self.now


def within(seconds: float) -> Deadline:
    """A deadline so many seconds from now."""
    return Deadline(time.monotonic() + seconds)


def eventually(condition: Callable[[], Any], within: float = PATIENCE, what: str = "") -> Any:
    """Wait for a condition by polling, and return its first true value.

    The pauses grow with the time it takes: a poll is often a request, and takes CPU time from what it waits for.
    """
    began = time.monotonic()
    while True:
        if value := condition():
            return value
        waited = time.monotonic() - began
        if waited > within:
            pytest.fail(f"not within {within} s: {what or condition}")
        time.sleep(min(max(0.01, waited / 10), 0.05))


def configure_nginx(servers: str) -> str:
    """nginx.conf with these servers: nginx stays in the foreground, and keeps all its files in its own folder."""
    return f"""
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u;
    scgi_temp_path s;
{servers}
}}
"""


def accepts(port: int) -> bool:
    """Whether something listens on a port of loopback."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A TCP port that is free on loopback now.

    It is below those that Linux chooses for clients and for port 0, so that no other test gets it by chance.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)  # other processes may have the same seed
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def unavailable(what: str) -> NoReturn:
    """Skip the test because a peer is missing; with CI=true, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and in CI everything must be there")
    pytest.skip(what)


def command(name: str) -> str:
    """The path of a peer's program, or a skip that says what is missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    return found or unavailable(f"{name} is not installed (tests/peers.sh installs it)")


class Process:
    """A program under test or a peer, with its output; at the end it is stopped by its PID."""

    def __init__(self, arguments: list[str], env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
        self.pid = self._child.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout:
            for line in self._child.stdout:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()

    def line(self, pattern: str, within: float = PATIENCE, after: int = 0) -> re.Match[str]:
        """The first line, from number `after` on, in which the pattern is found; waits for it."""
        until = time.monotonic() + within
        with self._news:
            while True:
                for text in self.lines[after:]:
                    if match := re.search(pattern, text):
                        return match
                remaining = until - time.monotonic()
                if remaining <= 0 or (self._child.poll() is not None and not self._reader.is_alive()):
                    said = "\n".join(self.lines)
                    pytest.fail(f"no line with {pattern!r} (exit {self._child.poll()}); it said:\n{said}")
                self._news.wait(min(remaining, 0.5))

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def wait(self, within: float = PATIENCE) -> int:
        code = self._child.wait(within)
        self._reader.join(PATIENCE)
        return code

    def end(self) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGCONT)
            self._child.terminate()
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._reader.join(5)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def generation(self) -> int:
        return int(self.headers["Health-Generation"])


def get(url: str, method: str = "GET", headers: dict[str, str] | None = None, timeout: float = PATIENCE) -> Answer:
    """Send one request on a new connection; redirects are not followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=timeout)
    try:
        connection.request(method, url.split(parts.netloc, 1)[1] or "/", headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.msg, response.read())
    finally:
        connection.close()


class Exporter(Process):
    """`health-exporter serve` on a free port of loopback. A `prefix` is a command that starts it, such as `nice`."""

    def __init__(
        self,
        *arguments: str,
        config: Path | None = None,
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        given = ["--config.file", str(config)] if config else []
        listen = [] if "--web.listen-address" in arguments else ["--web.listen-address", "127.0.0.1:0"]
        delay = [] if "--shutdown-delay" in arguments else ["--shutdown-delay", "0"]
        serve = [sys.executable, "-m", "exporter", "serve", *listen, *delay, *given, *arguments]
        super().__init__([*prefix, *serve], env)

    @property
    def url(self) -> str:
        """The address that it logs, without a slash at the end."""
        return self.line(r"msg=listening address=(\S+)/").group(1)

    @property
    def worker(self) -> int:
        """The PID of the latest worker that has taken over."""
        self.line("msg=listening")
        return int([match[1] for line in self.lines if (match := re.search(r"msg=listening.* worker=(\d+)", line))][-1])

    def get(self, path: str, **options: Any) -> Answer:
        return get(self.url + path, **options)

    def metrics(self) -> dict[str, float]:
        """Every sample of the exposition, by its name and labels as written there."""
        answer = eventually(lambda: (found := self.get("/metrics")).status == 200 and found, what="metrics are served")
        samples = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


class Prometheus(Process):
    """A real Prometheus on a port of loopback, ready for queries; its data is in the folder of its configuration."""

    def __init__(self, config: Path, *arguments: str, port: int | None = None, program: str | None = None) -> None:
        self.address = f"127.0.0.1:{port or free_port()}"
        self.url = f"http://{self.address}"
        own = [f"--config.file={config}", f"--storage.tsdb.path={config.parent / 'data'}"]
        listen = f"--web.listen-address={self.address}"
        super().__init__([program or command("prometheus"), *own, listen, *arguments], cwd=config.parent)
        try:
            self.line("Server is ready to receive web requests")
        except BaseException:
            self.end()  # the caller has no process to end yet
            raise

    def api(self, path: str, **parameters: Any) -> Any:
        """The response of its HTTP API, without a warning or an info about the query."""
        answer = get(f"{self.url}/api/v1/{path}?{urlencode(parameters, doseq=True)}")
        assert answer.status == 200, answer.text
        response = json.loads(answer.body)
        assert not response.get("warnings", []) + response.get("infos", []), response
        return response["data"]

    def query(self, promql: str, **parameters: Any) -> Any:
        """An instant query's samples."""
        return self.api("query", query=promql, **parameters)["result"]


@contextmanager
def ended(process: Any) -> Iterator[Any]:
    """The process, ended at the end of the block."""
    try:
        yield process
    finally:
        process.end()
