"""Config -> what is allowed in it and rarely meant."""

from collections.abc import Iterator

from exporter.config.checks import Config
from exporter.config.complaint import Complaint, Keys
from exporter.model import Group
from exporter.probe.check import Check

RATIO_LIMIT = 10.0
"""A ratio is a part of one, or a load per CPU; beyond this, a percentage was meant."""


def advice(config: Config, scrape_interval: float) -> Iterator[Complaint]:
    """Each thing once, in the order of the lines. `scrape_interval` is how often Prometheus looks, in seconds."""
    if not config.checks:
        yield config.document.complaint(("checks",), "nothing is watched, and so every answer is yes")
    found = [
        config.document.complaint(("checks", index, *key), message)
        for index, check in enumerate(config.checks)
        for advise in (_timing, _liveness, _ratios)
        for key, message in advise(check, scrape_interval)
    ]
    yield from sorted(found, key=lambda each: each.line or 0)


def _timing(check: Check, _scrape_interval: float) -> Iterator[tuple[Keys, str]]:
    timeout, period = check.spec.timeout, check.spec.period
    if timeout > period:
        message = f"a timeout of {timeout} s is longer than the period of {period} s: a run that hangs delays the next"
        yield ("timeoutSeconds",), message


def _liveness(check: Check, scrape_interval: float) -> Iterator[tuple[Keys, str]]:
    spec = check.spec
    if Group.LIVENESS not in spec.groups:
        return
    if risk := check.probe.liveness_risk():
        yield ("groups",), f"liveness restarts the application, and {risk}"
    answered = spec.failure_threshold * spec.period
    if answered < scrape_interval:
        message = (
            f"/livez answers 503 within {answered} s (failureThreshold * periodSeconds): unless the kubelet's own "
            f"count goes on for longer, a Prometheus that scrapes every {scrape_interval:g} s may not have seen the "
            "reason before the kill"
        )
        yield ("failureThreshold",), message


def _ratios(check: Check, _scrape_interval: float) -> Iterator[tuple[Keys, str]]:
    limits = {level: getattr(check.probe, f"{level}_ratio", None) for level in ("warn", "fail")}
    for level, limit in limits.items():
        if limit is not None and limit > RATIO_LIMIT:
            message = f"{limit:g} is {limit:.0%}, and is hardly ever reached; 90 % is written 0.9"
            yield (check.spec.kind, f"{level}Ratio"), message
    warn, fail = limits.values()
    if warn is not None and fail is not None and warn >= fail:
        message = f"never warns, since failRatio ({fail:g}) is not above it"
        yield (check.spec.kind, "warnRatio"), message
