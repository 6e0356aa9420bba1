"""The dashboards keep Grafana's conventions (the rules of its dashboard-linter, in our words) and our own."""

import re
from datetime import timedelta
from pathlib import Path

import grafana
import pytest
import yaml

ROOT = Path(__file__).parents[2]
UIDS = {"overview": "health-overview", "check": "health-check", "exporter": "health-exporter"}
STEM = "https://health-exporter.example/"
RULES = [
    rule
    for file in sorted((ROOT / "alerts").glob("*.rules.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
# Ids of Grafana's packages/grafana-data/src/valueFormats/categories.ts, those that we use.
UNITS = {"none", "string", "short", "percentunit", "bytes", "s", "dtdurations", "ops", "reqps"}
TYPES = {"stat", "timeseries", "table", "state-timeline", "bargauge"}  # all part of Grafana itself
WITHOUT_JOB = {
    "health:slo_objective:ratio": "one objective for all jobs",
    "ALERTS": "an alert about absence has no job and no instance; the query takes those too",
}
WITHOUT_INSTANCE = {
    **WITHOUT_JOB,
    "check:health_check_up:avg_over_time30d": "recorded over all instances of a job",
    "check:health_check_up:avg_over_time1h": "recorded over all instances of a job",
    "group:health_group_up:avg_over_time30d": "recorded over all instances of a job",
}
FROM_PROMETHEUS = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS"}

every_dashboard = pytest.mark.parametrize("name", grafana.FILES)
every_panel = pytest.mark.parametrize(
    "panel",
    [pytest.param(panel, id=f"{name}: {panel['title']}") for name in grafana.FILES for panel in grafana.panels(name)],
)
every_target = pytest.mark.parametrize("target", grafana.targets(), ids=lambda target: target.where)


@every_dashboard
def test_a_dashboard_is_classic_json_that_nobody_edits_in_place(name):
    board = grafana.dashboard(name)

    assert (board["uid"], board["id"], board["schemaVersion"], board["editable"]) == (UIDS[name], None, 42, False)
    assert "version" not in board
    assert (board["graphTooltip"], board["timezone"], board["tags"]) == (1, "", ["health-exporter"])
    assert [annotation["builtIn"] for annotation in board["annotations"]["list"]] == [1]


@every_dashboard
def test_the_data_source_is_a_variable(name):
    sources = [each for each in grafana.variables(name).values() if each["type"] == "datasource"]

    assert [(each["name"], each["label"], each["query"]) for each in sources] == [
        ("datasource", "Data Source", "prometheus")
    ]


@every_dashboard
def test_variables_ask_the_chosen_data_source_whenever_the_time_range_changes(name):
    asked = [each for each in grafana.variables(name).values() if each["type"] == "query"]

    assert [each["name"] for each in asked] == ["job", "instance", "check"][: 3 if name == "check" else 2]
    for each in asked:
        assert (each["label"], each["datasource"], each["refresh"]) == (each["name"], grafana.DATASOURCE, 2)
        selector, label = grafana.label_values(each)
        assert label == each["name"]
        assert grafana.selectors(selector)


@every_dashboard
@pytest.mark.parametrize("variable", ["job", "instance"])
def test_several_jobs_and_instances_can_be_chosen(name, variable):
    found = grafana.variables(name)[variable]

    assert (found["multi"], found["includeAll"], found["allValue"]) == (True, True, grafana.ALL)


@every_dashboard
def test_panels_fill_the_grid_and_do_not_overlap(name):
    places = [panel["gridPos"] for panel in grafana.dashboard(name)["panels"]]
    taken = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    height = max(at["y"] + at["h"] for at in places)

    assert sorted(taken) == [(x, y) for x in range(24) for y in range(height)]


@every_dashboard
def test_ids_and_titles_are_unique(name):
    board = grafana.dashboard(name)["panels"]

    assert len({panel["id"] for panel in board}) == len({panel["title"] for panel in board}) == len(board)


@every_panel
def test_a_panel_is_of_grafanas_own_types_and_asks_the_chosen_data_source(panel):
    assert panel["type"] in TYPES
    assert panel["datasource"] == grafana.DATASOURCE
    assert panel["targets"]
    assert {tuple(target["datasource"].items()) for target in panel["targets"]} == {tuple(grafana.DATASOURCE.items())}
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@every_panel
def test_a_panel_says_what_it_shows_in_which_unit_and_what_no_value_means(panel):
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert defaults["noValue"]
    assert {defaults["unit"], *grafana.properties(panel, "unit")} <= UNITS


@every_panel
def test_a_colour_is_told_in_words_too(panel):
    text = panel["description"].lower()
    for colour, words in grafana.colours(panel):
        alternatives = [re.escape(word.lower()) for word in words]

        assert colour.rpartition("-")[2] in text
        assert re.search(rf"(?<![\d.])({'|'.join(alternatives)})(?!\.?\d)", text), words


@every_target
def test_a_query_selects_by_the_variables(target):
    for selector in grafana.selectors(target.expr, job="JOB", instance="INSTANCE", check="CHECK"):
        assert ("job", "=~", "JOB") in selector.matchers or selector.metric in WITHOUT_JOB
        assert ("instance", "=~", "INSTANCE") in selector.matchers or selector.metric in WITHOUT_INSTANCE
        if target.dashboard == "check" and selector.metric != "health_answers_total":  # that one has no check
            assert ("check", "=", "CHECK") in selector.matchers


@every_target
def test_a_counter_is_only_shown_as_a_rate_or_an_increase(target):
    for selector in grafana.selectors(target.expr):
        if selector.metric and selector.metric.endswith(("_total", "_bucket")):
            assert selector.function in {"rate", "increase"}


@every_target
def test_a_rate_is_over_grafanas_rate_interval_and_an_increase_over_what_the_title_says(target):
    for selector in grafana.selectors(target.expr.replace("$__rate_interval", "44s")):
        if selector.function == "rate":
            assert selector.range == timedelta(seconds=44)
        if selector.function == "increase":
            assert selector.range == timedelta(minutes=30)
            assert "30 minutes" in target.panel["title"]


def known():
    """Every metric that there is: of the exporter, of our recording rules, of Prometheus."""
    families = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    scene = re.findall(r"^(\w+)(?:\{| )", (ROOT / "tests/render/scene.prom").read_text(), re.MULTILINE)
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    measured = {f"{family}{suffix}" for family in families for suffix in ("_limit", "_bucket")}
    return families | set(scene) | recorded | measured | FROM_PROMETHEUS


@every_target
def test_a_query_names_metrics_that_exist(target):
    metrics = known()
    for selector in grafana.selectors(target.expr):
        patterns = [value for name, sign, value in selector.matchers if (name, sign) == ("__name__", "=~")]

        assert selector.metric in metrics or (
            patterns and all(any(map(re.compile(p).fullmatch, metrics)) for p in patterns)
        )


@every_dashboard
def test_links_lead_to_dashboards_variables_and_runbooks_that_exist(name):
    found = list(grafana.links(name))
    assert {url_of(other) for other in grafana.FILES if other != name} <= {link["url"] for link in found}
    for link in found:
        assert leads_somewhere(link["url"]), link["url"]
        assert link["title"]


def url_of(name):
    return f"/d/{UIDS[name]}"


def leads_somewhere(url):
    """Whether the place is ours and there: a dashboard and its variables, or a file about alerts."""
    if url.startswith(STEM):
        names = [rule["alert"] for rule in RULES if "alert" in rule] if "${__value.raw}" in url else [""]
        return all((ROOT / url.removeprefix(STEM).replace("${__value.raw}", name)).is_file() for name in names)
    path, _, query = url.partition("?")
    (name,) = (each for each in grafana.FILES if url_of(each) == path)
    return set(re.findall(r"\bvar-(\w+)=", query)) <= set(grafana.variables(name))


@every_panel
def test_a_link_from_a_table_takes_its_values_from_columns_that_are_there(panel):
    urls = [link["url"] for links in grafana.properties(panel, "links") for link in links]
    used = {field for url in urls for field in re.findall(r"__data\.fields\.(\w+)", url)}
    renamed = [each["options"].get("renameByName", {}).values() for each in panel.get("transformations", [])]

    assert used <= {column for columns in renamed for column in columns}


@pytest.mark.parametrize("rule", [rule for rule in RULES if "alert" in rule], ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_a_dashboard_that_exists(rule):
    assert leads_somewhere(rule["annotations"]["dashboard_url"])


def test_the_manual_names_every_dashboard_and_variable():
    manual = (ROOT / "dashboards/README.md").read_text()
    for name in grafana.FILES:
        assert f"`{name}.json`" in manual
        assert f"`{UIDS[name]}`" in manual
        assert grafana.dashboard(name)["title"] in manual
        assert all(f"`{variable}`" in manual for variable in grafana.variables(name))
