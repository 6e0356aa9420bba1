"""Advice on TLS: options that have no effect, that do not fit the port, or that leave a password unprotected."""

from collections.abc import Iterator

from exporter.config.complaint import Keys
from exporter.probe.check import Check
from exporter.probe.options import is_loopback

_AT_ONCE = {443: "HTTPS", 465: "SMTP", 636: "LDAP", 993: "IMAP", 995: "POP3"}
"""The ports at which TLS starts at once (IANA), and the protocols."""
_AT_REQUEST = {25: "smtp", 110: "pop3", 143: "imap", 389: "ldap", 587: "smtp", 3306: "mysql", 5432: "postgresql"}
"""The ports at which it starts at the client's request, and the values of startTLS."""

_HTTPS, _AMQPS = 443, 5671


def check_tls(check: Check) -> Iterator[tuple[Keys, str]]:
    """Yield advice on the options for TLS, each with the path of its option."""
    yield from _check_port(check)
    yield from _check_scheme(check)
    yield from _check_password(check)


def _check_port(check: Check) -> Iterator[tuple[Keys, str]]:
    kind, probe = check.spec.kind, check.probe
    if kind == "amqp" and getattr(probe, "port", 0) == _AMQPS and not getattr(probe, "tls", False):
        yield (kind, "port"), f"at port {_AMQPS}, AMQP starts TLS at once: write tls: true"
    if kind not in ("tcpSocket", "certificate"):
        return
    port, protocol = getattr(probe, "port", 0), getattr(probe, "start_tls", None)
    at_once = kind == "certificate" or getattr(probe, "tls", False)
    if port in _AT_ONCE and protocol:
        yield (kind, "startTLS"), f"at port {port}, {_AT_ONCE[port]} starts TLS at once: {_correct(kind)}"
    elif port in _AT_REQUEST and at_once and not protocol:
        message = f"a server at port {port} starts TLS at the client's request: write startTLS: {_AT_REQUEST[port]}"
        yield (kind, "port"), message
    elif port in _AT_ONCE and not at_once and (getattr(probe, "expect", None) or getattr(probe, "send", None)):
        yield (kind, "port"), f"at port {port}, {_AT_ONCE[port]} starts TLS at once: write tls: true"


def _correct(kind: str) -> str:
    return "remove startTLS" if kind == "certificate" else "write tls: true instead"


def _check_scheme(check: Check) -> Iterator[tuple[Keys, str]]:
    probe = check.probe
    if getattr(probe, "scheme", "") == "WS" and getattr(probe, "port", 0) == _HTTPS:
        yield (check.spec.kind, "port"), f"at port {_HTTPS}, servers expect TLS: write scheme: WSS"
    used = {"verifyTLS": "verify_tls", "serverName": "server_name", "clientCertificate": "client_certificate"}
    for option, name in used.items():
        if getattr(probe, "scheme", "") == "HTTP" and getattr(probe, name, None):
            yield (check.spec.kind, option), "has no effect before a redirect to https: write scheme: HTTPS"


def _check_password(check: Check) -> Iterator[tuple[Keys, str]]:
    probe = check.probe
    sends = getattr(probe, "password", None) and getattr(probe, "tls", False)
    if sends and not getattr(probe, "verify_tls", True) and not is_loopback(getattr(probe, "host", "")):
        message = "the certificate is not verified, so another server can receive the password: set verifyTLS"
        yield (check.spec.kind, "tls"), message
