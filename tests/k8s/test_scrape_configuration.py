"""k8s/prometheus.yml finds the exporters and gives them the labels that alerts and dashboards use.

Prometheus applies relabel_configs to the labels of static targets as to those it discovers, so the tests hand it pods
as static targets. The discovery itself needs a cluster (tests/e2e/cluster).
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kustomized import K8S, of_kind, overlay
from support import Prometheus, command, ended, eventually

POD = {
    "__meta_kubernetes_namespace": "shopping",
    "__meta_kubernetes_pod_name": "shop-1",
    "__meta_kubernetes_pod_node_name": "node-1",
    "__meta_kubernetes_pod_phase": "Running",
    "__meta_kubernetes_pod_container_port_name": "http-health",
    "__meta_kubernetes_pod_label_app_kubernetes_io_name": "shop",
}
PODS = {
    "127.0.0.1:1": {},
    "127.0.0.1:2": {"__meta_kubernetes_pod_label_app_kubernetes_io_name": ""},
    "127.0.0.1:3": {"__meta_kubernetes_pod_container_port_name": "http"},
    "127.0.0.1:4": {"__meta_kubernetes_pod_phase": "Succeeded"},
    "127.0.0.1:5": {"__meta_kubernetes_pod_phase": "Pending"},
    "127.0.0.1:6": {"__meta_kubernetes_pod_phase": "Failed"},
}


def _shipped() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((K8S / "prometheus.yml").read_text())
    return config


def _with_static_pods(folder: Path) -> Path:
    config = _shipped()
    (job,) = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    job["static_configs"] = [{"targets": [each], "labels": {**POD, **PODS[each]}} for each in PODS]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """The labels of each target that Prometheus scrapes, by its address."""
    folder = tmp_path_factory.mktemp("prometheus")
    with ended(Prometheus(_with_static_pods(folder))) as prometheus:
        found = eventually(lambda: prometheus.api("targets", state="active")["activeTargets"], what="there are targets")
        yield {each["discoveredLabels"]["__address__"]: each["labels"] for each in found}


def test_promtool_accepts_everything_but_the_discovery_that_debian_leaves_out(tmp_path: Path) -> None:
    shipped = [command("promtool"), "check", "config", "--lint=all", "--lint-fatal", str(K8S / "prometheus.yml")]
    said = subprocess.run(shipped, capture_output=True, text=True)
    if said.returncode != 0:
        assert said.stderr.count("not found in type") == said.stderr.count("kubernetes_sd_configs not found") == 1
    adapted = [*shipped[:-1], str(_with_static_pods(tmp_path))]
    said = subprocess.run(adapted, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_ports_name_makes_a_target_and_ended_pods_are_none(targets: dict[str, dict[str, str]]) -> None:
    assert targets.keys() == {"127.0.0.1:1", "127.0.0.1:2"}


def test_the_labels_say_whose_health_it_is(targets: dict[str, dict[str, str]]) -> None:
    assert targets["127.0.0.1:1"] == {
        "namespace": "shopping",
        "pod": "shop-1",
        "job": "shop",
        "instance": "127.0.0.1:1",
        "node": "node-1",
    }


def test_without_the_applications_label_the_job_keeps_its_name(targets: dict[str, dict[str, str]]) -> None:
    assert targets["127.0.0.1:2"]["job"] == "health-exporter"


def test_the_operators_monitors_scrape_as_often_and_name_job_and_node_alike() -> None:
    monitors = [
        *of_kind(overlay("standalone", ("servicemonitor",)), "ServiceMonitor"),
        *of_kind(overlay("sidecar", ("podmonitor",)), "PodMonitor"),
    ]
    assert len(monitors) == 2
    for each in monitors:
        (endpoint,) = each["spec"].get("endpoints") or each["spec"]["podMetricsEndpoints"]
        assert endpoint["interval"] == _shipped()["global"]["scrape_interval"]
        assert each["spec"]["jobLabel"] == "app.kubernetes.io/name"
        node = {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
        assert endpoint["relabelings"] == [node]
