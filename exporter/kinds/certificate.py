"""The kind `certificate`: how long the certificates of a TLS server remain valid."""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from exporter.model import Deadline, Measurement, Outcome, Reason, Status
from exporter.net.dial import connect, secure
from exporter.net.errors import DialError
from exporter.net.sockets import TLSSocket
from exporter.net.tls import make_inspection_context
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, Port, find_host_risk
from exporter.probe.tls import read_client_context
from exporter.text import format_endpoint

DAY = 86400.0  # seconds

_Days = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Certificate(Probe):
    """Reads the certificates that a TLS server sends; the check uses the one that expires first.

    Invalid certificates are read too: expired, self-signed, or for a different name. A certificate that is not valid
    yet fails with the reason `tls`. With `verify`, a second connection verifies chain and name as a client does.
    """

    measures: ClassVar = {
        "certificate_remaining_seconds": "Time until the first of the server's certificates expires, in seconds, "
        "in the latest run.",
        "certificate_expiry_timestamp_seconds": "Time at which the first of the server's certificates expires, "
        "as Unix time, in the latest run.",
        **LATENCY,
    }
    examples: ClassVar = (
        "- name: shop-certificate\n  certificate: {host: shop.example.com, verify: true}\n  periodSeconds: 3600",
    )

    port: Port = 443
    """Port to connect to."""
    host: Host = "127.0.0.1"
    """Address or name to connect to."""
    server_name: Host | None = None
    """Name to request from the server (SNI) and to verify. By default, the host."""
    warn_days: _Days | None = 21
    """Warns when this number of days or fewer remain."""
    fail_days: _Days = 7
    """Fails when this number of days or fewer remain."""
    verify: bool = False
    """Verifies chain and name, and fails if they are not valid."""
    ca_file: Path | None = None
    """CA certificates to verify the server's certificate with, in PEM. By default, the system's are used. Requires
    verify."""

    @model_validator(mode="after")
    def _validate_options(self) -> Self:
        if self.warn_days is not None and self.warn_days < self.fail_days:
            raise ValueError("warnDays must not be below failDays")
        if self.ca_file and not self.verify:
            raise ValueError("caFile requires verify: true")
        return self

    @property
    def target(self) -> str:
        address = format_endpoint(self.host, self.port)
        return f"{address} ({self.server_name})" if self.server_name else address

    def liveness_risk(self) -> str | None:
        return find_host_risk(self.host)

    def probe(self, deadline: Deadline, wall: Callable[[], float] = time.time) -> Outcome:
        timer = LatencyTimer()
        try:
            with self._connect(make_inspection_context(), deadline) as sock:
                certificates = _read_certificates(sock)
            latency = timer.stop()
            outcome = self._conclude(certificates, wall(), latency)
        except DialError as error:
            return error.outcome(self.target)
        return self._verify(outcome, deadline) if self.verify and outcome.status is not Status.FAIL else outcome

    def _connect(self, context: ssl.SSLContext, deadline: Deadline) -> TLSSocket:
        return secure(connect(self.host, self.port, deadline), context, self.server_name or self.host, deadline)

    def _conclude(self, certificates: "list[_Validity]", now: float, latency: Measurement) -> Outcome:
        first = min(certificates, key=lambda certificate: certificate.until)
        warn = None if self.warn_days is None else self.warn_days * DAY
        left = Measurement("certificate_remaining_seconds", first.until - now, warn, self.fail_days * DAY, falling=True)
        expiry = Measurement("certificate_expiry_timestamp_seconds", first.until)
        early = next((certificate for certificate in certificates if certificate.since > now), None)
        if early:
            start = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(early.since))
            summary = f"{self.target}: the certificate of {early.name} is not valid before {start}"
            return Outcome.failed(Reason.TLS, summary, left, expiry, latency)
        days, status = left.value / DAY, left.status
        expires = f"expires in {days:.1f} days" if days >= 0 else f"expired {-days:.1f} days ago"
        limit = "" if status is Status.PASS else f": {status} limit of {left.limits[status] / DAY:g} days reached"
        reason = None if status is Status.PASS else Reason.THRESHOLD
        summary = f"{self.target}: the certificate of {first.name} {expires}{limit}"
        return Outcome(status, reason, summary, (left, expiry, latency))

    def _verify(self, outcome: Outcome, deadline: Deadline) -> Outcome:
        """Return this outcome if a client that verifies accepts the certificates, otherwise a failed one."""
        try:
            self._connect(read_client_context(deadline, self.ca_file), deadline).close()
        except DialError as error:
            return Outcome.failed(error.reason, str(error.with_endpoint(self.target)), *outcome.measurements)
        return outcome


@dataclass(frozen=True, slots=True)
class _Validity:
    """The name in a certificate, and the times between which it is valid, as Unix time."""

    name: str
    since: float
    until: float


def _read_certificates(sock: TLSSocket) -> list[_Validity]:
    """Return the certificates that the server sent. Raises DialError if there are none, or one cannot be read."""
    # From 3.13 on ssl has a public method for this, but it returns DER, which only other packages can read.
    chain = sock._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        validities = [_read_validity(certificate.get_info()) for certificate in chain]
    except (ValueError, LookupError, OSError):
        raise DialError(Reason.TLS, "the server sent a certificate that cannot be read") from None
    if not validities:
        raise DialError(Reason.TLS, "the server sent no certificate")
    return validities


def _read_validity(info: dict[str, Any]) -> _Validity:
    names = [value for part in info["subject"] for key, value in part if key == "commonName"]
    names += [value for key, value in info.get("subjectAltName", ()) if key in ("DNS", "IP Address")]
    times = (ssl.cert_time_to_seconds(info[key]) for key in ("notBefore", "notAfter"))
    return _Validity(names[0] if names else "an unnamed subject", *times)
