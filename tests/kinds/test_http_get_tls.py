"""The kind `httpGet` over TLS: as in the kubelet every certificate passes, and a handshake ends at the deadline."""

import datetime as dt
import ssl
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
import trustme
from kinds.pages import ACCEPT, AGENT, OK, OWN_HOST, authority, check, headers, redirect, request, request_text, tls
from kinds.servers import drip, hang, serving
from support import command

from exporter.model import Reason, Status

NOW = dt.datetime.now(dt.UTC).replace(tzinfo=None)
CERTIFICATES: dict[str, dict[str, Any]] = {
    "of an unknown authority": {},
    "expired": {"not_before": NOW - dt.timedelta(9), "not_after": NOW - dt.timedelta(1)},
    "not yet valid": {"not_before": NOW + dt.timedelta(1), "not_after": NOW + dt.timedelta(9)},
    "of an RSA key": {"key_type": trustme.KeyType.RSA},
}


@pytest.mark.parametrize("options", CERTIFICATES.values(), ids=CERTIFICATES)
def test_no_certificate_is_verified(options):
    with serving((OK,), tls=tls(**options)) as server:
        outcome = check(server.port, scheme="HTTPS").outcome

        assert outcome.status is Status.PASS
        assert outcome.summary == f"https://127.0.0.1:{server.port}/ returned 200"
        assert request_text(server) == request(AGENT, ACCEPT)


def test_a_certificate_for_another_name_passes():
    with serving((OK,), tls=tls("other.example")) as server:
        assert check(server.port, scheme="HTTPS", host="localhost").outcome.status is Status.PASS


CIPHERS = {
    "AES-GCM": "ECDHE+AESGCM",
    "ChaCha20": "ECDHE+CHACHA20",
    "AES-CBC with SHA-1": "ECDHE-RSA-AES128-SHA",
}


def make_old_context(folder: Path, ciphers: str = "ALL", bits: int = 1024) -> ssl.SSLContext:
    """A server's TLS 1.2 with a self-signed certificate, a short key and an old signature, as found inside clusters."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    options = f"req -x509 -newkey rsa:{bits} -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=old -sha1"
    subprocess.run([command("openssl"), *options.split()], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(f"@SECLEVEL=0:{ciphers}")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize("ciphers", CIPHERS.values(), ids=CIPHERS)
def test_a_short_key_and_an_old_signature_pass_with_every_cipher_of_gos(ciphers, tmp_path):
    with serving((OK,), tls=make_old_context(tmp_path, ciphers)) as server:
        assert check(server.port, scheme="HTTPS").outcome.summary.endswith("returned 200")


def test_differs_an_rsa_key_below_1024_bits_passes(tmp_path):
    with serving((OK,), tls=make_old_context(tmp_path, bits=768)) as server:
        assert check(server.port, scheme="HTTPS").outcome.status is Status.PASS


def test_tls_1_1_fails():
    context = tls(key_type=trustme.KeyType.RSA)
    context.set_ciphers("@SECLEVEL=0:ALL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with serving((OK,), tls=context) as server:
        outcome = check(server.port, scheme="HTTPS").outcome

        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)


@pytest.mark.parametrize(
    ("host", "headers_", "expected"),
    [("localhost", [], ["localhost"]), ("127.0.0.1", [], [None]), ("localhost", OWN_HOST, ["localhost"])],
)
def test_sni_is_the_host_of_the_url_and_none_for_an_address(host, headers_, expected):
    names = []
    context = tls()
    context.sni_callback = lambda _, name, __: names.append(name)
    with serving((OK,), tls=context) as server:
        assert check(server.port, scheme="HTTPS", host=host, http_headers=headers_).outcome.status is Status.PASS
    assert names == expected


def test_https_to_a_port_without_tls_fails():
    with serving((b"HTTP/1.1 400 Word\r\n\r\n",), listens=False) as server:
        outcome = check(server.port, scheme="HTTPS").outcome

        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
        assert (
            outcome.summary
            == f"https://127.0.0.1:{server.port}/: the server does not speak TLS, or only after STARTTLS"
        )


def test_http_to_a_tls_port_fails():
    with serving((OK,), tls=tls()) as server:
        outcome = check(server.port).outcome

        assert outcome.status is Status.FAIL
        assert outcome.reason in (Reason.STATUS, Reason.CONNECT)


def test_a_server_that_requires_a_client_certificate_fails():
    """In TLS 1.3 its alert follows the handshake, and is lost if it resets the connection at the same time."""
    context = tls()
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    with serving((OK,), tls=context) as server:
        outcome = check(server.port, scheme="HTTPS").outcome

        assert outcome.status is Status.FAIL
        assert outcome.reason in (Reason.TLS, Reason.CONNECT)


def test_a_connection_that_ends_within_the_handshake_fails():
    with serving((), listens=False) as server:
        outcome = check(server.port, scheme="HTTPS").outcome

        assert outcome.status is Status.FAIL
        assert outcome.reason in (Reason.TLS, Reason.CONNECT)


def test_a_body_over_tls_may_end_without_close_notify():
    """Many servers close the connection without it; Go accepts that as the end of the body."""
    with serving((headers() + b"ok",), tls=tls()) as server:
        assert check(server.port, scheme="HTTPS").outcome.status is Status.PASS


def test_a_redirect_to_tls_on_the_same_host_is_followed():
    with serving((OK,), tls=tls()) as secure:
        with serving((redirect(f"https://127.0.0.1:{secure.port}/b"),)) as plain:
            assert check(plain.port).outcome.status is Status.PASS
        assert f"Referer: http://127.0.0.1:{plain.port}/" in request_text(secure)


def test_a_redirect_from_tls_to_plain_is_followed_without_a_referer():
    with serving((OK,)) as plain:
        with serving((redirect(f"http://127.0.0.1:{plain.port}/b"),), tls=tls()) as secure:
            assert check(secure.port, scheme="HTTPS").outcome.status is Status.PASS
        assert request_text(plain) == request(AGENT, ACCEPT, path="/b")


@pytest.mark.parametrize(
    "script",
    [(hang,), (b"\x16\x03\x03\x00\x7a", hang), (drip(b"\x16\x03\x03\x40\x00" + b"\x02\x00\x3f\xfc" + b"\0" * 16384),)],
    ids=["silent", "broken off", "dripping"],
)
def test_a_tls_handshake_that_never_ends_fails_at_the_deadline(script):
    with serving(script, listens=False) as server:
        result = check(server.port, 0.4, scheme="HTTPS")

        assert (result.outcome.status, result.outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
        assert result.outcome.summary.endswith("the TLS handshake did not end in time")
        assert result.duration >= 0.4
        assert not server.gave_up.is_set()
