"""The kinds that speak TLS against real servers with uncommon settings."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Pair, issue
from cryptography.hazmat.primitives.asymmetric import rsa
from kinds.daemons import run_probe
from support import Process, accepts, command, configure_nginx, ended, eventually, free_port

from exporter.kinds.certificate import Certificate
from exporter.kinds.http_get import HttpGet
from exporter.model import Outcome, Reason, Status

ROOT = issue("My Root", authority=True)
LEAF = issue("ECDSA", ROOT, "shop.example", days=90)
EXPIRED = issue("RSA", ROOT, "shop.example", days=-9, key=rsa.generate_private_key(65537, 2048))
HOST = [{"name": "Host", "value": "shop.example"}]
NGINX = """
    server {{ listen 127.0.0.1:{port} ssl default_server; ssl_reject_handshake on; }}
    server {{
        listen 127.0.0.1:{port} ssl; server_name shop.example;
        ssl_certificate {folder}/rsa.pem; ssl_certificate_key {folder}/rsa.pem;
        ssl_certificate {folder}/ecdsa.pem; ssl_certificate_key {folder}/ecdsa.pem;
        location / {{ return 200 "well\\n"; }}
    }}
"""
HAPROXY = """
global
    log stderr format raw local0
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
frontend tls
    bind 127.0.0.1:{port} ssl crt {folder}/ecdsa.pem strict-sni
    http-request return status 200 content-type text/plain string well
"""


def write(pair: Pair, path: Path) -> None:
    path.write_bytes(pair.key_pem + pair.pem)


@pytest.fixture(params=["nginx", "haproxy"])
def server(request, tmp_path) -> Iterator[int]:
    """A server that refuses clients that do not name `shop.example`; yields its port."""
    port = free_port()
    write(LEAF, tmp_path / "ecdsa.pem")
    write(EXPIRED, tmp_path / "rsa.pem")
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    configuration = tmp_path / "configuration"
    text = (NGINX if request.param == "nginx" else HAPROXY).format(port=port, folder=tmp_path)
    configuration.write_text(configure_nginx(text) if request.param == "nginx" else text)
    options = ["-p", str(tmp_path), "-c", str(configuration), "-e", "stderr"]
    arguments = options if request.param == "nginx" else ["-db", "-f", str(configuration)]
    with ended(Process([command(request.param), *arguments], cwd=tmp_path)):
        eventually(lambda: accepts(port), what="the server accepts connections")
        yield port


def request(port: int, **options: object) -> Outcome:
    return run_probe(HttpGet(port=port, scheme="HTTPS", **options))


def test_http_get_requests_the_server_name(server):
    refused = request(server)
    assert (refused.status, refused.reason) == (Status.FAIL, Reason.TLS)
    assert refused.summary.endswith("the server refused the TLS handshake: unrecognized name")

    assert request(server, serverName="shop.example", httpHeaders=HOST).status is Status.PASS


def test_http_get_verifies_the_server_name(server, tmp_path):
    options = {"verifyTLS": True, "caFile": tmp_path / "ca.pem", "httpHeaders": HOST}

    assert request(server, serverName="shop.example", **options).status is Status.PASS


def test_a_certificate_is_read_by_the_server_name(server):
    refused = run_probe(Certificate(port=server))
    assert (refused.status, refused.reason) == (Status.FAIL, Reason.TLS)
    assert refused.summary.endswith("the server refused the TLS handshake: unrecognized name")

    assert "the certificate of " in run_probe(Certificate(port=server, serverName="shop.example")).summary


@pytest.mark.parametrize("server", ["nginx"], indirect=True)
@pytest.mark.parametrize("verifies", [False, True], ids=["read", "verified"])
def test_of_two_certificates_the_worse_one_decides(server, verifies, tmp_path):
    options = {"verify": True, "caFile": tmp_path / "ca.pem"} if verifies else {}
    outcome = run_probe(Certificate(port=server, serverName="shop.example", **options))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.THRESHOLD)
    assert "the certificate of RSA expired 9.0 days ago: fail limit of 7 days reached" in outcome.summary
    assert outcome.summary.endswith(" (one of two certificates, for RSA)")


@pytest.fixture
def old_server(tmp_path) -> Iterator[int]:
    """A server of TLS 1.2 without secure renegotiation (RFC 5746), for `localhost`; yields its port."""
    port = free_port()
    write(issue("old", ROOT, "localhost"), tmp_path / "old.pem")
    (tmp_path / "ca.pem").write_bytes(ROOT.pem)
    pem = tmp_path / "old.pem"
    settings = "NORMAL:-VERS-ALL:+VERS-TLS1.2:%DISABLE_SAFE_RENEGOTIATION"
    files = [f"--x509certfile={pem}", f"--x509keyfile={pem}"]
    arguments = ["--http", "--noticket", f"--port={port}", f"--priority={settings}", *files]
    with ended(Process([command("gnutls-serv"), *arguments])):
        eventually(lambda: accepts(port), what="the server accepts connections")
        yield port


def test_a_server_without_secure_renegotiation_passes(old_server, tmp_path):
    """As with Go, which never renegotiates."""
    ca_file = tmp_path / "ca.pem"
    for probe in (
        HttpGet(port=old_server, scheme="HTTPS"),
        HttpGet(port=old_server, scheme="HTTPS", host="localhost", verifyTLS=True, caFile=ca_file),
        Certificate(port=old_server),
        Certificate(port=old_server, host="localhost", verify=True, caFile=ca_file),
    ):
        outcome = run_probe(probe)
        assert outcome.status is Status.PASS, outcome.summary
