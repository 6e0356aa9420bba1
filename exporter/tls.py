"""TLS in every part of the exporter: the rules for certificates, and OpenSSL's errors in words."""

import re
import ssl

NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
)
"""OpenSSL's names for the errors that bytes in another protocol cause. Which one depends on its version, too."""

_CIPHERS = "@SECLEVEL=1:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES+SHA"  # those of Go's clients, and RSA keys from 1024 bits
_LEGACY_SERVER_CONNECT = 0x4  # ssl.OP_LEGACY_SERVER_CONNECT, a name that Python 3.11 does not have
_ALERT = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?(.+)")  # and not the versions that these names suggest
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_NOT_PEM = "a file is not in PEM format, or needs a password"


def make_context(*, verify: bool = True) -> ssl.SSLContext:
    """Return TLS for a client. It verifies chain and name, but trusts no certificate yet, or it accepts any.

    The rules are those of Go, Prometheus and the kubelet, on every version of Python. A certificate names its
    host in subjectAltName; a Common Name does not count (RFC 9525). Like Go's client, this one never renegotiates, so
    it also connects to servers without secure renegotiation (RFC 5746).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.options |= _LEGACY_SERVER_CONNECT
    context.set_ciphers(_CIPHERS)
    apply_rules(context)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def apply_rules(context: ssl.SSLContext) -> None:
    """Set the rules for chains, the same for certificates of servers and of clients.

    As in Go, a chain may end at any trusted certificate: an intermediate one, or the peer's own. From 3.13 on, Python's
    default also checks the form of certificates (VERIFY_X509_STRICT); Go does not, and many private authorities would
    not pass.
    """
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN


def describe(error: ssl.SSLError) -> str:
    """Return the cause of a failed connection in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message.rstrip('.')}"
    reason = error.reason or "broken"
    if reason in NOT_TLS:
        return "the server does not speak TLS, or only after STARTTLS"
    alert = _ALERT.fullmatch(reason)
    words = (alert[1] if alert else reason).replace("_", " ").lower()
    return f"the server refused the TLS handshake: {words}" if alert else f"TLS: {words}"


def describe_file_error(error: Exception) -> str:
    """Return why a file could not be read, or a certificate, its key or CA certificates not be used."""
    if not isinstance(error, ssl.SSLError):
        return str(error)
    return "the key does not match the certificate" if error.reason in _MISMATCHES else _NOT_PEM
