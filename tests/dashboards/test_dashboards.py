"""The dashboards follow Grafana's conventions (the rules of its dashboard-linter, reimplemented) and our own.

A rule about all panels or queries is one test. Its message lists every violation with dashboard, panel and query.
"""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from dashboards import grafana

ROOT = Path(__file__).parents[2]
UIDS = {"overview": "health-overview", "check": "health-check", "exporter": "health-exporter"}
STEM = "https://health-exporter.example/"
RULES = [
    rule
    for file in sorted((ROOT / "alerts").glob("*.rules.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
# The ids from Grafana's packages/grafana-data/src/valueFormats/categories.ts that the dashboards use.
UNITS = {"none", "string", "short", "percentunit", "bytes", "s", "dtdurations", "ops", "reqps"}
TYPES = {"stat", "timeseries", "table", "state-timeline", "bargauge"}  # all part of Grafana itself
WITHOUT_JOB = {
    "ALERTS": "an alert about an absent metric or about a node has no job, and the query includes these alerts",
}
WITHOUT_INSTANCE = {
    "ALERTS": "an alert is about all instances of a job",
    "job:health_sli:ratio30d": "recorded over all instances of a job",
    "job:health_sli:ratio1h": "recorded over all instances of a job",
    "job:health_sli:objective": "recorded over all instances of a job",
}
FROM_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS"}

every_dashboard = pytest.mark.parametrize("name", grafana.FILES)


def places():
    """Every panel, with its dashboard and title for a message."""
    found = [(f"{name}: {panel['title']}", panel) for name in grafana.FILES for panel in grafana.panels(name)]
    assert len(found) > 50
    return found


def queries():
    """Every query of every panel."""
    found = grafana.targets()
    assert len(found) > 80
    return found


# Dashboards


@every_dashboard
def test_a_dashboard_is_classic_json_and_not_editable_in_place(name):
    board = grafana.dashboard(name)

    assert (board["uid"], board["id"], board["schemaVersion"], board["editable"]) == (UIDS[name], None, 42, False)
    assert "version" not in board
    assert (board["graphTooltip"], board["timezone"], board["tags"]) == (1, "", ["health-exporter"])
    assert [annotation["builtIn"] for annotation in board["annotations"]["list"]] == [1]


@every_dashboard
def test_the_data_source_is_a_variable(name):
    sources = [variable for variable in grafana.variables(name).values() if variable["type"] == "datasource"]

    assert [(variable["name"], variable["label"], variable["query"]) for variable in sources] == [
        ("datasource", "Data Source", "prometheus")
    ]


@every_dashboard
def test_variables_query_the_selected_data_source_whenever_the_time_range_changes(name):
    found = [variable for variable in grafana.variables(name).values() if variable["type"] == "query"]

    assert [variable["name"] for variable in found] == ["job", "instance", "check"][: 3 if name == "check" else 2]
    for variable in found:
        assert (variable["label"], variable["datasource"], variable["refresh"]) == (
            variable["name"],
            grafana.DATASOURCE,
            2,
        )
        selector, label = grafana.label_values(variable)
        assert label == variable["name"]
        assert grafana.selectors(selector)


@every_dashboard
def test_several_jobs_and_instances_can_be_selected(name):
    variables = [grafana.variables(name)[variable] for variable in ("job", "instance")]

    assert [(variable["multi"], variable["includeAll"], variable["allValue"]) for variable in variables] == [
        (True, True, grafana.ALL)
    ] * 2


@every_dashboard
def test_panels_fill_the_grid_and_do_not_overlap(name):
    rectangles = [panel["gridPos"] for panel in grafana.dashboard(name)["panels"]]
    cells = [
        (x, y)
        for rectangle in rectangles
        for x in range(rectangle["x"], rectangle["x"] + rectangle["w"])
        for y in range(rectangle["y"], rectangle["y"] + rectangle["h"])
    ]
    height = max(rectangle["y"] + rectangle["h"] for rectangle in rectangles)

    assert sorted(cells) == [(x, y) for x in range(24) for y in range(height)]


@every_dashboard
def test_ids_and_titles_are_unique(name):
    board = grafana.dashboard(name)["panels"]

    assert len({panel["id"] for panel in board}) == len({panel["title"] for panel in board}) == len(board)


# Panels


def test_every_panel_has_a_type_of_grafana_itself():
    others = [f"{place}: {panel['type']}" for place, panel in places() if panel["type"] not in TYPES]

    assert not others, "\n".join(others)


def test_every_panel_and_query_uses_the_selected_data_source():
    others = [place for place, panel in places() if panel["datasource"] != grafana.DATASOURCE]
    others += [target.where for target in queries() if target.target["datasource"] != grafana.DATASOURCE]

    assert not others, "\n".join(others)


def test_every_panel_has_queries_with_unique_ids():
    violations = []
    for place, panel in places():
        ids = [target["refId"] for target in panel["targets"]]
        if not ids or len(set(ids)) != len(ids):
            violations.append(f"{place}: refIds {ids}")

    assert not violations, "\n".join(violations)


def test_every_panel_has_a_title_a_description_and_a_text_for_no_value():
    violations = []
    for place, panel in places():
        texts = {
            "title": panel["title"],
            "description that ends with a period": panel["description"].endswith("."),
            "text for no value": panel["fieldConfig"]["defaults"]["noValue"],
        }
        violations += [f"{place}: no {name}" for name, present in texts.items() if not present]

    assert not violations, "\n".join(violations)


def test_every_unit_is_known():
    violations = []
    for place, panel in places():
        units = {panel["fieldConfig"]["defaults"]["unit"], *grafana.properties(panel, "unit")}
        violations += [f"{place}: {unit}" for unit in units - UNITS]

    assert not violations, "\n".join(violations)


def test_every_color_is_explained_in_the_description():
    violations = []
    for place, panel in places():
        text = panel["description"].lower()
        for color, words in grafana.colors(panel):
            alternatives = "|".join(re.escape(word.lower()) for word in words)
            if color.rpartition("-")[2] not in text:
                violations.append(f"{place}: the description does not mention {color}")
            if not re.search(rf"(?<![\d.])({alternatives})(?!\.?\d)", text):
                violations.append(f"{place}: the description of {color} has none of {words}")

    assert not violations, "\n".join(violations)


def test_links_in_a_table_use_columns_of_that_table():
    violations = []
    for place, panel in places():
        urls = [link["url"] for links in grafana.properties(panel, "links") for link in links]
        used = {field for url in urls for field in re.findall(r"__data\.fields\.(\w+)", url)}
        options = [transformation["options"] for transformation in panel.get("transformations", [])]
        columns = {column for option in options for column in option.get("renameByName", {}).values()}
        violations += [f"{place}: no column {column}" for column in used - columns]

    assert not violations, "\n".join(violations)


# Queries


def test_every_query_selects_by_the_variables():
    violations = []
    for target in queries():
        for selector in grafana.selectors(target.expr, job="JOB", instance="INSTANCE", check="CHECK"):
            required = set()
            if selector.metric not in WITHOUT_JOB:
                required.add(("job", "=~", "JOB"))
            if selector.metric not in WITHOUT_INSTANCE:
                required.add(("instance", "=~", "INSTANCE"))
            if target.dashboard == "check" and selector.metric != "health_answers_total":  # it has no label check
                required.add(("check", "=", "CHECK"))
            violations += [
                f"{target.where}: {selector.metric} without {name}" for name, *_ in required - selector.matchers
            ]

    assert not violations, "\n".join(violations)


def test_counters_are_shown_only_as_a_rate_or_an_increase():
    violations = [
        f"{target.where}: {selector.metric} in {selector.function or 'no function'}"
        for target in queries()
        for selector in grafana.selectors(target.expr)
        if selector.metric and selector.metric.endswith(("_total", "_bucket"))
        if selector.function not in {"rate", "increase"}
    ]

    assert not violations, "\n".join(violations)


def test_every_rate_is_over_the_rate_interval_of_grafana():
    violations = [
        f"{target.where}: rate over {selector.range}"
        for target in queries()
        for selector in grafana.selectors(target.expr.replace("$__rate_interval", "44s"))
        if selector.function == "rate" and selector.range != timedelta(seconds=44)
    ]

    assert not violations, "\n".join(violations)


def test_every_increase_is_over_the_30_minutes_in_the_title_of_its_panel():
    violations = [
        f"{target.where}: increase over {selector.range}"
        for target in queries()
        for selector in grafana.selectors(target.expr)
        if selector.function == "increase"
        if selector.range != timedelta(minutes=30) or "30 minutes" not in target.panel["title"]
    ]

    assert not violations, "\n".join(violations)


def existing_metrics():
    """Every metric of the exporter, of the shipped recording rules, and of Prometheus."""
    families = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    scene = re.findall(r"^(\w+)(?:\{| )", (ROOT / "tests/render/scene.prom").read_text(), re.MULTILINE)
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    measured = {f"{family}{suffix}" for family in families for suffix in ("_limit", "_bucket")}
    return families | set(scene) | recorded | measured | FROM_PROMETHEUS


def test_every_query_uses_metrics_that_exist():
    metrics = existing_metrics()
    violations = []
    for target in queries():
        for selector in grafana.selectors(target.expr):
            patterns = [value for name, sign, value in selector.matchers if (name, sign) == ("__name__", "=~")]
            if selector.metric in metrics:
                continue
            if not patterns or not all(any(map(re.compile(pattern).fullmatch, metrics)) for pattern in patterns):
                violations.append(f"{target.where}: {selector.metric or patterns}")

    assert not violations, "\n".join(violations)


# Links


@every_dashboard
def test_links_lead_to_dashboards_variables_and_runbooks_that_exist(name):
    found = list(grafana.links(name))
    broken = [f"{link['title']}: {link['url']}" for link in found if not link["title"] or not exists(link["url"])]

    assert {url_of(other) for other in grafana.FILES if other != name} <= {link["url"] for link in found}
    assert not broken, "\n".join(broken)


def url_of(name):
    return f"/d/{UIDS[name]}"


def exists(url):
    """Whether the URL leads to one of the dashboards and its variables, or to a file about alerts."""
    if url.startswith(STEM):
        names = [rule["alert"] for rule in RULES if "alert" in rule] if "${__value.raw}" in url else [""]
        return all((ROOT / url.removeprefix(STEM).replace("${__value.raw}", name)).is_file() for name in names)
    path, _, query = url.partition("?")
    boards = [name for name in grafana.FILES if url_of(name) == path]
    return bool(boards) and set(re.findall(r"\bvar-(\w+)=", query)) <= set(grafana.variables(boards[0]))


def test_every_alert_links_to_a_dashboard_that_exists():
    alerts = [rule for rule in RULES if "alert" in rule]
    broken = [
        f"{rule['alert']}: {rule['annotations']['dashboard_url']}"
        for rule in alerts
        if not exists(rule["annotations"]["dashboard_url"])
    ]

    assert alerts
    assert not broken, "\n".join(broken)


def test_the_readme_names_every_dashboard_and_variable():
    readme = (ROOT / "dashboards/README.md").read_text()
    for name in grafana.FILES:
        assert f"`{name}.json`" in readme
        assert f"`{UIDS[name]}`" in readme
        assert grafana.dashboard(name)["title"] in readme
        assert all(f"`{variable}`" in readme for variable in grafana.variables(name))
