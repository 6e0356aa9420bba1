"""The server on real sockets, in the test's own process, with WSGI applications of the test."""

import socket
import threading
from urllib.parse import urlsplit

import pytest
from stage import Stage, exchange, served

from exporter.server import listener


def big(environ, start_response):
    body = b"x" * 20_000_000
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def test_answers_in_progress_are_finished_at_the_end():
    received = 0
    with served(Stage().dispatch(big)) as url:
        parts = urlsplit(url)
        client = socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received += len(client.recv(1000))

        def read() -> None:
            nonlocal received
            while data := client.recv(1 << 20):
                received += len(data)

        reader = threading.Timer(0.5, read)
        reader.start()
    reader.join()
    client.close()

    assert received > 20_000_000


def test_a_client_that_does_not_read_cannot_keep_the_server_running():
    """The end of `served` waits for the server, and with this client it would never stop."""
    with served(Stage().dispatch(big)) as url:
        parts = urlsplit(url)
        client = socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
    client.close()


def test_an_idle_connection_does_not_delay_the_end(monkeypatch):
    """Idle connections are closed at once: the server stops even with an endless grace period."""
    monkeypatch.setattr(listener, "GRACE", 3600.0)
    with served(Stage().dispatch(big)) as url:
        parts = urlsplit(url)
        client = socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10)
    client.close()


def test_an_exception_is_a_500_and_the_next_request_is_served():
    def application(environ, start_response):
        if environ["PATH_INFO"] == "/broken":
            raise RuntimeError("broken")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"well"]

    with served(Stage().dispatch(application)) as url:
        assert exchange(url, b"GET /broken HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 500 ")
        assert exchange(url, b"GET /well HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nwell")


def test_repeated_headers_are_joined_and_paths_are_decoded():
    seen = {}

    def application(environ, start_response):
        seen.update(environ)
        start_response("204 No Content", [])
        return []

    with served(Stage().dispatch(application)) as url:
        exchange(url, b"GET /a%20b/%C3%A9?x=%C3%A9 HTTP/1.0\r\nAccept: a/b\r\nAccept: c/d\r\nX-Y: z\r\n\r\n")

    assert seen["PATH_INFO"].encode("latin-1").decode() == "/a b/é"
    assert seen["QUERY_STRING"] == "x=%C3%A9"
    assert seen["HTTP_ACCEPT"] == "a/b,c/d"
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert not {"HTTP_HOST", "HTTP_X_Y"} & seen.keys()  # no answer depends on them


class BrokenGuard:
    def check(self, header):
        if header == b"Later":
            return
        raise RuntimeError("secret")

    def verify(self, header, peer, done, gone):
        done(True)
        raise RuntimeError("secret")


@pytest.mark.parametrize("header", [b"Now", b"Later"])
def test_a_defect_before_the_response_is_a_500_and_the_next_request_is_served(header):
    stage = Stage()
    with served(stage.dispatch(users=BrokenGuard())) as url:
        answers = [exchange(url, b"GET /livez HTTP/1.0\r\nAuthorization: " + header + b"\r\n\r\n") for _ in range(2)]

    assert all(answer.startswith(b"HTTP/1.1 500 ") and b"secret" not in answer for answer in answers)
