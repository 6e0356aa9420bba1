"""Every query and variable of the dashboards, run on a real Prometheus that scrapes an exporter with failing checks.

A rule about all queries is one test. Its message lists every violation with dashboard, panel and query.
"""

import json
import re
import time
from contextlib import ExitStack
from functools import partial

import pytest
from alerts.mutants import load_rules
from alerts.rules import find_queries
from dashboards.recorder import Recorder
from support import Exporter, ended, eventually, free_port

from dashboards import grafana

CHECKS = """\
checks:
  - {{name: gone, httpGet: {{path: /nowhere, port: {port}}}, {frequent}, failureThreshold: 1, groups: []}}
  - {{name: after, exec: {{command: ["false"]}}, {frequent}, failureThreshold: 1, dependsOn: [gone], groups: []}}
  - {{name: refused, tcpSocket: {{port: 1}}, {frequent}, severity: warning, groups: []}}
  - {{name: flaps, exec: {{command: [test, -e, {flag}]}}, {frequent}, failureThreshold: 1, severity: info}}
  - name: recovers
    exec: {{command: [test, -e, {back}]}}
    periodSeconds: 1
    timeoutSeconds: 10
    failureThreshold: 1
    successThreshold: 1000
    groups: []
  - {{name: blind, exec: {{command: [/not/there]}}, {frequent}, groups: []}}
  - {{name: load, loadAverage: {{warnRatio: 100, failRatio: 1000}}, {frequent}, groups: []}}
  - {{name: disk, disk: {{path: /, warnRatio: 0.999, failRatio: 1}}, {frequent}, groups: []}}
  - {{name: file, file: {{path: {config}, maxAgeSeconds: 3600, maxBytes: 9999}}, {frequent}, groups: []}}
  - {{name: store, process: {{name: prometheus, minCount: 1}}, {frequent}, groups: []}}
  - name: web
    httpGet: {{path: /-/healthy, port: {port}, phases: true, warnLatencySeconds: 8, maxLatencySeconds: 9}}
    groups: [liveness, readiness, startup]
    latencyBuckets: [0.01, 0.1, 1]
    periodSeconds: 1
    timeoutSeconds: 10
"""
FREQUENT = "periodSeconds: 1, timeoutSeconds: 10"
NAMES = ["web", "gone", "after", "refused", "flaps", "recovers", "blind", "load", "disk", "file", "store"]
EXPECTED_STATES = (
    'health_check_last_up{check="recovers"} == 1 and on (check) health_check_status{status="fail"} == 1',
    'health_check_transitions_total{check="flaps"} > 3',
    'health_check_runs_total{check="gone"} > 6',
    'health_check_status{check="blind", status="unknown"} == 1',
    'job:health_sli:ratio30d{sli="check"} and on () health:slo_objective:ratio',
    'job:health_sli:ratio30d{sli="service"}',
    'ALERTS{alertname="HealthCheckFailing", alertstate="firing"}',
    'up{job="health"} == 0',
    "rate(health_answers_total[4s]) > 0",
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A Prometheus with every kind of failure in its data, and the address of the exporter that reported them."""
    folder = tmp_path_factory.mktemp("scene")
    config, flag, back, port = folder / "health.yml", folder / "flag", folder / "back", free_port()
    config.write_text(CHECKS.format(port=port, flag=flag, back=back, config=config, frequent=FREQUENT))
    flag.touch()  # readiness is up once, which ends the start
    with ExitStack() as stack:
        exporter, second = (stack.enter_context(ended(Exporter(config=config))) for _ in range(2))
        addresses = [process.url.removeprefix("http://") for process in (exporter, second)]
        prometheus = stack.enter_context(ended(Recorder(folder, port, addresses)))
        eventually(lambda: prometheus.query(f'health_exporter_build_info{{instance="{addresses[1]}"}}'), within=20)
        second.end()
        failed = f'health_check_status{{check="recovers", status="fail", instance="{addresses[0]}"}} == 1'
        eventually(lambda: prometheus.query(failed), within=20)
        back.touch()
        for promql in EXPECTED_STATES:
            eventually(partial(reached, prometheus, promql, exporter, flag), within=30, what=promql)
        yield prometheus, addresses[0]


def reached(prometheus, promql, exporter, flag):
    """Probe the exporter as the kubelet does, flip the check `flaps` once it has settled, and run the query."""
    for path in ("/livez", "/readyz", "/startupz"):
        exporter.get(path)
    if exporter.metrics()['health_check_up{check="flaps",kind="exec"}'] == flag.exists():
        flag.unlink() if flag.exists() else flag.touch()
    return prometheus.query(promql)


def check_names(target):
    """The values of the variable `check` to select. No single check has every metric that a check can have."""
    return NAMES if target.dashboard == "check" else NAMES[:1]


def series(prometheus, target, **selected):
    """The series of a query, for all its values of the variable `check`."""
    return [found for check in check_names(target) for found in prometheus.series(target, check=check, **selected)]


def unanswered(prometheus, targets, **selected):
    """The queries that fail or return no data, with the error."""
    found = []
    for target in targets:
        try:
            if not series(prometheus, target, **selected):
                found.append((target, f"{target.where}: {target.expr}: no data"))
        except AssertionError as error:
            found.append((target, str(error)))
    return found


def wait_for_data(prometheus, **selected):
    """The queries that still fail or return no data after a while. Some need several scrapes."""
    end = time.monotonic() + 15
    remaining = unanswered(prometheus, grafana.targets(), **selected)
    while remaining and time.monotonic() < end:
        time.sleep(0.2)
        remaining = unanswered(prometheus, [target for target, _ in remaining], **selected)
    return [problem for _, problem in remaining]


def test_every_query_returns_data(scene):
    prometheus, _ = scene
    violations = wait_for_data(prometheus)

    assert not violations, "\n".join(violations)


def test_every_query_returns_data_with_one_instance_selected(scene):
    prometheus, instance = scene
    selected = {"job": grafana.several(["health", "more"]), "instance": grafana.several([instance, "127.0.0.1:1"])}
    violations = wait_for_data(prometheus, **selected)

    assert not violations, "\n".join(violations)


def test_prometheus_has_no_objection_to_a_query_of_the_rules(scene):
    """It reports what is allowed but probably wrong, for example the rate of a gauge, if the query selects series."""
    prometheus, _ = scene
    violations = []
    for promql in {promql for _, rule in load_rules() for promql in find_queries(rule)}:
        try:
            prometheus.query(promql)
        except AssertionError as error:
            violations.append(f"{promql}: {error}")

    assert not violations, "\n".join(violations)


def test_every_value_is_a_finite_number(scene):
    prometheus, _ = scene
    violations = []
    for target in grafana.targets():
        points = [point for found in series(prometheus, target) for point in found.get("values", [found.get("value")])]
        violations += [f"{target.where}: {value}" for value in {value for _, value in points} & {"NaN", "+Inf", "-Inf"}]

    assert not violations, "\n".join(violations)


def test_no_panel_shows_a_job_without_an_exporter(scene):
    """Prometheus scrapes itself in this scene, so this includes metrics that every process exposes."""
    prometheus, _ = scene
    violations = [
        f"{target.where}: {found['metric']}"
        for target in grafana.targets()
        for found in series(prometheus, target, job="prometheus")
    ]

    assert not violations, "\n".join(violations)


def test_the_labels_in_names_and_links_exist(scene):
    prometheus, _ = scene
    violations = []
    for target in grafana.targets():
        links = json.dumps(target.panel["fieldConfig"]["defaults"].get("links", []))
        text = target.target.get("legendFormat", "") + links
        used = set(re.findall(r"{{(\w+)}}", text)) | set(re.findall(r"__field\.labels\.(\w+)", text))
        missing = {label for found in series(prometheus, target) for label in used - found["metric"].keys()}
        violations += [f"{target.where}: no label {label}" for label in missing]

    assert not violations, "\n".join(violations)


def test_every_label_in_a_table_has_a_column(scene):
    prometheus, _ = scene
    violations = []
    for target in grafana.targets():
        if target.panel["type"] == "table":
            labels = set().union(*(found["metric"] for found in series(prometheus, target)))
            violations += [f"{target.where}: no column for {label}" for label in labels - columns(target.panel)]

    assert not violations, "\n".join(violations)


def columns(table):
    """The labels for which the table has a column."""
    transformations = table["transformations"]
    (organize,) = (found["options"] for found in transformations if found["id"] == "organize")
    return set(organize["indexByName"])


@pytest.mark.parametrize("name", grafana.FILES)
def test_variables_list_the_jobs_instances_and_checks_of_exporters(scene, name):
    prometheus, instance = scene
    expected = {"job": {"health"}, "check": set(NAMES)}
    for variable in grafana.variables(name).values():
        if variable["type"] == "query":
            selector, label = grafana.label_values(variable)
            found = set(prometheus.api(f"label/{label}/values", **{"match[]": grafana.interpolated(selector)}))

            assert found == expected.get(label, found)
            assert instance in found or label != "instance"


def tile_value(prometheus, title):
    """The number in a tile of the overview."""
    (target,) = (
        target for target in grafana.targets() if (target.dashboard, target.panel["title"]) == ("overview", title)
    )
    return float(prometheus.series(target)[0]["value"][1])


def test_a_dead_target_of_another_job_is_not_counted_as_an_exporter(scene):
    prometheus, _ = scene

    assert len(prometheus.query("up == 0")) == 2
    assert tile_value(prometheus, "Exporters not scraped") == 1


def unhealthy_rows(prometheus, ref):
    """The rows of the table "Not healthy now" by check, without the check `flaps`, which changes all the time."""
    (target,) = (
        target
        for target in grafana.targets()
        if (target.panel["title"], target.target["refId"]) == ("Not healthy now", ref)
    )
    found = [row for row in prometheus.series(target) if row["metric"]["check"] != "flaps"]
    rows = {row["metric"]["check"]: row for row in found}
    assert len(rows) == len(found)
    return rows


def test_every_check_that_is_not_healthy_is_shown_once_with_its_reason(scene):
    prometheus, _ = scene
    rows = unhealthy_rows(prometheus, "A")

    assert {name: row["metric"].get("reason") for name, row in rows.items()} == {
        "gone": "status",
        "after": "exit",
        "refused": "connect",
        "blind": "missing",
        "recovers": None,  # its runs pass, but successThreshold is not reached
    }
    assert {row["metric"]["status"] for row in rows.values()} == {"fail", "unknown"}
    assert rows["refused"]["metric"]["severity"] == "warning"
    assert rows["refused"]["metric"]["target"] == "127.0.0.1:1"


def test_a_check_with_a_failing_dependency_is_marked_as_suppressed(scene):
    prometheus, _ = scene
    rows = unhealthy_rows(prometheus, "D")

    assert {name for name, row in rows.items() if row["value"][1] == "1"} == {"after"}
