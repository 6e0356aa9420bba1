"""Hours in minutes: nothing is restarted in a quiet period, nor on a node without spare CPU. `make e2e-long`."""

import os
import time
from types import SimpleNamespace
from typing import Any

import pytest
from e2e.cluster.drill import EXPORTER, IMAGE, Stage, after, patched
from e2e.cluster.kube import is_ready, restarts

pytestmark = [pytest.mark.timeout(4 * 3600), pytest.mark.long]
PERIOD = float(os.environ.get("PERIOD", "1200"))
"""The length in seconds of each of the two periods."""
BUSY = """\
import os
for _ in range({processes} - 1):
    if not os.fork():
        break
memory = bytearray(64 << 20)
while True:
    memory[:: 4096] = memory[:: 4096]
"""


def long_run(stage: Stage) -> SimpleNamespace:
    """Every kind of pod for a quiet period, then alongside a pod that uses all CPU, then with missing exporters."""
    record = SimpleNamespace(stage=stage)
    stage.apply("sidecar", patches=[patched(3)])
    stage.apply("standalone")
    stage.apply("daemonset")
    nodes = stage.cluster.read("/api/v1/nodes")["items"]
    pods = stage.ready(4 + len(nodes), within=300)
    stage.watch.until(lambda watch: len(watch.endpoints()) > 3, 60, "endpoints")
    begin = time.time()
    time.sleep(PERIOD)
    record.quiet = warnings(stage, begin)
    record.quiet_endpoints = lost_endpoints(stage, begin)

    begin = time.time()
    saturate(stage, nodes)
    time.sleep(PERIOD)
    record.stressed = warnings(stage, begin)
    stage.notes.append(f"{stage.namespace}: failed probes on a node without spare CPU: {len(record.stressed)}")
    record.pods = {name: stage.watch.pods()[name] for name in pods}

    shop = next(name for name in pods if name.startswith("shop"))
    for count in (1, 2):
        stage.stop_exporter(shop, count)
        time.sleep(60)
    record.stopped = stage.watch.pods()[shop]
    return record


def saturate(stage: Stage, nodes: list[dict[str, Any]]) -> None:
    """Start a pod on every node that uses all of its CPU, and requests 60 % of it."""
    for node in nodes:
        cores = int(node["status"]["capacity"]["cpu"])
        container = {
            "name": "stress",
            "image": IMAGE,
            "command": ["python3", "-c", BUSY.format(processes=4 * cores)],
            "resources": {"requests": {"cpu": f"{600 * cores}m"}},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        name = node["metadata"]["name"]
        security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
        spec = {"nodeName": name, "containers": [container], "securityContext": security}
        meta = {"name": f"stress-{name}", "namespace": stage.namespace}
        stage.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        stage.watch.until(lambda watch, name=meta["name"]: is_ready(watch.pods()[name]), 120, "the stress pod runs")


def warnings(stage: Stage, since: float) -> list[str]:
    """The failed probes since a moment."""
    events = (change for change in stage.watch.all("Event") if change.at > since)
    return [change.object["message"] for change in events if change.object["reason"] == "Unhealthy"]


def lost_endpoints(stage: Stage, since: float) -> int:
    """How many endpoints were missing at the worst moment since then."""
    counts = [len(endpoints) for at, endpoints in stage.watch.endpoints_over_time() if at > since]
    return len(stage.watch.endpoints()) - min(counts, default=len(stage.watch.endpoints()))


@after(long_run)
def test_a_quiet_period_is_quiet(record):
    assert record.quiet == []
    assert record.quiet_endpoints == 0


@after(long_run)
def test_a_node_without_spare_cpu_restarts_nothing(record):
    assert [count for pod in record.pods.values() for count in restarts(pod).values() if count] == []


@after(long_run)
def test_missing_exporters_on_a_node_without_spare_cpu_do_not_restart_the_application(record):
    assert restarts(record.stopped) == {"shop": 0, EXPORTER: 2}
