"""Every client of the exporter verifies certificates by the rules of Go, on every version of Python."""

import json
import ssl
from pathlib import Path

import pytest
from certificates import issue
from cryptography.hazmat.primitives.asymmetric import rsa
from kinds.daemons import run_probe
from kinds.servers import hang, serving
from support import PATIENCE

from exporter import tls
from exporter.ask import Access, AskError, ask
from exporter.kinds.certificate import Certificate
from exporter.kinds.http_get import HttpGet
from exporter.kinds.promql import Promql
from exporter.model import Reason, Status
from exporter.net.certificates import MAX_NAMES
from exporter.net.tls import make_client_context

HEALTH = {"status": "pass", "generation": 1, "checks": {}}
SAMPLE = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]}}


def response(content: object) -> bytes:
    body = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nHealth-Generation: 1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def get_by_http(context: ssl.SSLContext, ca_file: Path) -> str:
    with serving((response({}),), tls=context) as server:
        probe = HttpGet(host="localhost", port=server.port, scheme="HTTPS", verifyTLS=True, ca_file=ca_file)
        return conclude(run_probe(probe))


def read_certificate(context: ssl.SSLContext, ca_file: Path) -> str:
    with serving((hang,), tls=context, listens=False) as server:
        return conclude(run_probe(Certificate(host="localhost", port=server.port, verify=True, ca_file=ca_file)))


def query_prometheus(context: ssl.SSLContext, ca_file: Path) -> str:
    with serving((response(SAMPLE),), tls=context) as server:
        return conclude(run_probe(Promql(url=f"https://localhost:{server.port}", query="up", ca_file=ca_file)))


def ask_exporter(context: ssl.SSLContext, ca_file: Path) -> str:
    with serving((response(HEALTH),), tls=context) as server:
        try:
            ask("livez", f"https://localhost:{server.port}", PATIENCE, Access(ca_file=str(ca_file)))
        except AskError as error:
            return str(error)
        return ""


def conclude(outcome) -> str:
    """Nothing for an outcome that passes, otherwise the summary."""
    if outcome.status is Status.PASS:
        return ""
    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    return outcome.summary


CLIENTS = (get_by_http, read_certificate, query_prometheus, ask_exporter)
every_client = pytest.mark.parametrize("connect", CLIENTS, ids=lambda client: client.__name__)

ROOT = issue("My Root", authority=True)
ISSUER = issue("My Intermediate", ROOT, authority=True)
LOOSE = issue("Home-made Root", authority=True, critical=False)
FOREIGN = issue("Foreign Root", authority=True)
EXPIRED = issue("Old Intermediate", ROOT, authority=True, days=-3)
LEAF = issue("a leaf", ISSUER, "localhost")
ACCEPTED = {
    "the root": (LEAF, [ISSUER], ROOT),
    "the issuing authority, which is not a root": (LEAF, [ISSUER], ISSUER),
    "the certificate itself, which is not self-signed": (LEAF, [ISSUER], LEAF),
    "an authority whose basicConstraints are not critical": (issue("a leaf", LOOSE, "localhost"), [], LOOSE),
    "RSA with 1024 bits": (issue("old", ROOT, "localhost", key=rsa.generate_private_key(65537, 1024)), [], ROOT),
}
REFUSED = {
    "a Common Name only": (
        issue("localhost", ROOT),
        [],
        "Hostname mismatch, certificate is not valid for 'localhost': its subjectAltName names no host",
    ),
    "another name": (
        issue("x", ROOT, "other.example"),
        [],
        "Hostname mismatch, certificate is not valid for 'localhost': it is valid for other.example",
    ),
    "many other names": (
        issue("x", ROOT, *(f"{number}.x" for number in range(MAX_NAMES + 2))),
        [],
        "Hostname mismatch, certificate is not valid for 'localhost': it is valid for 0.x, 1.x, 2.x and 2 more",
    ),
    "no intermediate": (
        LEAF,
        [],
        "unable to get local issuer certificate: the server sends no certificate of its issuer, My Intermediate",
    ),
    "an unknown root": (
        issue("a leaf", issue("Foreign Intermediate", FOREIGN, authority=True), "localhost"),
        [],
        "unable to get local issuer certificate: the server sends no certificate of its issuer, Foreign Intermediate",
    ),
    "an unknown root, which is sent": (
        issue("a leaf", FOREIGN, "localhost"),
        [FOREIGN],
        "self-signed certificate in certificate chain: Foreign Root is not trusted here",
    ),
    "an expired intermediate": (
        issue("a leaf", EXPIRED, "localhost"),
        [EXPIRED],
        "certificate has expired: that of Old Intermediate",
    ),
    "self-signed": (issue("a leaf", None, "localhost"), [], "self-signed certificate"),
}


@every_client
@pytest.mark.parametrize(("leaf", "chain", "trusted"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_go_accepts_is_accepted(connect, leaf, chain, trusted, tmp_path):
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(trusted.pem)

    assert connect(leaf.tls(*chain), ca_file) == ""


@every_client
@pytest.mark.parametrize(("leaf", "chain", "message"), REFUSED.values(), ids=REFUSED)
def test_what_go_refuses_is_refused_and_the_message_says_why(connect, leaf, chain, message, tmp_path):
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(ROOT.pem)
    if connect is ask_exporter:  # which does not look at the chain
        message = message.partition(": ")[0]

    assert f"TLS: {message}" in connect(leaf.tls(*chain), ca_file)


@pytest.mark.parametrize("connect", CLIENTS[:3], ids=lambda client: client.__name__)
def test_a_second_run_does_not_build_a_context(connect, tmp_path):
    """That costs tens of milliseconds with the CA certificates of a system."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(ROOT.pem)
    assert connect(LEAF.tls(ISSUER), ca_file) == ""
    before = make_client_context.cache_info().misses

    assert connect(LEAF.tls(ISSUER), ca_file) == ""
    assert make_client_context.cache_info().misses == before


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "the server refused the TLS handshake: handshake failure"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "the server refused the TLS handshake: protocol version"),
        ("TLSV1_UNRECOGNIZED_NAME", "the server refused the TLS handshake: unrecognized name"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "the server refused the TLS handshake: certificate required"),
        ("WRONG_VERSION_NUMBER", "the server does not speak TLS, or only after STARTTLS"),
        ("RECORD_LAYER_FAILURE", "the server does not speak TLS, or only after STARTTLS"),
        ("DH_KEY_TOO_SMALL", "TLS: dh key too small"),
        (None, "TLS: broken"),
    ],
)
def test_openssls_errors_are_described_without_its_names_of_versions(reason, text):
    error = ssl.SSLError()
    error.reason = reason

    assert tls.describe(error) == text
