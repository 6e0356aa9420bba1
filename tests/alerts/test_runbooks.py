"""The runbooks: every alert has one, and what it tells to type works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import promql_parser
import pytest
import yaml
from support import eventually, free_port

from exporter.model import Reason

ALERTS = Path(__file__).resolve().parents[2] / "alerts"
ROOT = ALERTS.parent
SECTIONS = ["Meaning", "Impact", "Look", "Likely causes", "Mend", "When it is a false alarm"]
PAGES = sorted(ALERTS.glob("runbooks/*.md"))
RULE_FILES = sorted(ALERTS.glob("*.rules.yml"))
STEM = "https://health-exporter.example/alerts/runbooks/"
METRIC = re.compile(r"\bhealth_[a-z0-9_]+\b")


def rules(folder=ALERTS):
    """Every rule of the rule files."""
    files = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.rules.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def alerts():
    """The rules that are alerts, by name; a name may stand at several severities."""
    found = {}
    for rule in rules():
        if "alert" in rule:
            found.setdefault(rule["alert"], []).append(rule)
    return found


def severities(variants):
    """What the README says of an alert's severity."""
    templates = " ".join(rule["labels"]["severity"] for rule in variants)
    if "$labels.severity" in templates:
        return "the check's"
    return ", ".join(severity for severity in ("critical", "warning", "info") if severity in templates)


def times(variants):
    """What the README says of how long it waits."""
    return ", ".join(rule.get("for", "at once") for rule in variants)


def blocks(text, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def exposed():
    """Every metric's name: of the reference, of the golden exposition, and those that the rules record."""
    names = set(re.findall(r"^# TYPE (\S+)", (ROOT / "tests/render/scene.prom").read_text(), re.MULTILINE))
    reference = (ROOT / "docs/metrics.md").read_text()
    for name, kind in re.findall(r"^\| `([a-z0-9_]+)` \| (\w+)", reference, re.MULTILINE):
        names |= {name, f"{name}_limit"} | (
            {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else set()
        )
    return names


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def test_every_alert_has_a_page_and_every_page_an_alert():
    assert [page.stem for page in PAGES] == sorted(alerts())


def test_every_alert_links_its_own_page():
    for name, variants in alerts().items():
        assert {rule["annotations"]["runbook_url"] for rule in variants} == {f"{STEM}{name}.md"}


@each_page
def test_a_page_has_its_alerts_name_and_the_sections_in_their_order(page):
    text = page.read_text()

    assert re.findall(r"^# (.*)", text, re.MULTILINE) == [page.stem]
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == SECTIONS
    assert all(section.strip() for section in re.split(r"^## .*\n", text, flags=re.MULTILINE)[1:])


@each_page
def test_every_metric_that_a_page_names_exists(page):
    assert set(METRIC.findall(page.read_text())) - exposed() == set()


@each_page
def test_every_recorded_series_that_a_page_names_is_recorded(page):
    recorded = {rule["record"] for rule in rules() if "record" in rule}

    assert set(re.findall(r"\b\w+:[a-z0-9_]+:[a-z0-9_]+", page.read_text())) - recorded == set()


@each_page
def test_every_query_of_a_page_is_promql(page):
    queries = blocks(page.read_text(), "promql")

    assert queries
    for query in queries:
        promql_parser.parse(query)


@each_page
def test_every_link_of_a_page_leads_to_a_file(page):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", page.read_text()) if "://" not in link]

    assert links
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []


def test_the_page_of_a_failing_check_explains_every_reason():
    text = (ALERTS / "runbooks/HealthCheckFailing.md").read_text()

    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == {str(reason) for reason in Reason}


@pytest.fixture
def failing(start):
    """A running exporter with a check that fails, and the shell variables that the pages use."""
    exporter = start(
        f"""
        checks:
          - name: api
            httpGet: {{port: {free_port()}}}
            failureThreshold: 1
            groups: [liveness, readiness]
        """
    )
    eventually(lambda: exporter.metrics()['health_check_runs_total{check="api",kind="httpGet"}'])
    return {
        "job": "health",
        "address": exporter.url.removeprefix("http://"),
        "check": "api",
        "group": "liveness",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def test_every_command_to_the_exporter_works(failing, tmp_path):
    """Those of curl and health-exporter; what ends in 1 says that the check fails, as it does."""
    tried = {}
    for page in PAGES:
        for line in "".join(blocks(page.read_text(), "sh")).splitlines():
            if re.match(r"curl |health-exporter ", line) and line not in tried:
                tried[line] = subprocess.run(
                    ["bash", "-o", "pipefail", "-c", line],
                    env=failing,
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=20,
                )

    assert len(tried) > 3
    for line, done in tried.items():
        assert done.returncode == (1 if line.startswith("health-exporter ") else 0), (line, done.stdout, done.stderr)
        assert done.stdout, line


def test_the_command_of_the_readme_points_every_link_at_ones_own_copy(tmp_path):
    shutil.copytree(ALERTS, tmp_path / "alerts")
    [line] = re.findall(r"^grep .* sed .*", (ALERTS / "README.md").read_text(), re.MULTILINE)

    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, timeout=20)

    for rule in rules(tmp_path / "alerts"):
        if "alert" in rule:
            assert rule["annotations"]["runbook_url"].startswith("https://git.example.org/")
            assert rule["annotations"]["runbook_url"].endswith(f"/runbooks/{rule['alert']}.md")
    assert not [path for path in (tmp_path / "alerts").glob("*.rules.yml") if STEM in path.read_text()]


def test_the_readme_lists_every_alert_with_its_severities_and_its_time():
    rows = re.findall(
        r"^\| \[(\w+)\]\((\S+?)\) \| ([^|]+) \| ([^|]+) \|", (ALERTS / "README.md").read_text(), re.MULTILINE
    )

    assert {name: (link, severity, after) for name, link, severity, after in rows} == {
        name: (f"runbooks/{name}.md", severities(variants), times(variants)) for name, variants in alerts().items()
    }
