"""The certificates of a TLS peer, and why a chain of them was not accepted."""

import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.tls import describe

MAX_NAMES = 3  # names of a certificate in a message
_DER = 2  # _ssl.ENCODING_DER
_KEYS = {
    "RSA": b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01",
    "ECDSA": b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
}
"""The types of keys, each with its object identifier in DER (RFC 3279: rsaEncryption, id-ecPublicKey)."""


@dataclass(frozen=True, slots=True)
class X509:
    """A certificate: the names of its subject and its issuer, and the Unix times between which it is valid."""

    name: str
    issuer: str
    alternative: tuple[str, ...]
    """The names and addresses of subjectAltName, because only these are verified."""
    since: float
    until: float
    key: str = ""
    """RSA or ECDSA; empty for another type of key."""


def decode(certificates: Iterable[Any] | None) -> tuple[X509, ...]:
    """Return the certificates of a chain of the module _ssl. Raises ValueError if one cannot be read."""
    try:
        return tuple(
            _decode(certificate.get_info(), certificate.public_bytes(_DER)) for certificate in certificates or ()
        )
    except (LookupError, OSError):
        raise ValueError("a certificate cannot be read") from None


def explain(error: ssl.SSLCertVerificationError, chain: Sequence[X509]) -> str:
    """Return why a certificate was not accepted. The chain is as far as it could be built, beginning with the server's.

    The codes are those of OpenSSL's x509_vfy.h.
    """
    text = describe(error)
    if not chain:
        return text
    last = chain[-1]
    if error.verify_code == 20 and len(chain) == 1:  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        return f"{text}: the server sends no certificate of its issuer, {last.issuer}, and none is trusted here"
    if error.verify_code in (2, 19, 20):  # ..._UNABLE_TO_GET_ISSUER_CERT, ..._SELF_SIGNED_CERT_IN_CHAIN
        return f"{text}: {last.issuer} is not trusted here"
    if error.verify_code == 10:  # X509_V_ERR_CERT_HAS_EXPIRED
        return f"{text}: that of {min(chain, key=lambda certificate: certificate.until).name}"
    if error.verify_code in (62, 64):  # ..._HOSTNAME_MISMATCH, ..._IP_ADDRESS_MISMATCH
        return f"{text}: {_list_names(chain[0].alternative)}"
    return text


def _list_names(names: Sequence[str]) -> str:
    if not names:
        return "its subjectAltName names no host, and a Common Name does not count"
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"it is valid for {', '.join(names[:MAX_NAMES])}{more}"


def _decode(info: dict[str, Any], der: bytes) -> X509:
    alternative = [value for kind, value in info.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    names = (*_find_names(info["subject"]), *alternative)
    since, until = (ssl.cert_time_to_seconds(info[key]) for key in ("notBefore", "notAfter"))
    issuer = next(iter(_find_names(info["issuer"])), "an unnamed issuer")
    name = next(iter(names), "an unnamed subject")
    key = next((key for key, identifier in _KEYS.items() if identifier in der), "")
    return X509(name, issuer, tuple(alternative), since, until, key)


def _find_names(subject: Any) -> list[str]:
    found = [(key, value) for part in subject for key, value in part]
    return [value for wanted in ("commonName", "organizationName") for key, value in found if key == wanted]
