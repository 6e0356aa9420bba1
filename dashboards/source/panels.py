"""The kinds of panels, and the meaning of their colors."""

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

STEM = "https://health-exporter.example/alerts"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The meaning of each color, in every panel. dashboards/README.md has the same table.
GOOD, WARN, BAD, UNKNOWN = "semi-dark-green", "semi-dark-yellow", "semi-dark-red", "semi-dark-purple"
NEUTRAL, PALE, PALEST = "semi-dark-blue", "light-blue", "super-light-blue"
STATUSES = {"pass": GOOD, "warn": WARN, "unknown": UNKNOWN, "fail": BAD}
SEVERITIES = {"critical": BAD, "warning": WARN, "info": NEUTRAL}


def colored(texts: dict[str, str], colors: dict[str, str] | None = None) -> list[Json]:
    """Map values to texts; a text with a color in `colors` gets that color."""
    colors = colors or {}
    options = {
        value: {"text": text, "index": index} | ({"color": colors[text]} if text in colors else {})
        for index, (value, text) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def named(colors: dict[str, str]) -> list[Json]:
    """Map texts to their colors."""
    return colored({name: name for name in colors}, colors)


def limits(*steps: tuple[str, float | None]) -> Json:
    """The color of a value from each threshold on."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]}


# Reasons are not statuses. Blue: the target was not reached. Orange: the result was wrong. Purple: no run.
REASONS = {
    "timeout": "semi-dark-blue",
    "connect": "light-blue",
    "dns": "super-light-blue",
    "tls": "dark-blue",
    "status": "semi-dark-orange",
    "body": "light-orange",
    "exit": "super-light-orange",
    "threshold": "dark-orange",
    "missing": "semi-dark-purple",
    "permission": "light-purple",
    "error": "dark-purple",
    "stale": "super-light-purple",
}
POINTS = 180  # steps of a chart: each costs query time, and three hours are one step per minute
YES_NO = colored({"0": "no", "1": "yes"})
SHARE = limits((BAD, None), (WARN, 0.5), (GOOD, 1))  # of the replicas; an alert pages below half
BUDGET = limits((BAD, None), (WARN, 0.0001), (GOOD, 0.25))
NONE = limits((GOOD, None), (BAD, 1))
PLAIN, NOTHING = limits(("text", None)), limits(("transparent", None))
STACKED: Json = {"fillOpacity": 50, "stacking": {"mode": "normal", "group": "A"}}
REASONS_TEXT = "Blue: the target was not reached. Orange: the result was wrong. Purple: the check could not run."


def query(expr: str, legend: str = "", *, instant: bool = False, table: bool = False, interval: str = "") -> Json:
    """A query; with `table` it is instant, and its labels are columns."""
    kind = {"instant": True} if instant or table else {"range": True}
    found: Json = {"datasource": DATASOURCE, "expr": " ".join(expr.split()), **kind}
    optional = {"legendFormat": legend, "format": "table" if table else "", "interval": interval}
    return found | {name: value for name, value in optional.items() if value}


def override(names: str, **properties: Any) -> Json:
    """The options of the fields whose name matches; in a keyword, `__` is a dot."""
    found = [{"id": name.replace("__", "."), "value": value} for name, value in properties.items()]
    return {"matcher": {"id": "byRegexp", "options": f"^({names})$"}, "properties": found}


def from_query(ref: str, **properties: Any) -> Json:
    """The options of the fields that a query returned."""
    return override("", **properties) | {"matcher": {"id": "byFrameRefID", "options": ref}}


def panel(kind: str, title: str, description: str, queries: Iterable[Json], **details: Any) -> Json:
    """A panel. `details` are the defaults of its fields, `data_links` their links, `links` those of the panel."""
    options, overrides = details.pop("options", {}), details.pop("overrides", [])
    of_panel = ("links", "transformations", "maxDataPoints", "repeat", "repeatDirection", "maxPerRow")
    rest = {name: details.pop(name) for name in of_panel if name in details}
    if "data_links" in details:
        details["links"] = details.pop("data_links")
    defaults = {"unit": "none", "noValue": "no data", "color": {"mode": "thresholds"}, "thresholds": PLAIN} | details
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        **rest,
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
        "options": options,
        "targets": [{"refId": chr(ord("A") + number)} | found for number, found in enumerate(queries)],
    }


def tile(title: str, description: str, *queries: Json, named: bool = False, solid: bool = True, **details: Any) -> Json:
    """One number, or with `named` the name of its series. A good value is text on the panel's background."""
    options = {
        "colorMode": "background_solid" if solid else "none",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "vertical" if len(queries) == 1 else "auto",
        "textMode": "name" if named else "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("stat", title, description, queries, options=options, **{"noValue": "no exporter"} | details)


def table(title: str, description: str, queries: list[str], columns: dict[str, str], **details: Any) -> Json:
    """A table of instant queries, joined by their labels. `columns` renames a label or `Value #A`, in order.

    The columns in `hidden` are only for the order of the rows, and the labels of `promql.identified` only for links.
    """
    hide = {"custom__hidden": True, "custom__hideFrom__viz": True}  # before and since Grafana 12
    columns = columns | {"link_cluster": "Cluster", "link_namespace": "Namespace", "job": "Job"}
    hidden = override("|".join(["Cluster", "Namespace", "Job", *details.pop("hidden", [])]), **hide)
    order = {name: index for index, name in enumerate(columns)}
    labels = dict.fromkeys(["cluster", "namespace", *details.pop("excluded", [])], True)
    organize = {"excludeByName": {"Time": True} | labels, "indexByName": order, "renameByName": columns}
    transformations = [{"id": "merge", "options": {}}] * (len(queries) > 1) + [{"id": "organize", "options": organize}]
    if by := details.pop("sort", None):
        transformations.append({"id": "sortBy", "options": {"fields": {}, "sort": [by]}})
    options = {"showHeader": True, "cellHeight": "sm", "sortBy": details.pop("sortBy", [])}
    custom = {"align": "left", "cellOptions": {"type": "auto"}, "filterable": False, "minWidth": 80}
    overrides = [*details.pop("overrides", []), hidden]
    return panel(
        "table",
        title,
        description,
        [query(expr, table=True) for expr in queries],
        unit="string",
        custom=custom,
        color={"mode": "palette-classic"},
        overrides=overrides,
        options=options,
        transformations=transformations,
        **details,
    )


def lines(title: str, description: str, *queries: Json, **details: Any) -> Json:
    """A chart over time. Its lines are shades of blue, because the other colors have a meaning."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 0,
        "showPoints": "auto",
        "pointSize": 4,
        "spanNulls": False,
    }
    custom |= details.pop("custom", {})
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel(
        "timeseries",
        title,
        description,
        queries,
        options=options,
        custom=custom,
        maxDataPoints=POINTS,
        **{"color": {"mode": "shades", "fixedColor": NEUTRAL}} | details,
    )


def timeline(title: str, description: str, *queries: Json, **details: Any) -> Json:
    """A row of colored boxes over time for each series."""
    options = {
        "mergeValues": True,
        "showValue": "auto",
        "rowHeight": 0.8,
        "alignValue": "left",
        "perPage": 20,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 80, "lineWidth": 0}
    return panel(
        "state-timeline",
        title,
        description,
        queries,
        options=options,
        custom=custom,
        **{"maxDataPoints": POINTS} | details,
    )


def bars(title: str, description: str, *queries: Json, **details: Any) -> Json:
    """A horizontal bar for each series, from 0 to 100 %."""
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "showUnfilled": True,
        "valueMode": "color",
        "namePlacement": "left",
        "minVizHeight": 16,
        "maxVizHeight": 40,
        "minVizWidth": 8,
        "sizing": "auto",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("bargauge", title, description, queries, options=options, unit="percentunit", min=0, max=1, **details)


def dashed(color: str) -> Json:
    """The options of a line for a threshold."""
    style = {"fill": "dash", "dash": [8, 6]}
    return {
        "color": {"mode": "fixed", "fixedColor": color},
        "custom__lineStyle": style,
        "custom__lineWidth": 2,
        "custom__showPoints": "never",
        "custom__fillOpacity": 0,
        "custom__stacking": {"mode": "none", "group": "A"},
    }


def fixed(color: str) -> Json:
    """The color of a field, as an option."""
    return {"color": {"mode": "fixed", "fixedColor": color}}


def cells(colors: Json, **details: Any) -> Json:
    """The options of a column whose cells are filled with the color of their value; a missing value has none."""
    missing = {"type": "special", "options": {"match": "null+nan", "result": {"text": "-", "color": "transparent"}}}
    mappings = [*details.pop("mappings", []), missing]
    style = details.pop("style", {"type": "color-background", "mode": "basic"})
    mode = {"color": {"mode": "thresholds"}, "custom__cellOptions": style}
    return {"unit": "none", "noValue": "-", "thresholds": colors, "mappings": mappings, **mode, **details}


def by_reason() -> list[Json]:
    """The color of each reason."""
    return [override(name, **fixed(color)) for name, color in REASONS.items()]


def runbook(alert: str) -> Json:
    """A link to the runbook of an alert."""
    return {"title": f"Runbook {alert}", "url": f"{STEM}/runbooks/{alert}.md", "targetBlank": True}
