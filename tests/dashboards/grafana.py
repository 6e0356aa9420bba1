"""Our dashboards as Grafana takes them: panels, queries, variables, and how variables become text."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import promql_parser

FOLDER = Path(__file__).parents[2] / "dashboards"
FILES = ("overview", "check", "exporter")
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
ALL = ".+"
"""What becomes of a variable when all its values are chosen: our allValue."""


@dataclass(frozen=True)
class Target:
    """One query of one panel."""

    dashboard: str
    panel: Mapping[str, Any]
    target: Mapping[str, Any]

    @property
    def where(self) -> str:
        return f"{self.dashboard}: {self.panel['title']}: {self.target['refId']}"

    @property
    def expr(self) -> str:
        return str(self.target["expr"])

    @property
    def instant(self) -> bool:
        return bool(self.target.get("instant"))


def dashboard(name: str) -> dict[str, Any]:
    """The dashboard in the file of that name."""
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))


def panels(name: str) -> list[dict[str, Any]]:
    """Its panels, without the rows that are their headings."""
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def targets() -> list[Target]:
    """Every query of every panel of every dashboard."""
    return [Target(name, panel, target) for name in FILES for panel in panels(name) for target in panel["targets"]]


def variables(name: str) -> dict[str, dict[str, Any]]:
    """Its variables by name."""
    return {variable["name"]: variable for variable in dashboard(name)["templating"]["list"]}


def label_values(variable: Mapping[str, Any]) -> tuple[str, str]:
    """The selector and the label of a variable's query."""
    query = variable["query"]["query"]
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert match, query
    return match[1], match[2]


def links(name: str) -> Iterator[Mapping[str, Any]]:
    """Every link: of the dashboard, of a panel, of a value."""
    yield from dashboard(name)["links"]
    for panel in panels(name):
        yield from panel.get("links", ())
        yield from panel["fieldConfig"]["defaults"].get("links", ())
        for override in panel["fieldConfig"]["overrides"]:
            for each in override["properties"]:
                yield from each["value"] if each["id"] == "links" else ()


def properties(panel: Mapping[str, Any], name: str) -> list[Any]:
    """The values of a property in the panel's overrides."""
    overrides = panel["fieldConfig"]["overrides"]
    return [each["value"] for override in overrides for each in override["properties"] if each["id"] == name]


def colours(panel: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Every colour that a value can get, each with the words of which one says when; none where no word can."""
    defaults = panel["fieldConfig"]["defaults"]
    names: dict[str, str] = {}  # of values
    for mapping in chain(defaults.get("mappings", []), *properties(panel, "mappings")):
        options = mapping["options"]
        by_value = mapping["type"] == "value"
        for value, result in options.items() if by_value else [("", options["result"])]:
            names[value] = result.get("text", "")
            if "color" in result:
                yield result["color"], [names[value]] if by_value else []
    style = defaults.get("custom", {}).get("thresholdsStyle", {"mode": "off"})["mode"]
    seen = defaults["color"]["mode"] == "thresholds" or style != "off"
    for thresholds in [defaults["thresholds"]] * seen + properties(panel, "thresholds"):
        for step in thresholds["steps"]:
            if step["color"] not in {"transparent", "text"}:
                yield step["color"], _words(step["value"], names)


def _words(value: float | None, names: Mapping[str, str]) -> list[str]:
    if value is None:
        return []
    return [names[f"{value:g}"]] if names.get(f"{value:g}") else [f"{value:g}", f"{value * 100:g} %"]


def interpolated(expr: str, step: int = 15, scrape: int = 15, span: int = 3600, **chosen: str) -> str:
    """The query as Grafana sends it; times in seconds, `chosen` are the variables."""
    values = {
        "__rate_interval": f"{max(step + scrape, 4 * scrape)}s",
        "__interval": f"{step}s",
        "__range": f"{span}s",
        "job": ALL,
        "instance": ALL,
        "check": "api",
        **chosen,
    }
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], expr)


def several(values: list[str]) -> str:
    """What becomes of a variable when several values are chosen."""
    return f"({'|'.join(re.escape(value).replace(chr(92), chr(92) * 2) for value in values)})"


@dataclass(frozen=True)
class Selector:
    """One selector of a query, with the function that its range is for, if it has a range."""

    metric: str | None
    matchers: frozenset[tuple[str, str, str]]
    function: str = ""
    range: timedelta | None = None


def selectors(expr: str, **chosen: str) -> list[Selector]:
    """Every selector of the query."""
    return list(_selectors(promql_parser.parse(interpolated(expr, **chosen)), ""))


def _selectors(node: Any, function: str) -> Iterator[Selector]:
    match node:
        case promql_parser.MatrixSelector():
            vector = node.vector_selector
            yield Selector(vector.name, _matchers(vector), function, node.range)
        case promql_parser.VectorSelector():
            yield Selector(node.name, _matchers(node))
        case promql_parser.Call():
            for argument in node.args:
                yield from _selectors(argument, node.func.name)
        case _:
            for part in ("expr", "lhs", "rhs", "param"):
                yield from _selectors(getattr(node, part), "") if hasattr(node, part) else ()


def _matchers(selector: Any) -> frozenset[tuple[str, str, str]]:
    signs = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
    return frozenset((each.name, signs[str(each.op)], each.value) for each in selector.matchers.matchers)
