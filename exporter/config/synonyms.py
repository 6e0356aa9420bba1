"""Other tools' words for the options of a check: those of Docker, Prometheus and blackbox_exporter."""

import math
import re
from collections.abc import Collection
from typing import Any

SYNONYMS = {
    "start_period": "initialDelaySeconds",
    "interval": "periodSeconds",
    "scrape_interval": "periodSeconds",
    "timeout": "timeoutSeconds",
    "scrape_timeout": "timeoutSeconds",
    "retries": "failureThreshold",
}
_ADDRESSES = {"url", "uri", "address", "endpoint"}
_KINDS = {"kind", "module", "prober", "type"}
_DURATION = re.compile(r"(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?")


def explain_synonym(key: str, value: Any, known: Collection[str]) -> str | None:
    """Return the message about an unknown key that another tool has; None if none is known for it."""
    if (synonym := SYNONYMS.get(key)) in known:
        number = parse_duration(value)
        return f"unknown key, did you mean {synonym}?" if number is None else f"unknown key: write {synonym}: {number}"
    if key in _ADDRESSES | _KINDS and "periodSeconds" in known:
        return "unknown key: write a kind, such as httpGet: {host: ..., port: ..., path: ...}"
    if key in _ADDRESSES and {"host", "port"} <= set(known):
        scheme = ", path and, for https, scheme: HTTPS" if "path" in known else ""
        return f"unknown key: write host{', ' if scheme else ' and '}port{scheme}"
    return None


def parse_duration(value: Any) -> int | None:
    """Return a duration such as `1m30s` in seconds, rounded up to at least 1. A number stays as it is.

    None for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        return None
    days, hours, minutes, seconds, milliseconds = (float(number or 0) for number in match.groups())
    return max(1, math.ceil(days * 86400 + hours * 3600 + minutes * 60 + seconds + milliseconds / 1000))
