"""Scrapes of an exporter, from a Prometheus server."""

import json
import math
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exporter.model import Deadline, Group, ProbeError, Spec
from exporter.net.errors import DialError
from exporter.probe.prometheus import locate_query
from exporter.probe.tls import read_client_context
from exporter.replay.counters import Scrape
from exporter.replay.recording import ReplayError

if TYPE_CHECKING:
    from exporter.net.client import Reply

CHUNK = 3600
"""Seconds of a query. More would be too much for a response."""
MAX_RESPONSE = 64 * 2**20
"""Bytes of a response."""
TIMEOUT = 60.0
"""Seconds for a query."""

_FAMILIES = {
    "health_check_runs_total": "runs",
    "health_check_failures_total": "failures",
    "health_check_consecutive_failures": "streak",
    "health_check_failure_streak_runs_count": "ended",
    "health_check_failure_streak_runs_sum": "ended_runs",
    "health_check_last_run_timestamp_seconds": "started",
    "health_check_duration_seconds": "duration",
    "health_check_last_up": "healthy",
    "health_check_period_seconds": "period",
    "health_check_timeout_seconds": "timeout",
    "health_check_failure_threshold": "failure_threshold",
    "health_check_group": "group",
}
_OF_CHECKS = {"__name__", "check", "kind", "reason", "group"}
"""Labels of these families; all others are of the exporter."""
_Values = dict[str, float]


def load(url: str, match: str, begin: float, end: float) -> list[list[Scrape]]:
    """Return the scrapes of each check of one exporter, which these matchers select. Raises ReplayError."""
    found: dict[tuple[str, str], dict[float, _Values]] = defaultdict(lambda: defaultdict(dict))
    groups: dict[tuple[str, str], dict[float, set[str]]] = defaultdict(lambda: defaultdict(set))
    exporters: set[tuple[tuple[str, str], ...]] = set()
    for series in _query_all(url, match, begin, end):
        labels = series["metric"]
        exporters.add(tuple(sorted((key, value) for key, value in labels.items() if key not in _OF_CHECKS)))
        check, name = (labels["check"], labels["kind"]), _FAMILIES[labels["__name__"]]
        for moment, value in series["values"]:
            if name == "group":
                groups[check][moment].add(labels["group"])
            else:
                found[check][moment][name + labels.get("reason", "")] = float(value)
    if len(exporters) > 1:
        raise ReplayError(f"{len(exporters)} exporters match; select one with --prometheus.match:\n{_list(exporters)}")
    scrapes = [[*_make_scrapes(check, samples, groups[check])] for check, samples in found.items()]
    return [check for check in scrapes if check]


def _make_scrapes(
    check: tuple[str, str], samples: Mapping[float, _Values], groups: Mapping[float, set[str]]
) -> Iterator[Scrape]:
    known: dict[tuple[float, ...], Spec] = {}
    for moment, values in sorted(samples.items()):
        if not {"runs", "started", "duration", "healthy", "period", "timeout", "failure_threshold"} <= values.keys():
            continue  # before the first run
        numbers = values["period"], values["timeout"], values["failure_threshold"]
        spec = known.setdefault(numbers, _make_spec(check, *numbers))
        member = frozenset(map(Group, groups.get(moment, ()))) | {Group.ALL}
        yield Scrape(
            time=moment,
            spec=spec if spec.groups == member else replace(spec, groups=member),
            runs=int(values["runs"]),
            failures=sum(int(value) for name, value in values.items() if name.startswith("failures")),
            streak=int(values.get("streak", 0)),
            ended=int(values.get("ended", 0)),
            ended_runs=int(values.get("ended_runs", 0)),
            started=values["started"],
            duration=values["duration"],
            healthy=values["healthy"] == 1,
        )


def _make_spec(check: tuple[str, str], period: float, timeout: float, threshold: float) -> Spec:
    return Spec(
        name=check[0],
        kind=check[1],
        period=period,
        timeout=timeout,
        failure_threshold=int(threshold),
        stale_after=threshold * period + timeout,
    )


def _query_all(url: str, match: str, begin: float, end: float) -> Iterator[dict[str, Any]]:
    """Yield the series of all families, in parts."""
    selector = f'{{__name__=~"{"|".join(_FAMILIES)}"{"," if match else ""}{match}}}'
    count = max(1, math.ceil((end - begin) / CHUNK))
    for number in range(count):
        until = min(end, begin + (number + 1) * CHUNK)
        length = math.ceil(until - begin - number * CHUNK)
        yield from _query(url, {"query": f"{selector}[{length}s]", "time": f"{until:.3f}"})


def _query(url: str, form: Mapping[str, str]) -> Sequence[dict[str, Any]]:
    reply = _send(url, form)
    try:
        content = json.loads(reply.body)
        fault = "" if content["status"] == "success" else f"{content['errorType']}: {content['error']}"
        result: list[dict[str, Any]] = [] if fault else content["data"]["result"]
    except (ValueError, LookupError, TypeError, RecursionError):
        fault = f"status {reply.status}, and not a response of Prometheus' API"
    if fault:
        raise ReplayError(f"{url}: {fault}")
    return result


def _send(url: str, form: Mapping[str, str]) -> "Reply":
    from exporter.net import client  # imports requests

    if not re.match(r"https?://[^/]", url):
        raise ReplayError("the URL of Prometheus must begin with http:// or https://")
    deadline = Deadline(time.monotonic() + TIMEOUT)
    try:
        address = locate_query(url)
        context = read_client_context(deadline) if address.scheme == "https" else None
        with client.open_session(deadline, MAX_RESPONSE, context) as session:
            return client.send(session, "POST", str(address), data=dict(form))
    except (DialError, ProbeError, ValueError) as error:
        raise ReplayError(str(error)) from None


def _list(exporters: set[tuple[tuple[str, str], ...]]) -> str:
    return "\n".join(sorted(", ".join(f'{key}="{value}"' for key, value in labels) for labels in exporters))
