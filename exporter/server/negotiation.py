"""Content negotiation by the headers Accept and Accept-Encoding (RFC 9110, section 12.5)."""

import gzip
from collections.abc import Mapping
from dataclasses import replace

from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header, parse_options_header

from exporter.render import metrics
from exporter.server.answers import Answer

HEALTH_JSON = "application/health+json"

MAX_ACCEPT = 1024  # characters; a longer header expresses no preference

_NOT_ACCEPTABLE = (0.0, 3)
"""A quality of 0 with the highest specificity. A media type must rank above this to be chosen."""

_Range = tuple[str, Mapping[str, str], float]
"""A media range: its type, its parameters, and its quality."""


def choose_format(accept: str) -> str:
    """Return the exposition format for an Accept header: the most specific range decides, and `q=0` excludes.

    Only the versions that the exporter produces are offered. If none is acceptable, it sends the text format anyway,
    because a refused scrape shows nothing.
    """
    ranges = _parse(accept)
    open_metrics = _quality(ranges, "application/openmetrics-text", "1.0.0")
    text = _quality(ranges, "text/plain", "0.0.4")
    return metrics.OPEN_METRICS if open_metrics > max(text, _NOT_ACCEPTABLE) else metrics.TEXT


def wants_json(accept: str) -> bool:
    """Return whether an Accept header prefers health+json to plain text, which is the default."""
    ranges = _parse(accept)
    json = max(_quality(ranges, HEALTH_JSON), _quality(ranges, "application/json"))
    return json > max(_quality(ranges, "text/plain"), _NOT_ACCEPTABLE)


def compress(answer: Answer, encodings: Accept, vary: str, level: int = 1) -> Answer:
    """Return the answer in the encoding that the client prefers. `vary` names the headers that it depends on."""
    headers = (*answer.headers, ("Vary", vary))
    if not encodings["gzip"] > 0:
        return replace(answer, headers=headers)
    return replace(answer, body=gzip.compress(answer.body, level), headers=(*headers, ("Content-Encoding", "gzip")))


def _parse(accept: str) -> list[_Range]:
    if len(accept) > MAX_ACCEPT:
        return []
    parsed = ((*parse_options_header(value), quality) for value, quality in parse_accept_header(accept))
    return [(media.lower(), options, quality) for media, options, quality in parsed]


def _quality(ranges: list[_Range], name: str, version: str | None = None) -> tuple[float, int]:
    """Return the quality of a media type, and the specificity of the range that sets it, which is the most specific.

    Specificity is 3 for type and version, 2 for the type, 1 for `text/*`, and 0 for `*/*`.
    """
    matches = []
    for media, options, quality in ranges:
        accepted = options.get("version")
        if media == name and (version is None or accepted in (None, version)):
            matches.append((3 if accepted else 2, quality))
        elif media in ("*/*", f"{name.partition('/')[0]}/*"):
            matches.append((int(media != "*/*"), quality))
    specificity, quality = max(matches, default=(0, 0.0))
    return quality, specificity
