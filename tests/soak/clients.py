"""The clients of the soak: probes, scrapes and storms, each in a process of its own so that none delays another."""

import http.client
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

PATIENCE = 30.0  # seconds after which a request counts as not answered
PROBE_INTERVAL = 0.05  # seconds
SCRAPE_INTERVAL = 0.33  # seconds
STORM_INTERVAL = 60.0  # seconds
ABANDONED = 1000  # requests of a storm whose clients leave at once
HALF_OPEN = 200  # connections of a storm that never complete their request
HOLD = 8.0  # seconds for which they stay open

OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def probe(port: int, over: Event, results: Connection) -> None:
    """Send /livez and /readyz in turn, and report (time, path, seconds, status); status 0 is no response."""
    for path in _alternate("/livez", "/readyz"):
        if over.wait(PROBE_INTERVAL):
            return
        began = time.monotonic()
        status, _ = request(port, path)
        results.send((time.time(), path, time.monotonic() - began, status))


def scrape(port: int, over: Event, results: Connection) -> None:
    """Scrape /metrics, and now and then the page and the JSON; report (path, status, whether the content is right)."""
    for number in count(1):
        if over.wait(SCRAPE_INTERVAL):
            return
        path = "/" if number % 20 == 0 else "/healthz?format=json" if number % 20 == 10 else "/metrics"
        headers = {"Accept": OPEN_METRICS} if number % 2 else {"Accept-Encoding": "gzip"}
        status, body = request(port, path, headers)
        right = path != "/metrics" or "Accept" not in headers or status != 200 or _shows_alive(body)
        results.send((path, status, right))


def storm(port: int, over: Event, results: Connection) -> None:
    """Now and then, abandon many requests or keep many connections half-open; report (begin, end, kind)."""
    for kind in _alternate("abandoned", "half-open"):
        if over.wait(STORM_INTERVAL):
            return
        began = time.time()
        _abandon(port) if kind == "abandoned" else _keep_half_open(port, over)
        results.send((began, time.time(), kind))


def request(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Send a GET on a new connection; status 0 is no response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _alternate(*items: Any) -> Iterator[Any]:
    while True:
        yield from items


def _shows_alive(body: bytes) -> bool:
    return re.search(rb'^health_group_up\{group="liveness"\} 1(?:\.0)?$', body, re.MULTILINE) is not None


def _abandon(port: int) -> None:
    for _ in range(ABANDONED):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: soak\r\n\r\n")


def _keep_half_open(port: int, over: Event) -> None:
    with ExitStack() as stack:
        for _ in range(HALF_OPEN):
            with suppress(OSError):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
                client.sendall(b"GET /livez HTTP/1.1\r\nHost:")
        over.wait(HOLD)
