"""An operator asks the next morning why a pod was restarted: Prometheus, the log and Kubernetes' events agree."""

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
from drill import OVERLAYS, Stage, after, moment, patched
from kube import statuses
from support import Prometheus, command, ended, unavailable

pytestmark = pytest.mark.timeout(600)
PROMETHEUS = os.environ.get("PROMETHEUS")
"""The path of another Prometheus than the installed one."""
SLOW, LIMIT = 1, 0.5
CHECKS = f"""\
checks:
  - name: health
    httpGet: {{path: /health, port: 8080, maxLatencySeconds: {LIMIT}}}
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 2
    groups: [liveness, readiness, startup]
"""


class Beside(Prometheus):
    """Prometheus beside the cluster, with the shipped configuration and the cluster's address and credentials."""

    def __init__(self, folder: Path, pods: dict[str, Any]) -> None:
        configuration = yaml.safe_load((OVERLAYS.parent / "prometheus.yml").read_text())
        (scrape,) = configuration["scrape_configs"]
        (discovery,) = scrape["kubernetes_sd_configs"]
        if kubernetes_is_known():
            discovery["kubeconfig_file"] = str(Path(os.environ["KUBECONFIG"]).resolve())
        else:
            del scrape["kubernetes_sd_configs"]
            scrape["file_sd_configs"] = [{"files": [str(folder / "pods.json")]}]
            (folder / "pods.json").write_text(json.dumps(discovered(pods)))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        super().__init__(folder / "prometheus.yml", program=PROMETHEUS)

    def ask(self, promql: str, at: float) -> list[tuple[dict[str, str], float]]:
        """What was true at a moment: labels and value of each sample."""
        return [(each["metric"], float(each["value"][1])) for each in self.query(promql, time=at)]


def next_morning(stage: Stage) -> SimpleNamespace:
    """An application gets slower than its limit and is restarted, while Prometheus scrapes the exporter beside it."""
    seen = SimpleNamespace(stage=stage)
    stage.apply("sidecar", CHECKS, [patched(replicas=1, SLOW=SLOW)])
    (pod,) = stage.ready()
    try:
        socket.create_connection((stage.watch.pods()[pod]["status"]["podIP"], 4584), 3).close()
    except OSError as error:
        unavailable(f"the pods' network cannot be reached from here: {error}")
    with ended(Beside(stage.folder, stage.watch.pods())) as prometheus:
        here = f'{{namespace="{stage.namespace}"}}'
        stage.until(lambda: prometheus.ask(f"up{here} == 1", time.time()), 60, "Prometheus finds the pod")
        (seen.target,) = prometheus.ask(f"up{here}", time.time())
        seen.fault = stage.order(pod, "/mode/health/slow")
        stage.restarted("shop")
        stage.watch.until(lambda watch: watch.endpoints() == {pod}, 60, "traffic again")
        stage.watch.until(lambda watch: watch.messages("Killing"), 10, "the event Killing")
        seen.pod = stage.watch.pods()[pod]
        seen.night = moment(statuses(seen.pod)["shop"]["lastState"]["terminated"]["finishedAt"])
        seen.log = stage.log(pod)
        stage.until(
            lambda: prometheus.ask(f"health_check_up{here} == 1", time.time()), 60, "Prometheus sees that all is well"
        )
        morning = time.time()
        mine = f'namespace="{stage.namespace}",pod="{pod}"'
        questions = {
            "verdict": f"health_group_up{{{mine}}} == 0",
            "check": f"health_check_up{{{mine}}} == 0 and on (namespace, pod, check) health_check_group{{"
            'group="liveness"}',
            "reason": f"health_check_reason{{{mine}}}",
            "value": f"health_endpoint_latency_seconds{{{mine}}}",
            "threshold": f'health_endpoint_latency_seconds_limit{{{mine},level="fail"}}',
            "since": f"health_check_last_transition_timestamp_seconds{{{mine}}}",
            "answers": f'health_answers_total{{{mine},group="liveness",code="503"}}',
        }
        seen.told = {name: prometheus.ask(promql, seen.night) for name, promql in questions.items()}
        seen.failures = prometheus.ask(f"health_check_failures_total{{{mine}}}", morning)
    return seen


def kubernetes_is_known() -> bool:
    """Whether this Prometheus can ask Kubernetes for its pods. Debian's is built without."""
    return b"__meta_kubernetes_pod_" in Path(PROMETHEUS or command("prometheus")).read_bytes()


def discovered(pods: dict[str, Any]) -> list[dict[str, Any]]:
    """The pods' ports with the labels that Prometheus' Kubernetes discovery gives them, as far as they are used."""
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
def test_the_shipped_configuration_finds_the_pod_and_names_it(seen):
    """Scenario 14: with the labels that the alerts and the dashboards go by."""
    labels, value = seen.target
    pod = seen.pod
    assert value == 1
    assert {name: labels[name] for name in ("job", "namespace", "pod", "node")} == {
        "job": "shop",
        "namespace": pod["metadata"]["namespace"],
        "pod": pod["metadata"]["name"],
        "node": pod["spec"]["nodeName"],
    }
    assert labels["instance"] == f"{pod['status']['podIP']}:4584"


@after(next_morning)
def test_prometheus_knows_the_check_the_reason_the_value_and_the_threshold(seen):
    """Scenario 14: asked for the moment at which the container ended, as Kubernetes has it."""
    told = seen.told
    assert {"liveness", "readiness"} <= {labels["group"] for labels, _ in told["verdict"]}
    assert [labels["check"] for labels, _ in told["check"]] == ["health"]
    assert [(labels["check"], labels["reason"]) for labels, _ in told["reason"]] == [("health", "threshold")]
    ((_, value),) = told["value"]
    ((_, threshold),) = told["threshold"]
    assert threshold == LIMIT
    assert SLOW <= value < SLOW + 1


@after(next_morning)
def test_prometheus_still_knows_that_it_failed_when_all_is_well_again(seen):
    """Scenario 14: the counter by reason outlives the application's restart."""
    failures = {labels["reason"]: value for labels, value in seen.failures}
    assert failures["threshold"] >= 2


@after(next_morning)
def test_the_log_says_the_same_as_prometheus(seen):
    """Scenario 14: the same check, reason, value and threshold, at the same moment."""
    found = re.search(
        r'ts=(\S+) level=warn msg="check health: pass -> fail" check=health kind=httpGet status=fail reason=threshold '
        r'summary="([^"]*)"',
        seen.log,
    )
    assert found, seen.log
    ((_, since),) = seen.told["since"]
    assert abs(moment(found[1]) - since) < 1
    assert seen.fault - 2 < since < seen.night + 1
    assert str(LIMIT) in found[2]
    assert re.search(r'msg="answered 503" .*path=/livez because="health \(threshold\)"', seen.log)


@after(next_morning)
def test_kubernetes_events_say_the_same_as_prometheus(seen):
    """Scenario 14: the kubelet was told 503 and killed the container whose check failed."""
    watch = seen.stage.watch
    ((_, answers),) = seen.told["answers"]
    assert answers >= 1
    assert ("shop", "Liveness probe failed: HTTP probe failed with statuscode: 503") in watch.messages("Unhealthy")
    assert [container for container, _ in watch.messages("Killing")] == ["shop"]
