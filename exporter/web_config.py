"""The file of `--web.config.file`: TLS and basic authentication, in the Prometheus exporter-toolkit's format."""

import hashlib
import importlib
import logging
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from exporter.document import Complaint, ConfigError, Document

KNOWN_LIMIT = 100  # credentials whose success is remembered, so that not every scrape costs a bcrypt run

_log = logging.getLogger(__name__)


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
        self.load_certificate(context)
        return context

    def load_certificate(self, context: ssl.SSLContext) -> None:
        """Serve the certificate that is in the files now, from the next handshake on."""
        context.load_cert_chain(self.cert_file, self.key_file)

    def beside(self, folder: Path) -> "Tls":
        """The same with relative paths taken from this folder."""
        paths = {name: folder / path for name, path in self if isinstance(path, Path)}
        return self.model_copy(update=paths)


class Rotation:
    """Serves the certificate that the files hold now; a bad pair leaves the old one in place."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self.context = tls.context()
        self._seen = self._signature()

    def poll(self) -> None:
        """Look at the files, and load them when they have changed."""
        signature = self._signature()
        if signature == self._seen:
            return
        self._seen = signature
        try:
            self._tls.load_certificate(self.context)
        except OSError as error:
            _log.error("certificate not loaded, the old one goes on", extra={"fields": {"error": str(error)}})
        else:
            _log.info("certificate loaded", extra={"fields": {"file": str(self._tls.cert_file)}})

    def _signature(self) -> object:
        try:
            return [(each.st_ino, each.st_mtime_ns) for each in (self._tls.cert_file.stat(), self._tls.key_file.stat())]
        except OSError as error:
            return error.errno


class WebConfig(_Section):
    """The whole file; either part may be absent."""

    tls_server_config: Tls | None = None
    basic_auth_users: dict[str, str] = {}


def load(path: Path) -> WebConfig:
    """Read the file. Raises ConfigError with every complaint there is, also for files it names that cannot be used."""
    document = Document.read(path)
    config = document.validated(WebConfig, _rules(document))
    if config.tls_server_config is None:
        return config
    tls = config.tls_server_config.beside(path.parent)
    try:
        tls.context()
    except OSError as error:
        raise ConfigError([document.complaint(("tls_server_config",), f"cannot be used: {error}")]) from None
    return config.model_copy(update={"tls_server_config": tls})


def _rules(document: Document) -> Iterator[Complaint]:
    data: dict[str, Any] = document.data if isinstance(document.data, dict) else {}
    users = data.get("basic_auth_users")
    for user, password in users.items() if isinstance(users, dict) else ():
        if not str(password).startswith(("$2a$", "$2b$", "$2y$")):
            yield document.complaint(("basic_auth_users", user), "must be a bcrypt hash")
    if users:
        try:
            importlib.import_module("bcrypt")
        except ImportError:
            yield document.complaint(("basic_auth_users",), "needs the package bcrypt: install health-exporter[auth]")
    tls = data.get("tls_server_config")
    asked = tls.get("client_auth_type", "NoClientCert") if isinstance(tls, dict) else "NoClientCert"
    if isinstance(tls, dict) and asked != "NoClientCert" and not tls.get("client_ca_file"):
        yield document.complaint(("tls_server_config", "client_ca_file"), "is required by this client_auth_type")


class Users:
    """Who may ask. One bcrypt run at a time, for unknown users too, so that neither load nor timing tells anything."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._bcrypt: Any = importlib.import_module("bcrypt")
        self._hashes = {user: password.encode() for user, password in hashes.items()}
        self._nobody: bytes = self._bcrypt.hashpw(b"", self._bcrypt.gensalt(10))
        self._lock = threading.Lock()
        self._known: set[bytes] = set()

    def authorize(self, user: str, password: str) -> bool:
        """Whether this user has this password. bcrypt looks at the first 72 bytes of it."""
        seen = hashlib.sha256(f"{user}\0{password}".encode("utf-8", "replace")).digest()
        if seen in self._known:
            return True
        with self._lock:
            matches: bool = self._bcrypt.checkpw(
                password.encode("utf-8", "replace")[:72], self._hashes.get(user, self._nobody)
            )
        right = matches and user in self._hashes
        if right and len(self._known) < KNOWN_LIMIT:
            self._known.add(seen)
        return right
