"""TLS contexts: one for each way in which the exporter speaks TLS as a client."""

import ssl
from functools import cache, lru_cache
from pathlib import Path

from exporter.model import ProbeError, Reason


@cache
def make_kubelet_context() -> ssl.SSLContext:
    """Return the kubelet's TLS: version 1.2 or newer, Go's cipher suites, any certificate accepted."""
    context = _make_unverified_context()
    context.set_ciphers("@SECLEVEL=1:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES+SHA")
    return context


@cache
def make_inspection_context() -> ssl.SSLContext:
    """Return TLS that accepts any certificate and key length, for a connection that only reads the certificates."""
    context = _make_unverified_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def make_client_context(
    ca_file: Path | None = None, certificate: tuple[Path, Path] | None = None, *, verify: bool = True
) -> ssl.SSLContext:
    """Return TLS that verifies chain and name, against the system's CA certificates, or those in `ca_file`.

    `certificate` is the client's own: the files of its chain and of its key, in PEM. Contexts are cached, because
    reading the system's CA certificates takes tens of milliseconds, and made again when a file has changed. Raises
    ProbeError for a file that is missing or cannot be used.
    """
    files = (*((ca_file,) if ca_file else _find_system_authorities()), *(certificate or ()))
    try:
        modified = tuple(file.stat().st_mtime_ns for file in files)
        return _make_cached_context(ca_file, certificate, verify, modified)
    except FileNotFoundError as error:
        raise ProbeError(Reason.MISSING, f"the file {error.filename or 'of a certificate'} does not exist") from None
    except PermissionError as error:
        name = error.filename or "of a certificate"
        raise ProbeError(Reason.PERMISSION, f"no permission to read the file {name}") from None
    except OSError as error:  # ssl.SSLError is one
        raise ProbeError(Reason.ERROR, f"a certificate file cannot be used: {error.strerror or error}") from None


@lru_cache(maxsize=64)
def _make_cached_context(
    ca_file: Path | None,
    certificate: tuple[Path, Path] | None,
    verify: bool,  # noqa: FBT001  # lru_cache keys by position
    _modified: tuple[int, ...],
) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def _find_system_authorities() -> tuple[Path, ...]:
    """Return the file and the folder that OpenSSL reads by default, if they exist."""
    paths = ssl.get_default_verify_paths()
    return tuple(Path(path) for path in (paths.cafile, paths.capath) if path)


def _make_unverified_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
