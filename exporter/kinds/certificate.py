"""The kind `certificate`: how long the certificates of a TLS server remain valid."""

import math
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

from pydantic import Field, PrivateAttr, model_validator

from exporter.model import BADNESS, Deadline, Group, Measurement, Outcome, Reason, Status
from exporter.net.certificates import X509
from exporter.net.dial import connect, wrap
from exporter.net.errors import DialError
from exporter.net.sockets import TLSSocket
from exporter.net.starttls import start
from exporter.probe.check import Probe
from exporter.probe.latency import LATENCY, LatencyTimer
from exporter.probe.options import Host, InputFile, Port, find_host_risk
from exporter.probe.tls import ClientCertificate, StartTls, read_client_context, read_inspection_context
from exporter.text import format_endpoint

DAY = 86400.0  # seconds
_OTHER_KEY = {"RSA": "ECDSA", "ECDSA": "RSA"}
_MEMORY = 3600.0  # seconds

_Days = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Certificate(Probe):
    """Reads the certificates that a TLS server sends; the check uses the one that expires first.

    Invalid certificates are read too: expired, self-signed, or for a different name. A certificate that is not valid
    yet fails with the reason `tls`. A server that requires a client certificate is read as well.

    With `verify`, chain and name are verified with the rules of Prometheus and other Go programs. The certificate of
    the verified chain that expires first counts, including the authority's. If the server also sends an expired
    certificate that is not needed to verify, the check warns.

    A server with two certificates, for RSA and ECDSA, sends one of them to each client. On a second connection, which
    uses TLS 1.2, the check reads the other one, and the worse of the two decides. If a server sends only one, the
    check looks for another one once an hour. blackbox_exporter reads one certificate.

    `startTLS: mysql` ends the connection before a login, which MySQL and MariaDB count as an error of this host. The
    count starts again with each successful login. At 100 (`max_connect_errors`) they block the address.

    By default, the check is in no group: a certificate that expires in a week must not take the pods out of service
    today. The alerts report it.
    """

    default_groups: ClassVar[frozenset[Group]] = frozenset()
    measures: ClassVar = {
        "certificate_remaining_seconds": "Time until the first of the server's certificates expires, in seconds, "
        "in the latest run.",
        "certificate_expiry_timestamp_seconds": "Time at which the first of the server's certificates expires, "
        "as Unix time, in the latest run.",
        **LATENCY,
    }
    examples: ClassVar = (
        "- name: shop-certificate\n  certificate: {host: shop.example.com, verify: true}\n  periodSeconds: 3600",
        (
            "- name: mail-certificate\n  certificate: {host: mail.example.com, port: 587, startTLS: smtp}\n"
            "  periodSeconds: 3600"
        ),
    )

    port: Port = 443
    """Port to connect to."""
    host: Host = "127.0.0.1"
    """Address or name to connect to. `$(POD_IP)` is where the kubelet connects."""
    server_name: Host | None = None
    """Name to request from the server (SNI) and to verify. By default, the host."""
    warn_days: _Days | None = 21
    """Warns when this number of days or fewer remain."""
    fail_days: _Days = 7
    """Fails when this number of days or fewer remain."""
    verify: bool = False
    """Verifies chain and name, and fails if they are not valid."""
    ca_file: InputFile | None = None
    """CA certificates to verify the server's certificate with, in PEM. By default, the system's are used. Requires
    verify."""
    client_certificate: ClientCertificate | None = None
    """Client certificate to present to the server. The certificates of a server that requires one are read without it
    too, but such a server logs a failed handshake."""
    start_tls: StartTls = None
    """Starts TLS in the way of this protocol."""

    _other: "_Received | None" = PrivateAttr(default=None)
    _other_until: float = PrivateAttr(default=-math.inf)
    """What the second connection found, and until when that is remembered, on the clock of deadlines."""

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
        context = self._read_context(deadline)
        timer = LatencyTimer()
        try:
            received = self._receive(context, deadline)
        except DialError as error:
            return error.outcome(self.target)
        latency = timer.stop()
        outcome = self._conclude(received, wall(), latency)
        other = self._receive_other(received, deadline)
        if not other:
            return outcome
        outcomes = {received.key: outcome, other.key: self._conclude(other, wall(), latency)}
        return _choose_worst(outcomes)

    def _read_context(self, deadline: Deadline, key: str = "") -> ssl.SSLContext:
        certificate = self.client_certificate.files if self.client_certificate else None
        if self.verify:
            return read_client_context(deadline, self.ca_file, certificate, key=key)
        return read_inspection_context(deadline, certificate, key)

    def _receive_other(self, received: "_Received", deadline: Deadline) -> "_Received | None":
        """Return the server's certificates for the other type of key; None if it has none.

        For an hour, a failed connection changes nothing: a certificate that has expired stays so, and a server that has
        none is not asked in every run.
        """
        key, now = _OTHER_KEY.get(received.key), deadline.clock()
        remembers = now < self._other_until
        if key is None or (remembers and self._other is None):
            return None
        try:
            other = self._receive(self._read_context(deadline, key), deadline)
        except DialError:
            if remembers:
                return self._other
            other = received
        self._other = other if other.key == key else None
        self._other_until = now + _MEMORY
        return self._other

    def _receive(self, context: ssl.SSLContext, deadline: Deadline) -> "_Received":
        """Return the server's certificates. Raises DialError if it sends none, or without `verify` if it refuses."""
        with connect(self.host, self.port, deadline) as sock:
            if self.start_tls:
                start(sock, self.start_tls)
            with wrap(sock, context, self.server_name or self.host) as secured:
                return self._shake_hands(secured)

    def _shake_hands(self, secured: TLSSocket) -> "_Received":
        refusal = None
        try:
            secured.do_handshake()
        except DialError as error:
            # A TLS 1.2 server that requires a client certificate refuses at the very end, when it has proved its key
            # and the exporter has sent its last message. A TLS 1.3 server refuses after the handshake.
            if error.reason is Reason.TIMEOUT or secured.get_channel_binding("tls-unique") is None:
                refusal = error
        sent = secured.sent
        if refusal and not (self.verify and refusal.reason is Reason.TLS and sent):
            raise refusal
        if not sent:
            raise DialError(Reason.TLS, "the server sent no certificate")
        return _Received(sent, secured.chain, refusal)

    def _conclude(self, received: "_Received", now: float, latency: Measurement) -> Outcome:
        return self._verify(received, now, latency) if self.verify else self._judge(received.sent, now, latency)

    def _verify(self, received: "_Received", now: float, latency: Measurement) -> Outcome:
        if received.refusal:
            outcome = self._judge(received.sent[:1], now, latency)
            nears_expiry = outcome.reason is Reason.THRESHOLD and received.sent[0].until >= now
            if outcome.status is Status.FAIL and not nears_expiry:
                return outcome  # it says more about the date than the refusal does
            text = str(received.refusal.with_endpoint(self.target))
            refused = Outcome.failed(received.refusal.reason, text, *outcome.measurements)
            rest = outcome.summary.removeprefix(f"{self.target}: ")
            return replace(refused, summary=f"{refused.summary}; {rest}") if nears_expiry else refused
        outcome = self._judge(received.chain, now, latency)
        expired = [certificate for certificate in received.sent if certificate.until < now]
        if outcome.status is not Status.PASS or self.warn_days is None or not expired:
            return outcome
        # It is not in the chain, because that is valid.
        note = f"the server also sends an expired certificate of {expired[0].name}, not needed to verify"
        return Outcome(Status.WARN, Reason.TLS, f"{outcome.summary}; {note}", outcome.measurements)

    def _judge(self, certificates: Sequence[X509], now: float, latency: Measurement) -> Outcome:
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


def _choose_worst(outcomes: Mapping[str, Outcome]) -> Outcome:
    """Return the worst Outcome of several types of keys; the first expiry decides between equal ones."""
    key = min(outcomes, key=lambda key: (BADNESS.index(outcomes[key].status), outcomes[key].measurements[0].value))
    return replace(outcomes[key], summary=f"{outcomes[key].summary} (one of two certificates, for {key})")


@dataclass(frozen=True, slots=True)
class _Received:
    """The certificates that the server sent, the chain that was verified, and why it was not accepted, if so."""

    sent: tuple[X509, ...]
    chain: tuple[X509, ...]
    refusal: DialError | None

    @property
    def key(self) -> str:
        """The type of the server's key."""
        return self.sent[0].key
