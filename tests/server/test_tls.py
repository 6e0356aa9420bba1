"""TLS on real sockets, with certificates that change."""

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certificates
import pytest
import trustme
from support import Exporter, ended
from web_files import TLS, issue, written

from exporter.config.web import WebConfig
from exporter.server.tls import Rotation


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[int]:
    """A socket that speaks TLS with every client; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(sock, server_side=True) as secured:
                        secured.sendall(b"well")
                        secured.unwrap()  # OpenSSL forgets the session of a connection that ends without this
                except OSError:
                    sock.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def shake(
    port: int, trust: trustme.CA, own: trustme.LeafCert | None = None, **options: ssl.TLSVersion
) -> dict[str, str]:
    """Make a client's handshake and read; return the serial number of the server's certificate and the TLS version."""
    context = ssl.create_default_context()
    trust.configure_trust(context)
    if own:
        own.configure_cert(context)
    for name, value in options.items():
        setattr(context, name, value)
    with (
        socket.create_connection(("127.0.0.1", port), 5) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as secured,
    ):
        assert secured.recv(4) == b"well"  # in TLS 1.3 a refused client learns of it here
        return {"serial": str((secured.getpeercert() or {})["serialNumber"]), "version": str(secured.version())}


def context(folder: Path, text: str = TLS) -> ssl.SSLContext:
    tls = WebConfig.read(written(folder, text)).tls_server_config
    assert tls is not None
    return tls.build_context(tls.read_files())


def test_the_certificate_is_served(folder, authority):
    with serving(context(folder)) as port:
        assert shake(port, authority)["version"] == "TLSv1.3"


def test_tls_1_2_is_the_least(folder, authority):
    with serving(context(folder)) as port:
        assert shake(port, authority, maximum_version=ssl.TLSVersion.TLSv1_2)["version"] == "TLSv1.2"
    with serving(context(folder, TLS + "  min_version: TLS13\n")) as port, pytest.raises(OSError, match="alert"):
        shake(port, authority, maximum_version=ssl.TLSVersion.TLSv1_2)


def test_a_client_certificate_can_be_required(folder, authority):
    text = TLS + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
    with serving(context(folder, text)) as port:
        assert shake(port, authority, authority.issue_cert("client"))
        for own in (None, trustme.CA().issue_cert("stranger")):
            with pytest.raises(OSError, match=r"alert|reset|EOF"):
                shake(port, authority, own)


def test_a_client_certificate_can_be_left_out_where_it_is_only_verified(folder, authority):
    text = TLS + "  client_ca_file: ca.pem\n  client_auth_type: VerifyClientCertIfGiven\n"
    with serving(context(folder, text)) as port:
        assert shake(port, authority)
        with pytest.raises(OSError, match=r"alert|reset|EOF"):
            shake(port, authority, trustme.CA().issue_cert("stranger"))


@pytest.fixture
def rotation(folder: Path) -> Rotation:
    tls = WebConfig.read(written(folder, TLS)).tls_server_config
    assert tls is not None
    return Rotation(tls)


def test_a_new_certificate_is_served_from_the_next_handshake_on(folder, authority, rotation):
    with serving(rotation.context) as port:
        before = shake(port, authority)["serial"]
        issue(authority, folder)
        assert shake(port, authority)["serial"] == before
        rotation.poll()
        assert shake(port, authority)["serial"] != before


def test_nothing_is_loaded_while_nothing_changes(authority, rotation, caplog):
    caplog.set_level(logging.INFO)
    rotation.poll()

    assert caplog.records == []


def garbage(folder: Path, authority: trustme.CA) -> None:
    (folder / "server.crt").write_text("nothing")


def half_a_pair(folder: Path, authority: trustme.CA) -> None:
    """A new certificate whose key has not been written yet, or never will be."""
    issue(authority, folder, "next")
    (folder / "next.crt").rename(folder / "server.crt")


def half_a_pair_of_another_sort(folder: Path, authority: trustme.CA) -> None:
    issue(authority, folder, "next", key_type=trustme.KeyType.RSA)
    (folder / "next.crt").rename(folder / "server.crt")


def other_half(folder: Path, authority: trustme.CA) -> None:
    issue(authority, folder, "next")
    (folder / "next.key").rename(folder / "server.key")


def gone(folder: Path, authority: trustme.CA) -> None:
    (folder / "server.key").unlink()


MISMATCH = "the key does not match the certificate"
SPOILT = {
    garbage: "a file is not in PEM format, or needs a password",
    half_a_pair: MISMATCH,
    half_a_pair_of_another_sort: MISMATCH,
    other_half: MISMATCH,
    gone: "No such file or directory",
}


@pytest.mark.parametrize(("spoil", "error"), SPOILT.items(), ids=[spoil.__name__ for spoil in SPOILT])
def test_a_bad_pair_leaves_the_old_certificate_and_a_good_one_comes_later(
    folder, authority, rotation, caplog, spoil, error
):
    with serving(rotation.context) as port:
        before = shake(port, authority)["serial"]
        spoil(folder, authority)
        rotation.poll()
        rotation.poll()
        assert shake(port, authority)["serial"] == before
        (logged,) = caplog.records
        assert logged.message == "certificate not loaded; keeping the previous one"
        assert error in logged.fields["error"]
        assert "_ssl.c" not in logged.fields["error"]

        issue(authority, folder)
        rotation.poll()
        assert shake(port, authority)["serial"] != before


def test_other_files_that_cannot_be_used_are_not_watched(folder, authority, rotation):
    """They were valid when the configuration was read, and have changed since."""
    (folder / "bad.crt").write_text("nothing")
    tls = rotation._tls.model_copy(update={"cert_file": folder / "bad.crt"})
    with serving(rotation.context) as port:
        before = shake(port, authority)["serial"]
        with pytest.raises(OSError, match="PEM"):
            rotation.replace(tls)
        assert shake(port, authority)["serial"] == before
        issue(authority, folder)
        rotation.poll()
        assert shake(port, authority)["serial"] != before


def test_a_certificate_behind_a_link_is_followed(folder, authority, tmp_path_factory):
    """As in a Kubernetes volume, where a link to a folder is replaced."""
    volume = tmp_path_factory.mktemp("volume")
    for version in ("first", "second"):
        (volume / version).mkdir()
        issue(authority, volume / version, "tls")
    (volume / "..data").symlink_to("first")
    text = f"tls_server_config:\n  cert_file: {volume}/..data/tls.crt\n  key_file: {volume}/..data/tls.key\n"
    tls = WebConfig.read(written(folder, text)).tls_server_config
    assert tls is not None
    rotation = Rotation(tls)
    with serving(rotation.context) as port:
        before = shake(port, authority)["serial"]
        (volume / "new").symlink_to("second")
        (volume / "new").rename(volume / "..data")
        rotation.poll()
        assert shake(port, authority)["serial"] != before


def test_the_exporter_serves_a_changed_certificate(folder, authority):
    config = written(folder, TLS)
    with ended(Exporter("--web.config.file", str(config))) as exporter:
        port = int(exporter.line(r"address=https://127.0.0.1:(\d+)/").group(1))
        before = served(port, authority)
        issue(authority, folder)
        exporter.line(r"msg=\"certificate loaded\"")
        assert served(port, authority) != before


def served(port: int, authority: trustme.CA) -> str:
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with (
        socket.create_connection(("127.0.0.1", port), 5) as sock,
        trust.wrap_socket(sock, server_hostname="127.0.0.1") as secured,
    ):
        return str((secured.getpeercert() or {})["serialNumber"])


def test_a_new_authority_counts_from_the_next_handshake_on(folder, authority):
    text = TLS + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
    tls = WebConfig.read(written(folder, text)).tls_server_config
    assert tls is not None
    rotation = Rotation(tls)
    later = trustme.CA()
    with serving(rotation.context) as port:
        with pytest.raises(OSError, match=r"alert|reset|EOF"):
            shake(port, authority, later.issue_cert("client"))
        later.cert_pem.write_to_path(str(folder / "ca.pem"))
        rotation.poll()
        assert shake(port, authority, later.issue_cert("client"))


# Sessions


class Client:
    """A client that keeps its TLS session and offers it again."""

    def __init__(self, trust: trustme.CA, own: trustme.LeafCert, version: ssl.TLSVersion, *, tickets: bool) -> None:
        self.context = ssl.create_default_context()
        self.context.minimum_version = self.context.maximum_version = version
        if not tickets:
            self.context.options |= ssl.OP_NO_TICKET  # in TLS 1.2, sessions by their ID
        trust.configure_trust(self.context)
        own.configure_cert(self.context)
        self.session: ssl.SSLSession | None = None

    def resumes(self, port: int) -> bool:
        """Whether the server resumed the previous connection's session. Raises OSError if it refuses the client."""
        with (
            socket.create_connection(("127.0.0.1", port), 5) as sock,
            self.context.wrap_socket(sock, server_hostname="127.0.0.1", session=self.session) as secured,
        ):
            if secured.recv(4) != b"well":
                raise OSError("EOF")
            self.session, resumed = secured.session, bool(secured.session_reused)
            secured.unwrap()
            return resumed


VERSIONS = pytest.mark.parametrize(
    ("version", "tickets"),
    [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)],
    ids=["TLS 1.2 ticket", "TLS 1.2 session ID", "TLS 1.3 ticket"],
)


@VERSIONS
def test_a_client_of_these_tests_would_resume_a_session(folder, authority, version, tickets):
    """Otherwise the next test could not fail: with OpenSSL's defaults, each of these resumes its session."""
    plain = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.pem"))
    plain.verify_mode = ssl.CERT_REQUIRED
    plain.load_cert_chain(folder / "server.crt", folder / "server.key")
    client = Client(authority, authority.issue_cert("client"), version, tickets=tickets)
    with serving(plain) as port:
        assert [client.resumes(port), client.resumes(port)] == [False, True]


@VERSIONS
def test_no_session_outlives_its_authority(folder, authority, version, tickets):
    """A resumed session would skip the verification of the client's certificate."""
    text = TLS + "  client_ca_file: clients.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
    first, second = trustme.CA(), trustme.CA()
    first.cert_pem.write_to_path(str(folder / "clients.pem"))
    tls = WebConfig.read(written(folder, text)).tls_server_config
    assert tls is not None
    rotation = Rotation(tls)
    client = Client(authority, first.issue_cert("client"), version, tickets=tickets)
    with serving(rotation.context) as port:
        for _ in range(3):
            client.resumes(port)
        second.cert_pem.write_to_path(str(folder / "clients.pem"))
        rotation.poll()
        for _ in range(2):
            with pytest.raises(OSError, match=r"alert|reset|EOF"):
                client.resumes(port)
        assert not Client(authority, second.issue_cert("client"), version, tickets=tickets).resumes(port)


@VERSIONS
def test_no_session_ticket_is_issued(folder, authority, version, tickets):
    client = Client(authority, authority.issue_cert("client"), version, tickets=tickets)
    with serving(context(folder)) as port:
        client.resumes(port)

    assert client.session is None or not client.session.has_ticket


@pytest.mark.parametrize("trusted", ["the issuing authority", "a home-made root"])
def test_clients_are_verified_by_the_same_rules_as_servers(trusted, folder, authority):
    """Python's default differs between its versions: 3.11 refuses the first, and 3.13 the second."""
    if trusted == "the issuing authority":
        issuer = certificates.issue("My Intermediate", certificates.issue("Root", authority=True), authority=True)
    else:
        issuer = certificates.issue("Home-made Root", authority=True, critical=False)
    client = certificates.issue("client", issuer, "client.example")
    (folder / "clients.pem").write_bytes(issuer.pem)
    text = TLS + "  client_ca_file: clients.pem\n  client_auth_type: RequireAndVerifyClientCert\n"

    with serving(context(folder, text)) as port:
        assert shake(port, authority, client)
