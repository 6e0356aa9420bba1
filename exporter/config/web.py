"""The file of `--web.config.file`: TLS and basic authentication, in the Prometheus exporter-toolkit's format."""

import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict

from exporter.config.complaint import Complaint, ConfigError, Keys
from exporter.config.document import Document
from exporter.host.reader import read_pem
from exporter.net.tls import load_authorities, load_certificate
from exporter.probe.extras import require
from exporter.probe.flaws import find_flaw
from exporter.probe.options import require_one_line
from exporter.tls import apply_rules, describe_file_error

BCRYPT_HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}\Z")
MAX_COST = 14  # of a bcrypt hash: about a second of CPU for each comparison, twice as much for each further step
_UNSUPPORTED = {
    (): ("http_server_config", "rate_limit"),
    ("tls_server_config",): (
        *("cert", "key", "client_ca", "client_allowed_sans", "max_version"),
        *("cipher_suites", "curve_preferences", "prefer_server_cipher_suites"),
    ),
}
"""Keys of the exporter-toolkit's format that are not supported here, by the section they belong to."""


_File = Annotated[Path, AfterValidator(require_one_line)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Tls(_Section):
    """`tls_server_config`. Relative paths are relative to the file."""

    cert_file: _File
    key_file: _File
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = "NoClientCert"
    client_ca_file: _File | None = None
    min_version: Literal["TLS12", "TLS13"] = "TLS12"

    def read_files(self) -> dict[str, bytes]:
        """Return the contents of the files, by key. Raises OSError."""
        return {key: read_pem(path) for key, path in self.files().items()}

    def build_context(self, files: Mapping[str, bytes]) -> ssl.SSLContext:
        """Return the server's TLS context with these contents of the files. Raises ssl.SSLError for unusable ones."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        apply_rules(context)
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if self.min_version == "TLS13" else ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])  # h2 has no advantage here, and its own ways to exhaust a server
        if self.client_ca_file:
            load_authorities(context, files["client_ca_file"])
        context.verify_mode = {
            "NoClientCert": ssl.CERT_NONE,
            "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
            "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
        }[self.client_auth_type]
        # No tickets: a resumed session skips the verification of the client's certificate.
        context.options |= ssl.OP_NO_TICKET  # TLS 1.2
        context.num_tickets = 0  # TLS 1.3
        load_certificate(context, files["cert_file"], files["key_file"])
        return context

    def files(self) -> dict[str, Path]:
        """Return the paths in this section, by key."""
        return {key: path for key, path in self if isinstance(path, Path)}

    def relative_to(self, folder: Path) -> "Tls":
        """Return the same section, with relative paths resolved against this folder."""
        return self.model_copy(update={key: folder / path for key, path in self.files().items()})


class WebConfig(_Section):
    """The whole file; both sections are optional."""

    tls_server_config: Tls | None = None
    basic_auth_users: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file. Raises ConfigError with every complaint, including those about the files it refers to."""
        document = Document.read(path)
        if document.data is None and not document.complaints:
            return cls()
        config = document.validate(cls, _find_violations(document))
        if config.tls_server_config is None:
            return config
        tls = config.tls_server_config.relative_to(path.parent)
        if complaints := list(_check_files(tls, document)):
            raise ConfigError(complaints)
        return config.model_copy(update={"tls_server_config": tls})


def _check_files(tls: Tls, document: Document) -> Iterator[Complaint]:
    """Yield complaints about certificates and keys that cannot be read or used."""
    contents = {}
    for key, path in tls.files().items():
        try:
            contents[key] = read_pem(path)
        except OSError as error:
            absolute = Path(document.find_mapping("tls_server_config")[key]).is_absolute()
            where = "" if absolute else ", relative to the folder of this file"
            yield document.make_complaint(("tls_server_config", key), f"cannot be read: {error.strerror}{where}")
    if contents.keys() != tls.files().keys():
        return
    try:
        tls.build_context(contents)
    except ssl.SSLError as error:
        yield document.make_complaint(("tls_server_config",), describe_file_error(error))


def _find_violations(document: Document) -> list[Complaint]:
    """Violations of the rules that the models do not check. They read the data as it is written, as in rules.py."""
    violations = (*_check_users(document), *_check_unsupported_keys(document), *_check_client_ca(document))
    return [document.make_complaint(path, message) for path, message in violations]


def _check_users(document: Document) -> Iterator[tuple[Keys, str]]:
    users = document.find_mapping("basic_auth_users")
    for user, password in users.items():
        match = BCRYPT_HASH.match(str(password))
        if flaw := find_flaw(user) or find_flaw(str(password)):
            yield ("basic_auth_users", user), flaw
        elif match is None:
            yield ("basic_auth_users", user), "must be a bcrypt hash: make one with `htpasswd -nB`"
        elif int(match[1]) > MAX_COST:
            yield (
                ("basic_auth_users", user),
                f"must have a cost of at most {MAX_COST}: make one with `htpasswd -nB -C 10`",
            )
    if users:
        try:
            require("bcrypt", "auth")
        except ValueError as error:
            yield ("basic_auth_users",), str(error)


def _check_unsupported_keys(document: Document) -> Iterator[tuple[Keys, str]]:
    for section, keys in _UNSUPPORTED.items():
        for key in document.find_mapping(*section).keys() & set(keys):
            yield (*section, key), "is not supported here"


def _check_client_ca(document: Document) -> Iterator[tuple[Keys, str]]:
    tls = document.find_mapping("tls_server_config")
    if tls.get("client_auth_type", "NoClientCert") != "NoClientCert" and not tls.get("client_ca_file"):
        yield ("tls_server_config", "client_ca_file"), "is required by this client_auth_type"
