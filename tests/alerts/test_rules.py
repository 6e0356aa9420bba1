"""The rules: promtool and vmalert take them, their tests pass, and every alert tells a person what is needed."""

import re
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml
from mutants import ALERTS, FILES, files_of, rules, title, unit_of
from support import command

ROOT = ALERTS.parent
TESTS = sorted((ALERTS / "tests").glob("*.test.yml"))
ALERTING = [pytest.param(rule, id=f"{rule['alert']}-{n}") for n, (_, rule) in enumerate(rules()) if "alert" in rule]
OTHERS = {"up", "kube_pod_container_status_restarts_total"}
SEVERITIES = {
    "critical",
    "warning",
    "info",
    '{{ or $labels.severity "critical" }}',
    '{{ if eq $labels.level "fail" }}critical{{ else }}warning{{ end }}',
}
QUERIED = re.compile(r"`([^`]*)`|query \"([^\"]*)\"")


def _said(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def _queries(rule):
    """The rule's expression, and those that its texts ask."""
    yield str(rule["expr"])
    for text in rule.get("annotations", {}).values():
        for found in QUERIED.findall(text):
            yield "".join(found).replace("%q", '"x"').replace("%s", 'job="x"')


def _selected(node):
    """The names of the metrics that an expression selects."""
    if isinstance(node, promql_parser.MatrixSelector):
        yield from _selected(node.vector_selector)
    elif isinstance(node, promql_parser.VectorSelector):
        if node.name is not None:  # else by a label __name__ that is a pattern, or comes from such a query
            yield node.name
    elif isinstance(node, promql_parser.Call):
        for each in node.args:
            yield from _selected(each)
    else:
        for part in ("expr", "lhs", "rhs", "param"):
            if (inner := getattr(node, part, None)) is not None:
                yield from _selected(inner)


def _exposed():
    """The metrics' names in the reference and in the golden exposition, and those that the rules record."""
    reference = (ROOT / "docs" / "metrics.md").read_text()
    named = set(re.findall(r"^\| `([a-z0-9_]+)`", reference, re.MULTILINE))
    golden = set(re.findall(r"^([a-z0-9_]+)[{ ]", (ROOT / "tests/render/scene.prom").read_text(), re.MULTILINE))
    limits = {f"{name}_limit" for name in named if "health_<measurement>_limit" in reference}
    return named | golden | limits | {title(rule) for _, rule in rules() if "record" in rule}


@pytest.mark.parametrize("file", FILES)
def test_promtool_takes_the_rules_and_has_nothing_to_say_of_them(file):
    code, said = _said(command("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(ALERTS / file))

    assert code == 0, said


@pytest.mark.parametrize("test", TESTS, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_promtool_passes_the_test(test):
    code, said = _said(command("promtool"), "test", "rules", str(test))

    assert code == 0, said


def test_every_rule_has_tests_and_every_test_a_rule():
    tested = [path for unit in sorted({unit_of(rule) for _, rule in rules()}) for path in files_of(unit)]

    assert sorted(tested) == TESTS
    assert all(files_of(unit_of(rule)) for _, rule in rules())


def test_vmalert_takes_the_rules(tmp_path):
    """Debian's is older than keep_firing_for, which newer ones know; all else it reads as it stands."""
    for file in FILES:
        text = (ALERTS / file).read_text()
        (tmp_path / file).write_text(re.sub(r"^ +keep_firing_for: .*\n", "", text, flags=re.MULTILINE))

    code, said = _said(command("vmalert"), "-dryRun", f"-rule={tmp_path}/*.yml")

    assert code == 0, said


@pytest.mark.parametrize("rule", [pytest.param(rule, id=f"{title(rule)}-{n}") for n, (_, rule) in enumerate(rules())])
def test_every_metric_that_a_rule_names_exists(rule):
    queries = list(_queries(rule))
    selected = {name for query in queries for name in _selected(promql_parser.parse(query))}

    assert selected or title(rule) == "health:slo_objective:ratio"
    assert selected <= _exposed() | OTHERS


@pytest.mark.parametrize("rule", ALERTING)
def test_every_alert_tells_what_a_person_needs(rule):
    texts = rule["annotations"]

    assert set(texts) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert re.fullmatch(r"[A-Z][^{}]*\.", texts["summary"])
    assert "$labels" in texts["description"]
    assert texts["description"].endswith(".")
    assert texts["runbook_url"] == f"https://health-exporter.example/alerts/runbooks/{rule['alert']}.md"
    assert (ALERTS / "runbooks" / Path(texts["runbook_url"]).name).is_file()
    assert texts["dashboard_url"].startswith("/d/health-")
    assert rule["labels"]["severity"] in SEVERITIES


@pytest.mark.parametrize("rule", ALERTING)
def test_no_alert_names_a_job(rule):
    assert not re.search(r"\b(job|instance|namespace)\s*[=!]", rule["expr"])


def test_an_alert_that_may_be_a_passing_thing_waits():
    waits = {rule["alert"]: rule.get("for") for _, rule in rules() if "alert" in rule}

    assert {name for name, duration in waits.items() if duration is None} == {"HealthRestartedByLiveness"}


def test_the_objective_is_set_in_one_place():
    text = "".join((ALERTS / file).read_text() for file in FILES)

    assert re.findall(r"\b0\.9\d*\b(?! )", re.sub(r"#.*", "", text)) == ["0.999"]
    assert yaml.safe_load((ALERTS / "health-slo.rules.yml").read_text())["groups"][0]["rules"][0] == {
        "record": "health:slo_objective:ratio",
        "expr": "vector(0.999)",
    }
