"""`ask`: 0 and 1 are verdicts that a health exporter returned in time; everything else is 3."""

import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme
from click.testing import CliRunner
from support import PATIENCE, eventually, free_port
from web_files import TLS, hashed, written

from exporter.ask import MAX_ANSWER, Access, AskError, _run_within, ask, parse_arguments, run
from exporter.cli.main import cli

TIMEOUT = 0.4  # seconds, after which `ask` gives up


@contextmanager
def peer(act: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server on loopback that calls this function with every connection that has sent a request; yields its URL."""
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                held[:] = [connection]
                connection.settimeout(PATIENCE)
                with suppress(OSError):
                    connection.recv(65536)
                    act(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            for sock in (server, *held):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def document(status: str = "pass", **options: object) -> dict[str, object]:
    return {"status": status, "generation": 7, "checks": {}, **options}


def http(status: int, body: object, head: str = "") -> bytes:
    text = body if isinstance(body, str) else json.dumps(body)
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n{text}".encode()


def answer_of(content: bytes, path: str = "livez") -> tuple[bool, list[str]]:
    with peer(lambda connection: connection.sendall(content)) as url:
        return ask(path, url, PATIENCE)


def error_of(content: bytes) -> str:
    with pytest.raises(AskError) as error:
        answer_of(content)
    return str(error.value)


FAILING = {
    "api": [{"componentType": "httpGet", "status": "fail", "reason": "connect", "since": "2026-01-01T00:00:00Z"}]
}


@pytest.mark.parametrize(
    ("content", "up", "lines"),
    [
        (http(200, document()), True, ["livez: pass, generation 7"]),
        (http(200, document("warn")), True, ["livez: warn, generation 7"]),
        (http(503, document("fail")), False, ["livez: fail, generation 7"]),
        (
            http(503, document("fail", checks=FAILING, notes=["shutting down"])),
            False,
            [
                "livez: fail, generation 7",
                "shutting down",
                "api (httpGet): fail since 2026-01-01T00:00:00Z, reason connect",
            ],
        ),
        (
            http(200, document(checks={"a": [{"componentType": "disk", "status": "pass"}]})),
            True,
            ["livez: pass, generation 7"],
        ),
        (
            http(200, document("pass\x1b[31m\n", checks={}) | {"status": "pass", "notes": ["a\x1b[31m\nb"]}),
            True,
            ["livez: pass, generation 7", "a?[31m?b"],
        ),
        (http(200, document(), "Content-Length: 47\r\nX: y\r\n"), True, ["livez: pass, generation 7"]),
        (http(200, document()).replace(b"HTTP/1.1", b"HTTP/1.0"), True, ["livez: pass, generation 7"]),
    ],
    ids=["pass", "warn", "fail", "reasons", "passing-checks-are-left-out", "controls", "headers", "http-1.0"],
)
def test_a_verdict_comes_with_its_reasons(content, up, lines):
    assert answer_of(content) == (up, lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (http(404, "not found"), "returned 404, expected 200 or 503"),
        (http(401, ""), "returned 401: use --username and --password-file"),
        (http(302, "", "Location: /\r\n"), "returned 302, expected 200 or 503"),
        (http(500, document("fail")), "returned 500, expected 200 or 503"),
        (http(204, ""), "returned 204, expected 200 or 503"),
        (http(200, "ok"), "did not respond like a health exporter"),
        (http(200, ""), "did not respond like a health exporter"),
        (http(503, "Service Unavailable"), "did not respond like a health exporter"),
        (http(200, "[]"), "did not respond like a health exporter"),
        (http(200, "{}"), "did not respond like a health exporter"),
        (http(200, "null"), "did not respond like a health exporter"),
        (http(200, {"status": "pass"}), "did not respond like a health exporter"),
        (http(200, document("fail")), "did not respond like a health exporter"),
        (http(503, document("pass")), "did not respond like a health exporter"),
        (http(200, document(checks={"a": []})), "did not respond like a health exporter"),
        (http(200, document(checks={"a": [{}]})), "did not respond like a health exporter"),
        (http(200, document(checks=[1])), "did not respond like a health exporter"),
        (http(200, document(notes=5)), "did not respond like a health exporter"),
        (http(200, document(notes=[5])), "did not respond like a health exporter"),
        (http(200, document())[:-9], "did not respond like a health exporter"),
        (http(200, "[" * 100_000), "did not respond like a health exporter"),
        (b"\xff" * 100, "did not respond with HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "did not respond with HTTP"),
        (b"HTTP/1.1 xyz\r\n\r\n", "did not respond with HTTP"),
        (b"HTTP/1.1 \r\n\r\n", "did not respond with HTTP"),
        (b"HTTP/1.1 200", "did not respond like a health exporter"),
        (b"", "closed the connection without a response (if it uses TLS, use https:// in --url)"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:40].decode("latin-1"),
)
def test_an_answer_that_is_not_a_verdict_is_an_error(content, message):
    assert error_of(content).endswith(f"/livez {message}")


EXPORTER_ANSWERS = {
    "healthy": (http(200, "Health Exporter is healthy.\n"), True, ["Health Exporter is healthy."]),
    "not healthy": (http(503, "Health Exporter is not healthy.\n"), False, ["Health Exporter is not healthy."]),
}


@pytest.mark.parametrize(("content", "up", "lines"), EXPORTER_ANSWERS.values(), ids=EXPORTER_ANSWERS)
def test_the_exporter_reports_its_own_health(content, up, lines):
    assert answer_of(content, "exporter") == (up, lines)


def test_the_exporter_reports_its_configuration():
    fields = {"file": "health.yml", "checks": 1, "loaded": "T1", "rejected": "T2", "errors": ["health.yml:3: wrong"]}
    content = document("pass", host="web-1", releaseId="1.0", configuration=fields)

    assert answer_of(http(200, content), "exporter") == (
        True,
        [
            "exporter: pass, web-1, version 1.0",
            "configuration: health.yml, 1 check, loaded at T1",
            "rejected at T2:",
            "  health.yml:3: wrong",
        ],
    )


def test_an_exporter_without_a_configuration_says_why_it_is_not_healthy():
    content = document(
        "fail",
        host="web-1",
        releaseId="1.0",
        notes=["the schedule is not running"],
        configuration={"file": "health.yml", "checks": 0},
    )

    assert answer_of(http(503, content), "exporter") == (
        False,
        [
            "exporter: fail, web-1, version 1.0",
            "the schedule is not running",
            "configuration: health.yml, 0 checks, never loaded",
        ],
    )


@pytest.mark.parametrize(
    "content",
    [http(200, "Health Exporter is not healthy.\n"), http(503, "Health Exporter is healthy.\n"), http(200, "ok")],
    ids=["200 but not healthy", "503 but healthy", "another server"],
)
def test_an_answer_that_contradicts_its_status_code_is_an_error(content):
    with pytest.raises(AskError, match="/-/healthy did not respond like a health exporter"):
        answer_of(content, "exporter")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:4584",
        "ftp://127.0.0.1",
        "http://",
        "http://:80",
        "http://[::1",
        "http://a:99999",
        "http://a:b",
        "http://a:0",
        "http://a b",
        "http://a\n",
        "http://a:80\u200b",
        "\u201chttp://a\u201d",
    ],
)
def test_an_invalid_url_is_an_error(url):
    with pytest.raises(AskError, match="the URL of an exporter is http://HOST:PORT, for example"):
        ask("livez", url, 1)


def test_a_character_that_cannot_be_seen_in_a_url_is_named():
    with pytest.raises(AskError, match=r"; this one contains U\+200B$"):
        ask("livez", "http://a:80\u200b", 1)


@pytest.mark.parametrize("path", ["/livez", "/-/healthy/", "/prefix/readyz"])
def test_a_url_of_an_endpoint_is_an_error(path):
    with pytest.raises(AskError, match="the URL of an exporter has no endpoint: "):
        ask("livez", f"http://127.0.0.1{path}", 1)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:canary@127.0.0.1",
        "http://user:canary/x@127.0.0.1",
        "https://canary@127.0.0.1:4584",
        "user:canary@127.0.0.1",
        "http://127.0.0.1/canary@x",
    ],
)
def test_a_url_with_a_password_is_refused_and_not_shown(url):
    """Every process of the machine can read a command line."""
    with pytest.raises(AskError) as error:
        ask("livez", url, 1)

    assert str(error.value) == ("the URL must not contain a user or a password: use --username and --password-file")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:PORT", "http://127.0.0.1:PORT/livez: the request failed: Connection refused"),
        ("http://127.0.0.1:PORT/a/", "http://127.0.0.1:PORT/a/livez: the request failed: Connection refused"),
        ("http://a..b:PORT", "http://a..b:PORT/livez: the request failed: "),
        ("http://" + "a" * 300 + ":PORT", "the request failed: "),
    ],
)
def test_an_exporter_that_cannot_be_reached_is_an_error(url, message):
    port = str(free_port())
    with pytest.raises(AskError) as error:
        ask("livez", url.replace("PORT", port), PATIENCE)

    assert message.replace("PORT", port) in str(error.value)


def test_a_url_that_does_not_fit_into_a_request_is_an_error():
    with peer(lambda connection: None) as url, pytest.raises(AskError, match="the request failed: "):
        ask("livez", f"{url}/ä", PATIENCE)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e9])
def test_an_invalid_timeout_is_an_error(timeout):
    with pytest.raises(AskError, match="the timeout must be greater than 0 and at most 86400 seconds"):
        ask("livez", "http://127.0.0.1:1", timeout)


def test_the_request_is_for_the_path_below_the_url():
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            with connection:
                seen.append(connection.recv(65536).decode())
                connection.sendall(http(200, document()))

        thread = threading.Thread(target=accept)
        thread.start()
        port = server.getsockname()[1]
        ask("readyz", f"http://127.0.0.1:{port}/below/", PATIENCE)
        thread.join(PATIENCE)

    assert seen == [f"GET /below/readyz?format=json HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"]


# Time. Each of these peers continues for longer than any test waits, and `ask` would then report something else. So the
# message alone shows that it ended by its own timeout.


def drip(connection: socket.socket) -> None:
    for byte in http(200, document()) + b" " * 3000:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def drip_the_head(connection: socket.socket) -> None:
    for number in range(1000):
        connection.sendall(b"HTTP/1.1 200 OK\r\n" if number == 0 else b"X: y\r\n")
        time.sleep(0.02)


def never_end(connection: socket.socket) -> None:
    connection.sendall(http(200, ""))
    while True:
        connection.sendall(b" " * 4096)
        time.sleep(0.001)


def wait(connection: socket.socket) -> None:
    connection.recv(1)  # until the client closes the connection


def answer_and_wait(connection: socket.socket) -> None:
    connection.sendall(http(200, document()))
    connection.recv(1)


@pytest.mark.parametrize("act", [drip, drip_the_head, never_end, wait, answer_and_wait], ids=lambda act: act.__name__)
def test_no_answer_outlasts_the_timeout(act):
    with peer(act) as url:
        began = time.monotonic()
        with pytest.raises(AskError) as error:
            ask("livez", url, TIMEOUT)
        took = time.monotonic() - began

    assert str(error.value) == f"{url}/livez did not respond within 0.4 s"
    assert took >= TIMEOUT - 0.05


def test_a_connection_that_is_not_accepted_does_not_outlast_the_timeout():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        with pytest.raises(AskError, match=r"did not respond within 0.4 s"):
            ask("livez", f"http://127.0.0.1:{server.getsockname()[1]}", TIMEOUT)
        for sock in waiting:
            sock.close()


def test_a_resolution_that_cannot_be_interrupted_does_not_outlast_the_timeout():
    over, ended = threading.Event(), threading.Event()

    def resolve() -> bytes:
        over.wait(PATIENCE)
        ended.set()
        return b""

    with pytest.raises(AskError, match=r"a name did not respond within 0.4 s"):
        _run_within(TIMEOUT, resolve, "a name")
    still_resolving = not ended.is_set()
    over.set()

    assert still_resolving


def test_an_endless_answer_is_not_read_to_the_end():
    sent = []

    def act(connection: socket.socket) -> None:
        connection.sendall(http(200, ""))
        while len(sent) * 65536 < 4 * MAX_ANSWER:
            connection.sendall(b" " * 65536)
            sent.append(65536)

    with peer(act) as url, pytest.raises(AskError, match="did not respond like a health exporter"):
        ask("livez", url, PATIENCE)

    assert sum(sent) < 3 * MAX_ANSWER  # the rest waits in the kernel's buffers


# TLS and passwords


@contextmanager
def tls_peer(
    authority: trustme.CA, name: str = "127.0.0.1", answer: bytes | None = None, **options: object
) -> Iterator[str]:
    """A server on loopback that answers one request over TLS; yields its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    for option, value in options.items():
        setattr(context, option, value)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            with secured, suppress(OSError):
                try:
                    secured.do_handshake()
                    secured.recv(65536)
                    secured.sendall(http(200, document()) if answer is None else answer)
                except ssl.SSLError:
                    while socket.socket.recv(secured, 65536):  # until the client has read why, and closes
                        pass

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join(PATIENCE)


def tls_error(url: str, access: Access) -> str:
    with pytest.raises(AskError) as error:
        ask("livez", url, PATIENCE, access)
    return str(error.value)


VERDICT = (True, ["livez: pass, generation 7"])
WHAT_TO_DO = (
    "(trust its authority with --ca-file, use a host in --url that the certificate names, or accept any certificate "
    "with --insecure)"
)


def test_the_authority_of_the_system_is_trusted_by_default(authority, folder, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    with tls_peer(authority) as url:
        assert ask("livez", url, PATIENCE) == VERDICT


def test_an_authority_can_be_named(authority, folder):
    with tls_peer(authority) as url:
        assert ask("livez", url, PATIENCE, Access(ca_file=str(folder / "ca.pem"))) == VERDICT


def test_an_unknown_authority_is_an_error_that_says_what_to_do(authority, folder):
    with tls_peer(trustme.CA()) as url:
        message = tls_error(url, Access(ca_file=str(folder / "ca.pem")))

    assert message == f"{url}/livez: the request failed: TLS: unable to get local issuer certificate {WHAT_TO_DO}"


def test_a_certificate_for_another_host_is_an_error_that_says_what_to_do(authority, folder):
    with tls_peer(authority, "health.example") as url:
        message = tls_error(url, Access(ca_file=str(folder / "ca.pem")))

    assert message == (
        f"{url}/livez: the request failed: TLS: IP address mismatch, certificate is not valid for '127.0.0.1' "
        f"{WHAT_TO_DO}"
    )


@pytest.mark.parametrize("name", ["127.0.0.1", "health.example"])
def test_any_certificate_can_be_accepted(name):
    with tls_peer(trustme.CA(), name) as url:
        assert ask("livez", url, PATIENCE, Access(insecure=True)) == VERDICT


def test_a_server_that_requires_a_client_certificate_is_an_error_that_says_what_to_do(authority):
    with tls_peer(authority, verify_mode=ssl.CERT_REQUIRED) as url:
        message = tls_error(url, Access(insecure=True))

    assert message.endswith("(the exporter requires a client certificate; use a listener for probes in --url)")


def test_a_server_that_closes_the_connection_is_an_error_that_says_what_to_do(authority):
    """OpenSSL reports the alert only if it arrives before the end of the connection."""
    with tls_peer(authority, answer=b"") as url:
        message = tls_error(url, Access(insecure=True))

    assert message.endswith("(if it requires a client certificate, use a listener for probes in --url)")


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() then resets


def test_a_reset_connection_is_like_a_closed_one():
    with peer(reset) as url, pytest.raises(AskError) as error:
        ask("livez", url, PATIENCE)

    assert str(error.value) == (
        f"{url}/livez closed the connection without a response (if it uses TLS, use https:// in --url)"
    )


@pytest.mark.parametrize(
    "received",
    [http(400, ""), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x03\xff\xff" + bytes(2**16)],
    ids=["response", "request", "long packet"],
)
def test_a_server_without_tls_is_an_error_that_says_what_to_do(received):
    """OpenSSL has a name of its own for each of these errors."""
    with peer(lambda connection: connection.sendall(received)) as url:
        message = tls_error(url.replace("http", "https"), Access(insecure=True))

    assert message.endswith("(the exporter does not use TLS there; use http:// in --url)")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file or directory"), ("nothing", "cannot be read: not in PEM format")],
)
def test_an_authority_that_cannot_be_read_is_an_error(tmp_path, content, message):
    if content:
        (tmp_path / "ca.pem").write_text(content)
    url = f"https://127.0.0.1:{free_port()}"

    assert (
        tls_error(url, Access(ca_file=f"{tmp_path}/ca.pem")) == f"{url}/livez: the CA file {tmp_path}/ca.pem {message}"
    )


@pytest.mark.parametrize(
    ("url", "access", "message"),
    [
        ("http://a", Access(ca_file="ca.pem"), "--ca-file and --insecure require an https:// URL"),
        ("http://a", Access(insecure=True), "--ca-file and --insecure require an https:// URL"),
        ("https://a", Access("ca.pem", insecure=True), "use either --ca-file or --insecure"),
        ("http://a", Access(username="a"), "--username and --password-file require each other"),
        ("http://a", Access(password_file="a"), "--username and --password-file require each other"),
    ],
)
def test_options_that_contradict_each_other_are_an_error(url, access, message):
    assert tls_error(url, access) == message


@pytest.mark.parametrize("content", ["pass:wörd", "pass:wörd\n", "\ufeffpass:wörd\r\n"])
def test_the_password_is_sent_without_what_editors_add(tmp_path, content):
    (tmp_path / "password").write_bytes(content.encode())
    requests = []

    def act(connection: socket.socket) -> None:
        requests.append(bytes(seen[0]).decode())
        connection.sendall(http(200, document()))

    with recorded(act) as (url, seen):
        assert ask("livez", url, PATIENCE, Access(username="zoë", password_file=f"{tmp_path}/password")) == VERDICT

    assert "\r\nAuthorization: Basic em/DqzpwYXNzOnfDtnJk\r\n" in requests[0]


@contextmanager
def recorded(act: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server for one request; yields its URL and the list that receives the request."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            with connection:
                seen.append(connection.recv(65536))
                act(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", seen
        thread.join(PATIENCE)


def test_a_refused_password_is_an_error_that_does_not_show_it(tmp_path):
    (tmp_path / "password").write_text("canary")
    with peer(lambda connection: connection.sendall(http(401, ""))) as url:
        message = tls_error(url, Access(username="ops", password_file=f"{tmp_path}/password"))

    assert message == f"{url}/livez returned 401: the user name or the password is wrong"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file or directory"), ("x" * 4097, "is larger than 4096 bytes")],
)
def test_a_password_that_cannot_be_read_is_an_error(tmp_path, content, message):
    if content:
        (tmp_path / "password").write_text(content)
    url = f"http://127.0.0.1:{free_port()}"

    assert tls_error(url, Access(username="ops", password_file=f"{tmp_path}/password")) == (
        f"{url}/livez: the password file {tmp_path}/password {message}"
    )


def test_a_password_file_that_blocks_does_not_outlast_the_timeout(tmp_path):
    os.mkfifo(tmp_path / "password")
    access = Access(username="ops", password_file=f"{tmp_path}/password")
    url = f"http://127.0.0.1:{free_port()}"

    with pytest.raises(AskError, match=r"did not respond within 0.4 s"):
        ask("livez", url, TIMEOUT, access)
    os.close(os.open(tmp_path / "password", os.O_WRONLY))  # lets the thread end


# Waiting


def test_asking_is_repeated_until_the_verdict_is_healthy(capsys):
    answers = [b"", http(503, document("fail")), http(200, document())]
    with peer(lambda connection: connection.sendall(answers.pop(0))) as url:
        assert run("livez", url, PATIENCE, wait=PATIENCE) == 0

    assert answers == []
    assert capsys.readouterr() == ("livez: pass, generation 7\n", "")


@pytest.mark.parametrize("wait", [0, 0.01])
def test_the_last_verdict_counts_when_the_wait_is_over(capsys, wait):
    with peer(lambda connection: connection.sendall(http(503, document("fail")))) as url:
        assert run("livez", url, PATIENCE, wait) == 1

    assert capsys.readouterr() == ("livez: fail, generation 7\n", "")


# The command line without click


DEFAULT = ("http://127.0.0.1:4584", 1, 0, Access(), False)
EVERYTHING = "livez --url https://a --timeout 3 --wait=60 --ca-file ca --insecure --username u --password-file=p -v"


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("livez", ("livez", *DEFAULT)),
        ("--timeout 3 readyz", ("readyz", "http://127.0.0.1:4584", 3.0, 0, Access(), False)),
        ("startupz --url http://a --timeout=0.5", ("startupz", "http://a", 0.5, 0, Access(), False)),
        ("healthz --url=http://a?b=c", ("healthz", "http://a?b=c", 1, 0, Access(), False)),
        ("exporter", ("exporter", *DEFAULT)),
        (EVERYTHING, ("livez", "https://a", 3.0, 60.0, Access("ca", True, "u", "p"), True)),
        ("", None),
        ("health", None),
        ("livez readyz", None),
        ("--help", None),
        ("livez --help", None),
        ("livez --timeout", None),
        ("livez --timeout soon", None),
        ("livez --url", None),
        ("livez --wait -1", None),
        ("livez --wait nan", None),
        ("livez --timeout 500ms --wait 2m", ("livez", DEFAULT[0], 0.5, 120.0, *DEFAULT[3:])),
        ("livez --wait 2min", None),
        ("livez --wait infs", None),
        ("livez --insecure=1", None),
        ("-v livez", ("livez", *DEFAULT[:-1], True)),
        ("livez --verbose", ("livez", *DEFAULT[:-1], True)),
        ("livez --verbose=1", None),
    ],
)
def test_only_a_plain_command_line_is_parsed_without_click(words, arguments):
    assert parse_arguments(words.split(), {}) == arguments


ENVIRON = {
    "HEALTH_EXPORTER_ASK_URL": "https://b",
    "HEALTH_EXPORTER_ASK_TIMEOUT": "2",
    "HEALTH_EXPORTER_ASK_WAIT": "5",
    "HEALTH_EXPORTER_ASK_CA_FILE": "other",
    "HEALTH_EXPORTER_ASK_INSECURE": "true",
    "HEALTH_EXPORTER_ASK_USERNAME": "v",
    "HEALTH_EXPORTER_ASK_PASSWORD_FILE": "q",
    "HEALTH_EXPORTER_ASK_VERBOSE": "1",
}


@pytest.mark.parametrize(
    ("words", "environ", "arguments"),
    [
        ("livez", ENVIRON, ("livez", "https://b", 2.0, 5.0, Access("other", True, "v", "q"), True)),
        (EVERYTHING, ENVIRON, ("livez", "https://a", 3.0, 60.0, Access("ca", True, "u", "p"), True)),
        ("livez", dict.fromkeys(ENVIRON, ""), ("livez", *DEFAULT)),
        ("livez", {"HEALTH_EXPORTER_ASK_INSECURE": "0"}, ("livez", *DEFAULT)),
        ("livez", {"HEALTH_EXPORTER_ASK_INSECURE": "maybe"}, None),
        ("livez", {"HEALTH_EXPORTER_ASK_TIMEOUT": "soon"}, None),
        ("livez", {"HEALTH_EXPORTER_URL": "http://b"}, ("livez", *DEFAULT)),
    ],
)
def test_an_environment_variable_replaces_an_option(words, environ, arguments):
    assert parse_arguments(words.split(), environ) == arguments


@pytest.mark.parametrize("environ", [{}, ENVIRON, dict.fromkeys(ENVIRON, "")], ids=["none", "all", "empty"])
@pytest.mark.parametrize("words", ["livez", EVERYTHING, "exporter --insecure", "readyz --wait 3 --timeout=4"])
def test_click_passes_the_same_arguments(monkeypatch, words, environ):
    passed = []
    monkeypatch.setattr("exporter.ask.run", lambda *arguments: passed.append(arguments))
    for name in ENVIRON:
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(cli, ["ask", *words.split()], env=environ, standalone_mode=False)

    assert result.exception is None
    assert passed == [parse_arguments(words.split(), environ)]


# The process


def ask_process(*arguments: str, timeout: float = PATIENCE, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "exporter", "ask", "--timeout", f"{timeout:g}", *arguments]
    env = {**os.environ, **environ}
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, env=env)


def test_the_process_prints_the_answer_of_the_running_exporter(start, tmp_path):
    exporter = start(f"""
        checks:
          - name: there
            exec: {{command: [test, -e, {tmp_path}/there]}}
            groups: [liveness, readiness]
            periodSeconds: 1
            failureThreshold: 1
    """)
    (tmp_path / "there").touch()
    eventually(lambda: exporter.get("/readyz").status == 200)
    up = ask_process("readyz", "--url", exporter.url)
    (tmp_path / "there").unlink()
    eventually(lambda: exporter.get("/livez").status == 503)
    down = ask_process("livez", "--url", exporter.url)

    assert (up.returncode, up.stderr) == (0, "")
    assert up.stdout.startswith("readyz: pass, generation ")
    assert (down.returncode, down.stderr) == (1, "")
    first, second = down.stdout.splitlines()
    assert first.startswith("livez: fail, generation ")
    assert re.fullmatch(r"there \(exec\): fail since 2\S+, reason exit", second)
    assert ask_process("livez", "--url", exporter.url.replace("127.0.0.1", "localhost")).returncode == 1
    assert ask_process("livez", "--url", f"{exporter.url}/nothing").returncode == 3


def test_the_process_asks_about_the_exporter_itself_regardless_of_its_checks(start):
    exporter = start(
        "checks: [{name: failing, exec: {command: ['false']}, groups: [liveness], failureThreshold: 1}]\n",
    )
    eventually(lambda: exporter.get("/livez").status == 503)

    assert ask_process("livez", "--url", exporter.url).returncode == 1
    assert ask_process("exporter", "--url", exporter.url).returncode == 0


def test_the_process_uses_tls_and_a_password(start, folder):
    """As in Docker's HEALTHCHECK, where the options are environment variables."""
    (folder / "password").write_text("canary\n")
    web = written(folder, f"{TLS}basic_auth_users:\n  ops: {hashed('canary')}\n")
    exporter = start("checks: [{name: a, exec: {command: ['true']}}]\n", "--web.config.file", str(web))
    trust, user = ["--ca-file", f"{folder}/ca.pem"], ["--username", "ops", "--password-file", f"{folder}/password"]
    for endpoint in ("livez", "exporter"):
        asked = ask_process(endpoint, "--url", exporter.url, *trust, *user)
        assert (asked.returncode, asked.stderr) == (0, "")
    assert ask_process("exporter", "--url", exporter.url, "--insecure", *user).returncode == 0
    variables = ask_process(
        "exporter",
        HEALTH_EXPORTER_ASK_URL=exporter.url,
        HEALTH_EXPORTER_ASK_CA_FILE=f"{folder}/ca.pem",
        HEALTH_EXPORTER_ASK_USERNAME="ops",
        HEALTH_EXPORTER_ASK_PASSWORD_FILE=f"{folder}/password",
    )
    assert variables.returncode == 0
    assert variables.stdout.startswith("exporter: pass, ")

    plain = ask_process("livez", "--url", exporter.url.replace("https", "http"))
    assert plain.returncode == 3
    assert plain.stderr.endswith("closed the connection without a response (if it uses TLS, use https:// in --url)\n")
    anonymous = ask_process("livez", "--url", exporter.url, *trust)
    assert anonymous.returncode == 3
    assert anonymous.stderr.endswith("/livez returned 401: use --username and --password-file\n")
    (folder / "password").write_text("wrong-canary")
    refused = ask_process("livez", "--url", exporter.url, *trust, *user)
    assert refused.returncode == 3
    assert refused.stderr.endswith("/livez returned 401: the user name or the password is wrong\n")
    assert "canary" not in refused.stderr + "".join(exporter.lines)


def test_the_process_ends_with_3_before_a_dripping_answer_is_complete():
    """Nothing waits for the thread that is still receiving the answer."""
    complete = []

    def act(connection: socket.socket) -> None:
        drip(connection)
        complete.append(True)

    with peer(act) as url:
        process = ask_process("livez", "--url", url, timeout=0.5)
        complete_at_the_end = complete[:]

    assert (process.returncode, process.stdout) == (3, "")
    assert process.stderr == f"{url}/livez did not respond within 0.5 s\n"
    assert not complete_at_the_end


def test_an_exec_probe_costs_no_more_than_it_must(tmp_path):
    """It runs every few seconds, so it imports nothing that only the exporter needs."""
    with peer(lambda connection: connection.sendall(http(200, document()))) as url:
        script = f"""
import os, sys
from exporter import __main__
def exit(code):
    print(code, *sys.modules)
    sys.stdout.flush()
    os._exit(0)
__main__._exit = exit
sys.argv = ["health-exporter", "ask", "livez", "--url", {url!r}, "--timeout", "60"]
__main__.main()
"""
        output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE).stdout
    code, *modules = output.splitlines()[1].split()

    assert code == "0"
    assert "exporter.ask" in modules
    heavy = {"flask", "pydantic", "h11", "requests", "prometheus_client", "psutil", "yaml", "click", "asyncio"}
    assert not heavy & set(modules)
    assert not {"http.client", "ssl", "logging", "typing", "exporter.model", "exporter.cli"} & set(modules)


def test_ask_is_the_same_with_click(tmp_path):
    """A command line that click parses ends with the same message and exit code."""
    url = f"http://127.0.0.1:{free_port()}"
    plain, clicked = ask_process("livez", "--url", url), ask_process("livez", "--url", url, "--")

    assert (plain.returncode, plain.stderr) == (clicked.returncode, clicked.stderr)
    assert plain.returncode == 3
