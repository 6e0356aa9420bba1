"""k8s/prometheus.yml discovers the exporters and sets the labels that alerts and dashboards use.

Prometheus applies relabel_configs to static and discovered targets alike, so these tests configure pods as static
targets. The discovery itself needs a cluster (tests/e2e/cluster).
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from k8s.kustomized import K8S, of_kind, overlay
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


def shipped_configuration() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((K8S / "prometheus.yml").read_text())
    return config


def write_with_static_pods(folder: Path) -> Path:
    config = shipped_configuration()
    (job,) = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    job["static_configs"] = [{"targets": [address], "labels": {**POD, **labels}} for address, labels in PODS.items()]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """The labels of each target that Prometheus scrapes, by its address."""
    folder = tmp_path_factory.mktemp("prometheus")
    with ended(Prometheus(write_with_static_pods(folder))) as prometheus:
        active = eventually(lambda: prometheus.api("targets", state="active")["activeTargets"], what="active targets")
        yield {target["discoveredLabels"]["__address__"]: target["labels"] for target in active}


def test_promtool_accepts_the_configuration_except_the_discovery_that_debian_omits(tmp_path: Path) -> None:
    shipped = [command("promtool"), "check", "config", "--lint=all", "--lint-fatal", str(K8S / "prometheus.yml")]
    result = subprocess.run(shipped, capture_output=True, text=True)
    if result.returncode != 0:
        unknown = result.stderr.count("not found in type")
        assert unknown == result.stderr.count("kubernetes_sd_configs not found") == 1
    adapted = [*shipped[:-1], str(write_with_static_pods(tmp_path))]
    result = subprocess.run(adapted, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_running_pods_with_the_port_http_health_become_targets(targets: dict[str, dict[str, str]]) -> None:
    assert targets.keys() == {"127.0.0.1:1", "127.0.0.1:2"}


def test_a_target_has_the_labels_of_its_pod(targets: dict[str, dict[str, str]]) -> None:
    assert targets["127.0.0.1:1"] == {
        "namespace": "shopping",
        "pod": "shop-1",
        "job": "shop",
        "instance": "127.0.0.1:1",
        "node": "node-1",
    }


def test_a_pod_without_the_label_of_its_application_keeps_the_name_of_the_job(
    targets: dict[str, dict[str, str]],
) -> None:
    assert targets["127.0.0.1:2"]["job"] == "health-exporter"


def test_the_monitors_of_the_operator_have_the_same_interval_job_and_node() -> None:
    monitors = [
        *of_kind(overlay("standalone", ("servicemonitor",)), "ServiceMonitor"),
        *of_kind(overlay("sidecar", ("podmonitor",)), "PodMonitor"),
    ]
    assert len(monitors) == 2
    for monitor in monitors:
        (endpoint,) = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["interval"] == shipped_configuration()["global"]["scrape_interval"]
        assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/name"
        node = {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
        assert endpoint["relabelings"] == [node]
