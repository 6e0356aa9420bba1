"""Applications that already have probes get the exporter, and lose it again, and nothing healthy is restarted."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from e2e.cluster.drill import EXPORTER, IMAGE, OVERLAYS, Stage, after, image
from e2e.cluster.kube import is_ready, kubectl, restarts
from e2e.cluster.workloads import FAULTS, HTTP, PROBES, deployments
from support import unavailable

pytestmark = pytest.mark.timeout(1200)
SHIPPED = {"livenessProbe": "/livez", "readinessProbe": "/readyz", "startupProbe": "/startupz"}
TIMING = {"periodSeconds": 2, "failureThreshold": 2}
EXECUTED = "exec"


def health_exporter(command: str, *arguments: str, stdin: str) -> subprocess.CompletedProcess[str]:
    """Run the exporter's command line with a manifest on stdin."""
    found = subprocess.run(
        [sys.executable, "-m", "exporter", command, *arguments, "-"], input=stdin, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    return found


def pod_of(stage: Stage, name: str) -> dict[str, Any] | None:
    """The only pod of a Deployment, or None while there are two."""
    pods = [pod for pod in stage.watch.pods().values() if pod["metadata"]["labels"].get("app") == name]
    return pods[0] if len(pods) == 1 else None


def settled(stage: Stage, containers: int) -> dict[str, dict[str, Any]]:
    """Wait until each Deployment has one ready pod with this number of containers."""

    def all_ready() -> bool:
        pods = [pod_of(stage, name) for name in PROBES]
        return all(pod and is_ready(pod) and len(pod["spec"]["containers"]) == containers for pod in pods)

    stage.until(all_ready, 300, f"one ready pod of each Deployment, with {containers} containers")
    return {name: pod for name in PROBES if (pod := pod_of(stage, name))}


def create(stage: Stage, command: str) -> None:
    """Create the Deployments, with the annotation that `kubectl apply` compares with if the command is `apply`."""
    items = {"apiVersion": "v1", "kind": "List", "items": deployments(stage.namespace)}
    kubectl(command, "-f", "-", stdin=json.dumps(items))
    settled(stage, 1)


def break_each(stage: Stage, pods: dict[str, dict[str, Any]], remove_file: bool = False) -> None:
    """Make each application fail, and wait until the kubelet has restarted it, and it is ready again."""
    for name, pod in pods.items():
        pod_name = pod["metadata"]["name"]
        stage.breaks(pod_name, "application")
        if name == EXECUTED and remove_file:
            stage.execute(pod_name, "application", "rm", "/tmp/healthy")
        else:
            stage.order(pod_name, FAULTS.get(name, "/mode/health/failing"))

    def all_restarted() -> bool:
        found = stage.watch.pods()
        return all(restarts(found[pod["metadata"]["name"]])["application"] for pod in pods.values())

    stage.until(all_restarted, 180, "each application is restarted")
    settled(stage, 2)


def injected(stage: Stage) -> SimpleNamespace:
    """`kubectl get | health-exporter inject | kubectl apply`, then the same with `uninject`."""
    record = SimpleNamespace(stage=stage, notes={})
    create(stage, "create")
    record.before = specs(stage)
    for name in PROBES:
        record.notes[name] = pipe(stage, name, "inject", "--image", IMAGE)
    record.pods = settled(stage, 2)
    break_each(stage, record.pods, remove_file=True)
    record.broken = stage.watch.pods()
    for name in PROBES:
        pipe(stage, name, "uninject")
    settled(stage, 1)
    record.after = specs(stage)
    return record


def pipe(stage: Stage, name: str, *command: str) -> str:
    """Change a Deployment of the cluster. Returns what the command printed on stderr."""
    live = kubectl("get", "-n", stage.namespace, f"deployment/{name}", "-o", "yaml")
    found = health_exporter(*command, stdin=live)
    kubectl("apply", "-f", "-", stdin=found.stdout)
    return found.stderr


def specs(stage: Stage) -> dict[str, dict[str, Any]]:
    """The pod specs of the Deployments."""
    listed = stage.cluster.read(f"/apis/apps/v1/namespaces/{stage.namespace}/deployments")["items"]
    return {found["metadata"]["name"]: found["spec"]["template"]["spec"] for found in listed}


def with_component(stage: Stage) -> SimpleNamespace:
    """The kustomize component, with the probes written as checks by hand."""
    if not (OVERLAYS.parent / "components" / "sidecar").is_dir():
        unavailable("there is no component sidecar")
    record = SimpleNamespace(stage=stage)
    create(stage, "apply")
    for workload in deployments(stage.namespace)[1:]:
        apply_component(stage, workload)
    record.pods = settled(stage, 2)
    break_each(stage, record.pods)
    record.broken = stage.watch.pods()
    return record


def apply_component(stage: Stage, workload: dict[str, Any]) -> None:
    """Apply a Deployment with the component, as a kustomization of its own."""
    name = workload["metadata"]["name"]
    root = stage.folder / name
    root.mkdir()
    (root / "deployment.json").write_text(json.dumps(workload))
    (root / "health.yml").write_text(yaml.safe_dump({"checks": [check_of(name)]}))
    component = os.path.relpath(OVERLAYS.parent / "components" / "sidecar", root.resolve())
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": stage.namespace,
        "resources": ["deployment.json"],
        "components": [component],
        "configMapGenerator": [{"name": EXPORTER, "files": ["health.yml"]}],
        "images": [{"name": EXPORTER, **image()}],
    }
    (root / "kustomization.yaml").write_text(json.dumps(kustomization))
    kubectl("apply", "-k", str(root))


def check_of(name: str) -> dict[str, Any]:
    """The liveness probe as a check, at the address where the kubelet sends its probes."""
    probe = PROBES.get(name, {}).get("livenessProbe", {})
    handler = {kind: dict(options) for kind, options in probe.items() if kind in ("httpGet", "tcpSocket", "grpc")}
    handler = handler or {"httpGet": dict(HTTP)}
    for options in handler.values():
        options["host"] = "$(POD_IP)"
        if options["port"] == "web":
            options["port"] = 8080
    return {"name": "health", **handler, **TIMING, "groups": ["liveness", "readiness", "startup"]}


@after(injected, with_component)
def test_the_exporter_is_the_last_container_and_gets_the_probes(record):
    for name, pod in record.pods.items():
        application, exporter = pod["spec"]["containers"]
        assert exporter["name"] == EXPORTER
        probes = {kind: application[kind] for kind in SHIPPED if "exec" not in application.get(kind, {"exec": None})}
        assert probes, name
        for kind, probe in probes.items():
            assert probe["httpGet"] == {"path": SHIPPED[kind], "port": 4584, "scheme": "HTTP"}, name
            assert "tcpSocket" not in probe, name


@after(injected, with_component)
def test_each_application_is_restarted_for_its_own_fault_and_no_exporter_is(record):
    """The rule that applies to every drill ensures that nothing was restarted before its fault."""
    for name, pod in record.pods.items():
        assert restarts(record.broken[pod["metadata"]["name"]]) == {"application": 1, EXPORTER: 0}, name


@after(injected)
def test_a_probe_that_runs_a_command_stays_and_inject_warns(record):
    (application, _) = record.pods[EXECUTED]["spec"]["containers"]
    assert application["livenessProbe"]["exec"] == {"command": ["cat", "/tmp/healthy"]}
    assert "exec" in record.notes[EXECUTED]


@after(injected)
def test_uninject_restores_what_the_cluster_had(record):
    assert record.after == record.before
