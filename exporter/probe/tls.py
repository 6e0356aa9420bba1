"""TLS contexts for the kinds that verify certificates or present their own: reads the files of the options."""

import ssl
from pathlib import Path

from exporter.host.reader import call, explained, read_pem, read_pem_now
from exporter.model import Deadline, ProbeError, Reason
from exporter.net.tls import make_client_context
from exporter.tls import describe_file_error


def read_client_context(
    deadline: Deadline,
    ca_file: Path | None = None,
    certificate: tuple[Path, Path] | None = None,
    *,
    verify: bool = True,
    protocols: tuple[str, ...] = (),
) -> ssl.SSLContext:
    """Return TLS that verifies chain and name, against the system's CA certificates, or those in `ca_file`.

    `certificate` is the client's own: the files of its chain and of its key, in PEM. `protocols` are offered by ALPN.
    Contexts are cached until a file changes. Raises ProbeError for a file that is missing, that cannot be used or that
    is not read by the deadline.
    """
    with explained():
        authorities, folder = (read_pem(ca_file, deadline), None) if ca_file else _read_system_authorities(deadline)
        pair = (read_pem(certificate[0], deadline), read_pem(certificate[1], deadline)) if certificate else None
    try:
        return make_client_context(authorities, pair, verify=verify, folder=folder, protocols=protocols)
    except ssl.SSLError as error:
        files = ", ".join(str(path) for path in (ca_file, *(certificate or ())) if path) or "of the system"
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
