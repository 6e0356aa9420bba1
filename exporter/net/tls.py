"""TLS contexts: one for each way in which the exporter speaks TLS as a client."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache


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


@lru_cache(maxsize=64)
def make_client_context(
    authorities: bytes | None = None,
    certificate: tuple[bytes, bytes] | None = None,
    *,
    verify: bool = True,
    folder: tuple[str, object] | None = None,
) -> ssl.SSLContext:
    """Return TLS that verifies chain and name against these CA certificates, in PEM.

    `certificate` is the client's own: its chain and its key, in PEM. `folder` is one of CA certificates, by their
    hashes, and a value that differs when it has changed. Raises ssl.SSLError for contents that cannot be used. Contexts
    are cached, because parsing the CA certificates of a system takes tens of milliseconds.
    """
    with in_memory(authorities or b"") as path:
        file = None if authorities is None else path
        context = ssl.create_default_context(cafile=file, capath=folder[0] if folder else None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        load_certificate(context, *certificate)
    return context


def load_authorities(context: ssl.SSLContext, authorities: bytes) -> None:
    """Load CA certificates, in PEM. Raises ssl.SSLError."""
    with in_memory(authorities) as path:
        context.load_verify_locations(path)


def load_certificate(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Load the certificate to present, with its chain and its key, in PEM. Raises ssl.SSLError."""
    with in_memory(chain) as chain_path, in_memory(key) as key_path:
        context.load_cert_chain(chain_path, key_path, password=lambda: "")  # never prompt


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """Yield a path at which OpenSSL or libpq find this content, for functions that take only paths.

    OpenSSL would open any path, even that of a FIFO or on a mount that does not respond, and wait forever. The file
    exists in memory, and only while the block runs.
    """
    descriptor = os.memfd_create("health-exporter", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def _make_unverified_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
