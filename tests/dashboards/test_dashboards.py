"""The dashboards follow Grafana's conventions (the rules of its dashboard-linter, reimplemented) and our own.

A rule about all panels or queries is one test. Its message lists every violation with dashboard, panel and query.
"""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from dashboards import grafana
from dashboards.source import panels
from dashboards.source.__main__ import BOARDS, rendered
from exporter.model import Reason

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
TEXT = "suffix: "  # followed by the text after the number
TYPES = {"stat", "timeseries", "table", "state-timeline", "bargauge"}  # all part of Grafana itself
WORKLOAD = ("cluster", "namespace", "job")
OF_WORKLOADS = {
    "job:health_sli:ratio30d": "recorded over all replicas of a workload",
    "job:health_sli:ratio1h": "recorded over all replicas of a workload",
    "job:health_sli:objective": "recorded over all replicas of a workload",
    "job:health_exporters:known": "recorded over all replicas of a workload",
    "health_exporter_build_info": "finds the workloads of replicas that are not scraped, too",
}
OF_ALERTS = {"ALERTS", "ALERTS_FOR_STATE"}  # of a workload, or of a node: then without these labels
SCREEN, NAVIGATION, CONTROLS, CELL = 1080, 40, 64, 30 + 8  # pixels of Grafana; a cell includes the gap
LAPTOP, MARGINS, GAP = 1366, 32, 8  # pixels
LETTER, ICONS = 7.2, 57  # pixels of a letter in a title, on average, and of what surrounds it
# The meaning of each color, as in dashboards/README.md. A color in a chart that has no meaning is a shade of blue.
MEANINGS = {
    "semi-dark-green": {"pass", "200", "none", "no"},
    "semi-dark-yellow": {"warn", "warning", "periodSeconds"},
    "semi-dark-red": {
        "fail",
        "critical",
        "503",
        "stuck",
        "failureThreshold",
        "timeoutSeconds",
        "shortest periodSeconds",
    },
    "semi-dark-purple": {"unknown"},
}
NEUTRAL = {"semi-dark-blue", "light-blue", "super-light-blue"}
REASONS = {str(reason) for reason in Reason}
FROM_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped", *OF_ALERTS}

every_dashboard = pytest.mark.parametrize("name", grafana.FILES)


def places():
    """Every panel, with its dashboard and title for a message."""
    found = [(f"{name}: {panel['title']}", panel) for name in grafana.FILES for panel in grafana.panels(name)]
    assert len(found) > 50
    return found


def queries():
    """Every query of every panel."""
    found = grafana.targets()
    assert len(found) > 90
    return found


# Dashboards


@every_dashboard
def test_a_dashboard_is_classic_json_and_not_editable_in_place(name):
    board = grafana.dashboard(name)

    assert (board["uid"], board["id"], board["schemaVersion"], board["editable"]) == (UIDS[name], None, 42, False)
    assert "version" not in board
    assert (board["graphTooltip"], board["timezone"], board["tags"]) == (1, "", ["health-exporter"])
    assert (board["refresh"], board["annotations"]["list"][0]["builtIn"]) == ("1m", 1)


@every_dashboard
def test_the_file_is_what_its_source_renders(name):
    assert (grafana.FOLDER / f"{name}.json").read_text() == rendered(BOARDS[name]()), "run make dashboards"


@every_dashboard
def test_annotations_show_configurations_starts_and_versions(name):
    found = grafana.annotations(name)

    assert [annotation["name"] for annotation in found] == [
        "Configuration loaded",
        "Exporter started",
        "Restarts suspended",
        "Several versions run",
    ]
    assert {annotation["datasource"]["uid"] for annotation in found} == {"${datasource}"}
    assert all(annotation["enable"] and annotation["textFormat"] for annotation in found)


@every_dashboard
def test_the_data_source_is_a_variable(name):
    sources = [variable for variable in grafana.variables(name).values() if variable["type"] == "datasource"]

    assert [(variable["name"], variable["label"], variable["query"]) for variable in sources] == [
        ("datasource", "Data Source", "prometheus")
    ]


@every_dashboard
def test_variables_query_the_selected_data_source_whenever_the_time_range_changes(name):
    found = [variable for variable in grafana.variables(name).values() if variable["type"] == "query"]
    more = ["check", "measurement"] if name == "check" else []

    assert [variable["name"] for variable in found] == [*grafana.LABELS, *more]
    for variable in found:
        assert (variable["label"], variable["datasource"], variable["refresh"]) == (
            variable["name"],
            grafana.DATASOURCE,
            2,
        )
        selector, label = grafana.label_values(variable)
        assert label == {"measurement": "__name__"}.get(variable["name"], variable["name"])
        assert grafana.selectors(selector)


@every_dashboard
def test_every_variable_depends_on_the_variables_before_it(name):
    before = []
    for variable in grafana.variables(name).values():
        if variable["type"] == "query":
            selector, _ = grafana.label_values(variable)
            assert re.findall(r"\$(\w+)", selector) == before, variable["name"]
            before.append(variable["name"])


@every_dashboard
def test_several_values_of_every_label_can_be_selected(name):
    variables = [grafana.variables(name)[variable] for variable in grafana.LABELS]

    # The linter wants ".+", for which Prometheus reads the index of every value; ".*" matches a missing label, too.
    assert [(variable["multi"], variable["includeAll"], variable["allValue"]) for variable in variables] == [
        (True, True, grafana.ALL)
    ] * len(grafana.LABELS)


def rectangles(panels):
    """The places of panels. A panel that is repeated fills its row, however often that is."""
    return [panel["gridPos"] for panel in panels]


def assert_fills_the_grid(panels, top=0):
    cells = [
        (x, y)
        for rectangle in rectangles(panels)
        for x in range(rectangle["x"], rectangle["x"] + rectangle["w"])
        for y in range(rectangle["y"], rectangle["y"] + rectangle["h"])
    ]
    bottom = max(rectangle["y"] + rectangle["h"] for rectangle in rectangles(panels))

    assert sorted(cells) == [(x, y) for x in range(24) for y in range(top, bottom)]


@every_dashboard
def test_panels_fill_the_grid_and_do_not_overlap(name):
    listed = grafana.dashboard(name)["panels"]

    assert_fills_the_grid(listed)
    for row in listed:
        if row.get("collapsed"):
            assert_fills_the_grid(row["panels"], top=row["gridPos"]["y"] + 1)


@every_dashboard
def test_the_first_screen_of_a_wall_display_ends_between_two_panels(name):
    rows = (SCREEN - NAVIGATION - CONTROLS) // CELL
    above = [panel for panel in grafana.dashboard(name)["panels"] if panel["gridPos"]["y"] < rows]
    cut = [panel["title"] for panel in above if panel["gridPos"]["y"] + panel["gridPos"]["h"] > rows]

    assert rows == 25
    assert not cut


def test_the_first_screen_of_the_overview_has_all_that_matters():
    above = [panel for panel in grafana.dashboard("overview")["panels"] if panel["gridPos"]["y"] < 25]
    titles = {panel["title"] for panel in above}

    assert {"Workloads", "Problems now", "Alerts firing", "Error budget"} <= titles


def width(panel):
    """The width of a panel on a laptop."""
    return panel["gridPos"]["w"] * (LAPTOP - MARGINS + GAP) / 24 - GAP


def test_titles_are_not_cut_on_a_laptop():
    cut = [place for place, panel in places() if len(panel["title"]) * LETTER + ICONS > width(panel)]

    assert not cut, "\n".join(cut)


def test_the_columns_of_every_table_fit_on_a_laptop():
    violations = []
    for place, panel in places():
        if panel["type"] == "table":
            columns = shown_columns(panel)
            fixed = dict(fixed_widths(panel, columns))
            least = panel["fieldConfig"]["defaults"]["custom"]["minWidth"]
            needed = sum(fixed.get(column, least) for column in columns)
            violations += [f"{place}: {needed} pixels"] if needed > width(panel) else []

    assert not violations, "\n".join(violations)


def shown_columns(table):
    """The titles of the columns that are not hidden. Only alerts about a node have the column Node."""
    (organize,) = (found["options"] for found in table["transformations"] if found["id"] == "organize")
    hidden = "|".join(
        override["matcher"]["options"]
        for override in table["fieldConfig"]["overrides"]
        if any(property_["id"] == "custom.hidden" for property_ in override["properties"])
    )
    return [title for title in organize["renameByName"].values() if not re.fullmatch(f"{hidden}|Node", title)]


def fixed_widths(table, columns):
    """The widths that overrides give to columns."""
    for override in table["fieldConfig"]["overrides"]:
        for property_ in override["properties"]:
            if property_["id"] == "custom.width":
                matches = [column for column in columns if re.fullmatch(override["matcher"]["options"], column)]
                yield from ((column, property_["value"]) for column in matches)


@every_dashboard
def test_a_wide_panel_is_never_empty_because_of_the_kind_of_a_check(name):
    """Whatever only some kinds have is in a collapsed section, or repeated for what there is."""
    kinds = re.compile(r"health_(?!check_|group_|exporter|answers_|snapshot_|sli)")
    listed = grafana.dashboard(name)["panels"]
    texts = {panel["title"]: " ".join(target["expr"] for target in panel.get("targets", ())) for panel in listed}

    assert [title for title, text in texts.items() if kinds.search(text.replace("job:health_sli", ""))] == []


@every_dashboard
def test_ids_and_titles_are_unique(name):
    board = [*grafana.panels(name), *(panel for panel in grafana.dashboard(name)["panels"] if panel["type"] == "row")]

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
        violations += [f"{place}: {unit}" for unit in units - UNITS if not unit.startswith(TEXT)]

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


def test_a_color_means_the_same_everywhere():
    violations = []
    for place, panel in places():
        used = [(color, words) for color, words in grafana.colors(panel) if color not in NEUTRAL]
        violations += [f"{place}: {color}" for color, _ in used if color not in MEANINGS]
        for name, color in grafana.fixed_colors(panel):
            if set(name.split("|")) <= REASONS:
                continue
            meant = [word for word in MEANINGS.get(color, ()) if re.fullmatch(name, word) or name.endswith(word)]
            if color not in NEUTRAL and not meant:
                violations.append(f"{place}: {name} is {color}")
    for place, panel in places():
        for color, text in named_colors(panel):
            wrong = [meant for meant, texts in MEANINGS.items() if text in texts and meant != color]
            violations += [f"{place}: {text} is {color}, not {meant}" for meant in wrong]

    assert not violations, "\n".join(violations)


def named_colors(panel):
    """The colors of texts: of mapped values, and of fields that are fixed."""
    mappings = [panel["fieldConfig"]["defaults"].get("mappings", []), *grafana.properties(panel, "mappings")]
    for mapping in (mapping for found in mappings for mapping in found if mapping["type"] == "value"):
        for result in mapping["options"].values():
            if "color" in result:
                yield result["color"], result["text"]
    for name, color in grafana.fixed_colors(panel):
        yield from ((color, text) for text in name.split("|"))


def test_every_reason_has_a_color():
    assert set(panels.REASONS) | {"pending"} == REASONS


def test_the_readme_has_the_table_of_colors():
    readme = (ROOT / "dashboards/README.md").read_text()
    rows = dict(re.findall(r"^\| (\w+) \| (.+?) \|$", readme, re.MULTILINE))

    for color, texts in MEANINGS.items():
        assert any(f"`{text}`" in rows[color.rpartition("-")[2]] for text in texts)


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


def required(target, selector):
    """The matchers that a selector needs: those of the variables which its series have as labels."""
    if selector.metric in OF_ALERTS:
        return {(label, "=~", f"{label.upper()}|") for label in WORKLOAD}
    found = {(label, "=~", label.upper()) for label in WORKLOAD}
    if selector.metric not in OF_WORKLOADS:
        found |= {(label, "=~", label.upper()) for label in ("pod", "instance")}
    return found


def test_every_query_selects_by_the_variables():
    selected = {label: label.upper() for label in grafana.LABELS}
    violations = [
        f"{target.where}: {selector.metric} without {name}"
        for target in queries()
        for selector in grafana.selectors(target.expr, **selected)
        for name, *_ in required(target, selector) - selector.matchers
    ]

    assert not violations, "\n".join(violations)


def test_every_query_about_one_check_selects_it():
    without_check = {"health_answers_total", "up", "health_exporter_build_info"}
    violations = [
        f"{target.where}: {selector.metric}"
        for target in queries()
        if target.dashboard == "check"
        for selector in grafana.selectors(target.expr, check="CHECK")
        if selector.metric not in without_check and ("check", "=", "CHECK") not in selector.matchers
    ]

    assert not violations, "\n".join(violations)


def test_joins_and_groups_include_the_workload():
    """Two workloads may have the same name in two namespaces, and two instances the same address in two clusters."""
    violations = []
    for target in queries():
        labels = re.findall(r"\b(?:on|by) \(([^()]*)\)", target.expr)
        parts = [set(found.split(", ")) for found in labels if found]
        violations += [
            f"{target.where}: {sorted(found)}"
            for found in parts
            if found & {"job", "instance", "pod", "namespace"} and not {"cluster", "namespace", "job"} <= found
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
            names = {value for name, _, value in selector.matchers if name == "__name__"}
            if not selector.metric and names <= {
                "health_check_duration_seconds",
                "health_check_duration_seconds_limit",
            }:
                continue  # the measurement that the variable selects
            if selector.metric not in metrics:
                violations.append(f"{target.where}: {selector.metric or names}")

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
