"""The requests that the kind `httpGet` sends over HTTP/2, to servers that record them and to real ones."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from kinds.frames import Received, record, tls2
from kinds.pages import check
from kinds.servers import serving
from support import PATIENCE, Process, command, configure_nginx, ended, eventually, free_port, within

from exporter.model import Reason, Status
from exporter.net.fetch import Route, fetch
from exporter.net.request import Request
from exporter.net.url import build

PSEUDO = [(":authority", "127.0.0.1:PORT"), (":method", "GET"), (":path", "/a?b"), (":scheme", "https")]
AGENT, ACCEPT = ("user-agent", "kube-probe/1.36"), ("accept", "*/*")
HTTP2_REQUESTS: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]] | None]] = {
    "no header configured": ([], [*PSEUDO, ACCEPT, AGENT]),
    "own user agent": ([("User-Agent", "me/1")], [*PSEUDO, ACCEPT, ("user-agent", "me/1")]),
    "two user agents: the first": ([("User-Agent", "a"), ("User-Agent", "b")], [*PSEUDO, ACCEPT, ("user-agent", "a")]),
    "empty user agent": ([("User-Agent", "")], [*PSEUDO, ACCEPT]),
    "empty accept": ([("Accept", "")], [*PSEUDO, AGENT]),
    "own host": ([("Host", "shop.example")], [(":authority", "shop.example"), *PSEUDO[1:], ACCEPT, AGENT]),
    "empty host": ([("Host", "")], [*PSEUDO, ACCEPT, AGENT]),
    "an invalid host": ([("Host", "a/b c")], None),
    "repeated headers repeat": ([("X-A", "2"), ("x-a", "1")], [*PSEUDO, ACCEPT, ("x-a", "2"), ("x-a", "1"), AGENT]),
    "spaces around a value": ([("X-A", " b ")], [*PSEUDO, ACCEPT, ("x-a", " b "), AGENT]),
    "an empty value": ([("X-A", "")], [*PSEUDO, ACCEPT, ("x-a", ""), AGENT]),
    "UTF-8 in a value": ([("X-A", "grün €")], [*PSEUDO, ACCEPT, ("x-a", "grün €"), AGENT]),
    "a line feed in a value": ([("X-A", "a\nb")], None),
    "content-length is not sent": ([("Content-Length", "5")], [*PSEUDO, ACCEPT, AGENT]),
    "trailer": ([("Trailer", "X")], [*PSEUDO, ACCEPT, ("trailer", "X"), AGENT]),
    "cookies": ([("Cookie", "a=b")], [*PSEUDO, ACCEPT, ("cookie", "a=b"), AGENT]),
    "connection: close is not sent": ([("Connection", "close")], [*PSEUDO, ACCEPT, AGENT]),
    "connection: Keep-Alive is not sent": ([("Connection", "Keep-Alive")], [*PSEUDO, ACCEPT, AGENT]),
    "keep-alive is not sent": ([("Keep-Alive", "5"), ("Proxy-Connection", "x")], [*PSEUDO, ACCEPT, AGENT]),
    "another connection": ([("Connection", "x")], None),
    "two connections": ([("Connection", "close"), ("Connection", "close")], None),
    "transfer-encoding: chunked is not sent": ([("Transfer-Encoding", "chunked")], [*PSEUDO, ACCEPT, AGENT]),
    "another transfer-encoding": ([("Transfer-Encoding", "gzip")], None),
    "an upgrade": ([("Upgrade", "x")], None),
    "an empty upgrade": ([("Upgrade", "")], [*PSEUDO, ACCEPT, AGENT]),
    "basic auth as a header": (
        [("Authorization", "Basic eA==")],
        [*PSEUDO, ACCEPT, ("authorization", "Basic eA=="), AGENT],
    ),
}


@pytest.mark.parametrize(("pairs", "expected"), HTTP2_REQUESTS.values(), ids=HTTP2_REQUESTS)
def test_the_request_over_http_2_is_the_kubelets(pairs, expected):
    requests: list[Received] = []
    headers = [{"name": name, "value": value} for name, value in pairs]
    with serving((record(requests),), tls=tls2(), listens=False) as server:
        outcome = check(server.port, scheme="HTTPS", path="/a?b", http_headers=headers).outcome

        if expected is None:
            assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.ERROR)
        else:
            assert outcome.status is Status.PASS
        assert [received.named(server.port) for received in requests] == ([expected] if expected else [])


def test_credentials_in_the_path_are_sent_and_a_redirect_gets_a_referer():
    requests: list[Received] = []
    moved = record(requests, 302, ("location", "/b"))
    with serving((moved,), (record(requests),), tls=tls2(), listens=False) as server:
        outcome = check(server.port, scheme="HTTPS", path="http://me:canary@x/a?token=canary").outcome

        url = f"https://127.0.0.1:{server.port}"
        assert outcome.summary == f"{url}/a returned 200 after a redirect to {url}/b"
        first, second = (dict(received.named(server.port)) for received in requests)
        assert first["authorization"] == f"Basic {base64.b64encode(b'me:canary').decode()}"
        assert second["referer"] == "https://127.0.0.1:PORT/a?token=canary"
        assert second[":path"] == "/b"


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("window", [1, 10, 65_535])
def test_a_body_is_sent_as_fast_as_the_server_permits(size, window):
    size = min(size, 2000 * window)
    requests: list[Received] = []
    with serving((record(requests, window=window),), tls=tls2(), listens=False) as server:
        outcome = check(server.port, scheme="HTTPS", method="POST", body="a" * size).outcome

    assert outcome.status is Status.PASS
    assert requests[0].body == b"a" * size
    assert ("content-length", str(size)) in requests[0].fields


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_is_sent(method):
    requests: list[Received] = []
    with serving((record(requests, 200, ("content-length", "5")),), tls=tls2(), listens=False) as server:
        outcome = check(server.port, scheme="HTTPS", method=method).outcome

        assert (outcome.status is Status.PASS) is (method == "HEAD")  # the others have no body, but a length
        assert (":method", method) in requests[0].fields


def test_a_websocket_needs_http_1():
    """As in Go (Request.requiresHTTP1): nothing is offered by ALPN."""
    headers = [{"name": "Connection", "value": "keep-alive, Upgrade"}, {"name": "Upgrade", "value": "WebSocket"}]
    with serving((b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",), tls=tls2("h2", "http/1.1")) as server:
        assert check(server.port, scheme="HTTPS", http_headers=headers).outcome.status is Status.PASS
        assert server.requests[0].startswith(b"GET / HTTP/1.1\r\n")


# Real servers

NGINX = """
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate server.crt; ssl_certificate_key server.key;
        location = /moved {{ return 302 /protocol; }}
        location = /broken {{ return 500; }}
        location = /forbidden {{ return 403; }}
        location = /protocol {{ return 200 "$server_protocol"; }}
        location = /large {{ root "{folder}"; }}
    }}
"""
APACHE = """
ServerRoot "{folder}"
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile apache.pid
ErrorLog /dev/stderr
DocumentRoot "{folder}"
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule ssl_module {modules}/mod_ssl.so
LoadModule http2_module {modules}/mod_http2.so
LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so
Protocols h2 http/1.1
SSLEngine on
SSLCertificateFile "{folder}/server.crt"
SSLCertificateKeyFile "{folder}/server.key"
Redirect 302 /moved /protocol
Redirect 500 /broken
Redirect 403 /forbidden
"""


def start_nginx(folder: Path, port: int, _: Path) -> list[str]:
    (folder / "nginx.conf").write_text(configure_nginx(NGINX.format(port=port, folder=folder)))
    return [command("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]


def start_apache(folder: Path, port: int, _: Path) -> list[str]:
    (folder / "apache.conf").write_text(APACHE.format(folder=folder, port=port, modules="/usr/lib/apache2/modules"))
    (folder / "protocol").write_text("HTTP/2.0")
    return [command("apache2"), "-f", str(folder / "apache.conf"), "-D", "FOREGROUND"]


def start_go(folder: Path, port: int, program: Path) -> list[str]:
    return [str(program), "serve", f"127.0.0.1:{port}", str(folder / "server.crt"), str(folder / "server.key")]


SERVERS = {"nginx": start_nginx, "apache": start_apache, "Go": start_go}


@pytest.fixture(params=SERVERS)
def peer(request, folder: Path) -> Iterator[int]:
    """A real server with HTTP/2, and its port."""
    program = request.getfixturevalue("kubelet_program") if request.param == "Go" else folder
    (folder / "large").write_bytes(b"a" * 2_000_000)
    port = free_port()
    with ended(Process(SERVERS[request.param](folder, port, program), cwd=folder)):
        eventually(lambda: check(port, scheme="HTTPS").outcome.reason is not Reason.CONNECT, what="it listens")
        yield port


@pytest.mark.parametrize(
    ("path", "status"),
    [("/protocol", "pass"), ("/moved", "pass"), ("/broken", "fail"), ("/forbidden", "fail"), ("/large", "pass")],
)
def test_real_servers(peer, path, status):
    assert check(peer, scheme="HTTPS", path=path).outcome.status == status
    assert check(peer, scheme="HTTPS", path=path, method="HEAD").outcome.status == status


def test_real_servers_choose_http_2(peer):
    route = Route(within(PATIENCE), max_body=3_000_000)

    assert fetch(Request(build("https", "127.0.0.1", peer, "/protocol"), ()), route).body.startswith(b"HTTP/2.0")
    assert fetch(Request(build("https", "127.0.0.1", peer, "/large"), ()), route).body == b"a" * 2_000_000


def test_verified_tls_uses_http_2_too(peer, folder):
    options = {"scheme": "HTTPS", "path": "/protocol", "verify_tls": True, "ca_file": folder / "ca.pem"}

    assert check(peer, body_contains="HTTP/2.0", **options).outcome.status is Status.PASS
