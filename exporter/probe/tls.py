"""TLS of the kinds: the options that they share, and the contexts that these make of files."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from exporter.host.reader import call, explained, read_pem, read_pem_now
from exporter.model import Deadline, ProbeError, Reason
from exporter.net.tls import make_client_context, make_inspection_context, make_kubelet_context
from exporter.probe import docstrings
from exporter.probe.options import Host, InputFile, Options
from exporter.tls import describe_file_error

StartTls = Annotated[Literal["smtp", "imap", "pop3", "ldap", "postgresql", "mysql"] | None, Field(alias="startTLS")]
"""A protocol in which a client starts TLS on a connection that began without it (net/starttls.py)."""


class ClientCertificate(Options):
    """The certificate to present to a server that requests one."""

    cert_file: InputFile
    """File of the certificate, with its chain, in PEM."""
    key_file: InputFile
    """File of its key, in PEM."""

    @property
    def files(self) -> tuple[Path, Path]:
        """The files of the chain and of the key."""
        return self.cert_file, self.key_file


def _describe_last(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Describe the options in the JSON Schema, and move those of TlsOptions behind a kind's own."""
    docstrings.describe(schema, model)
    for field in TlsOptions.model_fields.values():
        name = str(field.alias)
        schema["properties"][name] = schema["properties"].pop(name)


class TlsOptions(Options):
    """The options of a kind that connects with TLS, always or if another option says so.

    List it after the base class of the kind: `class Redis(DatabaseProbe, TlsOptions)`.
    """

    model_config = ConfigDict(json_schema_extra=_describe_last)

    verify_tls: Annotated[bool, Field(alias="verifyTLS", strict=True)] = False
    """Verifies the certificate's chain and name against the system's CA certificates, or those in caFile."""
    server_name: Host | None = None
    """Name to request from the server (SNI) and to verify. By default, the host."""
    ca_file: InputFile | None = None
    """CA certificates to verify the server's certificate with, in PEM. Requires verifyTLS."""
    client_certificate: ClientCertificate | None = None
    """Client certificate to present to the server."""

    @model_validator(mode="after")
    def _validate_tls(self) -> Self:
        if self.ca_file and not self.verify_tls:
            raise ValueError("caFile requires verifyTLS: true")
        used = [field.alias for name, field in TlsOptions.model_fields.items() if getattr(self, name)]
        if used and self.tls_switch:
            raise ValueError(f"{used[0]} requires {self.tls_switch}")
        return self

    @property
    def tls_switch(self) -> str:
        """The option that turns TLS on, if it is off."""
        return ""

    def read_tls_context(self, deadline: Deadline, protocols: tuple[str, ...] = ()) -> ssl.SSLContext:
        """Return TLS by these options. Raises ProbeError, as `read_client_context` does."""
        if not self.verify_tls and not self.client_certificate:
            return make_kubelet_context(protocols)
        certificate = self.client_certificate.files if self.client_certificate else None
        return read_client_context(deadline, self.ca_file, certificate, verify=self.verify_tls, protocols=protocols)


def read_client_context(
    deadline: Deadline,
    ca_file: Path | None = None,
    certificate: tuple[Path, Path] | None = None,
    *,
    verify: bool = True,
    protocols: tuple[str, ...] = (),
    key: str = "",
) -> ssl.SSLContext:
    """Return TLS that verifies chain and name, against the system's CA certificates, or those in `ca_file`.

    `certificate` is the client's own: the files of its chain and of its key, in PEM. `protocols` are offered by ALPN.
    `key` is the type of key that the server must have. Contexts are cached until a file changes. Raises ProbeError for
    a file that is missing, that cannot be used or that is not read by the deadline.
    """
    with explained():
        authorities, folder = (read_pem(ca_file, deadline), None) if ca_file else _read_system_authorities(deadline)
    pair = _read_pair(certificate, deadline)
    with _name_files(ca_file, *(certificate or ())):
        return make_client_context(authorities, pair, verify=verify, folder=folder, protocols=protocols, key=key)


def read_inspection_context(
    deadline: Deadline, certificate: tuple[Path, Path] | None = None, key: str = ""
) -> ssl.SSLContext:
    """Return TLS that accepts any certificate of the server. The rest is as in `read_client_context`."""
    pair = _read_pair(certificate, deadline)
    with _name_files(*(certificate or ())):
        return make_inspection_context(pair, key)


def _read_pair(certificate: tuple[Path, Path] | None, deadline: Deadline) -> tuple[bytes, bytes] | None:
    with explained():
        return (read_pem(certificate[0], deadline), read_pem(certificate[1], deadline)) if certificate else None


@contextmanager
def _name_files(*paths: Path | None) -> Iterator[None]:
    """Turn an error of OpenSSL into a ProbeError that names the files."""
    try:
        yield
    except ssl.SSLError as error:
        files = ", ".join(str(path) for path in paths if path) or "of the system"
        message = f"a certificate file cannot be used ({files}): {describe_file_error(error)}"
        raise ProbeError(Reason.ERROR, message) from None


def _read_system_authorities(deadline: Deadline) -> tuple[bytes | None, tuple[str, object]]:
    return call("the system's CA certificates", _read_system_authorities_now, "read", deadline)


def _read_system_authorities_now() -> tuple[bytes | None, tuple[str, object]]:
    """Return the content of the file that OpenSSL reads by default, and its folder with the time of its last change."""
    paths = ssl.get_default_verify_paths()  # leaves out a file or a folder that does not exist
    authorities = read_pem_now(paths.cafile) if paths.cafile else None
    # OpenSSL opens files of the folder during a handshake. They belong to the system or the image.
    changed = Path(paths.capath).stat().st_mtime_ns if paths.capath else None
    return authorities, (paths.capath or paths.openssl_capath, changed)
