"""The file of --web.config.file: TLS on real sockets, users with real hashes, certificates that change."""

import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from support import Exporter, ended

from exporter.document import ConfigError
from exporter.web_config import _HASH, KNOWN_LIMIT, Rotation, Users, WebConfig, load


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(cost)).decode()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    """A folder with a certificate for 127.0.0.1, its key, and the authority's certificate."""
    issue(authority, tmp_path)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path


def issue(authority: trustme.CA, folder: Path, name: str = "server", **options: object) -> None:
    """A new certificate in the folder's files, put there as one step each."""
    leaf = authority.issue_cert("127.0.0.1", **options)  # type: ignore[arg-type]
    for path, blobs in (("crt", leaf.cert_chain_pems), ("key", [leaf.private_key_pem])):
        (folder / "new").write_bytes(b"".join(blob.bytes() for blob in blobs))
        (folder / "new").rename(folder / f"{name}.{path}")


def written(folder: Path, text: str) -> Path:
    path = folder / "web.yml"
    path.write_text(text)
    return path


def refusal(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(path)
    return [str(each).removeprefix(f"{path.parent}/") for each in refused.value.complaints]


TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"


# What the file says


def test_an_empty_file_asks_for_nothing(tmp_path):
    assert load(written(tmp_path, "# nothing\n")) == WebConfig()
    assert load(written(tmp_path, "{}\n")) == WebConfig()


def test_relative_paths_are_beside_the_file(folder, monkeypatch):
    monkeypatch.chdir("/")
    tls = load(written(folder, TLS + "  client_ca_file: ca.pem\n")).tls_server_config

    assert tls is not None
    assert (tls.cert_file, tls.key_file, tls.client_ca_file) == (
        folder / "server.crt",
        folder / "server.key",
        folder / "ca.pem",
    )


def test_absolute_paths_are_absolute(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    text = f"tls_server_config:\n  cert_file: {folder}/server.crt\n  key_file: {folder}/server.key\n"
    tls = load(written(elsewhere, text)).tls_server_config

    assert tls is not None
    assert tls.cert_file == folder / "server.crt"


AUTH_TYPES = (
    "web.yml:4: tls_server_config.client_auth_type: must be 'NoClientCert', 'VerifyClientCertIfGiven' or "
    "'RequireAndVerifyClientCert', not 'Any'"
)
NO_FILE = "cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tls: {}\n", ["web.yml:1: tls: unknown key, did you mean tls_server_config?"]),
        ("basic_auth_user: {}\n", ["web.yml:1: basic_auth_user: unknown key, did you mean basic_auth_users?"]),
        ("http_server_config: {http2: false}\n", ["web.yml:1: http_server_config: is not supported here"]),
        ("[]\n", ["web.yml:1: must be a mapping of keys to values, not a list"]),
        ("tls_server_config: {}\n", [
            "web.yml:1: tls_server_config.cert_file: is required",
            "web.yml:1: tls_server_config.key_file: is required",
        ]),
        (TLS + "  cypher_suites: [a]\n", ["web.yml:4: tls_server_config.cypher_suites: unknown key"]),
        (TLS + "  cipher_suites: [a]\n", ["web.yml:4: tls_server_config.cipher_suites: is not supported here"]),
        (TLS + "  min_version: TLS10\n", [
            "web.yml:4: tls_server_config.min_version: must be 'TLS12' or 'TLS13', not 'TLS10'"
        ]),
        (TLS + "  client_auth_type: Any\n", [
            "web.yml:1: tls_server_config.client_ca_file: is required by this client_auth_type",
            AUTH_TYPES,
        ]),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert\n", [
            "web.yml:1: tls_server_config.client_ca_file: is required by this client_auth_type"
        ]),
        (TLS.replace("server", "no", 3).replace("no_", "server_"), [
            f"web.yml:2: tls_server_config.cert_file: FOLDER/no.crt {NO_FILE}",
            f"web.yml:3: tls_server_config.key_file: FOLDER/no.key {NO_FILE}",
        ]),
        (TLS.replace("server.key", "ca.pem"), [
            "web.yml:1: tls_server_config: a file is not PEM, or asks for a password"
        ]),
        (TLS.replace("server.key", "."), [
            "web.yml:3: tls_server_config.key_file: FOLDER cannot be read: Is a directory"
        ]),
        (TLS.replace("server.key", "other.key"), [
            "web.yml:1: tls_server_config: key_file is not the key of cert_file"
        ]),
        ("basic_auth_users:\n  alice: secret\n  bob: 12345\n", [
            "web.yml:2: basic_auth_users.alice: must be a bcrypt hash, as `htpasswd -nB` makes it",
            "web.yml:3: basic_auth_users.bob: must be a bcrypt hash, as `htpasswd -nB` makes it",
        ]),
        ("basic_auth_users: [a]\n", ["web.yml:1: basic_auth_users: must be a mapping of keys to values, not a list"]),
        ("basic_auth_users: {a: b}\nbasic_auth_users: {}\n", [
            "web.yml:2: basic_auth_users: duplicate key, first in line 1"
        ]),
    ],
)  # fmt: skip
def test_a_fault_is_told_of_in_exactly_these_words(folder, authority, text, expected):
    issue(authority, folder, "other")

    assert refusal(written(folder, text)) == [each.replace("FOLDER", str(folder)) for each in expected]


def test_no_password_is_ever_shown(tmp_path):
    assert "s3cret" not in str(refusal(written(tmp_path, "basic_auth_users: {alice: s3cret, bob: [s3cret]}\n")))
    assert "s3cret" not in str(refusal(written(tmp_path, "basic_auth_users: s3cret\n")))


def test_a_key_with_a_password_is_refused_without_a_prompt(folder):
    key = serialization.load_pem_private_key((folder / "server.key").read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (folder / "server.key").write_bytes(locked)

    assert refusal(written(folder, TLS)) == ["web.yml:1: tls_server_config: a file is not PEM, or asks for a password"]


def test_users_need_bcrypt_and_are_told_so(tmp_path):
    """The package is an extra; without it the start is refused, and not the first request."""
    path = written(tmp_path, f"basic_auth_users:\n  alice: {hashed('a')}\n")
    script = f"""
import sys
sys.modules["bcrypt"] = None
from pathlib import Path
from exporter import web_config
try:
    web_config.load(Path({str(path)!r}))
except ValueError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30).stdout

    assert said == f"{path}:1: basic_auth_users: needs the package bcrypt: install health-exporter[auth]\n"


@given(st.from_regex(_HASH.pattern.removesuffix(r"\Z").replace("0[4-9]|[12]\\d|3[01]", "04"), fullmatch=True))
def test_every_hash_that_is_taken_can_be_compared_with(text):
    assert bcrypt.checkpw(b"a", text.encode()) in (True, False)


# TLS


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[int]:
    """A socket that speaks TLS with whoever comes; yields its port."""
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
    """A client's handshake and reading; gives the server's certificate's serial number and the TLS version."""
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
    tls = load(written(folder, text)).tls_server_config
    assert tls is not None
    return tls.context()


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


# Rotation


@pytest.fixture
def rotation(folder: Path) -> Rotation:
    tls = load(written(folder, TLS)).tls_server_config
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


@pytest.mark.parametrize(
    "spoil", [garbage, half_a_pair, half_a_pair_of_another_sort, other_half, gone], ids=lambda each: each.__name__
)
def test_a_bad_pair_leaves_the_old_certificate_and_a_good_one_comes_later(folder, authority, rotation, caplog, spoil):
    with serving(rotation.context) as port:
        before = shake(port, authority)["serial"]
        spoil(folder, authority)
        rotation.poll()
        rotation.poll()
        assert shake(port, authority)["serial"] == before
        assert [record.getMessage() for record in caplog.records] == ["certificate not loaded, the old one goes on"]

        issue(authority, folder)
        rotation.poll()
        assert shake(port, authority)["serial"] != before


def test_a_certificate_behind_a_link_is_followed(folder, authority, tmp_path_factory):
    """As in a volume of Kubernetes, where a link to a folder is exchanged."""
    volume = tmp_path_factory.mktemp("volume")
    for version in ("first", "second"):
        (volume / version).mkdir()
        issue(authority, volume / version, "tls")
    (volume / "..data").symlink_to("first")
    text = f"tls_server_config:\n  cert_file: {volume}/..data/tls.crt\n  key_file: {volume}/..data/tls.key\n"
    tls = load(written(folder, text)).tls_server_config
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
    tls = load(written(folder, text)).tls_server_config
    assert tls is not None
    rotation = Rotation(tls)
    later = trustme.CA()
    with serving(rotation.context) as port:
        with pytest.raises(OSError, match=r"alert|reset|EOF"):
            shake(port, authority, later.issue_cert("client"))
        later.cert_pem.write_to_path(str(folder / "ca.pem"))
        rotation.poll()
        assert shake(port, authority, later.issue_cert("client"))


# Users


@pytest.fixture(scope="module")
def users() -> Users:
    return Users({"alice": hashed("open sesame"), "zoë": hashed("pässwörd ☃"), "long": hashed("x" * 72)})


@pytest.mark.parametrize(
    ("user", "password", "right"),
    [
        ("alice", "open sesame", True),
        ("alice", "open sesam", False),
        ("alice", "Open sesame", False),
        ("alice", "", False),
        ("alice", "open sesame\0", False),
        ("alice", "x" * 1_000_000, False),
        ("zoë", "pässwörd ☃", True),
        ("zoë", "password", False),
        ("zo\udceb", "pässwörd ☃", False),
        ("alice", "\udcff", False),
        ("bob", "open sesame", False),
        ("", "", False),
        ("x" * 1_000_000, "open sesame", False),
        ("alice\0", "open sesame", False),
        ("long", "x" * 72, True),
        ("long", "x" * 71, False),
    ],
    ids=lambda each: ascii(each)[:20],
)
def test_a_user_is_let_in_by_the_password_alone(users, user, password, right):
    for _ in range(2):  # the second answer is remembered, where it is a yes
        assert users.authorize(user, password) is right


def test_a_remembered_password_opens_for_its_user_only(users):
    assert users.authorize("alice", "open sesame")

    assert not users.authorize("zoë", "open sesame")
    assert not users.authorize("bob", "open sesame")
    assert not users.authorize("alice\0open", "sesame")


def test_nobody_is_let_in_by_the_hash_that_stands_for_nobody(users):
    users._nobody = hashed("a").encode()

    assert not users.authorize("bob", "a")


def test_a_password_that_was_right_costs_no_second_run_of_bcrypt():
    users = Users({"alice": hashed("open sesame", cost=10)})
    users.authorize("alice", "open sesame")
    began = time.process_time()
    for _ in range(100):
        assert users.authorize("alice", "open sesame")

    assert time.process_time() - began < 1  # a hundred runs take more than four seconds


def test_what_is_remembered_is_bounded():
    users = Users({str(number): hashed("a") for number in range(KNOWN_LIMIT + 5)})
    for number in range(KNOWN_LIMIT + 5):
        assert users.authorize(str(number), "a")

    assert len(users._known) == KNOWN_LIMIT
    assert users.authorize(str(KNOWN_LIMIT + 4), "a")


def test_an_unknown_user_takes_as_long_as_a_known_one():
    users = Users({"alice": hashed("open sesame", cost=10)})

    def cost(user: str) -> float:
        began = time.process_time()
        for _ in range(5):
            users.authorize(user, "wrong")
        return time.process_time() - began

    assert 0.4 < cost("alice") / cost("bob") < 2.5  # without the comparison it would be thousands


def test_hashes_of_every_prefix_open():
    """`htpasswd` writes $2y$, others $2a$ and $2b$: one algorithm."""
    for prefix in ("$2a$", "$2b$", "$2y$"):
        assert Users({"a": prefix + hashed("b")[4:]}).authorize("a", "b")
