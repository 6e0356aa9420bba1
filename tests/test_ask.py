"""`ask`: 0 and 1 are verdicts of a health exporter, in time; everything else is 3."""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme
from support import eventually, free_port

from exporter.ask import ANSWER_LIMIT, AskError, _in_time, answer, plainly

TIMEOUT = 0.4  # seconds
MARGIN = 0.25  # seconds beyond the timeout


@contextmanager
def peer(act: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of loopback that does this with every connection, when the request has come; yields its address."""
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                held[:] = [connection]
                connection.settimeout(5)
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
            thread.join(10)


def document(status: str = "pass", **options: object) -> dict[str, object]:
    return {"status": status, "generation": 7, "checks": {}, **options}


def http(status: int, body: object, head: str = "") -> bytes:
    text = body if isinstance(body, str) else json.dumps(body)
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n{text}".encode()


def asked(content: bytes, path: str = "livez") -> tuple[bool, list[str]]:
    with peer(lambda connection: connection.sendall(content)) as url:
        return answer(url, path, 5)


def refusal(content: bytes) -> str:
    with pytest.raises(AskError) as refused:
        asked(content)
    return str(refused.value)


FAILING = {
    "api": [{"componentType": "httpGet", "status": "fail", "reason": "connect", "since": "2026-01-01T00:00:00Z"}]
}


@pytest.mark.parametrize(
    ("content", "yes", "lines"),
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
                "api (httpGet): fail, reason connect since 2026-01-01T00:00:00Z",
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
    ids=["pass", "warn", "fail", "reasons", "no-more-of-what-passes", "controls", "headers", "http-1.0"],
)
def test_a_verdict_comes_with_its_reasons(content, yes, lines):
    assert asked(content) == (yes, lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (http(404, "not found"), "answered 404, which is no verdict"),
        (http(401, ""), "answered 401, which is no verdict"),
        (http(302, "", "Location: /\r\n"), "answered 302, which is no verdict"),
        (http(500, document("fail")), "answered 500, which is no verdict"),
        (http(204, ""), "answered 204, which is no verdict"),
        (http(200, "ok"), "did not answer as a health exporter does"),
        (http(200, ""), "did not answer as a health exporter does"),
        (http(503, "Service Unavailable"), "did not answer as a health exporter does"),
        (http(200, "[]"), "did not answer as a health exporter does"),
        (http(200, "{}"), "did not answer as a health exporter does"),
        (http(200, "null"), "did not answer as a health exporter does"),
        (http(200, {"status": "pass"}), "did not answer as a health exporter does"),
        (http(200, document("fail")), "did not answer as a health exporter does"),
        (http(503, document("pass")), "did not answer as a health exporter does"),
        (http(200, document(checks={"a": []})), "did not answer as a health exporter does"),
        (http(200, document(checks={"a": [{}]})), "did not answer as a health exporter does"),
        (http(200, document(checks=[1])), "did not answer as a health exporter does"),
        (http(200, document(notes=5)), "did not answer as a health exporter does"),
        (http(200, document(notes=[5])), "did not answer as a health exporter does"),
        (http(200, document())[:-9], "did not answer as a health exporter does"),
        (http(200, "[" * 100_000), "did not answer as a health exporter does"),
        (b"\xff" * 100, "did not answer in HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "did not answer in HTTP"),
        (b"HTTP/1.1 xyz\r\n\r\n", "did not answer in HTTP"),
        (b"HTTP/1.1 \r\n\r\n", "did not answer in HTTP"),
        (b"HTTP/1.1 200", "did not answer as a health exporter does"),
        (b"", "did not answer in HTTP"),
    ],
    ids=lambda each: each if isinstance(each, str) else each[:40].decode("latin-1"),
)
def test_what_is_no_verdict_is_told_apart(content, message):
    assert refusal(content).endswith(f"/livez {message}")


OWN = {
    "well": (http(200, "Health Exporter is healthy.\n"), True, ["Health Exporter is healthy."]),
    "not well": (http(503, "Health Exporter is not healthy.\n"), False, ["Health Exporter is not healthy."]),
}


@pytest.mark.parametrize(("content", "yes", "lines"), OWN.values(), ids=OWN)
def test_the_exporter_tells_of_itself(content, yes, lines):
    assert asked(content, "exporter") == (yes, lines)


@pytest.mark.parametrize(
    "content",
    [http(200, "Health Exporter is not healthy.\n"), http(503, "Health Exporter is healthy.\n"), http(200, "ok")],
    ids=["200 and not well", "503 and well", "another's"],
)
def test_what_is_no_word_of_the_exporter_on_itself_is_told_apart(content):
    with pytest.raises(AskError, match="/-/healthy did not answer as a health exporter does"):
        asked(content, "exporter")


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
    ],
)
def test_what_is_no_address_is_told_apart(url):
    with pytest.raises(AskError, match="the address of an exporter is http://HOST:PORT, for example"):
        answer(url, "livez", 1)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:PORT", "http://127.0.0.1:PORT/livez could not be asked: Connection refused"),
        ("http://127.0.0.1:PORT/a/", "http://127.0.0.1:PORT/a/livez could not be asked: Connection refused"),
        ("http://user:secret@127.0.0.1:PORT", "http://127.0.0.1:PORT/livez could not be asked: Connection refused"),
        ("http://a..b:PORT", "http://a..b:PORT/livez could not be asked: "),
        ("http://" + "a" * 300 + ":PORT", "could not be asked: "),
    ],
)
def test_what_cannot_be_reached_is_told_apart(url, message):
    port = str(free_port())
    with pytest.raises(AskError) as refused:
        answer(url.replace("PORT", port), "livez", 5)

    assert message.replace("PORT", port) in str(refused.value)


def test_an_address_that_no_request_can_hold_is_told_apart():
    with peer(lambda connection: None) as url, pytest.raises(AskError, match="could not be asked: "):
        answer(f"{url}/ä", "livez", 5)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_timeout_that_is_none_is_told_apart(timeout):
    with pytest.raises(AskError, match="a timeout is more than 0 and at most 86400 seconds"):
        answer("http://127.0.0.1:1", "livez", timeout)


def test_the_request_is_for_the_path_below_the_address():
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
        answer(f"http://127.0.0.1:{port}/below/", "readyz", 5)
        thread.join(5)

    assert seen == [f"GET /below/readyz?format=json HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"]


# Time


def drip(connection: socket.socket) -> None:
    for byte in http(200, document()) + b" " * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.02)


def drip_the_head(connection: socket.socket) -> None:
    for number in range(1000):
        connection.sendall(b"HTTP/1.1 200 OK\r\n" if number == 0 else b"X: y\r\n")
        time.sleep(0.02)


def go_on(connection: socket.socket) -> None:
    connection.sendall(http(200, ""))
    while True:
        connection.sendall(b" " * 4096)
        time.sleep(0.001)


def wait(connection: socket.socket) -> None:
    connection.recv(1)  # until the other side is gone


def answer_and_wait(connection: socket.socket) -> None:
    connection.sendall(http(200, document()))
    connection.recv(1)


@pytest.mark.parametrize("act", [drip, drip_the_head, go_on, wait, answer_and_wait], ids=lambda each: each.__name__)
def test_no_answer_outlasts_the_timeout(act):
    with peer(act) as url:
        began = time.monotonic()
        with pytest.raises(AskError) as refused:
            answer(url, "livez", TIMEOUT)
        took = time.monotonic() - began

    assert str(refused.value) == f"{url}/livez did not answer within 0.4 s"
    assert TIMEOUT - 0.05 <= took <= TIMEOUT + MARGIN


def test_a_connection_that_is_not_accepted_does_not_outlast_the_timeout():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        began = time.monotonic()
        with pytest.raises(AskError, match=r"did not answer within 0.4 s"):
            answer(f"http://127.0.0.1:{server.getsockname()[1]}", "livez", TIMEOUT)
        took = time.monotonic() - began
        for sock in waiting:
            sock.close()

    assert took <= TIMEOUT + MARGIN


def test_what_cannot_be_interrupted_does_not_outlast_the_timeout():
    """The resolution of a name is such an act."""
    over = threading.Event()
    began = time.monotonic()
    with pytest.raises(AskError, match=r"a name did not answer within 0.4 s"):
        _in_time(lambda: bytes(over.wait(30)), TIMEOUT, "a name")
    took = time.monotonic() - began
    over.set()

    assert took <= TIMEOUT + MARGIN


def test_an_answer_without_end_is_not_kept():
    sent = []

    def act(connection: socket.socket) -> None:
        connection.sendall(http(200, ""))
        while len(sent) * 65536 < 4 * ANSWER_LIMIT:
            connection.sendall(b" " * 65536)
            sent.append(65536)

    with peer(act) as url, pytest.raises(AskError, match="did not answer as a health exporter does"):
        answer(url, "livez", 10)

    assert sum(sent) < 3 * ANSWER_LIMIT  # what is beyond the limit waits in the kernel's buffers


# TLS


@pytest.mark.parametrize("trusted", [True, False])
def test_https_is_verified(tmp_path, monkeypatch, trusted):
    authority = trustme.CA()
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def act(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(http(200, document()))

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    act(secured)
            except OSError:
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        if trusted:
            assert answer(url, "livez", 5) == (True, ["livez: pass, generation 7"])
        else:
            with pytest.raises(AskError, match=r"could not be asked: .*CERTIFICATE_VERIFY_FAILED"):
                answer(url, "livez", 5)
        thread.join(5)


# The command line that needs no click


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("livez", ("livez", "http://127.0.0.1:4584", 1)),
        ("--timeout 3 readyz", ("readyz", "http://127.0.0.1:4584", 3.0)),
        ("startupz --url http://a --timeout=0.5", ("startupz", "http://a", 0.5)),
        ("healthz --url=http://a?b=c", ("healthz", "http://a?b=c", 1)),
        ("exporter", ("exporter", "http://127.0.0.1:4584", 1)),
        ("", None),
        ("health", None),
        ("livez readyz", None),
        ("--help", None),
        ("livez --help", None),
        ("livez --timeout", None),
        ("livez --timeout soon", None),
        ("livez --url", None),
        ("livez -v", None),
        ("livez --verbose", None),
    ],
)
def test_a_plain_command_line_is_understood_and_no_other(words, meant):
    assert plainly(words.split()) == meant


# The process


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter", "ask", *arguments], capture_output=True, text=True, timeout=30
    )


def test_the_process_says_what_the_running_exporter_answers(start, tmp_path):
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
    yes = ask("readyz", "--url", exporter.url)
    (tmp_path / "there").unlink()
    eventually(lambda: exporter.get("/livez").status == 503)
    no = ask("livez", "--url", exporter.url)

    assert (yes.returncode, yes.stderr) == (0, "")
    assert yes.stdout.startswith("readyz: pass, generation ")
    assert (no.returncode, no.stderr) == (1, "")
    first, second = no.stdout.splitlines()
    assert first.startswith("livez: fail, generation ")
    assert second.startswith("there (exec): fail, reason exit since 2")
    assert ask("livez", "--url", exporter.url.replace("127.0.0.1", "localhost")).returncode == 1
    assert ask("livez", "--url", f"{exporter.url}/nothing").returncode == 3


def test_the_process_asks_for_the_exporter_itself_whatever_its_checks_say(start):
    exporter = start(
        "checks: [{name: ill, exec: {command: ['false']}, groups: [liveness], failureThreshold: 1}]\n",
    )
    eventually(lambda: exporter.get("/livez").status == 503)

    assert ask("livez", "--url", exporter.url).returncode == 1
    assert (ask("exporter", "--url", exporter.url).returncode) == 0


def test_the_process_ends_in_time_and_with_3_when_an_answer_drips():
    with peer(drip) as url:
        began = time.monotonic()
        ended = ask("livez", "--url", url, "--timeout", "0.5")
        took = time.monotonic() - began

    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == f"{url}/livez did not answer within 0.5 s\n"
    assert took < 0.5 + 3  # the start of a process on a busy machine included


def test_an_exec_probe_costs_no_more_than_it_must(tmp_path):
    """It runs every few seconds: of what the exporter needs, it imports none."""
    with peer(lambda connection: connection.sendall(http(200, document()))) as url:
        script = f"""
import os, sys
from exporter import __main__
def end(code):
    print(code, *sys.modules)
    sys.stdout.flush()
    os._exit(0)
__main__._end = end
sys.argv = ["health-exporter", "ask", "livez", "--url", {url!r}]
__main__.main()
"""
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30).stdout
    code, *modules = said.splitlines()[1].split()

    assert code == "0"
    assert "exporter.ask" in modules
    heavy = {"flask", "pydantic", "hypercorn", "requests", "prometheus_client", "psutil", "yaml", "click", "asyncio"}
    assert not heavy & set(modules)
    assert not {"http.client", "ssl", "logging", "exporter.model", "exporter.cli"} & set(modules)


def test_ask_is_the_same_with_click(tmp_path):
    """A command line that click reads ends in the same words and codes."""
    refused = f"http://127.0.0.1:{free_port()}"
    plain, clicked = ask("livez", "--url", refused), ask("livez", "--url", refused, "--")

    assert (plain.returncode, plain.stderr) == (clicked.returncode, clicked.stderr)
    assert plain.returncode == 3
