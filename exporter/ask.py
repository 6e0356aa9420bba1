"""Asks a running exporter for a verdict.

It imports as little as possible, because exec probes run it every few seconds.
"""

import json
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from urllib.parse import SplitResult, urlsplit

from exporter.console import echo
from exporter.exitcodes import COULD_NOT_ASK, HEALTHY, UNHEALTHY
from exporter.text import replace_unprintable

ENDPOINTS = {
    "livez": "livez",
    "readyz": "readyz",
    "startupz": "startupz",
    "healthz": "healthz",
    "exporter": "-/healthy",  # the exporter itself, regardless of its checks
}
"""The endpoint's name on the command line, and its path."""
URL = "http://127.0.0.1:4584"
TIMEOUT = 1  # seconds, from name resolution to the last byte of the answer
MAX_TIMEOUT = 86400  # seconds
MAX_ANSWER = 16 * 2**20  # bytes

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    from typing import Any

_STATUSES = {200: ("pass", "warn"), 503: ("fail",)}
_EXPORTER_BODIES = {200: b"Health Exporter is healthy.\n", 503: b"Health Exporter is not healthy.\n"}
_OPTIONS = {"--url": str, "--timeout": float}


class AskError(Exception):
    """No answer arrived, or the answer is not from a health exporter."""


def run(endpoint: str, url: str, timeout: float) -> int:
    """Ask, print the verdict or the error, and return the exit code."""
    try:
        up, lines = ask(endpoint, url, timeout)
    except AskError as error:
        echo(str(error), sys.stderr)
        return COULD_NOT_ASK
    echo("\n".join(lines), sys.stdout)
    return HEALTHY if up else UNHEALTHY


def ask(endpoint: str, url: str, timeout: float) -> tuple[bool, list[str]]:
    """Return the verdict of one of the exporter's endpoints, and the lines that explain it.

    The timeout is in seconds. Raises AskError if the exporter gives no valid answer in time.
    """
    if not 0 < timeout <= MAX_TIMEOUT:
        raise AskError(f"the timeout must be greater than 0 and at most {MAX_TIMEOUT} seconds")
    parts, path = _parse_url(url), ENDPOINTS[endpoint]
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/{path}"
    status, body = _parse_answer(_run_within(timeout, lambda: _request(parts, path, timeout), address), address)
    if status not in _STATUSES:
        raise AskError(f"{address} returned {status}, expected 200 or 503")
    if endpoint == "exporter" and body == _EXPORTER_BODIES[status]:
        return status == 200, [body.decode().strip()]
    try:
        health = json.loads(body)
        if health["status"] in _STATUSES[status]:
            return status == 200, [replace_unprintable(line) for line in _explain(endpoint, health)]
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        pass
    raise AskError(f"{address} did not respond like a health exporter")


def parse_arguments(words: Sequence[str]) -> tuple[str, str, float] | None:
    """Return the endpoint, the URL and the timeout of a valid, plain command line.

    For anything else, such as `--help` or an unknown option, return None: click has the texts for these.
    """
    options: dict[str, Any] = {"--url": URL, "--timeout": TIMEOUT}
    rest = iter(words)
    endpoints = []
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in options:
            endpoints.append(word)
            continue
        try:
            options[name] = _OPTIONS[name](value if equals else next(rest))
        except (ValueError, StopIteration):
            return None
    if len(endpoints) != 1 or endpoints[0] not in ENDPOINTS:
        return None
    return endpoints[0], options["--url"], options["--timeout"]


def _parse_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise AskError("the URL of an exporter is http://HOST:PORT, for example " + URL)
    return parts


def _run_within(timeout: float, function: Callable[[], bytes], address: str) -> bytes:
    """Call the function in a thread and return its result. Raises AskError if it fails or takes too long.

    After the timeout the thread continues, because name resolution cannot be interrupted.
    """
    late = f"{address} did not respond within {timeout:g} s"
    results: list[bytes | str] = []

    def work() -> None:
        try:
            results.append(function())
        except TimeoutError:
            results.append(late)
        except (OSError, ValueError) as error:
            results.append(f"{address}: the request failed: {getattr(error, 'strerror', None) or error}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout)
    result = results[0] if results else late
    if isinstance(result, str):
        raise AskError(result)
    return result


def _request(parts: SplitResult, path: str, timeout: float) -> bytes:
    """Send one request and return the bytes of the answer.

    In HTTP/1.0 an answer ends when the connection closes, and it is never chunked.
    """
    host, target = str(parts.hostname), f"{parts.path.rstrip('/')}/{path}?format=json"
    request = f"GET {target} HTTP/1.0\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nConnection: close\r\n\r\n"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with _secure(socket.create_connection((host, port), timeout), parts.scheme, host) as sock:
        sock.sendall(request.encode("ascii"))
        answer = bytearray()
        while (data := sock.recv(65536)) and len(answer) <= MAX_ANSWER:
            answer += data
    return bytes(answer)


def _secure(sock: socket.socket, scheme: str, host: str) -> socket.socket:
    if scheme == "http":
        return sock
    import ssl

    return ssl.create_default_context().wrap_socket(sock, server_hostname=host)


def _parse_answer(answer: bytes, address: str) -> tuple[int, bytes]:
    """Return the status code and the body. Raises AskError if the bytes are not HTTP."""
    head, _, body = answer.partition(b"\r\n\r\n")
    version, _, status = head.partition(b"\r\n")[0].partition(b" ")
    if not version.startswith(b"HTTP/1.") or not status[:3].isdigit():
        raise AskError(f"{address} did not respond with HTTP")
    return int(status[:3]), body


def _explain(endpoint: str, health: "dict[str, Any]") -> list[str]:
    lines = [f"{endpoint}: {health['status']}, generation {health['generation']}", *health.get("notes", ())]
    for name, (check,) in health["checks"].items():
        reason = f", reason {check['reason']}" if "reason" in check else ""
        since = f" since {check['since']}" if "since" in check else ""
        if check["status"] != "pass":
            lines.append(f"{name} ({check['componentType']}): {check['status']}{since}{reason}")
    return lines
