"""The file of `--web.config.file`: TLS and basic authentication, in the Prometheus exporter-toolkit's format."""

import importlib.util
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from exporter.config.complaint import Complaint, ConfigError
from exporter.config.document import Document

_HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}\Z")
_TOOLKIT = {
    (): ("http_server_config", "rate_limit"),
    ("tls_server_config",): (
        *("cert", "key", "client_ca", "client_allowed_sans", "max_version"),
        *("cipher_suites", "curve_preferences", "prefer_server_cipher_suites"),
    ),
}
"""Keys of the exporter-toolkit's format that are not supported here."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(_Section):
    """`tls_server_config`. Relative paths are relative to the file."""

    cert_file: Path
    key_file: Path
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    client_ca_file: Path | None = None
    min_version: Literal["TLS12", "TLS13"] = "TLS12"

    def context(self) -> ssl.SSLContext:
        """The server's TLS context. Raises OSError or ssl.SSLError for files that cannot be used."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if self.min_version == "TLS13" else ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])  # h2 would bring its own ways to exhaust a server, and no gain
        if self.client_ca_file:
            context.load_verify_locations(self.client_ca_file)
        context.verify_mode = {
            "NoClientCert": ssl.CERT_NONE,
            "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
            "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
        }[self.client_auth_type]
        context.load_cert_chain(self.cert_file, self.key_file, password=lambda: "")  # nobody is there to be asked
        return context

    def files(self) -> dict[str, Path]:
        """The files that it names, by key."""
        return {key: path for key, path in self if isinstance(path, Path)}

    def beside(self, folder: Path) -> "Tls":
        """The same with relative paths taken from this folder."""
        return self.model_copy(update={key: folder / path for key, path in self.files().items()})


class WebConfig(_Section):
    """The whole file; either part may be absent."""

    tls_server_config: Tls | None = None
    basic_auth_users: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file. Raises ConfigError with every complaint, including those about files that it names."""
        document = Document.read(path)
        if document.data is None:
            return cls()
        config = document.validated(cls, _rules(document))
        if config.tls_server_config is None:
            return config
        tls = config.tls_server_config.beside(path.parent)
        if complaints := list(_unusable(tls, document)):
            raise ConfigError(complaints)
        return config.model_copy(update={"tls_server_config": tls})


def _unusable(tls: Tls, document: Document) -> Iterator[Complaint]:
    """What is wrong with the files that the file names."""
    unread = False
    for key, path in tls.files().items():
        try:
            path.open("rb").close()
        except OSError as error:
            unread = True
            yield document.complaint(("tls_server_config", key), f"{path} cannot be read: {error.strerror}")
    if unread:
        return
    try:
        tls.context()
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        message = "key_file is not the key of cert_file" if mismatch else "a file is not PEM, or asks for a password"
        yield document.complaint(("tls_server_config",), message)


def _rules(document: Document) -> Iterator[Complaint]:
    data: dict[str, Any] = document.data if isinstance(document.data, dict) else {}
    users = data.get("basic_auth_users")
    for user, password in users.items() if isinstance(users, dict) else ():
        if not _HASH.match(str(password)):
            yield document.complaint(("basic_auth_users", user), "must be a bcrypt hash, as `htpasswd -nB` makes it")
    if users and importlib.util.find_spec("bcrypt") is None:
        yield document.complaint(("basic_auth_users",), "needs the package bcrypt: install health-exporter[auth]")
    tls = data.get("tls_server_config")
    for path, keys in _TOOLKIT.items():
        section = tls if path else data
        for key in keys:
            if isinstance(section, dict) and key in section:
                yield document.complaint((*path, key), "is not supported here")
    asked = tls.get("client_auth_type", "NoClientCert") if isinstance(tls, dict) else "NoClientCert"
    if isinstance(tls, dict) and asked != "NoClientCert" and not tls.get("client_ca_file"):
        yield document.complaint(("tls_server_config", "client_ca_file"), "is required by this client_auth_type")
