"""What a refresh of each dashboard costs: its queries as a browser of 1920 pixels sends them, with all values."""

import json
import os
import re
import time
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser

from tests.bench.fleet.server import INTERVAL, find_spans, merge_spans
from tests.support import Prometheus

FOLDER = Path(os.environ.get("DASHBOARDS") or Path(__file__).parents[3] / "dashboards")
NAMES = ("overview", "check", "exporter")
WIDTH = 1920  # pixels
COLUMNS = 24  # of the grid
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600)
_BOUNDS = (1.5, 3.5, 7.5, 12.5, 17.5, 25, 45, 90, 210, 450, 750, 1050, 1500, 2700, 5400, 9000, 16200)
"""Grafana's rounding of an interval: below the first bound to the first step, and so on."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Query:
    """A query of a panel, of a variable or of an annotation; without a step, an instant query."""

    where: str
    expr: str
    step: int | None


@dataclass(frozen=True)
class Cost:
    where: str
    seconds: float
    series: int


class Remote:
    """A Prometheus that somebody else started."""

    api = Prometheus.api
    query = Prometheus.query

    def __init__(self, url: str) -> None:
        self.url = url


Queried = Remote | Prometheus


def load(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))


def find_spans_of_all() -> dict[str, int]:
    """Return how much of the past the dashboards read, by metric."""
    spans: list[tuple[str, int]] = []
    for name in NAMES:
        dashboard = load(name)
        span = _find_span(dashboard)
        texts = {variable["name"]: "x" for variable in dashboard["templating"]["list"]}
        for query in _list_queries(dashboard, texts):
            rest = span if query.step else 0
            spans += find_spans(promql_parser.parse(query.expr), rest)
    return merge_spans(spans)


def measure(server: Queried, name: str) -> list[Cost]:
    """Send every query of a dashboard once, one after the other."""
    dashboard = load(name)
    texts, costs = _choose_all(server, dashboard)
    now, span = int(time.time()), _find_span(dashboard)
    for query in _list_queries(dashboard, texts):
        began = time.perf_counter()
        if query.step:
            times = {"start": (now - span) // query.step * query.step, "end": now // query.step * query.step}
            found = server.api("query_range", query=query.expr, step=query.step, **times)["result"]
        else:
            found = server.query(query.expr, time=now)
        count = len(found) if isinstance(found, list) and found and isinstance(found[0], dict) else 0
        costs.append(Cost(query.where, time.perf_counter() - began, count))
    return costs


def _choose_all(server: Queried, dashboard: dict[str, Any]) -> tuple[dict[str, str], list[Cost]]:
    """Return the text of each variable with all its values, or its first one, and what the variables cost."""
    texts: dict[str, str] = {}
    costs = []
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            texts[variable["name"]] = str(variable.get("current", {}).get("value", ""))
            continue
        began = time.perf_counter()
        values = _find_values(server, variable, texts, _find_span(dashboard))
        if variable["refresh"] == 2:  # with every refresh of a relative time range
            costs.append(Cost(f"variable {variable['name']}", time.perf_counter() - began, len(values)))
        if not variable.get("includeAll"):
            texts[variable["name"]] = values[0]
        else:
            several = "|".join(re.escape(value).replace("\\", "\\\\") for value in values)
            texts[variable["name"]] = variable.get("allValue") or f"({several})"
    return texts, costs


def _find_values(server: Queried, variable: dict[str, Any], texts: dict[str, str], span: int) -> list[str]:
    query = _interpolate(variable["query"]["query"], texts)
    if match := re.fullmatch(r"label_values\((.+), *(\w+)\)", query, re.DOTALL):
        end = int(time.time())
        times = {"start": end - span, "end": end}
        return [str(value) for value in server.api(f"label/{match[2]}/values", **{"match[]": match[1]}, **times)]
    match = re.fullmatch(r"query_result\((.+)\)", query, re.DOTALL)
    assert match, query
    lines = (f"{sample['metric']} {sample['value'][1]}" for sample in server.query(match[1]))
    return list(dict.fromkeys(lines))


def _list_queries(dashboard: dict[str, Any], texts: dict[str, str]) -> Iterator[Query]:
    """Yield the queries of the panels that are not in a collapsed row, and of the annotations."""
    span = _find_span(dashboard)
    for panel in dashboard["panels"]:
        pixels = panel["gridPos"]["w"] * WIDTH // COLUMNS
        step = _compute_step(span, panel.get("maxDataPoints") or pixels, panel.get("interval"))
        for target in panel.get("targets", ()):
            expr = _interpolate(target["expr"], texts, step, span)
            where = f"{panel['title']} {target['refId']}"
            if target.get("instant") or not target.get("range"):
                yield Query(where, expr, None)
            if target.get("range"):
                yield Query(where, expr, step)
    for annotation in dashboard["annotations"]["list"]:
        if annotation.get("expr"):
            step = _seconds(annotation.get("step") or "60s")
            yield Query(f"annotation {annotation['name']}", _interpolate(annotation["expr"], texts, step, span), step)


def _interpolate(text: str, texts: dict[str, str], step: int = INTERVAL, span: int = 3600) -> str:
    values = {
        "__rate_interval": f"{max(step + INTERVAL, 4 * INTERVAL)}s",
        "__interval": f"{step}s",
        "__range": f"{span}s",
        "__range_s": str(span),
        **texts,
    }
    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", lambda match: values.get(match[1] or match[2], match[0]), text)


def _compute_step(span: int, points: int, smallest: str | None) -> int:
    """Return the step that Grafana chooses for so many points."""
    least = _seconds(smallest) if smallest else INTERVAL
    return max(least, _STEPS[bisect(_BOUNDS, span / points)])


def _find_span(dashboard: dict[str, Any]) -> int:
    match = re.fullmatch(r"now-(\w+)", dashboard["time"]["from"])
    assert match, dashboard["time"]
    return _seconds(match[1])


def _seconds(duration: str) -> int:
    return int(duration[:-1].lstrip(">")) * _UNITS[duration[-1]]
