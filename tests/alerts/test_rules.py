"""The rules: promtool and vmalert accept them, their tests pass, and every alert says what a responder needs."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import promql_parser
import pytest
import yaml
from alerts.mutants import ALERTS, FILES, find_test_files, get_name, get_unit, load_rules
from support import command

ROOT = ALERTS.parent
TESTS = sorted((ALERTS / "tests").glob("*.test.yml"))
ALERTING = [rule for _, rule in load_rules() if "alert" in rule]
FOREIGN_METRICS = {"up", "kube_pod_container_status_restarts_total"}
SEVERITIES = {
    "critical",
    "warning",
    "info",
    '{{ or $labels.severity "critical" }}',
    '{{ if eq $labels.level "fail" }}critical{{ else }}warning{{ end }}',
}
QUERY = re.compile(r"`([^`]*)`|query \"([^\"]*)\"")
POD = "{{- with $labels.pod }} (pod {{ $labels.namespace }}/{{ . }}){{ end }}"
PHRASES = {
    "summary": r"[A-Z][^{}]*\.",
    "description": r".*\$labels.*\.",
    "dashboard_url": r"/d/health-.+",
}


def run(*arguments):
    """Run a program; return its exit code and its output."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def find_queries(rule):
    """Yield the rule's expression and the queries of its annotations."""
    yield str(rule["expr"])
    for text in rule.get("annotations", {}).values():
        for groups in QUERY.findall(text):
            yield "".join(groups).replace("%q", '"x"').replace("%s", 'job="x"')


def find_metrics(node):
    """Yield the names of the metrics that an expression selects."""
    if isinstance(node, promql_parser.MatrixSelector):
        yield from find_metrics(node.vector_selector)
    elif isinstance(node, promql_parser.VectorSelector):
        if node.name is not None:  # without a name, the selector matches the label __name__
            yield node.name
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from find_metrics(argument)
    else:
        for part in ("expr", "lhs", "rhs", "param"):
            if (inner := getattr(node, part, None)) is not None:
                yield from find_metrics(inner)


def list_metrics():
    """Return the names of the reference, of the golden exposition, and of the recording rules."""
    reference = (ROOT / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `([a-z0-9_]+)`", reference, re.MULTILINE))
    golden = set(re.findall(r"^([a-z0-9_]+)[{ ]", (ROOT / "tests/render/scene.prom").read_text(), re.MULTILINE))
    thresholds = {f"{name}_limit" for name in documented if "health_<measurement>_limit" in reference}
    return documented | golden | thresholds | {get_name(rule) for _, rule in load_rules() if "record" in rule}


@pytest.mark.parametrize("file", FILES)
def test_promtool_accepts_the_rules_without_a_warning(file):
    code, output = run(command("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(ALERTS / file))

    assert code == 0, output


@pytest.mark.parametrize("test", TESTS, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_promtool_passes_the_test(test):
    code, output = run(command("promtool"), "test", "rules", str(test))

    assert code == 0, output


def test_every_rule_has_tests_and_every_test_a_rule():
    units = sorted({get_unit(rule) for _, rule in load_rules()})

    assert sorted(path for unit in units for path in find_test_files(unit)) == TESTS
    assert [unit for unit in units if not find_test_files(unit)] == []


def test_vmalert_accepts_the_rules(tmp_path):
    """Debian's version does not know keep_firing_for, which newer versions do; the rest is the shipped file."""
    for file in FILES:
        text = (ALERTS / file).read_text()
        (tmp_path / file).write_text(re.sub(r"^ +keep_firing_for: .*\n", "", text, flags=re.MULTILINE))

    code, output = run(command("vmalert"), "-dryRun", f"-rule={tmp_path}/*.yml")

    assert code == 0, output


def test_every_metric_of_a_rule_exists():
    known = list_metrics() | FOREIGN_METRICS
    unknown, without = defaultdict(set), set()
    for _, rule in load_rules():
        selected = {name for query in find_queries(rule) for name in find_metrics(promql_parser.parse(query))}
        if selected - known:
            unknown[get_name(rule)] |= selected - known
        if not selected:
            without.add(get_name(rule))

    assert unknown == {}
    assert without == {"health:slo_objective:ratio"}


def test_every_alert_has_the_same_annotations_in_the_same_form():
    assert ALERTING
    wrong = []
    for rule in ALERTING:
        texts = rule["annotations"]
        runbook = f"https://health-exporter.example/alerts/runbooks/{rule['alert']}.md"
        if set(texts) != {*PHRASES, "runbook_url"}:
            wrong.append((rule["alert"], sorted(texts)))
        wrong += [
            (rule["alert"], key, texts.get(key))
            for key, pattern in PHRASES.items()
            if not re.fullmatch(pattern, texts.get(key, ""), re.DOTALL)
        ]
        if texts.get("runbook_url") != runbook or not (ALERTS / "runbooks" / Path(runbook).name).is_file():
            wrong.append((rule["alert"], "runbook_url", texts.get("runbook_url")))
        if rule["labels"]["severity"] not in SEVERITIES:
            wrong.append((rule["alert"], "severity", rule["labels"]["severity"]))

    assert wrong == []


def test_every_alert_of_a_pod_names_the_pod():
    descriptions = {rule["alert"]: rule["annotations"]["description"] for rule in ALERTING}
    of_a_pod = {name: text for name, text in descriptions.items() if "{{ $labels.instance }}" in text}

    assert len(of_a_pod) > 10
    assert [name for name, text in of_a_pod.items() if POD not in text] == []


def test_no_alert_names_a_job():
    assert [rule["alert"] for rule in ALERTING if re.search(r"\b(job|instance|namespace)\s*[=!]", rule["expr"])] == []


def test_only_the_alert_on_an_event_fires_without_waiting():
    assert {rule["alert"] for rule in ALERTING if "for" not in rule} == {"HealthRestartedByLiveness"}


def test_the_objective_is_set_in_one_place():
    text = "".join((ALERTS / file).read_text() for file in FILES)

    assert re.findall(r"\b0\.9\d*\b(?! )", re.sub(r"#.*", "", text)) == ["0.999"]
    assert yaml.safe_load((ALERTS / "health-slo.rules.yml").read_text())["groups"][0]["rules"][0] == {
        "record": "health:slo_objective:ratio",
        "expr": "vector(0.999)",
    }
