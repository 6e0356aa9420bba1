"""A moment in the past, as people write it in a query or on the command line."""

import re
from datetime import datetime

from exporter.config.synonyms import parse_duration

_WANTED = "must be a time such as 2026-03-01T09:00:00Z, a Unix time, or a duration such as 1h30m"


def parse_since(text: str, now: float, name: str) -> float:
    """Return a Unix time, given as one, in RFC 3339, or as a duration before now.

    Raises ValueError. Its message calls the value by this name.
    """
    if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", text):
        return float(text)
    if duration := parse_duration(text):
        return now - duration
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign of a query is decoded as a space
    except ValueError:
        raise ValueError(f"{name} {_WANTED}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{name} {_WANTED}, with its time zone")
    return moment.timestamp()
