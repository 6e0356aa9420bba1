"""Advice on a valid configuration: probable mistakes."""

import math
import os
from collections.abc import Iterator, Mapping

from exporter.config.advice_tls import check_tls
from exporter.config.checks import Config, Part
from exporter.config.complaint import Complaint, Keys
from exporter.config.texts import HERE, check_texts
from exporter.model import Group
from exporter.probe.check import Check
from exporter.probe.options import is_loopback
from exporter.probe.passive import MIN_TOKEN, PassiveProbe

IMPLAUSIBLE_RATIO = 10.0
"""A ratio is a share of 1, or a load per CPU. Above this, a percentage was probably meant."""

_MYSQL_PORT = 3306
_DECODED = {"", "gzip", "x-gzip", "deflate", "identity"}


def give_advice(config: Config, scrape_interval: float) -> Iterator[Complaint]:
    """Yield every piece of advice, file by file in the order of the lines.

    `scrape_interval` is Prometheus', in seconds.
    """
    if not config.checks:
        document = config.parts[0].document
        yield document.make_complaint(("checks",), "no checks are configured, so every endpoint returns 200")
    for part in config.parts:
        yield from _advise(part, scrape_interval)


def _advise(part: Part, scrape_interval: float) -> Iterator[Complaint]:
    complaints = [
        part.document.make_complaint(("checks", index, *path), message)
        for index, check in enumerate(part.checks)
        for path, message in (
            *_check_timing(check),
            *_check_liveness(check, scrape_interval),
            *_check_certificate(check),
            *_check_ratios(check),
            *_check_mysql_port(check),
            *_check_sent_text(check),
            *_check_compression(check),
            *_check_heartbeat(check),
            *check_tls(check),
            *check_texts(check, part.document.data["checks"][index]),
        )
    ]
    yield from sorted(complaints, key=lambda complaint: complaint.line or 0)


def _check_timing(check: Check) -> Iterator[tuple[Keys, str]]:
    timeout, period = check.spec.timeout, check.spec.period
    if timeout > period:
        message = f"a timeout of {timeout} s is longer than the period of {period} s: a run that hangs delays the next"
        yield ("timeoutSeconds",), message


def _check_liveness(check: Check, scrape_interval: float) -> Iterator[tuple[Keys, str]]:
    spec = check.spec
    if Group.LIVENESS not in spec.groups:
        return
    if risk := check.probe.liveness_risk():
        yield ("groups",), f"liveness restarts the application, and {risk}"
    if Group.STARTUP not in spec.groups:
        message = (
            "in liveness, but not in startup: after a restart, /livez reports the previous process for up to "
            f"{spec.period + spec.timeout} s (periodSeconds + timeoutSeconds), and the livenessProbe may end the new "
            "one; add startup, and a startupProbe on /startupz"
        )
        yield ("groups",), message
    delay = spec.failure_threshold * spec.period
    if delay < scrape_interval:
        message = (
            f"/livez returns 503 within {delay} s (failureThreshold * periodSeconds), less than the scrape interval of "
            f"{scrape_interval:g} s: unless the livenessProbe's failureThreshold adds time, Prometheus may miss the "
            "reason for a restart"
        )
        yield ("failureThreshold",), message


def _check_certificate(check: Check) -> Iterator[tuple[Keys, str]]:
    groups = sorted(check.spec.groups - {Group.ALL})
    if check.spec.kind == "certificate" and groups:
        days = getattr(check.probe, "fail_days", 0)
        message = (
            f"{' and '.join(groups)} fail on every pod at once {days:g} days before the certificate expires; without "
            "groups, only the alerts report it"
        )
        yield ("groups",), message


def _check_ratios(check: Check) -> Iterator[tuple[Keys, str]]:
    limits = {level: getattr(check.probe, f"{level}_ratio", None) for level in ("warn", "fail")}
    for level, limit in limits.items():
        if limit is not None and limit > IMPLAUSIBLE_RATIO:
            message = f"{limit:g} means {limit * 100:.0f} %, almost never reached; write 0.9 for 90 %"
            yield (check.spec.kind, f"{level}Ratio"), message
    warn, fail = limits.values()
    if warn is not None and fail is not None and warn >= fail:
        yield (check.spec.kind, "warnRatio"), f"never warns, because failRatio ({fail:g}) is not above it"


def _check_mysql_port(check: Check) -> Iterator[tuple[Keys, str]]:
    """Look for bare connections to MySQL. It counts those from the machine's own address too, but not from loopback."""
    kind, host = check.spec.kind, getattr(check.probe, "host", "")
    starts_tls = getattr(check.probe, "start_tls", None) == "mysql"
    bare = kind == "tcpSocket" and getattr(check.probe, "port", None) == _MYSQL_PORT
    if (bare or starts_tls) and not is_loopback(host):
        remedy = "use the kind mysql" if kind == "tcpSocket" else "keep the check at long periods"
        message = (
            "MySQL and MariaDB count each connection without a login as an error, and block this host's address after "
            f"100 in a row (max_connect_errors), also for the application; {remedy}"
        )
        yield (kind, "startTLS" if starts_tls else "port"), message


def _check_sent_text(check: Check) -> Iterator[tuple[Keys, str]]:
    """Look for bytes that are written as text: letters beyond ASCII together with control characters."""
    text = getattr(check.probe, "send", None) or ""
    has_control_character = any(character < " " for character in text if character not in "\r\n\t")
    if has_control_character and not text.isascii():
        message = r"text is sent in UTF-8: a character above \x7f, such as \xff, is sent as two or more bytes"
        yield (check.spec.kind, "send"), message


def _check_compression(check: Check) -> Iterator[tuple[Keys, str]]:
    """Look for requests of a compression that cannot be decoded, with expectations of the body."""
    probe = check.probe
    options = ("body_contains", "body_matches", "body_not_contains", "body_not_matches", "json_path")
    if not any(getattr(probe, name, None) for name in options):
        return
    for index, header in enumerate(getattr(probe, "http_headers", ())):
        codings = {token.partition(";")[0].strip().lower() for token in header.value.split(",")}
        if header.name.lower() == "accept-encoding" and not codings <= _DECODED:
            message = "a body in another compression than gzip and deflate meets no expectation: request only these"
            yield (check.spec.kind, "httpHeaders", index), message


def _check_heartbeat(check: Check, environment: Mapping[str, str] = os.environ) -> Iterator[tuple[Keys, str]]:
    """Look for heartbeats that are judged too rarely or refused."""
    if not isinstance(check.probe, PassiveProbe):
        return
    spec, max_age = check.spec, getattr(check.probe, "max_age_seconds", math.inf)
    if spec.period > max_age:
        message = f"a heartbeat is judged only every {spec.period} s, and its maximum age is {max_age:g} s"
        yield ("periodSeconds",), message
    if spec.initial_delay:
        message = f"the token is read by the first run, so heartbeats are refused with 503 for {spec.initial_delay} s"
        yield ("initialDelaySeconds",), message
    if (name := check.probe.token.env) and 0 < len(environment.get(name, "")) < MIN_TOKEN:
        message = f"the token has fewer than {MIN_TOKEN} characters{HERE}, so no heartbeat is accepted"
        yield (spec.kind, "token", "env"), message
