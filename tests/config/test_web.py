"""The file of --web.config.file: what it may contain, and the complaints about a file that is not valid."""

import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from web_files import TLS, hashed, issue, written

from exporter.config.complaint import ConfigError
from exporter.config.web import BCRYPT_HASH, WebConfig


def refusal(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        WebConfig.read(path)
    return [str(complaint).removeprefix(f"{path.parent}/") for complaint in refused.value.complaints]


def test_an_empty_file_configures_neither_tls_nor_users(tmp_path):
    assert WebConfig.read(written(tmp_path, "# empty\n")) == WebConfig()
    assert WebConfig.read(written(tmp_path, "{}\n")) == WebConfig()


def test_relative_paths_are_relative_to_the_file(folder, monkeypatch):
    monkeypatch.chdir("/")
    tls = WebConfig.read(written(folder, TLS + "  client_ca_file: ca.pem\n")).tls_server_config

    assert tls is not None
    assert (tls.cert_file, tls.key_file, tls.client_ca_file) == (
        folder / "server.crt",
        folder / "server.key",
        folder / "ca.pem",
    )


def test_absolute_paths_stay_as_they_are(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    text = f"tls_server_config:\n  cert_file: {folder}/server.crt\n  key_file: {folder}/server.key\n"
    tls = WebConfig.read(written(elsewhere, text)).tls_server_config

    assert tls is not None
    assert tls.cert_file == folder / "server.crt"


AUTH_TYPES = (
    "web.yml:4: tls_server_config.client_auth_type: must be 'NoClientCert', 'VerifyClientCertIfGiven' or "
    "'RequireAndVerifyClientCert', not text of 3 characters"
)
COSTLY = hashed("a").replace("$04$", "$15$")
NO_FILE = "cannot be read: No such file or directory, relative to the folder of this file"

HIDDEN = "contains the invisible character U+200B (zero width space): delete it"
BLOCK = "ends with a line break: write it on the line of its key, or with |- instead of |"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tls: {}\n", ["web.yml:1: tls: unknown key, did you mean tls_server_config?"]),
        ("basic_auth_user: {}\n", ["web.yml:1: basic_auth_user: unknown key, did you mean basic_auth_users?"]),
        ("http_server_config: {http2: false}\n", ["web.yml:1: http_server_config: is not supported here"]),
        ("[]\n", ["web.yml:1: must be a mapping of keys to values, not a list"]),
        ("!x {basic_auth_users: {}}\n", [
            "web.yml:1: has an unsupported tag: remove it, or put a value that begins with ! in quotes",
        ]),
        ("tls_server_config: {}\n", [
            "web.yml:1: tls_server_config.cert_file: is required",
            "web.yml:1: tls_server_config.key_file: is required",
        ]),
        (TLS + "  cypher_suites: [a]\n", ["web.yml:4: tls_server_config.cypher_suites: unknown key"]),
        (TLS + "  cipher_suites: [a]\n", ["web.yml:4: tls_server_config.cipher_suites: is not supported here"]),
        (TLS + "  min_version: TLS10\n", [
            "web.yml:4: tls_server_config.min_version: must be 'TLS12' or 'TLS13', not text of 5 characters"
        ]),
        (TLS + "  client_auth_type: Any\n", [
            "web.yml:1: tls_server_config.client_ca_file: is required by this client_auth_type",
            AUTH_TYPES,
        ]),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert\n", [
            "web.yml:1: tls_server_config.client_ca_file: is required by this client_auth_type"
        ]),
        (TLS.replace("server", "no", 3).replace("no_", "server_"), [
            f"web.yml:2: tls_server_config.cert_file: {NO_FILE}",
            f"web.yml:3: tls_server_config.key_file: {NO_FILE}",
        ]),
        (TLS.replace("server.key", "ca.pem"), [
            "web.yml:1: tls_server_config: a file is not in PEM format, or needs a password"
        ]),
        (TLS.replace("server.key", "."), [
            "web.yml:3: tls_server_config.key_file: cannot be read: Is a directory, relative to the folder of this file"
        ]),
        (TLS.replace("server.key", "other.key"), [
            "web.yml:1: tls_server_config: the key does not match the certificate"
        ]),
        ("basic_auth_users:\n  alice: secret\n  bob: 12345\n", [
            "web.yml:2: basic_auth_users.alice: must be a bcrypt hash: make one with `htpasswd -nB`",
            "web.yml:3: basic_auth_users.bob: must be a bcrypt hash: make one with `htpasswd -nB`",
        ]),
        ("basic_auth_users:\n  alice: " + COSTLY.replace("$15$", "$14$") + "\n  bob: " + COSTLY + "\n", [
            "web.yml:3: basic_auth_users.bob: must have a cost of at most 14: make one with `htpasswd -nB -C 10`",
        ]),
        (TLS.replace("cert_file: ", "cert_file: |\n    "), [
            f"web.yml:2: tls_server_config.cert_file: {BLOCK}",
        ]),
        ("basic_auth_users:\n  alice: |\n    " + COSTLY + '\n  "bob\\u200b": ' + COSTLY + "\n", [
            "web.yml:2: basic_auth_users.alice: " + BLOCK,
            f"web.yml:4: basic_auth_users.<4 characters>: {HIDDEN}",
        ]),
        ("basic_auth_users: [a]\n", ["web.yml:1: basic_auth_users: must be a mapping of keys to values, not a list"]),
        ("basic_auth_users: {a: b}\nbasic_auth_users: {}\n", [
            "web.yml:2: basic_auth_users: duplicate key, first used on line 1"
        ]),
    ],
)  # fmt: skip
def test_an_invalid_file_has_exactly_these_complaints(folder, authority, text, expected):
    issue(authority, folder, "other")

    assert refusal(written(folder, text)) == expected


def test_no_complaint_shows_a_password(tmp_path):
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

    assert refusal(written(folder, TLS)) == [
        "web.yml:1: tls_server_config: a file is not in PEM format, or needs a password"
    ]


def test_users_without_bcrypt_are_refused_when_the_file_is_read(tmp_path):
    """The package is an extra. Without it the exporter must not start, rather than refuse every request."""
    path = written(tmp_path, f"basic_auth_users:\n  alice: {hashed('a')}\n")
    script = f"""
import sys
sys.modules["bcrypt"] = None
from pathlib import Path
from exporter.config.web import WebConfig
try:
    WebConfig.read(Path({str(path)!r}))
except ValueError as error:
    print(error)
"""
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    ).stdout

    assert printed == (
        f"{path}:1: basic_auth_users: requires the extra auth (module bcrypt is missing): "
        f"run {sys.executable} -m pip install 'bcrypt>=4'\n"
    )


@given(st.from_regex(BCRYPT_HASH.pattern.removesuffix(r"\Z").replace("0[4-9]|[12]\\d|3[01]", "04"), fullmatch=True))
def test_bcrypt_can_verify_every_hash_that_is_accepted(text):
    assert bcrypt.checkpw(b"a", text.encode()) in (True, False)
