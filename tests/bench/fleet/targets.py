"""The targets of a fleet: a real exporter with five checks, whose exposition is served for any number of pods.

Prometheus' service discovery gives each target the labels that the Prometheus Operator gives a pod.
"""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import peers
from tests.bench.fleet.pods import DATABASE, WELL, deploy, write_state
from tests.support import Exporter, eventually, free_port

REFRESH = 5.0  # seconds between two reads of the exporter, whose response is served to all scrapes


class Fleet:
    """The targets and kube-state-metrics on one port, served by a thread."""

    def __init__(self, count: int, replicas: int) -> None:
        self.pods = deploy(count, replicas)
        self.port, self.database = free_port(), free_port()
        self.mode = WELL
        self._body = b""
        self._state = b""
        self._dependency: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def serve(self) -> None:
        """Listen, and open the port of the shared dependency."""
        self._run(self._listen())
        self.set_mode(WELL)

    def follow(self, exporter: Exporter) -> None:
        """Serve what this exporter exposes."""
        self._read(exporter)
        threading.Thread(target=self._read_on, args=(exporter,), daemon=True).start()

    def set_mode(self, mode: str) -> None:
        """Let happen what the mode says."""
        self.mode = mode
        self._state = write_state(self.pods, mode)
        self._run(self._open_dependency(mode != DATABASE))

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def write_discovery(self, file: Path) -> None:
        """Write the targets for file_sd. Each has a path of its own."""
        address = [f"127.0.0.1:{self.port}"]
        groups = [
            {"targets": address, "labels": {**pod.labels, "__metrics_path__": f"/{pod.number}"}} for pod in self.pods
        ]
        file.write_text(json.dumps(groups))

    def respond(self, path: str) -> bytes:
        """Return the response to a scrape; none if the exporter is gone."""
        if path == "/health":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
        if path == "/state":
            return _write_response(self._state, b"")
        return b"" if self.pods[int(path[1:])].is_gone(self.mode) else self._body

    def _run(self, steps: Any) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(steps, self._loop)
        done.result()

    async def _listen(self) -> None:
        await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=4096)

    async def _open_dependency(self, is_open: bool) -> None:
        if is_open and not self._dependency:
            self._dependency = await self._loop.create_server(asyncio.Protocol, "127.0.0.1", self.database)
        elif self._dependency and not is_open:
            self._dependency.close()
            self._dependency = None

    def _read(self, exporter: Exporter) -> None:
        answer = exporter.get("/metrics", headers=peers.PROMETHEUS)
        assert answer.status == 200, answer.body
        extra = f"Content-Encoding: gzip\r\nContent-Type: {answer.headers['Content-Type']}\r\n".encode()
        self._body = _write_response(answer.body, extra)

    def _read_on(self, exporter: Exporter) -> None:
        while True:
            time.sleep(REFRESH)
            try:
                self._read(exporter)
            except (OSError, AssertionError):  # it ends
                return


class _Connection(asyncio.Protocol):
    """A connection of Prometheus or of a check: requests without a body, one after the other."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            response = self._fleet.respond(head.split(b" ", 2)[1].decode())
            if not response:
                self._transport.close()
                return
            self._transport.write(response)


def _write_response(body: bytes, headers: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (headers, len(body), body)


@contextmanager
def running(count: int, replicas: int) -> Iterator[Fleet]:
    """A fleet whose exporter has run its checks."""
    fleet = Fleet(count, replicas)
    try:
        fleet.serve()
        port, database = fleet.port, fleet.database
        checks = (
            f"{{name: web, httpGet: {{host: 127.0.0.1, port: {port}, path: /health}}, groups: [liveness, readiness]}}",
            f"{{name: database, tcpSocket: {{host: 127.0.0.1, port: {database}}}, groups: [readiness]}}",
            f"{{name: cache, tcpSocket: {{host: 127.0.0.1, port: {port}}}, groups: [readiness], severity: warning}}",
            "{name: disk, disk: {path: /, failRatio: 0.999}, groups: [], severity: warning}",
            "{name: memory, memory: {failRatio: 0.999}, groups: [], severity: warning}",
        )
        with peers.exporter(*(f"{check[:-1]}, periodSeconds: 2, timeoutSeconds: 1}}" for check in checks)) as exporter:
            eventually(lambda: peers.answers(exporter.url + "/readyz"), what="all checks have passed")
            fleet.follow(exporter)
            yield fleet
    finally:
        fleet.end()
