"""An application that listens on one address only is judged at the address where clients and the kubelet connect."""

from types import SimpleNamespace

import pytest
from e2e.cluster.drill import EXPORTER, Stage, after, series, up
from e2e.cluster.kube import is_ready, restarts
from e2e.cluster.test_existing_probes import apply_component
from e2e.cluster.workloads import SCRIPT, deployment

pytestmark = pytest.mark.timeout(600)
LOOPBACK, POD = "on-loopback", "on-pod-ip"


def one_address(stage: Stage) -> SimpleNamespace:
    """Two applications: one listens on 127.0.0.1, the other on the pod's address. The checks use $(POD_IP)."""
    record = SimpleNamespace(stage=stage, pods={})
    data = {"application.py": SCRIPT.read_text()}
    meta = {"name": "application", "namespace": stage.namespace}
    stage.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    for name, host in ((LOOPBACK, "127.0.0.1"), (POD, "$(POD_IP)")):
        workload = deployment(stage.namespace, name, {"HOST": host, "CERTIFICATE": "", "GRPC": ""})
        apply_component(stage, workload)

    def pod(name: str) -> str | None:
        found = [key for key, value in stage.watch.pods().items() if value["metadata"]["labels"]["app"] == name]
        return found[0] if found else None

    stage.until(lambda: (name := pod(POD)) and is_ready(stage.watch.pods()[name]), 120, "the pod's address is ready")
    record.loopback = pod(LOOPBACK)
    record.pod = pod(POD)

    def failed() -> bool:
        response = stage.request(record.loopback, "/metrics")
        return response.status == 200 and series("health_check_reason", "health", reason="connect") in response.text

    stage.until(failed, 120, "the check of the application on loopback fails")
    record.metrics = stage.metrics(record.loopback)
    record.readyz = stage.request(record.loopback, "/readyz?verbose&format=json").text
    record.log = stage.log(record.loopback)
    record.pods = stage.watch.pods()
    return record


@after(one_address)
def test_an_application_on_the_pods_address_is_ready(record):
    assert is_ready(record.pods[record.pod])
    assert restarts(record.pods[record.pod]) == {"application": 0, EXPORTER: 0}


@after(one_address)
def test_an_application_on_loopback_is_not_ready_and_the_reason_is_shown(record):
    """Clients cannot reach it either. Kubernetes' own probes fail in the same way."""
    assert not is_ready(record.pods[record.loopback])
    assert record.metrics[up("readiness")] == 0
    assert record.pods[record.loopback]["status"]["podIP"] in record.readyz + record.log
