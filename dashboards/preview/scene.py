"""A small shop to check: servers that pass, fail, flap, slow down, hang and disappear, according to a timetable."""

import json
import math
import random
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from tests.support import free_port

_END = 2.0  # after the end of the scene
# Parts of the scene, from 0 to 1, in which a component fails.
_TROUBLE = {
    "/search": [(0.16, 0.22), (0.26, 0.31), (0.36, 0.4), (0.45, 0.5)],  # returns 503 now and then, so it flaps
    "/checkout": [(0.30, 0.46)],  # returns 503, then recovers
    "/reports": [(0.45, _END)],  # accepts requests and never responds
    "database": [(0.6, 0.67), (0.84, _END)],  # refuses connections
    "archive-check": [(0.75, _END)],  # no longer exists
}
# The workloads: namespace, job, the number of replicas that have one exporter in common, their checks, and what fails.
# Replicas that are equal are one exporter that Prometheus scrapes under several names.
WORKLOADS = [
    ("shop", "web", 29, ["api", "checkout", "search", "database", "orders"], ["database"]),
    ("shop", "web", 1, ["api", "checkout", "search", "database", "orders"], ["database", "/search", "/checkout"]),
    ("shop", "reports", 3, ["reports", "archive"], ["/reports", "archive-check"]),
    ("staging", "web", 2, ["api", "checkout", "search", "database", "orders"], []),
    ("edge", "gateway", 4, ["api", "shop-certificate"], []),
    ("infra", "node", 6, ["disk", "memory", "load"], []),
]
_COMMANDS = {
    "orders-check": "#!{python}\nimport socket\nsocket.create_connection(('127.0.0.1', {port}), 0.5).close()\n",
    "archive-check": "#!/bin/sh\nexit 0\n",
}
_LATENCY = {"/api": 0.008, "/checkout": 0.02, "/search": 0.03, "/reports": 0.045}
_EVERY = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3}
_OPTIONAL: dict[str, Any] = {"groups": [], "severity": "warning"}


class Shop:
    """The servers of a scene that starts now and lasts `seconds`, with the components that fail."""

    def __init__(self, seconds: float, checks: list[str], fails: list[str]) -> None:
        self._began, self._seconds, self._names, self._fails = time.monotonic(), seconds, checks, fails
        self._web = _Web(("127.0.0.1", 0), _Page)
        self._web.shop = self
        self._database_port = free_port()
        self._tls = socket.create_server(("127.0.0.1", 0))
        for work in (self._web.serve_forever, self._database, self._certificate):
            threading.Thread(target=work, daemon=True).start()

    def configure(self, folder: Path) -> Path:
        """Write the configuration of the shop's checks, and the commands they run."""
        for name, text in _COMMANDS.items():
            (folder / name).write_text(text.format(python=sys.executable, port=self._database_port))
            (folder / name).chmod(0o755)
        threading.Thread(target=self._archive, args=[folder / "archive-check"], daemon=True).start()
        file = folder / "health.yml"
        file.write_text(
            json.dumps({"checks": [{**_EVERY, **check} for check in self._checks() if check["name"] in self._names]})
        )
        return file

    def _checks(self) -> list[dict[str, Any]]:
        port, database, tls = self._web.server_address[1], self._database_port, self._tls.getsockname()[1]
        search = {"path": "/search", "port": port, "warnLatencySeconds": 0.2, "phases": True}
        return [
            {"name": "api", "httpGet": {"path": "/api", "port": port}, "groups": ["liveness", "readiness", "startup"]},
            {"name": "checkout", "httpGet": {"path": "/checkout", "port": port}},
            {"name": "search", "httpGet": search, "latencyBuckets": [0.02, 0.05, 0.1, 0.2, 0.5], "severity": "warning"},
            {"name": "reports", "httpGet": {"path": "/reports", "port": port}, **_OPTIONAL, "periodSeconds": 2},
            {"name": "database", "tcpSocket": {"port": database}},
            {"name": "orders", "exec": {"command": ["orders-check"]}, "dependsOn": ["database"]},
            {"name": "archive", "exec": {"command": ["archive-check"]}, **_OPTIONAL, "severity": "info"},
            {"name": "shop-certificate", "certificate": {"port": tls, "warnDays": 21, "failDays": 7}, **_OPTIONAL},
            {"name": "disk", "disk": {"path": "/", "warnRatio": 0.02, "failRatio": 0.99}, **_OPTIONAL},
            {"name": "memory", "memory": {"warnRatio": 0.9, "failRatio": 0.95}, **_OPTIONAL},
            {"name": "load", "loadAverage": {"warnRatio": 50, "failRatio": 90}, **_OPTIONAL},
        ]

    def part(self) -> float:
        """The elapsed part of the scene, from 0 to 1."""
        return (time.monotonic() - self._began) / self._seconds

    def fails(self, component: str) -> bool:
        """Whether the component fails at all."""
        return component in self._fails

    def troubled(self, component: str) -> bool:
        """Whether the component fails now, according to the timetable."""
        return self.fails(component) and any(begin <= self.part() < end for begin, end in _TROUBLE.get(component, []))

    def _database(self) -> None:
        while True:
            while self.troubled("database"):
                time.sleep(0.1)
            with socket.create_server(("127.0.0.1", self._database_port)) as server:
                server.settimeout(0.1)
                while not self.troubled("database"):
                    with suppress(TimeoutError):
                        server.accept()[0].close()

    def _archive(self, command: Path) -> None:
        while not self.troubled("archive-check"):
            time.sleep(0.1)
        command.unlink()

    def _certificate(self) -> None:
        expires = datetime.now(UTC) + timedelta(days=12)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("shop.example.com", not_after=expires).configure_cert(context)
        while True:
            client, _ = self._tls.accept()
            with client, suppress(OSError), context.wrap_socket(client, server_side=True) as tls:
                tls.recv(1)


class _Web(ThreadingHTTPServer):
    shop: Shop
    daemon_threads = True


class _Page(BaseHTTPRequestHandler):
    server: _Web

    def do_GET(self) -> None:
        part, troubled = self.server.shop.part(), self.server.shop.troubled(self.path)
        rise = max(0, part - 0.75) if self.path == "/search" and self.server.shop.fails(self.path) else 0
        wave = 1 + 0.4 * math.sin(part * 9 + len(self.path)) + random.expovariate(12)
        time.sleep(_LATENCY[self.path] * wave + rise + (30 if troubled and self.path == "/reports" else 0))
        self.send_response(503 if troubled else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing: the exporter's log shows the failures."""
