"""Every query and variable of every dashboard, asked of a real Prometheus that scrapes a real exporter in trouble."""

import json
import re
from contextlib import ExitStack
from functools import partial

import grafana
import pytest
from recorder import Recorder
from support import Exporter, ended, eventually, free_port

CHECKS = """\
checks:
  - {{name: gone, httpGet: {{path: /nowhere, port: {port}}}, {often}, failureThreshold: 1}}
  - {{name: after, exec: {{command: ["false"]}}, {often}, failureThreshold: 1, dependsOn: [gone], groups: []}}
  - {{name: refused, tcpSocket: {{port: 1}}, {often}, severity: warning}}
  - {{name: flaps, exec: {{command: [test, -e, {flag}]}}, {often}, failureThreshold: 1, severity: info}}
  - {{name: recovers, exec: {{command: [test, -e, {back}]}}, {often}, failureThreshold: 1, successThreshold: 1000}}
  - {{name: blind, exec: {{command: [/not/there]}}, {often}, groups: []}}
  - {{name: load, loadAverage: {{warnRatio: 100, failRatio: 1000}}, {often}, groups: []}}
  - {{name: disk, disk: {{path: /, warnRatio: 0.999, failRatio: 1}}, {often}, groups: []}}
  - {{name: file, file: {{path: {config}, maxAgeSeconds: 3600, maxBytes: 9999}}, {often}, groups: []}}
  - {{name: store, process: {{name: prometheus, minCount: 1}}, {often}, groups: []}}
  - name: web
    httpGet: {{path: /-/healthy, port: {port}, phases: true, warnLatencySeconds: 8, maxLatencySeconds: 9}}
    groups: [liveness, readiness, startup]
    latencyBuckets: [0.01, 0.1, 1]
    periodSeconds: 1
    timeoutSeconds: 10
"""
OFTEN = "periodSeconds: 1, timeoutSeconds: 10"
NAMES = ["web", "gone", "after", "refused", "flaps", "recovers", "blind", "load", "disk", "file", "store"]
HAPPENED = (
    'health_check_last_up{check="recovers"} == 1 and on (check) health_check_status{status="fail"} == 1',
    'health_check_transitions_total{check="flaps"} > 3',
    'health_check_runs_total{check="gone"} > 6',
    'health_check_status{check="blind", status="unknown"} == 1',
    "check:health_check_up:avg_over_time30d and on () health:slo_objective:ratio",
    "group:health_group_up:avg_over_time30d",
    'ALERTS{alertname="HealthCheckFailing", alertstate="firing"}',
    'up{job="health"} == 0',
    "rate(health_answers_total[4s]) > 0",
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A Prometheus that has seen every kind of trouble, and the address of the exporter that had it."""
    folder = tmp_path_factory.mktemp("scene")
    config, flag, back, port = folder / "health.yml", folder / "flag", folder / "back", free_port()
    config.write_text(CHECKS.format(port=port, flag=flag, back=back, config=config, often=OFTEN))
    with ExitStack() as stack:
        exporter, second = (stack.enter_context(ended(Exporter(config=config))) for _ in range(2))
        targets = [each.url.removeprefix("http://") for each in (exporter, second)]
        prometheus = stack.enter_context(ended(Recorder(folder, port, targets)))
        eventually(lambda: prometheus.query(f'health_exporter_build_info{{instance="{targets[1]}"}}'), within=20)
        second.end()
        failed = f'health_check_status{{check="recovers", status="fail", instance="{targets[0]}"}} == 1'
        eventually(lambda: prometheus.query(failed), within=20)
        back.touch()
        for promql in HAPPENED:
            eventually(partial(happened, prometheus, promql, exporter, flag), within=30, what=promql)
        yield prometheus, targets[0]


def happened(prometheus, promql, exporter, flag):
    """Ask as the kubelet does, turn the check `flaps` round once it has settled, and tell whether the query holds."""
    for path in ("/livez", "/readyz", "/startupz"):
        exporter.get(path)
    if exporter.metrics()['health_check_up{check="flaps",kind="exec"}'] == flag.exists():
        flag.unlink() if flag.exists() else flag.touch()
    return prometheus.query(promql)


def checks(target):
    """The values of the variable `check` to try: none of ours has everything that a check can have."""
    return NAMES if target.dashboard == "check" else NAMES[:1]


@pytest.mark.parametrize("target", grafana.targets(), ids=lambda target: target.where)
def test_no_query_fails_or_is_without_data(scene, target):
    prometheus, instance = scene

    def answered(**chosen):
        return [series for check in checks(target) if (series := prometheus.ask(target, check=check, **chosen))]

    eventually(answered, within=5, what=f"data for {target.expr}")
    chosen = {"job": grafana.several(["health", "more"]), "instance": grafana.several([instance, "127.0.0.1:1"])}
    eventually(lambda: answered(**chosen), within=5, what=f"data for {target.expr} with one instance chosen")


@pytest.mark.parametrize("target", grafana.targets(), ids=lambda target: target.where)
def test_no_query_shows_something_that_is_no_number(scene, target):
    prometheus, _ = scene

    for series in (each for check in checks(target) for each in prometheus.ask(target, check=check)):
        numbers = [value for _, value in series.get("values", [series.get("value")])]
        assert not {"NaN", "+Inf", "-Inf"} & set(numbers)


@pytest.mark.parametrize("target", grafana.targets(), ids=lambda target: target.where)
def test_a_job_that_is_no_exporter_is_in_no_panel(scene, target):
    """Also where metrics are shown that every process has: Prometheus scrapes itself in this scene."""
    prometheus, _ = scene

    assert [each for check in checks(target) for each in prometheus.ask(target, job="prometheus", check=check)] == []


@pytest.mark.parametrize("target", grafana.targets(), ids=lambda target: target.where)
def test_the_labels_that_names_links_and_columns_use_are_there(scene, target):
    prometheus, _ = scene
    found = [series["metric"] for check in checks(target) for series in prometheus.ask(target, check=check)]
    text = target.target.get("legendFormat", "") + json.dumps(target.panel["fieldConfig"]["defaults"].get("links", []))
    used = set(re.findall(r"{{(\w+)}}", text)) | set(re.findall(r"__field\.labels\.(\w+)", text))

    assert all(used <= set(labels) for labels in found)
    if target.panel["type"] == "table":
        assert set().union(*found) <= columns(target.panel)


def columns(table):
    """The labels for which the table has a column."""
    (organize,) = (each["options"] for each in table["transformations"] if each["id"] == "organize")
    return set(organize["indexByName"])


@pytest.mark.parametrize("name", grafana.FILES)
def test_variables_resolve_to_what_is_ours(scene, name):
    prometheus, instance = scene
    expected = {"job": {"health"}, "check": set(NAMES)}
    for variable in grafana.variables(name).values():
        if variable["type"] == "query":
            selector, label = grafana.label_values(variable)
            found = set(prometheus.api(f"label/{label}/values", **{"match[]": grafana.interpolated(selector)}))

            assert found == expected.get(label, found)
            assert instance in found or label != "instance"


def value(prometheus, title):
    """The number in a tile of the overview."""
    (target,) = (each for each in grafana.targets() if (each.dashboard, each.panel["title"]) == ("overview", title))
    return float(prometheus.ask(target)[0]["value"][1])


def test_a_dead_target_of_another_job_is_not_counted_as_an_exporter(scene):
    prometheus, _ = scene

    assert len(prometheus.query("up == 0")) == 2
    assert value(prometheus, "Exporters not scraped") == 1


def rows(prometheus, ref):
    targets = (each for each in grafana.targets() if each.panel["title"] == "Not healthy now")
    (target,) = (each for each in targets if each.target["refId"] == ref)
    return {
        series["metric"]["check"]: series for series in prometheus.ask(target) if series["metric"]["check"] != "flaps"
    }


def test_what_is_not_healthy_is_shown_once_each_with_its_reason(scene):
    prometheus, _ = scene
    shown = rows(prometheus, "A")

    assert {name: each["metric"].get("reason") for name, each in shown.items()} == {
        "gone": "status",
        "after": "exit",
        "refused": "connect",
        "blind": "missing",
        "recovers": None,  # its runs pass, and successThreshold is not reached
    }
    assert {each["metric"]["status"] for each in shown.values()} == {"fail", "unknown"}
    assert shown["refused"]["metric"]["severity"] == "warning"
    assert shown["refused"]["metric"]["target"] == "127.0.0.1:1"


def test_a_check_that_follows_from_another_is_marked(scene):
    prometheus, _ = scene

    assert {name for name, each in rows(prometheus, "D").items() if each["value"][1] == "1"} == {"after"}
