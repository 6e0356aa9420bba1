"""Every query and variable of the dashboards, run on a real Prometheus that scrapes an exporter with failing checks.

A rule about all queries is one test. Its message lists every violation with dashboard, panel and query.
"""

import json
import re
import time
from contextlib import ExitStack
from functools import partial
from itertools import product

import pytest
from alerts.mutants import load_rules
from alerts.rules import find_queries
from dashboards.recorder import Recorder
from support import Exporter, ended, eventually, free_port

from dashboards import grafana

CHECKS = """\
checks:
  - {{name: gone, httpGet: {{path: /nowhere, port: {port}}}, {frequent}, failureThreshold: 1, groups: [liveness]}}
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
  - {{name: disk, disk: {{path: /, warnRatio: 0.0001, failRatio: 1}}, {frequent}, groups: []}}
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
MEASUREMENTS = ["health_check_duration_seconds", "health_endpoint_latency_seconds", "health_disk_used_ratio"]
# Prometheus scrapes one exporter as several replicas of several workloads, and as one without Kubernetes' labels.
REPLICAS = [
    {"namespace": "shop", "job": "health", "pod": "health-0", "instance": "one"},
    {"namespace": "shop", "job": "health", "pod": "health-2", "instance": "two"},
    {"namespace": "staging", "job": "health", "pod": "health-0", "instance": "one"},
    {"cluster": "eu", "namespace": "shop", "job": "health", "pod": "health-0", "instance": "one"},
    {"job": "bare", "instance": "host"},
]
ENDED = {"namespace": "shop", "job": "health", "pod": "health-1", "instance": "ended"}
WORKLOAD = {"cluster": "", "namespace": "shop", "job": "health"}  # of the first two and of the one that ends
FEATURES = "created-timestamp-zero-ingestion,type-and-unit-labels"
EXPECTED_STATES = (
    'health_check_last_up{check="recovers"} == 1 and on (check) health_check_status{status="fail"} == 1',
    'health_check_transitions_total{check="flaps"} > 3',
    'health_check_runs_total{check="gone"} > 6',
    'health_check_status{check="blind", status="unknown"} == 1',
    'job:health_sli:ratio30d{sli="check"} and on () health:slo_objective:ratio',
    'job:health_sli:ratio30d{sli="service"}',
    'ALERTS{alertname="HealthCheckFailing", alertstate="firing"}',
    'up{job="health"} == 0',
    "rate(health_answers_total[8s]) > 0",
)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((), id="no features"),
        pytest.param((f"--enable-feature={FEATURES}",), id="features", marks=pytest.mark.prometheus3),
    ],
)
def scene(request, tmp_path_factory):
    """A Prometheus with every kind of failure in its data, reported by one exporter."""
    folder = tmp_path_factory.mktemp("scene")
    config, flag, back, port = folder / "health.yml", folder / "flag", folder / "back", free_port()
    config.write_text(CHECKS.format(port=port, flag=flag, back=back, config=config, frequent=FREQUENT))
    flag.touch()  # readiness is up once, which ends the start
    with ExitStack() as stack:
        exporter, second = (stack.enter_context(ended(Exporter(config=config))) for _ in range(2))
        address, other = (process.url.removeprefix("http://") for process in (exporter, second))
        targets = [*((address, labels) for labels in REPLICAS), (other, ENDED)]
        prometheus = stack.enter_context(ended(Recorder(folder, port, targets, *request.param)))
        eventually(lambda: prometheus.query('health_exporter_build_info{instance="ended"}'), within=20)
        second.end()
        failed = 'health_check_status{check="recovers", status="fail", instance="one"} == 1'
        eventually(lambda: prometheus.query(failed), within=20)
        back.touch()
        for promql in EXPECTED_STATES:
            eventually(partial(reached, prometheus, promql, exporter, flag), within=30, what=promql)
        yield prometheus


def reached(prometheus, promql, exporter, flag):
    """Probe the exporter as the kubelet does, flip the check `flaps` once it has settled, and run the query."""
    for path in ("/livez", "/readyz", "/startupz"):
        exporter.get(path)
    if exporter.metrics()['health_check_up{check="flaps",kind="exec"}'] == flag.exists():
        flag.unlink() if flag.exists() else flag.touch()
    return prometheus.query(promql)


def choices(target):
    """The values of `check` and `measurement` to select. No single check has every metric that a check can have."""
    checks = ["web", "gone", "after", "blind", "disk"] if target.dashboard == "check" else ["web"]
    return product(checks, MEASUREMENTS if "measurement" in target.expr else MEASUREMENTS[:1])


def series(prometheus, target, **selected):
    """The series of a query, for all its values of the variables `check` and `measurement`."""
    return [
        found
        for check, measurement in choices(target)
        for found in prometheus.series(target, check=check, measurement=measurement, **selected)
    ]


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
    end = time.monotonic() + 60
    remaining = unanswered(prometheus, grafana.targets(), **selected)
    while remaining and time.monotonic() < end:
        time.sleep(0.2)
        remaining = unanswered(prometheus, [target for target, _ in remaining], **selected)
    return [problem for _, problem in remaining]


def test_every_query_returns_data(scene):
    violations = wait_for_data(scene)

    assert not violations, "\n".join(violations)


def test_every_query_returns_data_with_several_values_selected(scene):
    chosen = {"namespace": "shop staging", "job": "health more.1", "pod": "health-0 health-2", "instance": "one two"}
    selected = {label: grafana.several(values.split()) for label, values in chosen.items()}
    violations = [text for text in wait_for_data(scene, **selected) if "Exporters with a problem" not in text]

    assert not violations, "\n".join(violations)


def test_prometheus_has_no_objection_to_a_query_of_the_rules(scene):
    """It reports what is allowed but probably wrong, for example the rate of a gauge, if the query selects series."""
    violations = []
    for promql in {promql for _, rule in load_rules() for promql in find_queries(rule)}:
        try:
            scene.query(promql)
        except AssertionError as error:
            violations.append(f"{promql}: {error}")

    assert not violations, "\n".join(violations)


@pytest.mark.parametrize("name", grafana.FILES)
def test_every_annotation_is_a_query_of_one_series_for_each_workload(scene, name):
    for annotation in grafana.annotations(name):
        promql = grafana.interpolated(annotation["expr"])
        now = time.time()
        rows = scene.api("query_range", query=promql, start=scene.started, end=now, step=1)["result"]
        if annotation["useValueForTime"]:
            assert len(rows) == 4, annotation["name"]
            times = [float(value) / 1000 for row in rows for _, value in row["values"]]
            assert all(scene.started - 60 < started < now for started in times)
        else:
            assert rows == []  # no workload has several versions or a hold


def test_every_value_is_a_finite_number(scene):
    violations = []
    for target in grafana.targets():
        points = [point for found in series(scene, target) for point in found.get("values", [found.get("value")])]
        violations += [f"{target.where}: {value}" for value in {value for _, value in points} & {"NaN", "+Inf", "-Inf"}]

    assert not violations, "\n".join(violations)


def test_no_panel_shows_a_job_without_an_exporter(scene):
    """Prometheus scrapes itself in this scene, so this includes metrics that every process exposes."""
    violations = [
        f"{target.where}: {found['metric']}"
        for target in grafana.targets()
        for found in series(scene, target, job="prometheus")
    ]

    assert not violations, "\n".join(violations)


def test_the_labels_in_names_and_links_exist(scene):
    violations = []
    for target in grafana.targets():
        links = json.dumps(target.panel["fieldConfig"]["defaults"].get("links", []))
        text = target.target.get("legendFormat", "") + links
        used = set(re.findall(r"{{(\w+)}}", text)) | set(re.findall(r"__field\.labels\.(\w+)", text))
        missing = {label for found in series(scene, target) for label in used - found["metric"].keys()}
        violations += [f"{target.where}: no label {label}" for label in missing]

    assert not violations, "\n".join(violations)


def test_every_label_in_a_table_is_a_column_or_left_out(scene):
    violations = []
    for target in grafana.targets():
        if target.panel["type"] == "table":
            labels = set().union(*(found["metric"] for found in series(scene, target)))
            violations += [f"{target.where}: no column for {label}" for label in labels - columns(target.panel)]

    assert not violations, "\n".join(violations)


def columns(table):
    """The labels for which the table has a column, or that it leaves out."""
    transformations = table["transformations"]
    (organize,) = (found["options"] for found in transformations if found["id"] == "organize")
    return {*organize["indexByName"], *organize["excludeByName"]}


@pytest.mark.parametrize("name", grafana.FILES)
def test_variables_list_the_labels_checks_and_measurements_of_exporters(scene, name):
    expected = {
        "cluster": {"eu"},
        "namespace": {"shop", "staging"},
        "job": {"health", "bare"},
        "pod": {"health-0", "health-1", "health-2"},
        "instance": {"one", "two", "host", "ended"},
        "check": set(NAMES),
        "measurement": {
            "health_check_duration_seconds",
            "health_disk_available_bytes",
            "health_disk_inodes_used_ratio",
            "health_disk_size_bytes",
            "health_disk_used_ratio",
        },
    }
    for variable in grafana.variables(name).values():
        if variable["type"] == "query":
            selector, label = grafana.label_values(variable)
            match = grafana.interpolated(selector, check="disk")

            assert set(scene.api(f"label/{label}/values", **{"match[]": match})) == expected[variable["name"]]


def rows(scene, title, ref="A", dashboard="overview", **selected):
    """What a query of a panel returns."""
    (target,) = (
        target
        for target in grafana.targets()
        if (target.dashboard, target.panel["title"], target.target["refId"]) == (dashboard, title, ref)
    )
    return scene.series(target, **selected)


def test_a_dead_target_of_another_job_is_not_counted_as_an_exporter(scene):
    assert len(scene.query("up == 0")) == 2
    assert [row["value"][1] for row in rows(scene, "Exporters not scraped")] == ["1"]


def test_every_check_that_is_not_healthy_is_one_row_with_the_number_of_its_replicas(scene):
    found = {row["metric"]["check"]: row["metric"] for row in rows(scene, "Problems now", **WORKLOAD)}
    found.pop("flaps", None)  # changes all the time

    assert {(name, row["status"], row["replicas"]) for name, row in found.items()} == {
        ("gone", "fail", "2 of 2"),
        ("after", "fail", "2 of 2"),
        ("refused", "fail", "2 of 2"),
        ("blind", "unknown", "2 of 2"),
        ("recovers", "fail", "2 of 2"),
        ("disk", "warn", "2 of 2"),
    }
    one = rows(scene, "Problems now", **WORKLOAD, pod="health-0")
    assert {row["metric"]["replicas"] for row in one} == {"1 of 1"}


def test_a_row_has_the_most_frequent_reason_and_a_target(scene):
    reasons = {row["metric"]["check"]: row["metric"]["reason"] for row in rows(scene, "Problems now", "C", **WORKLOAD)}
    reasons.pop("flaps", None)
    targets = {row["metric"]["check"]: row["metric"]["target"] for row in rows(scene, "Problems now", "D", **WORKLOAD)}

    assert reasons == {"gone": "status", "after": "exit", "refused": "connect", "blind": "missing", "disk": "threshold"}
    assert targets["refused"] == "127.0.0.1:1"


def test_a_check_with_a_failing_dependency_is_marked_as_suppressed(scene):
    found = rows(scene, "Problems now", "E", **WORKLOAD)

    assert {row["metric"]["check"] for row in found if row["value"][1] == "1"} == {"after"}


def test_workloads_of_one_name_in_several_namespaces_and_clusters_are_separate(scene):
    found = [row["metric"] for row in rows(scene, "Problems now") if row["metric"]["check"] == "gone"]
    links = {row["workload"]: (row["link_cluster"], row["link_namespace"]) for row in found}

    assert len(found) == 4
    assert links == {
        "shop/health": ("All", "shop"),
        "staging/health": ("All", "staging"),
        "eu/shop/health": ("eu", "shop"),
        "bare": ("All", "All"),
    }


def test_a_replica_that_is_not_scraped_counts_as_not_ready(scene):
    (ready,) = rows(scene, "Workloads", "B", **WORKLOAD)
    (scraped,) = rows(scene, "Exporters of each workload", dashboard="exporter", **WORKLOAD)
    problems = rows(scene, "Exporters with a problem", dashboard="exporter", **WORKLOAD)

    assert ready["metric"]["ready"] in {"0 of 3", "2 of 3"}  # the check `flaps` decides
    assert scraped["metric"]["scraped"] == "2 of 3"
    silent = [row["metric"]["pod"] for row in problems if row["metric"]["problem"] == "not scraped"]
    assert silent == ["health-1"]


def test_an_error_budget_is_never_below_nothing(scene):
    found = rows(scene, "Error budget")

    assert [row["value"][1] for row in found] == ["0"] * len(found)
