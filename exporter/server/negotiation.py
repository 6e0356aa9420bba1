"""Content negotiation by the headers Accept and Accept-Encoding (RFC 9110, section 12.5)."""

import gzip
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from exporter.render import metrics
from exporter.server.answers import Answer

HEALTH_JSON = "application/health+json"

MAX_ACCEPT = 1024  # characters; a longer header expresses no preference

_NOT_ACCEPTABLE = (0.0, 3)
"""A quality of 0 with the highest specificity. A media type must rank above this to be chosen."""

_QUOTED = r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'  # a missing quotation mark is at the end
_ITEM = re.compile(rf'(?:{_QUOTED}|[^,"])+')
_PARAMETER = re.compile(rf";[ \t]*([^ \t;=]+)=({_QUOTED}|[^;]*)")
_QUALITY = re.compile(r"[01](?:\.[0-9]*)?")
_ESCAPED = re.compile(r"\\(.)")

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


def compress(answer: Answer, accept_encoding: str, vary: str, level: int = 1) -> Answer:
    """Return the answer with gzip if the client accepts that. `vary` names the headers that it depends on."""
    headers = (*answer.headers, ("Vary", vary))
    if not _accepts_gzip(accept_encoding):
        return replace(answer, headers=headers)
    return replace(answer, body=gzip.compress(answer.body, level), headers=(*headers, ("Content-Encoding", "gzip")))


def _accepts_gzip(accept_encoding: str) -> bool:
    qualities: dict[str, float] = {}
    for coding, _, quality in _parse(accept_encoding):
        qualities[coding] = max(quality, qualities.get(coding, 0))
    return qualities.get("gzip", qualities.get("*", 0)) > 0


def _parse(header: str) -> list[_Range]:
    return [] if len(header) > MAX_ACCEPT else [*_parse_items(header)]


def _parse_items(header: str) -> Iterator[_Range]:
    """Yield the items of a header, in lower case, without those whose quality is invalid (RFC 9110, section 12.4.2).

    Werkzeug does nearly the same, but importing it takes longer than all other modules of the server.
    """
    for item in _ITEM.findall(header):
        name = item.partition(";")[0].strip(" \t").lower()
        parameters = {key.lower(): _unquote(value.strip(" \t")) for key, value in _PARAMETER.findall(item)}
        quality = parameters.pop("q", "1")
        if name and _QUALITY.fullmatch(quality) and float(quality) <= 1:
            yield name, parameters, float(quality)


def _unquote(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if len(value) > 1 and value[0] == value[-1] == '"' else value


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
