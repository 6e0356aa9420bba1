"""What surrounds the panels of a dashboard: its variables, links, annotations and sections."""

from typing import Any

from dashboards.source.panels import DATASOURCE, NEUTRAL, PALE, PALEST, STEM, WARN, Json
from dashboards.source.promql import BUILD, WORKLOAD, select

TITLES = {
    "health-overview": ("Overview", "Which workloads and checks are not healthy, and why"),
    "health-check": ("One check", "Details of one check"),
    "health-exporter": ("The exporter itself", "The state of the exporter itself"),
}
_NAMES = "{{cluster}} {{namespace}} {{job}}"


def variable(name: str, values: str, *, many: bool = True, **details: Any) -> Json:
    """A variable with the values of a label. Those of `many` start with all values."""
    selection = {"multi": many, "includeAll": many, "current": {"text": ["All"], "value": ["$__all"]} if many else {}}
    return {
        "type": "query",
        "name": name,
        "label": name,
        "datasource": DATASOURCE,
        "query": {"query": values, "refId": name},
        "definition": values,
        "refresh": 2,
        "sort": 1,
        **selection,
        **({"allValue": ".*"} if many else {}),
        **details,
    }


def variables(*more: Json) -> list[Json]:
    """The data source, and the labels of exporters from the largest scope to the smallest."""
    source = {
        "type": "datasource",
        "name": "datasource",
        "label": "Data Source",
        "query": "prometheus",
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "current": {},
    }
    labels = ["cluster", "namespace", "job", "pod", "instance"]
    chain = [", ".join(f'{label}=~"${label}"' for label in labels[:number]) for number in range(len(labels))]
    return [
        source,
        *(
            variable(label, f"label_values(health_exporter_build_info{{{selected}}}, {label})".replace("{}", ""))
            for label, selected in zip(labels, chain, strict=True)
        ),
        *more,
    ]


def annotation(name: str, color: str, expr: str, text: str, *, at_value: bool) -> Json:
    """Events on every chart; with `at_value` the value of the query is their time, in milliseconds."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": color,
        "expr": " ".join(expr.split()),
        "step": "300s",
        "titleFormat": name,
        "textFormat": text,
        "tagKeys": "",
        "useValueForTime": at_value,
    }


def arrange(*rows: tuple[int, list[tuple[int, Json]]], top: int = 0) -> list[Json]:
    """Panels from left to right, by the height of their row and their own width."""
    placed = []
    for height, row in rows:
        left = 0
        for width, found in row:
            placed.append(found | {"gridPos": {"x": left, "y": top, "w": width, "h": height}})
            left += width
        top += height
    return placed


def section(title: str, *rows: tuple[int, list[tuple[int, Json]]], collapsed: bool = True) -> tuple[str, bool, Any]:
    """A row with a title. The panels of a collapsed one run no query until somebody opens it."""
    return title, collapsed, rows


def dashboard(uid: str, description: str, first: list[Json], sections: list[Any], **details: Any) -> Json:
    """The whole dashboard: its first screen, and below it the sections."""
    title = f"Health: {TITLES[uid][0][0].lower()}{TITLES[uid][0][1:]}"
    panels = list(first)
    for name, collapsed, rows in sections:
        top = max(found["gridPos"]["y"] + found["gridPos"]["h"] for found in panels)
        inside = arrange(*rows, top=top + 1)
        row = {"type": "row", "title": name, "collapsed": collapsed, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}}
        panels += [row | {"panels": inside}] if collapsed else [row | {"panels": []}, *inside]
    numbered(panels)
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["health-exporter"],
        "schemaVersion": 42,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-3h", "to": "now"},
        "timepicker": {},
        "timezone": "",
        "links": links(uid),
        "panels": panels,
        **details,
    }


def numbered(panels: list[Json], begin: int = 1) -> int:
    """Give each panel an id, in order."""
    for found in panels:
        found["id"] = begin
        begin = numbered(found.get("panels", []), begin + 1)
    return begin


def links(uid: str) -> list[Json]:
    """Links to the other dashboards, with the selection and the time range, and to the runbooks."""

    def link(title: str, tooltip: str, url: str, *, ours: bool) -> Json:
        return {
            "type": "link",
            "title": title,
            "tooltip": tooltip,
            "url": url,
            "icon": "dashboard" if ours else "doc",
            "includeVars": ours,
            "keepTime": ours,
            "targetBlank": not ours,
            "asDropdown": False,
            "tags": [],
        }

    found = [link(*texts, f"/d/{other}", ours=True) for other, texts in TITLES.items() if other != uid]
    return [*found, link("Runbooks", "What to do when an alert fires", f"{STEM}/README.md", ours=False)]


def annotations() -> Json:
    """One event for each workload, not for each replica."""
    start = select("process_start_time_seconds")
    load = select("health_exporter_config_last_reload_success_timestamp_seconds")
    built_in = {
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    }
    loads = f"1000 * max by ({WORKLOAD}) ({load})"
    by_version = f"group by ({WORKLOAD}, version) ({BUILD})"
    starts = f"1000 * max by ({WORKLOAD}) ({start}) * on ({WORKLOAD}) group_right () {by_version}"
    holds = f"count by ({WORKLOAD}) ({select('health_group_hold_expiry_timestamp_seconds')})"
    versions = f"count by ({WORKLOAD}) ({by_version}) > 1"
    return {
        "list": [
            built_in,
            annotation("Configuration loaded", NEUTRAL, loads, _NAMES, at_value=True),
            annotation("Exporter started", PALE, starts, f"{_NAMES}: version {{{{version}}}}", at_value=True),
            annotation("Restarts suspended", WARN, holds, _NAMES, at_value=False),
            annotation("Several versions run", PALEST, versions, _NAMES, at_value=False),
        ]
    }
