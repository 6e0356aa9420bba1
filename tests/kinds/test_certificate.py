"""The kind `certificate` against TLS servers with certificates of every sort."""

import datetime as dt
import socket
import ssl
import threading
import time
from contextlib import suppress
from functools import partial

import pytest
import trustme
from certificates import issue
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from kinds.daemons import run_probe
from kinds.servers import drip, hang, serving
from pydantic import ValidationError
from support import Clock, free_port

from exporter.kinds.certificate import Certificate
from exporter.model import Deadline, ProbeError, Reason, Status

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
WEAK_PARAMETERS = """\
-----BEGIN DH PARAMETERS-----
MIGHAoGBAJy+oFPIyBgZYwkiBGi2w10I5920o/izUGtW9uWLQ3DGURNwawZYFEAi
CQy5X7aJfEPX8EAefTd7j+tPshkuWo5hZzuOkJP6tOe5MaYBLUsEyeiH9+v9707T
yShhWFdbjQadzGVOOVCdJVgccpCyeoyImsFkFHhhj6JfP3tYkZGXAgEC
-----END DH PARAMETERS-----
"""


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def authority_file(authority, tmp_path_factory):
    file = tmp_path_factory.mktemp("authority") / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return file


@pytest.fixture
def issued(authority):
    """A server's TLS by the authority: `issued(name, days)` expires after this number of days."""

    def make(*names: str, days: float = 90, since: float = -100) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made = authority.issue_cert(*names, not_before=NOW + since * DAY, not_after=NOW + days * DAY)
        made.configure_cert(context)
        return context

    return make


def self_signed(
    folder, days: float = 30, *, key=None, name: str = "own", since=NOW - 1000 * DAY, until=None
) -> ssl.SSLContext:
    """A server's TLS with a self-signed certificate."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(since).not_valid_after(until or NOW + days * DAY)
    (folder / "own.pem").write_bytes(
        dated.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(folder / "own.pem")
    return context


TLS_VERSIONS = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name
)
secured = partial(serving, (hang,), listens=False)


def read(server, timeout: float = 5.0, **options):
    return run_probe(Certificate(port=server.port, **options), timeout)


@pytest.mark.parametrize(
    ("days", "limits", "status"),
    [
        (90, {}, "pass"),
        (22, {}, "pass"),
        (20, {}, "warn"),
        (8, {}, "warn"),
        (6, {}, "fail"),
        (-3, {}, "fail"),
        (20, {"warn_days": None}, "pass"),
        (90, {"warn_days": 100}, "warn"),
        (90, {"warn_days": 100, "fail_days": 95}, "fail"),
        (1, {"warn_days": 0, "fail_days": 0}, "pass"),
    ],
)
def test_the_days_left_decide(issued, days, limits, status):
    with secured(tls=issued("shop.example", days=days)) as server:
        outcome = read(server, **limits)

    assert outcome.status == status, outcome.summary
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)
    left, expiry, latency = outcome.measurements
    assert left.name == "certificate_remaining_seconds"
    assert left.value == pytest.approx(days * DAY.total_seconds(), abs=900)
    assert left.falling
    assert (expiry.name, expiry.value) == ("certificate_expiry_timestamp_seconds", (NOW + days * DAY).timestamp())
    assert latency.name == "endpoint_latency_seconds"


def test_the_summary_of_an_expired_certificate_says_when_it_expired(issued):
    with secured(tls=issued("shop.example", days=-3)) as server:
        outcome = read(server, verify=True)

    assert "expired 3.0 days ago" in outcome.summary
    assert outcome.reason is Reason.THRESHOLD


def test_a_certificate_that_is_not_trusted_and_expires_soon_is_reported_with_both(issued):
    with secured(tls=issued("shop.example", days=3)) as server:
        outcome = read(server, server_name="shop.example", verify=True)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    assert "unable to get local issuer certificate" in outcome.summary
    assert outcome.summary.endswith(" expires in 3.0 days: fail limit of 7 days reached")


def test_a_self_signed_certificate_is_read(tmp_path):
    with secured(tls=self_signed(tmp_path, 30)) as server:
        outcome = read(server)

    assert outcome.status is Status.PASS
    assert "the certificate of own expires in 30.0 days" in outcome.summary


def test_a_certificate_without_a_name_is_read(tmp_path):
    with secured(tls=self_signed(tmp_path, 30, name="")) as server:
        assert read(server).status is Status.PASS


@pytest.mark.parametrize("year", [1951, 1969, 2049, 2050, 9999])
def test_a_date_in_any_year_is_read(tmp_path, year):
    """From 2050 on, dates are encoded differently; 9999 stands for no end."""
    end = dt.datetime(year, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    with secured(tls=self_signed(tmp_path, since=dt.datetime(1950, 1, 1, tzinfo=dt.UTC), until=end)) as server:
        outcome = read(server)

    assert outcome.measurements[1].value == end.timestamp()
    assert outcome.status is (Status.PASS if year > 2000 else Status.FAIL)


def test_a_certificate_is_read_however_weak_the_keys(tmp_path):
    context = self_signed(tmp_path, 30, key=rsa.generate_private_key(65537, 1024))
    (tmp_path / "dh.pem").write_text(WEAK_PARAMETERS)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    context.load_dh_params(tmp_path / "dh.pem")
    with secured(tls=context) as server:
        outcome = read(server)

    assert outcome.status is Status.PASS, outcome.summary


def test_a_certificate_that_is_not_valid_yet_fails(issued):
    with secured(tls=issued("shop.example", days=90, since=2)) as server:
        outcome = read(server)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    assert f"is not valid before {NOW + 2 * DAY:%Y-%m-%d}" in outcome.summary
    assert outcome.measurements[0].value == pytest.approx(90 * DAY.total_seconds(), abs=900)


def test_the_earliest_of_the_chain_decides(authority, tmp_path):
    leaf = authority.issue_cert("shop.example", not_after=NOW + 90 * DAY)
    self_signed(tmp_path, 10, name="early")
    early = (tmp_path / "own.pem").read_bytes().partition(b"-----BEGIN PRIVATE KEY")[0]
    parts = [leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes(), early]
    (tmp_path / "chain.pem").write_bytes(b"".join(parts))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.pem")
    with secured(tls=context) as server:
        outcome = read(server)

    assert outcome.status is Status.WARN
    assert "the certificate of early expires in 10.0 days" in outcome.summary
    assert outcome.measurements[1].value == (NOW + 10 * DAY).timestamp()


def test_a_certificate_expires_as_time_passes(issued):
    with secured(tls=issued("shop.example", days=90)) as server:
        probe = Certificate(port=server.port)
        later = probe.probe(Deadline(time.monotonic() + 5), wall=lambda: time.time() + 85 * 86400)

    assert later.status is Status.FAIL


def test_a_valid_chain_and_name_pass(issued, authority_file):
    with secured(tls=issued("shop.example")) as server:
        outcome = read(server, server_name="shop.example", verify=True, ca_file=authority_file)

    assert outcome.status is Status.PASS, outcome.summary


@pytest.mark.parametrize("verifies", [False, True], ids=["read", "verified"])
def test_a_second_certificate_is_looked_for_once_an_hour(issued, authority_file, verifies):
    clock = Clock()
    options = {"verify": True, "ca_file": authority_file} if verifies else {}
    with secured(tls=issued("127.0.0.1")) as server:
        probe = Certificate(port=server.port, **options)
        accepted = []
        for seconds in (0, 10, 3589, 1):
            clock.advance(seconds)
            assert probe.probe(Deadline(clock.now + 60, clock)).status is Status.PASS
            accepted.append(server.accepted)

    assert accepted == [2, 3, 4, 6]


def test_the_other_certificate_is_remembered_for_an_hour(issued):
    """Otherwise each failed connection would hide that it has expired."""
    clock, broken = Clock(), threading.Event()
    context, single = issued("127.0.0.1"), issued("127.0.0.1")
    expired = issue("RSA", None, "127.0.0.1", days=-9, key=rsa.generate_private_key(65537, 2048))
    expired.configure_cert(context)

    def choose(sock: ssl.SSLObject, *_: object) -> None:
        sock.context = single if broken.is_set() else context

    context.sni_callback = choose
    with secured(tls=context) as server:
        probe = Certificate(port=server.port)
        statuses = []
        for seconds in (0, 10, 3589, 2):
            clock.advance(seconds)
            statuses.append(probe.probe(Deadline(clock.now + 60, clock)).status)
            broken.set()

    assert statuses == [Status.FAIL, Status.FAIL, Status.FAIL, Status.PASS]


@TLS_VERSIONS
@pytest.mark.parametrize("verifies", [False, True], ids=["read", "verified"])
def test_the_client_certificate_is_presented(authority, issued, authority_file, version, verifies, tmp_path):
    context = issued("127.0.0.1")
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version
    authority.configure_trust(context)
    authority.issue_cert("probe").private_key_and_cert_chain_pem.write_to_path(tmp_path / "probe.pem")
    names = []

    def note_peer(_: object, connection: ssl.SSLSocket) -> None:
        names.append(connection.getpeercert()["subjectAltName"][0][1])

    options = {"verify": True, "ca_file": authority_file} if verifies else {}
    certificate = {"certFile": tmp_path / "probe.pem", "keyFile": tmp_path / "probe.pem"}
    with serving((note_peer,), tls=context, listens=False) as server:
        outcome = read(server, client_certificate=certificate, **options)

    assert outcome.status is Status.PASS, outcome.summary
    assert names == ["probe"]


def test_a_client_certificate_that_is_missing_is_no_verdict(tmp_path):
    with pytest.raises(ProbeError) as raised:
        run_probe(
            Certificate(port=1, client_certificate={"certFile": tmp_path / "a.pem", "keyFile": tmp_path / "b.pem"})
        )

    assert raised.value.reason is Reason.MISSING


ROOT = issue("My Root", authority=True, days=30)
NEW_ROOT = issue("New Root", authority=True)
CROSS_SIGNED = issue("My Root", issue("Old Root", authority=True), authority=True, days=-2155, key=ROOT.key)


def verify(leaf, *chain, trusted=ROOT, folder, **options):
    (folder / "ca.pem").write_bytes(trusted.pem)
    with secured(tls=leaf.tls(*chain)) as server:
        return read(server, verify=True, ca_file=folder / "ca.pem", **{"host": "localhost", **options})


def test_the_verified_chain_decides_its_root_included(tmp_path):
    outcome = verify(issue("leaf", ROOT, "localhost"), folder=tmp_path, warn_days=40)

    assert outcome.status is Status.WARN
    assert "the certificate of My Root expires in 30.0 days" in outcome.summary


def test_an_expired_certificate_that_the_chain_does_not_need_only_warns(tmp_path):
    outcome = verify(issue("leaf", ROOT, "localhost"), CROSS_SIGNED, folder=tmp_path)

    assert (outcome.status, outcome.reason) == (Status.WARN, Reason.TLS)
    assert outcome.summary.endswith(
        "expires in 30.0 days; the server also sends an expired certificate of My Root, not needed to verify"
    )
    assert outcome.measurements[0].value == pytest.approx(30 * DAY.total_seconds(), abs=900)


def test_no_warning_is_given_if_warnings_are_turned_off(tmp_path):
    outcome = verify(issue("leaf", ROOT, "localhost"), CROSS_SIGNED, folder=tmp_path, warn_days=None)

    assert outcome.status is Status.PASS


def test_a_failed_verification_is_reported_and_not_a_certificate_that_the_chain_does_not_need(tmp_path):
    outcome = verify(issue("leaf", ROOT, "other.example"), CROSS_SIGNED, folder=tmp_path)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    assert "Hostname mismatch" in outcome.summary
    assert outcome.measurements[0].value == pytest.approx(90 * DAY.total_seconds(), abs=900)


@TLS_VERSIONS
@pytest.mark.parametrize("verifies", [False, True], ids=["read", "verified"])
def test_the_certificate_of_a_server_that_requires_one_of_the_client_is_read(version, verifies, tmp_path):
    (tmp_path / "ca.pem").write_bytes(NEW_ROOT.pem)
    context = issue("leaf", NEW_ROOT, "localhost").tls()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(tmp_path / "ca.pem")
    context.maximum_version = version
    options = {"verify": True, "ca_file": tmp_path / "ca.pem"} if verifies else {}
    with secured(tls=context) as server:
        outcome = read(server, host="localhost", **options)

    assert outcome.status is Status.PASS, outcome.summary
    assert outcome.measurements[0].value == pytest.approx(90 * DAY.total_seconds(), abs=900)


@pytest.mark.parametrize("verifies", [False, True], ids=["read", "verified"])
def test_a_certificate_whose_key_the_server_has_not_proved_fails(verifies, tmp_path):
    """Anybody can send the certificates of others. The next message in TLS 1.2 proves that the server has the key."""
    (tmp_path / "ca.pem").write_bytes(NEW_ROOT.pem)
    context = issue("leaf", NEW_ROOT, "localhost").tls()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def send_two_messages_and_an_alert(_: object, connection: socket.socket) -> None:
        received, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
        received.write(connection.recv(65536))
        with suppress(ssl.SSLWantReadError):
            context.wrap_bio(received, answer, server_side=True).do_handshake()
        hello_and_certificate = b"".join(split_handshake(answer.read())[:2])
        size = len(hello_and_certificate).to_bytes(2, "big")
        connection.sendall(b"\x16\x03\x03" + size + hello_and_certificate + b"\x15\x03\x03\x00\x02\x02\x28")

    options = {"verify": True, "ca_file": tmp_path / "ca.pem"} if verifies else {}
    with serving((send_two_messages_and_an_alert, hang), listens=False) as server:
        outcome = read(server, host="localhost", **options)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    assert outcome.summary.endswith("the server refused the TLS handshake: handshake failure")


def split_handshake(data: bytes) -> list[bytes]:
    """The messages of a handshake in TLS 1.2, without their records."""
    stream = b""
    while data:
        size = int.from_bytes(data[3:5], "big")
        stream, data = stream + data[5 : 5 + size], data[5 + size :]
    messages = []
    while stream:
        size = 4 + int.from_bytes(stream[1:4], "big")
        messages.append(stream[:size])
        stream = stream[size:]
    return messages


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_is_verified(issued, authority_file, address):
    with secured(tls=issued(address), address=address) as server:
        assert read(server, host=address, verify=True, ca_file=authority_file).status is Status.PASS


@pytest.mark.parametrize(
    ("names", "words"),
    [(("other.example",), "Hostname mismatch"), (("shop.example",), "unable to get local issuer certificate")],
    ids=["wrong name", "unknown authority"],
)
def test_a_certificate_that_does_not_verify_fails(issued, authority_file, names, words):
    options = {"ca_file": authority_file} if names == ("other.example",) else {}
    with secured(tls=issued(*names)) as server:
        outcome = read(server, server_name="shop.example", verify=True, **options)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    assert words in outcome.summary
    assert outcome.measurements[0].value == pytest.approx(90 * DAY.total_seconds(), abs=900)


def test_the_server_name_is_sent_as_sni(issued):
    names = []
    context = issued("shop.example")
    context.sni_callback = lambda _, name, __: names.append(name)
    with secured(tls=context) as server:
        read(server)
        read(server, server_name="shop.example")

    assert names == [None, None, "shop.example", "shop.example"]  # each time for both types of keys


def test_a_closed_port_fails():
    outcome = run_probe(Certificate(port=free_port()))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ((hang,), Reason.TIMEOUT),
        ((drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + b"a" * 1000),), Reason.TIMEOUT),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n", hang), Reason.TLS),
    ],
    ids=["silent", "dripping", "HTTP"],
)
def test_a_server_that_does_not_speak_tls_fails(script, reason):
    with serving(script, listens=False) as server:
        outcome = read(server, timeout=0.5 if reason is Reason.TIMEOUT else 20.0)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary


@pytest.mark.parametrize("verifies", [False, True], ids=["read", "verified"])
def test_the_message_says_that_a_server_does_not_speak_tls(verifies):
    with serving((b"220 mail.example ESMTP\r\n", hang), listens=False) as server:
        outcome = read(server, verify=verifies)

    assert outcome.summary == f"127.0.0.1:{server.port}: the server does not speak TLS, or only after STARTTLS"


def test_a_server_that_closes_the_connection_in_the_handshake_fails():
    """Like PostgreSQL, which closes the connection when its first message is not one of its own protocol."""
    with serving((lambda _, connection: connection.recv(65536),), listens=False) as server:
        outcome = read(server)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    assert outcome.summary.endswith(
        "the server closed the connection in the TLS handshake; it may speak TLS only after STARTTLS"
    )


def test_a_missing_file_of_authorities_is_a_probe_error(issued, tmp_path):
    with secured(tls=issued("shop.example")) as server, pytest.raises(ProbeError) as raised:
        read(server, verify=True, ca_file=tmp_path / "nothing.pem")

    assert raised.value.reason is Reason.MISSING
    assert "nothing.pem does not exist" in str(raised.value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"warn_days": 5}, "warnDays must not be below failDays"),
        ({"fail_days": -1}, "greater than or equal to 0"),
        ({"ca_file": "authority.pem"}, "caFile requires verify: true"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Certificate(**options)
