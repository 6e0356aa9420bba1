"""Asks a running exporter for a verdict.

It imports as little as possible, because exec probes run it every few seconds.
"""

import contextlib
import errno
import json
import os
import socket
import sys
import threading
import time
from binascii import b2a_base64
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from exporter.arguments import name_variable, parse_seconds
from exporter.console import echo
from exporter.exitcodes import COULD_NOT_ASK, HEALTHY, UNHEALTHY
from exporter.self_connection import MAX_SELF_CONNECTIONS, discard_self_connection
from exporter.text import format_count, replace_unprintable

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
MAX_PASSWORD_FILE = 4096  # bytes
PAUSE = 0.5  # seconds between two requests with --wait

TYPE_CHECKING = False  # as in exporter/__init__.py
if TYPE_CHECKING:
    import ssl
    from typing import Any

# typing.NamedTuple would import typing.
Access = namedtuple("Access", "ca_file insecure username password_file", defaults=("", False, "", ""))  # noqa: PYI024
"""Which certificates to accept: those of an authority in a file, or all. And a user, and the file of the password."""

_SPACES = frozenset(" \t\r\n")
_STATUSES = {200: ("pass", "warn"), 503: ("fail",)}
_EXPORTER_BODIES = {200: b"Health Exporter is healthy.\n", 503: b"Health Exporter is not healthy.\n"}
_FREE_TEXTS = ("output", "description", "owner", "runbookUrl")  # of a check, for --verbose
_FLAGS = {"1": True, "true": True, "0": False, "false": False}
_OPTIONS: "dict[str, tuple[Any, Callable[[str], Any]]]" = {
    "--url": (URL, str),
    "--timeout": (TIMEOUT, parse_seconds),
    "--wait": (0, parse_seconds),
    "--ca-file": ("", str),
    "--insecure": (False, _FLAGS.__getitem__),
    "--username": ("", str),
    "--password-file": ("", str),
    "--verbose": (False, _FLAGS.__getitem__),
}
"""The default of each option, and the function that parses its value."""
_SWITCHES = ("--insecure", "--verbose")  # options without a value
_SHORT = {"-v": "--verbose"}
_HINTS = {
    "CERTIFICATE_VERIFY_FAILED": "trust its authority with --ca-file, use a host in --url that the certificate names, "
    "or accept any certificate with --insecure",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the exporter requires a client certificate; use a listener for probes in "
    "--url",
}
"""What to do about an error of TLS, by the name that OpenSSL gives it."""
_NOT_TLS_HINT = "the exporter does not use TLS there; use http:// in --url"
_CLOSED = {
    "http": "if it uses TLS, use https:// in --url",
    "https": "if it requires a client certificate, use a listener for probes in --url",
}


class AskError(Exception):
    """No answer arrived, or the answer is not from a health exporter."""


def run(
    endpoint: str,
    url: str,
    timeout: float,
    wait: float = 0,
    access: Access = Access(),  # noqa: B008
    verbose: bool = False,  # noqa: FBT001, FBT002
) -> int:
    """Ask, print the verdict or the error, and return the exit code.

    Unless the verdict is healthy, ask again for `wait` seconds. If `verbose`, print every check with its message.
    """
    until = time.monotonic() + wait
    code, text = _ask_once(endpoint, url, timeout, access, verbose=verbose)
    while code != HEALTHY and (remaining := until - time.monotonic()) > 0:
        time.sleep(min(PAUSE, remaining))
        code, text = _ask_once(endpoint, url, timeout, access, verbose=verbose)
    echo(text, sys.stderr if code == COULD_NOT_ASK else sys.stdout)
    return code


def _ask_once(endpoint: str, url: str, timeout: float, access: Access, *, verbose: bool) -> tuple[int, str]:
    try:
        up, lines = ask(endpoint, url, timeout, access, verbose=verbose)
    except AskError as error:
        return COULD_NOT_ASK, str(error)
    return HEALTHY if up else UNHEALTHY, "\n".join(lines)


def ask(
    endpoint: str,
    url: str,
    timeout: float,
    access: Access = Access(),  # noqa: B008
    *,
    verbose: bool = False,
) -> tuple[bool, list[str]]:
    """Return the verdict of one of the exporter's endpoints, and the lines that explain it.

    These are about the checks that do not pass; if `verbose`, about all, with the messages of their latest runs. The
    timeout is in seconds. Raises AskError if the exporter gives no valid answer in time.
    """
    path = ENDPOINTS[endpoint]
    address, (status, head, body) = request(path, url, timeout, access)
    if status not in _STATUSES:
        raise AskError(f"{address} returned {status}, expected 200 or 503")
    if endpoint == "exporter" and body == _EXPORTER_BODIES[status]:
        return status == 200, [body.decode().strip()]
    if lines := _explain_plain(path, status, head, body):
        return status == 200, lines
    try:
        health = json.loads(body)
        if health["status"] in _STATUSES[status]:
            lines = _explain_exporter(health) if endpoint == "exporter" else _explain(endpoint, health, verbose=verbose)
            return status == 200, [replace_unprintable(line) for line in lines]
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        pass
    raise AskError(f"{address} did not respond like a health exporter")


def request(
    path: str, url: str, timeout: float, access: Access, query: str = "format=json", method: str = "GET"
) -> tuple[str, tuple[int, bytes, bytes]]:
    """Send a request to an exporter. Return the URL without its query; and the status code, the head and the body.

    Raises AskError if there is no answer in time, or if the exporter requires another password.
    """
    if not 0 < timeout <= MAX_TIMEOUT:
        raise AskError(f"the timeout must be greater than 0 and at most {MAX_TIMEOUT} seconds")
    parts = _parse_url(url)
    _check_access(parts.scheme, access)
    address = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{path}"
    answer = _run_within(timeout, lambda: _request(method, parts, f"{path}?{query}", timeout, access), address)
    parsed = _parse_answer(answer, address)
    if parsed[0] == 401:
        hint = "the user name or the password is wrong" if access.username else "use --username and --password-file"
        raise AskError(f"{address} returned 401: {hint}")
    return address, parsed


def parse_arguments(
    words: Sequence[str], environ: Mapping[str, str] = os.environ
) -> tuple[str, str, float, float, Access, bool] | None:
    """Return the arguments of `run` for a valid, plain command line.

    An environment variable takes the place of an option that is not on the command line. For anything else, such as
    `--help` or an unknown option, return None: click has the texts for these.
    """
    options = {name: default for name, (default, _) in _OPTIONS.items()}
    endpoints = []
    rest = iter(words)
    try:
        for name, (_, parse) in _OPTIONS.items():
            if text := environ.get(name_variable(name, "ask")):
                options[name] = parse(text)
        for word in rest:
            name, equals, value = word.partition("=")
            if _SHORT.get(word, word) in _SWITCHES:
                options[_SHORT.get(word, word)] = True
            elif name in options and name not in _SWITCHES:
                options[name] = _OPTIONS[name][1](value if equals else next(rest))
            else:
                endpoints.append(word)
    except (ValueError, KeyError, StopIteration):
        return None
    url, timeout, wait, *access, verbose = options.values()
    if len(endpoints) != 1 or endpoints[0] not in ENDPOINTS or not 0 <= wait <= MAX_TIMEOUT:
        return None
    return endpoints[0], url, timeout, wait, Access(*access), verbose


def _parse_url(url: str) -> SplitResult:
    if "@" in url:  # visible in the list of processes; and not shown here, because it may hold a password
        raise AskError("the URL must not contain a user or a password: use --username and --password-file")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not set(url) & _SPACES
    except ValueError:
        valid = False
    if not valid:
        hidden = next((f"; this one contains U+{ord(character):04X}" for character in url if character > "~"), "")
        raise AskError(f"the URL of an exporter is http://HOST:PORT, for example {URL}{hidden}")
    if parts.path.rstrip("/").endswith(tuple(f"/{path}" for path in ENDPOINTS.values())):
        raise AskError(f"the URL of an exporter has no endpoint: write http://HOST:PORT, for example {URL}")
    return parts


def _check_access(scheme: str, access: Access) -> None:
    if (access.ca_file or access.insecure) and scheme != "https":
        raise AskError("--ca-file and --insecure require an https:// URL")
    if access.ca_file and access.insecure:
        raise AskError("use either --ca-file or --insecure")
    if bool(access.username) != bool(access.password_file):
        raise AskError("--username and --password-file require each other")


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
        except AskError as error:
            results.append(f"{address}: {error}")
        except (OSError, ValueError) as error:
            results.append(f"{address}: the request failed: {_describe(error)}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout)
    result = results[0] if results else late
    if isinstance(result, str):
        raise AskError(result)
    return result


def _describe(error: Exception) -> str:
    """Return the reason of a failed request, and what to do about it."""
    if not hasattr(error, "library"):  # only an ssl.SSLError names OpenSSL's
        return getattr(error, "strerror", None) or str(error)
    from exporter.tls import NOT_TLS, describe

    text, reason = describe(error), str(error.reason)  # type: ignore[arg-type,attr-defined]
    hint = _NOT_TLS_HINT if reason in NOT_TLS else _HINTS.get(reason)
    return f"{text} ({hint})" if hint else text


def _request(method: str, parts: SplitResult, path: str, timeout: float, access: Access) -> bytes:
    """Send one request without a body, and return the bytes of the answer.

    In HTTP/1.0 an answer ends when the connection closes, and it is never chunked.
    """
    host, target = str(parts.hostname), f"{parts.path.rstrip('/')}/{path}"
    length = "" if method == "GET" else "Content-Length: 0\r\n"  # proxies may require it (RFC 9110, section 8.6)
    headers = f"Host: {parts.netloc}\r\n{length}{_authorize(access)}Connection: close\r\n"
    request = f"{method} {target} HTTP/1.0\r\n{headers}\r\n"
    context = _build_context(access) if parts.scheme == "https" else None
    port = parts.port or (443 if context else 80)
    sock = _connect(host, port, timeout)
    with context.wrap_socket(sock, server_hostname=host) if context else sock as secured:
        answer = bytearray()
        # A server that has not read everything resets the connection instead of ending it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            secured.sendall(request.encode("ascii"))
            while (data := secured.recv(65536)) and len(answer) <= MAX_ANSWER:
                answer += data
    return bytes(answer)


def _connect(host: str, port: int, timeout: float) -> socket.socket:
    for _ in range(MAX_SELF_CONNECTIONS):
        sock = socket.create_connection((host, port), timeout)
        if not discard_self_connection(sock):
            return sock
    raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def _authorize(access: Access) -> str:
    """Return the header line of basic authentication, or nothing without a user."""
    if not access.username:
        return ""
    try:
        with open(access.password_file, "rb") as file:  # noqa: PTH123  # pathlib takes long to import
            password = file.read(MAX_PASSWORD_FILE + 1).removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    except OSError as error:
        raise AskError(f"the password file {access.password_file} cannot be read: {error.strerror}") from None
    if len(password) > MAX_PASSWORD_FILE:
        raise AskError(f"the password file {access.password_file} is larger than {MAX_PASSWORD_FILE} bytes")
    credentials = b2a_base64(access.username.encode() + b":" + password, newline=False)
    return f"Authorization: Basic {credentials.decode()}\r\n"


def _build_context(access: Access) -> "ssl.SSLContext":
    import ssl

    from exporter.tls import make_context

    context = make_context(verify=not access.insecure)
    if access.insecure:
        return context
    try:
        context.load_verify_locations(access.ca_file) if access.ca_file else context.load_default_certs()
    except OSError as error:
        reason = "not in PEM format" if isinstance(error, ssl.SSLError) else error.strerror
        raise AskError(f"the CA file {access.ca_file} cannot be read: {reason}") from None
    return context


def _parse_answer(answer: bytes, address: str) -> tuple[int, bytes, bytes]:
    """Return the status code, the head and the body. Raises AskError if the bytes are not HTTP."""
    if not answer:
        hint = _CLOSED[address.partition(":")[0]]
        raise AskError(f"{address} closed the connection without a response ({hint})")
    head, _, body = answer.partition(b"\r\n\r\n")
    version, _, status = head.partition(b"\r\n")[0].partition(b" ")
    if not version.startswith(b"HTTP/1.") or not status[:3].isdigit():
        raise AskError(f"{address} did not respond with HTTP")
    return int(status[:3]), head, body


def _explain_plain(path: str, status: int, head: bytes, body: bytes) -> list[str]:
    """Return the lines of a verdict in plain text, which an exporter sends if too many requests wait for JSON."""
    end = f"\n{path} check {'passed' if status == 200 else 'failed'}\n"  # a held group has a list with 200 too
    plain = body.endswith(end.encode()) or (status == 200 and body == b"ok")
    if not plain or b"\nhealth-generation:" not in head.lower():
        return []
    return [replace_unprintable(line) for line in body.decode("utf-8", "replace").splitlines()]


def _explain(endpoint: str, health: "dict[str, Any]", *, verbose: bool = False) -> list[str]:
    lines = [f"{endpoint}: {health['status']}, generation {health['generation']}", *health.get("notes", ())]
    for name, (check,) in health["checks"].items():
        reason = f", reason {check['reason']}" if "reason" in check else ""
        since = f" since {check['since']}" if "since" in check else ""
        if check["status"] != "pass" or verbose:
            lines.append(f"{name} ({check['componentType']}): {check['status']}{since}{reason}")
            lines += _explain_details(check) if verbose else ()
    return lines


def _explain_details(check: "dict[str, Any]") -> list[str]:
    """Return the lines below a check. Another reason than the status' own is that of the latest run."""
    lines = []
    if check.get("lastReason") not in (None, check.get("reason")):
        lines.append(f"  latest run: {check['lastStatus']}, reason {check['lastReason']}")
    if "suppressedBy" in check:
        lines.append(f"  suppressed: depends on {', '.join(check['suppressedBy'])}")
    return lines + [f"  {'message' if key == 'output' else key}: {check[key]}" for key in _FREE_TEXTS if key in check]


def _explain_exporter(health: "dict[str, Any]") -> list[str]:
    """Return the lines about the exporter itself, and about its configuration."""
    configuration = health["configuration"]
    checks = format_count(configuration["checks"], "check")
    loaded = f", loaded at {configuration['loaded']}" if "loaded" in configuration else ", never loaded"
    lines = [
        f"exporter: {health['status']}, {health['host']}, version {health['releaseId']}",
        *health.get("notes", ()),
        f"configuration: {configuration['file']}, {checks}{loaded}",
    ]
    if "errors" in configuration:
        lines.append(f"rejected at {configuration.get('rejected', 'an unknown time')}:")
        lines += [f"  {error}" for error in configuration["errors"]]
    return lines
