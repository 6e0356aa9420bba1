"""The next morning, an operator wants to know why a pod was restarted: Prometheus, the log and the events agree."""

import json
import os
import re
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from e2e.cluster.drill import OVERLAYS, Stage, after, moment, patched
from e2e.cluster.kube import statuses
from support import Prometheus, command, ended, unavailable

pytestmark = pytest.mark.timeout(600)
PROMETHEUS = os.environ.get("PROMETHEUS")
"""The path of a Prometheus to use instead of the installed one."""
SLOW, THRESHOLD = 1, 0.5
CHECKS = f"""\
checks:
  - name: health
    httpGet: {{path: /health, port: 8080, maxLatencySeconds: {THRESHOLD}}}
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 2
    groups: [liveness, readiness, startup]
"""


class OutsidePrometheus(Prometheus):
    """A Prometheus outside the cluster, with the shipped configuration and the cluster's address and credentials."""

    def __init__(self, folder: Path, pods: dict[str, Any]) -> None:
        configuration = yaml.safe_load((OVERLAYS.parent / "prometheus.yml").read_text())
        (scrape,) = configuration["scrape_configs"]
        (discovery,) = scrape["kubernetes_sd_configs"]
        if supports_kubernetes():
            discovery["kubeconfig_file"] = str(Path(os.environ["KUBECONFIG"]).resolve())
        else:
            del scrape["kubernetes_sd_configs"]
            scrape["file_sd_configs"] = [{"files": [str(folder / "pods.json")]}]
            (folder / "pods.json").write_text(json.dumps(discovered(pods)))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        super().__init__(folder / "prometheus.yml", program=PROMETHEUS)

    def samples(self, promql: str, at: float) -> list[tuple[dict[str, str], float]]:
        """The labels and the value of each sample at a moment."""
        return [(sample["metric"], float(sample["value"][1])) for sample in self.query(promql, time=at)]


def next_morning(stage: Stage) -> SimpleNamespace:
    """An application exceeds its latency threshold and is restarted, while Prometheus scrapes its exporter."""
    record = SimpleNamespace(stage=stage)
    stage.apply("sidecar", CHECKS, [patched(replicas=1, SLOW=SLOW)])
    (pod,) = stage.ready()
    try:
        socket.create_connection((stage.watch.pods()[pod]["status"]["podIP"], 4584), 3).close()
    except OSError as error:
        unavailable(f"the pods' network is not reachable from here: {error}")
    with ended(OutsidePrometheus(stage.folder, stage.watch.pods())) as prometheus:
        here = f'{{namespace="{stage.namespace}"}}'
        stage.until(lambda: prometheus.samples(f"up{here} == 1", time.time()), 60, "Prometheus finds the pod")
        (record.target,) = prometheus.samples(f"up{here}", time.time())
        stage.breaks(pod, "shop")
        record.fault = stage.order(pod, "/mode/health/slow")
        stage.restarted("shop")
        stage.watch.until(lambda watch: watch.endpoints() == {pod}, 60, "traffic again")
        stage.watch.until(lambda watch: watch.messages("Killing"), 10, "the event Killing")
        record.pod = stage.watch.pods()[pod]
        record.night = moment(statuses(record.pod)["shop"]["lastState"]["terminated"]["finishedAt"])
        record.log = stage.log(pod)
        stage.until(
            lambda: prometheus.samples(f"health_check_up{here} == 1", time.time()), 60, "Prometheus sees the recovery"
        )
        morning = time.time()
        mine = f'namespace="{stage.namespace}",pod="{pod}"'
        queries = {
            "verdict": f"health_group_up{{{mine}}} == 0",
            "check": f"health_check_up{{{mine}}} == 0 and on (namespace, pod, check) health_check_group{{"
            'group="liveness"}',
            "reason": f"health_check_reason{{{mine}}}",
            "value": f"health_endpoint_latency_seconds{{{mine}}}",
            "threshold": f'health_endpoint_latency_seconds_limit{{{mine},level="fail"}}',
            "since": f"health_check_last_transition_timestamp_seconds{{{mine}}}",
            "responses": f'health_answers_total{{{mine},group="liveness",code="503"}}',
        }
        record.samples = {name: prometheus.samples(promql, record.night) for name, promql in queries.items()}
        record.failures = prometheus.samples(f"health_check_failures_total{{{mine}}}", morning)
    return record


def supports_kubernetes() -> bool:
    """Whether this Prometheus supports Kubernetes discovery. Debian's build does not."""
    return b"__meta_kubernetes_pod_" in Path(PROMETHEUS or command("prometheus")).read_bytes()


def discovered(pods: dict[str, Any]) -> list[dict[str, Any]]:
    """The pods' ports with those labels of Prometheus' Kubernetes discovery that the configuration uses."""
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
            "labels": {
                "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
                "__meta_kubernetes_pod_name": pod["metadata"]["name"],
                "__meta_kubernetes_pod_phase": pod["status"]["phase"],
                "__meta_kubernetes_pod_node_name": pod["spec"]["nodeName"],
                "__meta_kubernetes_pod_container_name": container["name"],
                "__meta_kubernetes_pod_container_port_name": port["name"],
                **{
                    f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9_]', '_', name)}": value
                    for name, value in pod["metadata"]["labels"].items()
                },
            },
        }
        for pod in pods.values()
        for container in pod["spec"]["containers"]
        for port in container["ports"]
    ]


@after(next_morning)
def test_the_shipped_configuration_discovers_and_labels_the_pod(record):
    """Scenario 14: the labels are those that the alerts and the dashboards use."""
    labels, value = record.target
    pod = record.pod
    assert value == 1
    assert {name: labels[name] for name in ("job", "namespace", "pod", "node")} == {
        "job": "shop",
        "namespace": pod["metadata"]["namespace"],
        "pod": pod["metadata"]["name"],
        "node": pod["spec"]["nodeName"],
    }
    assert labels["instance"] == f"{pod['status']['podIP']}:4584"


@after(next_morning)
def test_prometheus_has_the_check_the_reason_the_value_and_the_threshold(record):
    """Scenario 14: the queries are for the time at which the container exited, according to Kubernetes."""
    found = record.samples
    assert {"liveness", "readiness"} <= {labels["group"] for labels, _ in found["verdict"]}
    assert [labels["check"] for labels, _ in found["check"]] == ["health"]
    assert [(labels["check"], labels["reason"]) for labels, _ in found["reason"]] == [("health", "threshold")]
    ((_, value),) = found["value"]
    ((_, threshold),) = found["threshold"]
    assert threshold == THRESHOLD
    assert SLOW <= value < SLOW + 1


@after(next_morning)
def test_prometheus_still_has_the_failure_after_the_recovery(record):
    """Scenario 14: the counter by reason survives the application's restart."""
    failures = {labels["reason"]: value for labels, value in record.failures}
    assert failures["threshold"] >= 2


@after(next_morning)
def test_the_log_agrees_with_prometheus(record):
    """Scenario 14: the check, reason, value, threshold and time are the same."""
    found = re.search(
        r'ts=(\S+) level=warn msg="check health: pass -> fail \(threshold\): [^"]+" check=health kind=httpGet '
        r'status=fail reason=threshold summary="([^"]*)"',
        record.log,
    )
    assert found, record.log
    ((_, since),) = record.samples["since"]
    assert abs(moment(found[1]) - since) < 1
    assert record.fault - 2 < since < record.night + 1
    assert str(THRESHOLD) in found[2]
    assert re.search(r'msg="answered 503: .*path=/livez because="health \(threshold\)"', record.log)


@after(next_morning)
def test_the_events_of_kubernetes_agree_with_prometheus(record):
    """Scenario 14: the kubelet got 503 and killed the container whose check failed."""
    watch = record.stage.watch
    ((_, responses),) = record.samples["responses"]
    assert responses >= 1
    assert ("shop", "Liveness probe failed: HTTP probe failed with statuscode: 503") in watch.messages("Unhealthy")
    assert [container for container, _ in watch.messages("Killing")] == ["shop"]
