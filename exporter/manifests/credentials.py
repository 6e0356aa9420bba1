"""Credentials and TLS settings of Prometheus' programs (prometheus/common, config/http_config.go)."""

import re
from dataclasses import dataclass
from typing import Any

from exporter.manifests.section import Section

SECRET_HEADER = re.compile(r"auth|cookie|credential|key|pass|secret|session|signature|token", re.IGNORECASE)
"""Matches the names of headers whose value may be a secret."""
_INLINE = "save it as a file, and name the file here"
_TLS_HINTS = {
    **dict.fromkeys(("ca", "cert", "key"), _INLINE),
    **dict.fromkeys(("min_version", "max_version"), "TLS 1.2 and newer are used"),
}


def refer(section: Section, key: str) -> dict[str, str]:
    """Return a secret as our own reference to it: to its file, or to an environment variable that has to be set.

    The result and the note never have its value.
    """
    value, file = section.take(key), section.take_text(f"{key}_file")
    if file and value is None:
        return {"file": file}
    variable = section.make_variable(key)
    section.note(
        f"changed: the secret is not copied; set the environment variable {variable}", *([key] if value else [])
    )
    return {"env": variable}


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server's certificate is verified, and the client's own."""

    verify: bool
    server_name: str
    ca_file: str
    certificate: dict[str, Any]


def convert_tls(section: Section) -> Tls:
    """Return the settings of a `tls_config`."""
    verify = not section.take_flag("insecure_skip_verify")
    ca_file = section.take_text("ca_file") or ""
    if ca_file and not verify:
        section.note("left out: the certificate is not verified", "ca_file")
    files = section.take_text("cert_file"), section.take_text("key_file")
    certificate = dict(zip(("certFile", "keyFile"), files, strict=True)) if all(files) else {}
    server_name = section.take_text("server_name") or ""
    section.close(_TLS_HINTS, {})
    return Tls(verify, server_name, ca_file if verify else "", certificate)
