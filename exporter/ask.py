"""Asks a running exporter for a verdict. Imports next to nothing: it runs in exec probes, every few seconds."""

import json
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TextIO
from urllib.parse import SplitResult, urlsplit

PATHS = {
    "livez": "livez",
    "readyz": "readyz",
    "startupz": "startupz",
    "healthz": "healthz",
    "exporter": "-/healthy",  # about the exporter itself, whatever the checks say
}
URL = "http://127.0.0.1:4584"
TIMEOUT = 1  # seconds, for everything from the name's resolution to the answer's last byte
LONGEST = 86400  # seconds that a timeout may be
ANSWER_LIMIT = 16 * 2**20  # bytes
COULD_NOT_ASK = 3

_VERDICTS = {200: ("pass", "warn"), 503: ("fail",)}
_OWN = {200: b"Health Exporter is healthy.\n", 503: b"Health Exporter is not healthy.\n"}
_OPTIONS = {"--url": str, "--timeout": float}


class AskError(Exception):
    """There is no answer, or none that is a verdict."""


def run(path: str, url: str, timeout: float) -> int:
    """Ask, say what was answered, and return the exit code."""
    try:
        yes, lines = answer(url, path, timeout)
    except AskError as error:
        say(str(error), sys.stderr)
        return COULD_NOT_ASK
    say("\n".join(lines), sys.stdout)
    return 0 if yes else 1


def say(text: str, stream: TextIO | None) -> None:
    """Print, and go on when nobody reads: the exit code is the answer."""
    if stream is None:  # closed by whoever started the process
        return
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if stream is not sys.stderr:
            say(f"the report could not be written: {error.strerror}", sys.stderr)


def answer(url: str, path: str, timeout: float) -> tuple[bool, list[str]]:
    """The verdict of one of the exporter's endpoints and lines that say why. Raises AskError."""
    if not 0 < timeout <= LONGEST:
        raise AskError(f"a timeout is more than 0 and at most {LONGEST:g} seconds")
    parts = _parts(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/{PATHS[path]}"
    status, body = _split(_in_time(lambda: _exchange(parts, PATHS[path], timeout), timeout, shown), shown)
    if status not in _VERDICTS:
        raise AskError(f"{shown} answered {status}, which is no verdict")
    if path == "exporter" and body == _OWN[status]:
        return status == 200, [body.decode().strip()]
    try:
        document = json.loads(body)
        if document["status"] in _VERDICTS[status]:
            return status == 200, [_printable(line) for line in _reasons(path, document)]
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        pass
    raise AskError(f"{shown} did not answer as a health exporter does")


def plainly(words: Sequence[str]) -> tuple[str, str, float] | None:
    """The path, the address and the timeout of a command line that is right; for any other, click has the words."""
    given: dict[str, Any] = {"--url": URL, "--timeout": TIMEOUT}
    rest = iter(words)
    paths = []
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in given:
            paths.append(word)
            continue
        try:
            given[name] = _OPTIONS[name](value if equals else next(rest))
        except (ValueError, StopIteration):
            return None
    if len(paths) != 1 or paths[0] not in PATHS:
        return None
    return paths[0], given["--url"], given["--timeout"]


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise AskError("the address of an exporter is http://HOST:PORT, for example " + URL)
    return parts


def _in_time(act: Callable[[], bytes], timeout: float, what: str) -> bytes:
    """What the act returns. It goes on in its thread when time is up: a name's resolution cannot be interrupted."""
    late = f"{what} did not answer within {timeout:g} s"
    done: list[bytes | str] = []

    def work() -> None:
        try:
            done.append(act())
        except TimeoutError:
            done.append(late)
        except (OSError, ValueError) as error:
            done.append(f"{what} could not be asked: {getattr(error, 'strerror', None) or error}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout)
    result = done[0] if done else late
    if isinstance(result, str):
        raise AskError(result)
    return result


def _exchange(parts: SplitResult, path: str, timeout: float) -> bytes:
    """One request, and the answer's bytes. HTTP/1.0: the answer ends with the connection, and is not chunked."""
    host, target = str(parts.hostname), f"{parts.path.rstrip('/')}/{path}?format=json"
    request = f"GET {target} HTTP/1.0\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nConnection: close\r\n\r\n"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with _secured(socket.create_connection((host, port), timeout), parts.scheme, host) as sock:
        sock.sendall(request.encode("ascii"))
        received = bytearray()
        while (data := sock.recv(65536)) and len(received) <= ANSWER_LIMIT:
            received += data
    return bytes(received)


def _secured(sock: socket.socket, scheme: str, host: str) -> socket.socket:
    if scheme == "http":
        return sock
    import ssl

    return ssl.create_default_context().wrap_socket(sock, server_hostname=host)


def _split(received: bytes, what: str) -> tuple[int, bytes]:
    """The status and the body of an HTTP answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    version, _, status = head.partition(b"\r\n")[0].partition(b" ")
    if not version.startswith(b"HTTP/1.") or not status[:3].isdigit():
        raise AskError(f"{what} did not answer in HTTP")
    return int(status[:3]), body


def _reasons(path: str, document: dict[str, Any]) -> list[str]:
    lines = [f"{path}: {document['status']}, generation {document['generation']}", *document.get("notes", ())]
    for name, (check,) in document["checks"].items():
        reason = f", reason {check['reason']}" if "reason" in check else ""
        since = f" since {check['since']}" if "since" in check else ""
        if check["status"] != "pass":
            lines.append(f"{name} ({check['componentType']}): {check['status']}{reason}{since}")
    return lines


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in line)
