"""The patch of `convert` for the kustomize component: the same numbers as those of `inject`."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests.fifty_manifests import read, run
from support import command

from exporter.manifests.component import NUMBERS

K8S = Path(__file__).parents[2] / "k8s"
FIELDS = ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold")


def find_numbers(container: dict[str, Any]) -> dict[str, dict[str, int]]:
    probes = {key: container[key] for key in NUMBERS if key in container}
    grace = "terminationGracePeriodSeconds"
    return {
        key: {field: probe[field] for field in (*FIELDS, grace) if probe.get(field) is not None}
        for key, probe in probes.items()
    }


def test_the_numbers_are_those_of_the_component():
    template = yaml.safe_load((K8S / "components" / "sidecar" / "template" / "pod.yaml").read_text())

    assert find_numbers(template["template"]["spec"]["containers"][0]) == NUMBERS


@pytest.mark.parametrize("name", ["slow_start", "patient", "deployment_http", "grace_periods", "statefulset_mysql"])
def test_the_patched_component_has_the_numbers_of_inject(name, tmp_path):
    converted = run("convert", read(name))
    assert converted.exit_code == 0, converted.stderr
    text = converted.stdout.partition("# patches:")[2]
    patch = "patches:" + "".join(f"{line.removeprefix('#')}\n" for line in text.splitlines())
    shutil.copytree(K8S / "components", tmp_path / "components")
    (tmp_path / "web.yaml").write_bytes(read(name))
    (tmp_path / "health.yml").write_text(converted.stdout)
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [web.yaml]\ncomponents: [components/sidecar]\n"
        f"configMapGenerator: [{{name: health-exporter, files: [health.yml]}}]\n{patch}"
    )
    printed = subprocess.run([command("kubectl"), "kustomize", tmp_path], capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    wanted = find_numbers(find_application(run("inject", read(name)).stdout))

    built = find_numbers(find_application(printed.stdout))
    assert {key: built[key] for key in wanted} == wanted
    assert "the end of the output has the patch for your kustomization" in converted.stderr


def find_application(stream: str) -> dict[str, Any]:
    workload = next(item for item in yaml.safe_load_all(stream) if item["kind"] in ("Deployment", "StatefulSet"))
    container: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
    return container


def test_without_a_difference_there_is_no_patch():
    converted = run("convert", read("cronjob"))

    assert converted.exit_code == 0
    assert "patches:" not in converted.stdout
    assert "patch" not in converted.stderr
