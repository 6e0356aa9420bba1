"""The dashboards as Grafana reads them: panels, queries, variables, and the interpolation of variables."""

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
ALL = ".*"
"""The text of a variable when all its values are selected: the allValue of these dashboards."""
LABELS = ("cluster", "namespace", "job", "pod", "instance")
"""The variables of every dashboard, in this order."""


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
    """The dashboard in the file with that name."""
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))


def panels(name: str) -> list[dict[str, Any]]:
    """The panels of a dashboard, without rows, but with the panels of collapsed ones."""
    listed = dashboard(name)["panels"]
    everything = chain.from_iterable([panel, *panel.get("panels", ())] for panel in listed)
    return [panel for panel in everything if panel["type"] != "row"]


def targets() -> list[Target]:
    """Every query of every panel of every dashboard."""
    return [Target(name, panel, target) for name in FILES for panel in panels(name) for target in panel["targets"]]


def annotations(name: str) -> list[dict[str, Any]]:
    """The annotations of a dashboard that have a query."""
    return [found for found in dashboard(name)["annotations"]["list"] if "expr" in found]


def variables(name: str) -> dict[str, dict[str, Any]]:
    """The variables of a dashboard by name."""
    return {variable["name"]: variable for variable in dashboard(name)["templating"]["list"]}


def label_values(variable: Mapping[str, Any]) -> tuple[str, str]:
    """The selector and the label in a variable's query."""
    query = variable["query"]["query"]
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert match, query
    return match[1], match[2]


def links(name: str) -> Iterator[Mapping[str, Any]]:
    """Every link of a dashboard, of its panels, and of their values."""
    yield from dashboard(name)["links"]
    for panel in panels(name):
        yield from panel.get("links", ())
        yield from panel["fieldConfig"]["defaults"].get("links", ())
        for override in panel["fieldConfig"]["overrides"]:
            for property_ in override["properties"]:
                yield from property_["value"] if property_["id"] == "links" else ()


def fixed_colors(panel: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every color that an override gives to the fields whose names match."""
    for override in panel["fieldConfig"]["overrides"]:
        for property_ in override["properties"]:
            if property_["id"] == "color" and property_["value"]["mode"] == "fixed":
                names = override["matcher"]["options"].removeprefix("^(").removesuffix(")$")
                yield names, property_["value"]["fixedColor"]


def properties(panel: Mapping[str, Any], name: str) -> list[Any]:
    """The values of a property in the panel's overrides."""
    overrides = panel["fieldConfig"]["overrides"]
    found = [property_ for override in overrides for property_ in override["properties"]]
    return [property_["value"] for property_ in found if property_["id"] == name]


def colors(panel: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Every color of a value, with the alternative words for that value; the list is empty if no word applies."""
    defaults = panel["fieldConfig"]["defaults"]
    names: dict[str, str] = {}  # by value
    for mapping in chain(defaults.get("mappings", []), *properties(panel, "mappings")):
        options = mapping["options"]
        by_value = mapping["type"] == "value"
        for value, result in options.items() if by_value else [("", options["result"])]:
            names[value] = result.get("text", "")
            if result.get("color", "transparent") != "transparent":
                yield result["color"], [names[value]] if by_value else []
    style = defaults.get("custom", {}).get("thresholdsStyle", {"mode": "off"})["mode"]
    visible = defaults["color"]["mode"] == "thresholds" or style != "off"
    for thresholds in [defaults["thresholds"]] * visible + properties(panel, "thresholds"):
        for step in thresholds["steps"]:
            if step["color"] not in {"transparent", "text"}:
                yield step["color"], _words(step["value"], names)


def _words(value: float | None, names: Mapping[str, str]) -> list[str]:
    if value is None or 0 < value < 0.001:  # the latter is "more than none"
        return []
    return [names[f"{value:g}"]] if names.get(f"{value:g}") else [f"{value:g}", f"{value * 100:g} %"]


def interpolated(expr: str, step: int = 15, scrape: int = 15, span: int = 3600, **selected: str) -> str:
    """The query as Grafana sends it. Times are in seconds; `selected` are the variables."""
    values = {
        "__rate_interval": f"{max(step + scrape, 4 * scrape)}s",
        "__interval": f"{step}s",
        "__range": f"{span}s",
        **dict.fromkeys(LABELS, ALL),
        "check": "api",
        "measurement": "health_check_duration_seconds",
        **selected,
    }
    return re.sub(r"\$(?:(\w+)|{(\w+)})", lambda match: values.get(match[1] or match[2], match[0]), expr)


def several(values: list[str]) -> str:
    """The text of a variable when several values are selected."""
    return f"({'|'.join(re.escape(value).replace(chr(92), chr(92) * 2) for value in values)})"


@dataclass(frozen=True)
class Selector:
    """One selector of a query; with a range, also the function that the range is for."""

    metric: str | None
    matchers: frozenset[tuple[str, str, str]]
    function: str = ""
    range: timedelta | None = None


def selectors(expr: str, **selected: str) -> list[Selector]:
    """Every selector of the query."""
    try:
        parsed = promql_parser.parse(interpolated(expr, **selected))
    except ValueError as error:
        raise ValueError(f"{error}: {expr}") from None
    return list(_selectors(parsed, ""))


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
    return frozenset((matcher.name, signs[str(matcher.op)], matcher.value) for matcher in selector.matchers.matchers)
