"""TLS contexts, one for each way in which the exporter speaks TLS as a client, and how to load certificates into one.

A server's context loads its own in the same way (config/web.py).
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache

from exporter.tls import make_context


@cache
def make_kubelet_context(protocols: tuple[str, ...] = ()) -> ssl.SSLContext:
    """Return the kubelet's TLS, which accepts any certificate. `protocols` are offered by ALPN."""
    context = make_context(verify=False)
    context.set_alpn_protocols(protocols)
    return context


@lru_cache(maxsize=64)
def make_inspection_context(certificate: tuple[bytes, bytes] | None = None, key: str = "") -> ssl.SSLContext:
    """Return TLS that accepts any certificate and key length, for a connection that only reads the certificates.

    `certificate` and `key` are those of `make_client_context`.
    """
    context = make_context(verify=False)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if certificate:
        load_certificate(context, *certificate)
    if key:
        _require_key(context, key)
    return context


@lru_cache(maxsize=64)
def make_client_context(
    authorities: bytes | None = None,
    certificate: tuple[bytes, bytes] | None = None,
    *,
    verify: bool = True,
    folder: tuple[str, object] | None = None,
    protocols: tuple[str, ...] = (),
    key: str = "",
) -> ssl.SSLContext:
    """Return TLS that verifies chain and name against these CA certificates, in PEM; without any, it trusts none.

    `certificate` is the client's own: its chain and its key, in PEM. `folder` is one of CA certificates, by their
    hashes, and a value that differs when it has changed. `protocols` are offered by ALPN. `key`, RSA or ECDSA, is the
    type of key that the server must have. Raises ssl.SSLError for contents that cannot be used. Contexts are cached,
    because parsing the CA certificates of a system takes tens of milliseconds.
    """
    context = make_context(verify=verify)
    if authorities is not None:
        load_authorities(context, authorities)
    if folder:
        context.load_verify_locations(capath=folder[0])
    if certificate:
        load_certificate(context, *certificate)
    context.set_alpn_protocols(protocols)
    if key:
        _require_key(context, key)
    return context


def _require_key(context: ssl.SSLContext, key: str) -> None:
    """Accept only servers with this type of key. In TLS 1.3 the ciphers do not determine it, so that is left out."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    ciphers = [cipher["name"] for cipher in context.get_ciphers() if cipher["auth"] == f"auth-{key.lower()}"]
    context.set_ciphers(":".join(ciphers))


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
