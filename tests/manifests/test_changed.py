"""A workload that was changed since `inject`: changes by the user, `helm upgrade` or `kubectl` are not reverted."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from manifests.fifty_manifests import read, run

PATIENT = {
    "livenessProbe": {"httpGet": {"path": "/old", "port": 80}, "periodSeconds": 30, "timeoutSeconds": 3},
    "readinessProbe": {"httpGet": {"path": "/ready", "port": 80}},
}


def workload(probes: dict[str, Any]) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(read("deployment_http"))
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        container.pop(key, None)
    container.update(probes)
    return manifest


def change(text: str, edit: Callable[[dict[str, Any]], object]) -> bytes:
    """Edit the pod of the injected workload, and return it as the API server would: without the ConfigMap."""
    manifest = list(yaml.safe_load_all(text))[-1]
    edit(manifest["spec"]["template"]["spec"])
    return yaml.safe_dump(manifest, sort_keys=False).encode()


def injected(probes: dict[str, Any], edit: Callable[[dict[str, Any]], object]) -> bytes:
    first = run("inject", yaml.safe_dump(workload(probes)).encode())
    assert first.exit_code == 0, first.stderr
    return change(first.stdout, edit)


def checks(text: str) -> dict[str, dict[str, Any]]:
    config_map = next(iter(yaml.safe_load_all(text)))
    return {check.pop("name"): check for check in yaml.safe_load(config_map["data"]["health.yml"])["checks"]}


def uninjected(content: bytes) -> tuple[dict[str, Any], str]:
    restored = run("uninject", content)
    assert restored.exit_code == 0, restored.stderr
    container = yaml.safe_load(restored.stdout)["spec"]["template"]["spec"]["containers"][0]
    return {key: value for key, value in container.items() if key.endswith("Probe")}, restored.stderr


def patch_path(spec: dict[str, Any]) -> None:
    """Set the fields that a chart has, as the three-way merge of `helm upgrade` does."""
    spec["containers"][0]["livenessProbe"]["httpGet"].update({"path": "/new", "port": 8080})


def test_a_probe_that_was_changed_is_converted_and_not_the_old_one():
    again = run("inject", injected(PATIENT, patch_path))

    assert checks(again.stdout)["liveness"]["httpGet"] == {"host": "$(POD_IP)", "path": "/new", "port": 8080}
    assert "livenessProbe was changed since inject: its present value is used" in again.stderr
    assert "readinessProbe was changed" not in again.stderr
    assert run("inject", again.stdout.encode()).stdout == again.stdout


def test_numbers_that_a_change_has_left_are_those_from_before():
    probes, notes = uninjected(injected(PATIENT, patch_path))

    new = {"httpGet": {"path": "/new", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 30, "timeoutSeconds": 3}
    assert probes == {**PATIENT, "livenessProbe": new}
    assert "livenessProbe was changed since inject: its present value is used" in notes


def test_numbers_that_were_changed_stay():
    def edit(spec: dict[str, Any]) -> None:
        patch_path(spec)
        spec["containers"][0]["livenessProbe"].update({"periodSeconds": 7, "failureThreshold": 9})

    probes, _ = uninjected(injected(PATIENT, edit))

    assert probes["livenessProbe"] == {
        "httpGet": {"path": "/new", "port": 8080, "scheme": "HTTP"},
        "periodSeconds": 7,
        "timeoutSeconds": 3,
        "failureThreshold": 9,
    }


def test_a_probe_that_was_removed_stays_away():
    probes, notes = uninjected(injected(PATIENT, lambda spec: spec["containers"][0].pop("livenessProbe")))

    assert probes == {"readinessProbe": PATIENT["readinessProbe"]}
    assert "livenessProbe was removed since inject, and stays so" in notes


def test_a_probe_that_was_added_after_inject_stays():
    new = {"tcpSocket": {"port": 80}, "failureThreshold": 90}
    probes, _ = uninjected(injected(PATIENT, lambda spec: spec["containers"][0].update(startupProbe=new)))

    assert probes == {**PATIENT, "startupProbe": new}


def test_the_probes_of_inject_are_replaced_by_the_original_ones_without_a_warning():
    probes, notes = uninjected(injected(PATIENT, lambda spec: None))

    assert probes == PATIENT
    assert "since inject" not in notes


def test_a_changed_probe_that_queries_the_exporter_is_refused():
    def edit(spec: dict[str, Any]) -> None:
        spec["containers"][0]["livenessProbe"]["httpGet"]["path"] = "/new"

    for command in ("inject", "uninject"):
        refused = run(command, injected(PATIENT, edit))
        assert refused.exit_code
        assert "livenessProbe was changed since inject, and still queries port 4584" in refused.stderr


def test_a_second_inject_keeps_the_image():
    first = run("inject", read("deployment_http"), "--image", "registry.example/health-exporter:1")
    again = run("inject", first.stdout.encode())
    newer = run("inject", first.stdout.encode(), "--image", "registry.example/health-exporter:2")

    assert again.stdout == first.stdout
    assert "image: registry.example/health-exporter:2\n" in newer.stdout


@pytest.mark.parametrize("options", [(), ("--native",)])
def test_a_second_inject_keeps_what_was_added_to_the_container(options):
    resources = {"requests": {"cpu": "50m"}, "limits": {"memory": "256Mi"}}
    variables = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "web", "key": "token"}}}]
    source = [{"secretRef": {"name": "web"}}]
    mount = {"name": "shared", "mountPath": "/shared"}
    volume: dict[str, Any] = {"name": "shared", "emptyDir": {}}

    def edit(spec: dict[str, Any]) -> None:
        container = find_exporter(spec)
        container.update(resources=resources, envFrom=source)
        container["env"] += variables
        container["volumeMounts"].append(mount)
        spec["volumes"].append(volume)

    again = run("inject", injected(PATIENT, edit), *options)
    spec = list(yaml.safe_load_all(again.stdout))[-1]["spec"]["template"]["spec"]
    container = find_exporter(spec)

    assert (container["resources"], container["envFrom"]) == (resources, source)
    assert [item["name"] for item in container["env"]] == ["POD_IP", "TOKEN"]
    assert [item["name"] for item in container["volumeMounts"]] == ["health-exporter", "shared"]
    assert volume in spec["volumes"]
    assert run("inject", again.stdout.encode(), *options).stdout == again.stdout


def find_exporter(spec: dict[str, Any]) -> dict[str, Any]:
    containers = spec["containers"] + spec.get("initContainers", [])
    return next(container for container in containers if container["name"] == "health-exporter")


def test_an_annotation_without_numbers_does_not_fit():
    def edit(manifest: dict[str, Any]) -> None:
        annotations = manifest["metadata"]["annotations"]
        record = json.loads(annotations["health-exporter/original"])
        annotations["health-exporter/original"] = json.dumps(record | {"numbers": []})

    manifest = list(yaml.safe_load_all(run("inject", read("deployment_http")).stdout))[-1]
    edit(manifest["spec"]["template"])
    refused = run("uninject", yaml.safe_dump(manifest).encode())

    assert refused.exit_code
    assert "does not fit the pod" in refused.stderr
