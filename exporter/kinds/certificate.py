"""The kind `certificate`: how long the certificates of a TLS server are still valid."""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from exporter.model import Deadline, Measurement, Outcome, Reason, Status
from exporter.net.dial import DialError, TLSSocket, connect, secure
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, Port, endpoint, remote_host_risk

DAY = 86400.0  # seconds

_Days = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Certificate(Probe):
    """Reads the certificates that a TLS server sends; the one that expires first decides.

    They are read whatever they are worth: expired, self-signed, for another name. One that is not valid yet fails with
    the reason `tls`. With `verify`, a second connection shows whether chain and name hold, as a client would judge.
    """

    measures: ClassVar = {
        "certificate_remaining_seconds": "Time until the first of the server's certificates expires, "
        "as of the latest run.",
        "certificate_expiry_timestamp_seconds": "Moment at which that certificate expires, as of the latest run.",
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
    """Name to ask the server for and to verify; by default the host."""
    warn_days: _Days | None = 21
    """Days left at and below which it warns."""
    fail_days: _Days = 7
    """Days left at and below which it fails."""
    verify: bool = False
    """Whether chain and name must hold too."""
    ca_file: Path | None = None
    """Certificates of authorities to verify by, in PEM; by default the system's."""

    @model_validator(mode="after")
    def _meant(self) -> Self:
        if self.warn_days is not None and self.warn_days < self.fail_days:
            raise ValueError("warnDays must not be below failDays")
        if self.ca_file and not self.verify:
            raise ValueError("caFile is of use only with verify: true")
        return self

    @property
    def target(self) -> str:
        address = endpoint(self.host, self.port)
        return f"{address} ({self.server_name})" if self.server_name else address

    def liveness_risk(self) -> str | None:
        return remote_host_risk(self.host)

    def probe(self, deadline: Deadline, wall: Callable[[], float] = time.time) -> Outcome:
        timer = LatencyTimer()
        try:
            with self._connected(_unverified(), deadline) as sock:
                sent = _sent(sock)
            latency = timer.stop()
            outcome = self._conclude(sent, wall(), latency)
        except DialError as error:
            return error.outcome(self.target.partition(" ")[0])
        return self._verified(outcome, deadline) if self.verify and outcome.status is not Status.FAIL else outcome

    def _connected(self, context: ssl.SSLContext, deadline: Deadline) -> TLSSocket:
        return secure(connect(self.host, self.port, deadline), context, self.server_name or self.host, deadline)

    def _conclude(self, sent: "list[_Validity]", now: float, latency: Measurement) -> Outcome:
        first = min(sent, key=lambda each: each.until)
        warn = None if self.warn_days is None else self.warn_days * DAY
        left = Measurement("certificate_remaining_seconds", first.until - now, warn, self.fail_days * DAY, falling=True)
        expiry = Measurement("certificate_expiry_timestamp_seconds", first.until)
        early = next((each for each in sent if each.since > now), None)
        if early:
            start = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(early.since))
            words = f"{self.target}: the certificate of {early.name} is not valid before {start}"
            return Outcome.failed(Reason.TLS, words, left, expiry, latency)
        days, status = left.value / DAY, left.status
        ends = f"expires in {days:.1f} days" if days >= 0 else f"expired {-days:.1f} days ago"
        limit = "" if status is Status.PASS else f": {status} limit of {left.limits[status] / DAY:g} days reached"
        reason = None if status is Status.PASS else Reason.THRESHOLD
        summary = f"{self.target}: the certificate of {first.name} {ends}{limit}"
        return Outcome(status, reason, summary, (left, expiry, latency))

    def _verified(self, outcome: Outcome, deadline: Deadline) -> Outcome:
        """The outcome, if a client that verifies would take the certificates too."""
        context = ssl.create_default_context(cafile=self.ca_file)
        try:
            self._connected(context, deadline).close()
        except DialError as error:
            return Outcome.failed(error.reason, f"{self.target}: {error}", *outcome.measurements)
        return outcome


@dataclass(frozen=True, slots=True)
class _Validity:
    """Whose certificate it is, and from when until when it is valid, in seconds since 1970."""

    name: str
    since: float
    until: float


def _sent(sock: TLSSocket) -> list[_Validity]:
    """The certificates that the server sent. Raises DialError where there is none that can be read."""
    # Python has a public name for this from 3.13 on, which leaves the reading of certificates to others.
    chain = sock._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        read = [_validity(each.get_info()) for each in chain]
    except (ValueError, LookupError, OSError):
        raise DialError(Reason.TLS, "the server sent a certificate that cannot be read") from None
    if not read:
        raise DialError(Reason.TLS, "the server sent no certificate")
    return read


def _validity(read: dict[str, Any]) -> _Validity:
    names = [value for part in read["subject"] for key, value in part if key == "commonName"]
    names += [value for key, value in read.get("subjectAltName", ()) if key in ("DNS", "IP Address")]
    times = (ssl.cert_time_to_seconds(read[each]) for each in ("notBefore", "notAfter"))
    return _Validity(names[0] if names else "nobody", *times)


@cache
def _unverified() -> ssl.SSLContext:
    """TLS that takes any certificate, with keys of any length, because it is only read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context
