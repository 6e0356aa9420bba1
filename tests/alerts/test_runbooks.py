"""The runbooks: every alert has one, and its commands and queries work."""

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
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Likely causes", "Fix", "False alarms"]
PAGES = {path.stem: path.read_text() for path in sorted(ALERTS.glob("runbooks/*.md"))}
README = (ALERTS / "README.md").read_text()
STEM = "https://health-exporter.example/alerts/runbooks/"
METRIC = re.compile(r"(?<!:)\bhealth_[a-z0-9_]+\b(?!:)")


def load_rules(folder=ALERTS):
    """Load every rule of the rule files in a folder."""
    files = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.rules.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def group_alerts():
    """Group the alerts by name; a name may have several severities."""
    alerts = {}
    for rule in load_rules():
        if "alert" in rule:
            alerts.setdefault(rule["alert"], []).append(rule)
    return alerts


def describe_severity(variants):
    """Return the severity of an alert as the README shows it."""
    severities = (rule.get("labels", {}).get("severity", "the check's") for rule in variants)
    return ", ".join(dict.fromkeys(severities))


def describe_wait(variants):
    """Return the `for` of an alert as the README shows it."""
    return ", ".join(dict.fromkeys(rule.get("for", "immediately") for rule in variants))


def find_blocks(text, language):
    """Find the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def list_metrics():
    """Return the name of every metric in the reference and in the golden exposition."""
    names = set(re.findall(r"^# TYPE (\S+)", (ROOT / "tests/render/scene.prom").read_text(), re.MULTILINE))
    reference = (ROOT / "docs/metrics.md").read_text()
    for name, kind in re.findall(r"^\| `([a-z0-9_]+)` \| (\w+)", reference, re.MULTILINE):
        names |= {name, f"{name}_limit"} | (
            {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else set()
        )
    return names


def test_every_alert_has_a_page_and_every_page_an_alert():
    assert list(PAGES) == sorted(group_alerts())


def test_every_alert_links_its_own_page():
    urls = {name: {rule["annotations"]["runbook_url"] for rule in rules} for name, rules in group_alerts().items()}

    assert urls == {name: {f"{STEM}{name}.md"} for name in urls}


def test_every_page_has_the_name_of_its_alert_and_the_sections_in_order():
    headings = {name: re.findall(r"^##? (.*)", text, re.MULTILINE) for name, text in PAGES.items()}
    empty = [name for name, text in PAGES.items() if re.search(r"^## .*\n\s*(?=^## |\Z)", text, re.MULTILINE)]

    assert headings == {name: [name, *SECTIONS] for name in PAGES}
    assert empty == []


def test_every_metric_of_a_page_exists():
    known = list_metrics()

    assert {name: unknown for name, text in PAGES.items() if (unknown := set(METRIC.findall(text)) - known)} == {}


def test_every_recorded_series_of_a_page_is_recorded():
    recorded = {rule["record"] for rule in load_rules() if "record" in rule}
    used = {name: set(re.findall(r"\b\w+:[a-z0-9_]+:[a-z0-9_]+", text)) for name, text in PAGES.items()}

    assert any(used.values())
    assert {name: series - recorded for name, series in used.items() if series - recorded} == {}


def test_every_page_has_queries_that_are_valid():
    queries = {name: find_blocks(text, "promql") for name, text in PAGES.items()}
    invalid = [(name, query) for name, found in queries.items() for query in found if not is_promql(query)]

    assert [name for name, found in queries.items() if not found] == []
    assert invalid == []


def is_promql(query):
    """Report whether a query is valid."""
    try:
        promql_parser.parse(query)
    except ValueError:
        return False
    return True


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


def test_every_page_links_the_readme_which_sets_its_variables():
    """The pages use shell variables; the README shows once how to set them from the labels of the alert."""
    [section] = re.findall(r"^## Using the runbooks\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    explained = set(re.findall(r"(?:^|\s)(\w+)=", " ".join(find_blocks(section, "sh"))))
    problems = []
    for name, text in PAGES.items():
        commands = "".join(find_blocks(text, "sh") + find_blocks(text, "promql"))
        own = set(re.findall(r"^(\w+)=", commands, re.MULTILINE))
        unset = set(re.findall(r"\$\{?(\w+)", commands)) - explained - own
        if unset or "](../README.md#using-the-runbooks)" not in text:
            problems.append((name, sorted(unset)))

    assert problems == []


def test_the_page_of_a_failing_check_explains_every_reason():
    text = PAGES["HealthCheckFailing"]

    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == {str(reason) for reason in Reason}


@pytest.fixture
def failing(start):
    """Start an exporter with a failing check, and return the shell variables that the pages use."""
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
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def test_every_command_to_the_exporter_works(failing, tmp_path):
    """Run every command of curl and health-exporter. The latter exits with 1, because the check fails."""
    tried = {}
    for text in PAGES.values():
        for line in "".join(find_blocks(text, "sh")).splitlines():
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


def test_the_command_of_the_readme_points_every_link_to_the_copy(tmp_path):
    shutil.copytree(ALERTS, tmp_path / "alerts")
    [line] = re.findall(r"^grep .* sed .*", README, re.MULTILINE)

    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, timeout=20)

    links = {
        (rule["alert"], rule["annotations"]["runbook_url"])
        for rule in load_rules(tmp_path / "alerts")
        if "alert" in rule
    }
    assert {name for name, _ in links} == set(PAGES)
    assert [
        link for name, link in links if not re.fullmatch(rf"https://git\.example\.org/.+/runbooks/{name}\.md", link)
    ] == []
    assert not [path for path in (tmp_path / "alerts").glob("*.rules.yml") if STEM in path.read_text()]


def test_the_readme_lists_every_alert_with_its_severity_and_its_wait():
    rows = re.findall(r"^\| \[(\w+)\]\((\S+?)\) \| ([^|]+) \| ([^|]+) \|", README, re.MULTILINE)

    assert {name: (link, severity, after) for name, link, severity, after in rows} == {
        name: (f"runbooks/{name}.md", describe_severity(variants), describe_wait(variants))
        for name, variants in group_alerts().items()
    }
