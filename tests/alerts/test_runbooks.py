"""The runbooks: every alert has one, in the same short form, and what it names exists."""

import re
import shutil
import subprocess

import pytest
import yaml
from alerts.pages import PAGES, README, find_commands, find_queries, find_values, list_values
from alerts.rules import ALERTS, load_groups
from config.canaries import read_schema

from exporter.model import Reason

ROOT = ALERTS.parent
STEM = "https://health-exporter.example/alerts/runbooks/"
METRIC = re.compile(r"(?<!:)\bhealth_[a-z0-9_]+\b(?!:)")
# The command or the query is in line 5, below one sentence. One or two commands may follow it.
BEGIN = re.compile(r"# (\w+)\n\n[A-Z`].{20,115}\.\n```(?:sh|promql)\n\S.+\n(?:\S.+\n){0,2}```\n\n")
PARTS = ["Impact", "False alarm", "Mitigation", "Silence", "Resolves"]
KUBERNETES = {"allowVolumeExpansion", "livenessProbe", "readinessProbe"}
ALERTING = [rule for _, group in load_groups() for rule in group["rules"] if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTING})


def select_rules(name):
    """Return the rules of an alert, of which there is one for each severity or window."""
    return [rule for rule in ALERTING if rule["alert"] == name]


def list_metrics():
    """Return the name of every metric in the reference and in the golden exposition."""
    names = set(re.findall(r"^# TYPE (\S+)", (ROOT / "tests/render/scene.prom").read_text(), re.MULTILINE))
    reference = (ROOT / "docs/metrics.md").read_text()
    for name, kind in re.findall(r"^\| `([a-z0-9_]+)` \| (\w+)", reference, re.MULTILINE):
        names |= {name, f"{name}_limit"} | (
            {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else set()
        )
    return names


def list_options(schema):
    """Yield the name of every option in the JSON Schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for value in schema.values():
            yield from list_options(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from list_options(value)


def test_every_alert_has_a_page_and_every_page_an_alert():
    assert list(PAGES) == NAMES


def test_every_alert_links_its_own_page():
    urls = {(rule["alert"], rule["annotations"]["runbook_url"]) for rule in ALERTING}

    assert urls == {(name, f"{STEM}{name}.md") for name in NAMES}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_short_and_begins_with_the_alert_and_a_command(name):
    text = PAGES[name]
    begin = BEGIN.match(text)
    rows = re.findall(r"^\| .+$", text, re.MULTILINE)

    assert begin, text[:400]
    assert begin[1] == name
    assert len(text.splitlines()) <= 40
    assert re.findall(r"^(?:- )?\*\*([^*]+)\*\*: ", text, re.MULTILINE) == PARTS
    assert len(rows) >= 4, "what the output shows, and the next step"
    assert [row for row in rows if not re.fullmatch(r"\| (?:[^|]|\\\|)+ \| (?:[^|]|\\\|)+ \|", row)] == []


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_names_exists(name):
    text = PAGES[name]
    recorded = {rule["record"] for _, group in load_groups() for rule in group["rules"] if "record" in rule}
    options = set(re.findall(r"`([a-z]+[A-Z]\w*)[:`]", text))

    assert set(METRIC.findall(text)) - list_metrics() == set()
    assert set(re.findall(r"\b\w+:[a-z0-9_]+:[a-z0-9_]+", text)) - recorded == set()
    assert options - set(list_options(read_schema())) - KUBERNETES == set()


def test_every_value_of_a_command_is_explained_and_linked():
    values = {name: find_values("\n".join(find_commands(text) + find_queries(text))) for name, text in PAGES.items()}

    assert all(values.values())
    assert {name: found - list_values() for name, found in values.items() if found - list_values()} == {}
    assert [name for name, text in PAGES.items() if "](../README.md#using-the-runbooks)" not in text] == []


def test_every_page_also_helps_without_kubernetes():
    """Only kube-state-metrics reports the restarts of a container."""
    assert [name for name, text in PAGES.items() if "Without Kubernetes" not in text] == ["HealthRestartedByLiveness"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_the_time_for_which_its_alert_keeps_firing(name):
    [minutes] = re.findall(r"^- \*\*Resolves\*\*: (?:(\d+) minutes)?", PAGES[name], re.MULTILINE)
    keeps = {rule.get("keep_firing_for") for rule in select_rules(name)} - {None}

    assert name == "HealthRestartedByLiveness" or not minutes or keeps == {f"{minutes}m"}


def test_every_link_of_a_page_leads_to_a_file_and_a_heading():
    headings = {f"#{heading.lower().replace(' ', '-')}" for heading in re.findall(r"^## (.*)", README, re.MULTILINE)}
    broken = []
    for name, text in PAGES.items():
        for link in re.findall(r"\]\(([^)]+)\)", text):
            path, mark, anchor = link.partition("#")
            missing = "://" not in link and not (ALERTS / "runbooks" / path).is_file()
            if missing or (path == "../README.md" and mark + anchor not in {"", *headings}):
                broken.append((name, link))

    assert broken == []


def test_the_page_of_a_failing_check_explains_every_reason():
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGES["HealthCheckFailing"], re.MULTILINE)

    assert sorted(re.findall(r"\w+", " ".join(cells))) == sorted(map(str, Reason))


def test_the_command_of_the_readme_points_every_link_to_the_copy(tmp_path):
    shutil.copytree(ALERTS, tmp_path / "alerts")
    [line] = re.findall(r"^grep .* sed .*", README, re.MULTILINE)

    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, timeout=20)

    files = list((tmp_path / "alerts").glob("*.rules.yml"))
    links = [
        (rule["alert"], rule["annotations"]["runbook_url"])
        for file in files
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert {name for name, _ in links} == set(PAGES)
    assert [
        link for name, link in links if not re.fullmatch(rf"https://git\.example\.org/.+/runbooks/{name}\.md", link)
    ] == []
    assert not [path for path in files if STEM in path.read_text()]


def test_the_readme_lists_every_alert_with_its_severity_and_its_wait():
    rows = re.findall(r"^\| \[(\w+)\]\((\S+?)\) \| ([^|]+) \| ([^|]+) \|", README, re.MULTILINE)

    assert {name: (link, severity, after) for name, link, severity, after in rows} == {
        name: (
            f"runbooks/{name}.md",
            ", ".join(dict.fromkeys(rule.get("labels", {}).get("severity", "the check's") for rule in rules)),
            ", ".join(dict.fromkeys(rule.get("for", "immediately") for rule in rules)),
        )
        for name in NAMES
        if (rules := select_rules(name))
    }
