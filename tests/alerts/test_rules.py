"""The rules: promtool and vmalert accept them, their tests pass, and every alert says what a responder needs."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import promql_parser
import pytest
from alerts.incidents import INCIDENTS
from alerts.mutants import ADD_OWNER, find_test_files, get_name, get_unit, load_rules
from alerts.rules import ALERTS, FILES, find_queries, load_groups
from support import command

ROOT = ALERTS.parent
TESTS = sorted((ALERTS / "tests").glob("*.test.yml"))
ALERTING = [rule for _, rule in load_rules() if "alert" in rule]
FOREIGN_METRICS = {
    "ALERTS",
    "up",
    "kube_daemonset_status_desired_number_scheduled",
    "kube_daemonset_status_number_ready",
    "kube_pod_container_status_restarts_total",
    "kube_pod_owner",
    "kube_pod_status_ready",
    "kube_replicaset_spec_replicas",
    "kube_replicaset_status_ready_replicas",
    "kube_statefulset_replicas",
    "kube_statefulset_status_replicas_ready",
}
CLAUSE = re.compile(r"\b(?:on|by) \(([^)]*)\)")
WORKLOAD = {"cluster", "namespace", "job"}
OTHER_UNITS = (
    set(),  # a setting, equal for all
    {"cluster"},
    {"cluster", "node"},
    {"cluster", "namespace", "pod"},
    {"cluster", "namespace", "pod", "owner_kind", "owner_name"},
    {"cluster", "namespace", "owner_kind", "owner_name"},
    {"cluster", "namespace", "replicaset"},
    {"cluster", "namespace", "statefulset"},
    {"cluster", "namespace", "daemonset"},
    {"job"},  # objectives
    {"job", "check"},
)
PHRASES = {
    "summary": r"[A-Z][^{}]*\.",
    "description": r".*\$labels.*\.",
    "dashboard_url": r"/d/health-.+",
}


def run(*arguments):
    """Run a program; return its exit code and its output."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def find_selectors(node):
    """Yield the selectors of a parsed expression."""
    if isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from find_selectors(argument)
    else:
        for part in ("expr", "lhs", "rhs", "param"):
            if (inner := getattr(node, part, None)) is not None:
                yield from find_selectors(inner)


def find_metrics(query):
    """Yield the names of the metrics that a query selects; a selector without a name matches the label __name__."""
    return (selector.name for selector in find_selectors(promql_parser.parse(query)) if selector.name is not None)


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


def test_every_test_belongs_to_a_rule():
    units = {get_unit(rule) for _, rule in load_rules()}

    assert sorted(path for unit in units for path in find_test_files(unit)) == TESTS


def test_every_alert_is_tested():
    """An alert has a unit test, or an incident whose messages contain it."""
    folder = Path(__file__).parent / "incidents"
    sent = set(re.findall(r"^  FIRING (\w+)", "".join(path.read_text() for path in folder.glob("*.txt")), re.MULTILINE))

    assert INCIDENTS
    assert {rule["alert"] for rule in ALERTING if not find_test_files(rule["alert"])} - sent == set()


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
        selected = {name for query in find_queries(rule) for name in find_metrics(query)}
        if selected - known:
            unknown[get_name(rule)] |= selected - known
        if not selected:
            without.add(get_name(rule))

    assert unknown == {}
    assert without == {"health:enough_replicas:ratio", "health:slo_objective:ratio"}


def test_every_join_and_every_aggregation_is_within_a_workload():
    """Two clusters or namespaces may use the same job, pod, address and check."""
    found = [
        (get_name(rule), labels)
        for _, rule in load_rules()
        for text in find_queries(rule)
        for clause in CLAUSE.findall(text)
        if not (labels := {label.strip() for label in clause.split(",") if label.strip()}) >= WORKLOAD
    ]

    assert found
    # the query of a text has the workload in its selector
    allowed = (*OTHER_UNITS, {"check"}, {"check", "reason"}, {"check", "target"})
    assert [(name, labels) for name, labels in found if labels not in allowed] == []


def test_every_selector_of_a_text_is_within_a_workload_or_a_node():
    """Otherwise, every alert that fires would read the series of all workloads at every evaluation."""
    found = [
        (rule["alert"], query, selector)
        for rule in ALERTING
        for query in list(find_queries(rule))[1:]
        for selector in find_selectors(promql_parser.parse(query))
    ]

    assert found
    assert [
        (name, query)
        for name, query, selector in found
        if "job" not in {matcher.name for matcher in selector.matchers.matchers}
    ] == []


def test_every_alert_is_about_a_workload_or_a_node():
    """An alert without these labels would be about single pods."""
    outside = [
        rule["alert"]
        for rule in ALERTING
        if not re.search(r"by \(cluster, namespace, job[,)]|\b(?:check|job|node):health_", rule["expr"])
    ]

    assert outside == []


def test_every_alert_of_a_check_has_the_owner_of_the_check():
    of_checks = [rule for rule in ALERTING if "var-check=" in rule["annotations"]["dashboard_url"]]
    without = [rule for rule in of_checks if not rule["expr"].endswith(ADD_OWNER) and "kind, owner" not in rule["expr"]]

    assert {rule["alert"] for rule in of_checks} == {
        *("HealthCheckFailing", "HealthCheckFlapping", "HealthCheckSlow", "HealthCheckStale"),
        *("HealthCertificateExpiring", "HealthDiskFilling", "HealthLoadHigh"),
    }
    assert [rule["alert"] for rule in without] == []


def test_every_condition_to_which_an_alert_adds_the_owner_is_among_those_for_which_it_is_looked_up():
    conditions = {rule["expr"].removesuffix(ADD_OWNER) for rule in ALERTING if rule["expr"].endswith(ADD_OWNER)}
    [troubled] = [rule["expr"] for _, rule in load_rules() if get_name(rule) == "check:health_check_troubled:info"]

    assert set(re.findall(r"check:\S+", troubled)) == conditions


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
        if rule.get("labels", {}).get("severity", "the check's") not in {"critical", "warning", "the check's"}:
            wrong.append((rule["alert"], "severity", rule["labels"]["severity"]))

    assert wrong == []


def test_every_text_names_the_namespace_and_an_example():
    """An example is a pod, or the address of a target that has none. A job that is gone has none at all."""
    texts = {rule["alert"]: rule["annotations"]["description"] for rule in ALERTING}
    without = [name for name, text in texts.items() if ".Labels.pod" not in text and ".Labels.instance" not in text]

    assert [name for name, text in texts.items() if "abels.namespace" not in text] == []
    assert without == ["HealthExporterAbsent"]


def test_no_alert_names_a_job():
    assert [rule["alert"] for rule in ALERTING if re.search(r"\b(job|instance|namespace)\s*=", rule["expr"])] == []


def test_only_alerts_on_events_and_on_long_windows_fire_without_waiting():
    assert {rule["alert"] for rule in ALERTING if "for" not in rule} == {
        "HealthRestartedByLiveness",
        "HealthErrorBudgetBurn",
    }


def test_the_settings_are_set_in_one_place():
    settings = {get_name(rule): rule["expr"] for _, rule in load_rules() if str(rule["expr"]).startswith("vector(")}
    text = re.sub(r"#.*", "", "".join((ALERTS / file).read_text() for file in FILES))

    assert settings == {"health:enough_replicas:ratio": "vector(0.5)", "health:slo_objective:ratio": "vector(0.999)"}
    assert text.count("0.999") == 1


def test_slow_rules_are_evaluated_every_minute():
    intervals = {group["name"]: group.get("interval") for _, group in load_groups()}

    assert {name: interval for name, interval in intervals.items() if interval} == {
        "health-exporter-absent": "1m",
        "health-exporter-trends": "1m",
        "health-slo": "1m",
        "health-slo-long": "5m",
        "health-slo-burn": "1m",
    }
