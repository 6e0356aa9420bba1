"""The Prometheus Operator's objects are valid by its custom resource definitions, as npm's models of them know them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from kustomized import ALONE, CUSTOM, FITTING, K8S, Object, build, of_kind, overlay
from support import unavailable

MODELS = Path(__file__).parent / "models"
WAIT = 60


@pytest.fixture(scope="module")
def models() -> Path:
    """The folder with the models, as locked; npm installs them the first time and after a change of the lock."""
    npm = shutil.which("npm") or unavailable("npm is not installed: Node.js 20 or newer is needed")
    installed = MODELS / "node_modules" / ".package-lock.json"
    lock = MODELS / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        arguments = [npm, "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            done = subprocess.run(arguments, cwd=MODELS, capture_output=True, text=True, timeout=WAIT)
        except subprocess.TimeoutExpired:
            shutil.rmtree(MODELS / "node_modules", ignore_errors=True)
            unavailable(f"npm did not install tests/k8s/models within {WAIT} s")
        if done.returncode != 0:
            unavailable(f"npm could not install tests/k8s/models: {done.stderr.strip()[-500:]}")
    return MODELS


def _faults(models: Path, objects: list[Object]) -> list[str | None]:
    arguments = ["node", str(models / "check.js")]
    said = subprocess.run(arguments, input=json.dumps(objects), capture_output=True, text=True, check=True)
    faults: list[str | None] = json.loads(said.stdout)
    return faults


def _shipped() -> list[Object]:
    rendered = [each for name in ALONE for each in overlay(name, ("servicemonitor",))]
    rendered += overlay("sidecar", ("podmonitor",))
    rendered += build(K8S / "components" / "prometheusrule")
    return [each for each in rendered if each["apiVersion"].startswith(CUSTOM)]


def test_every_object_of_the_operator_is_valid(models: Path) -> None:
    objects = _shipped()
    assert {each["kind"] for each in objects} == {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
    assert _faults(models, objects) == [None] * len(objects)


def test_a_mistake_is_noticed(models: Path) -> None:
    (monitor,) = of_kind(overlay(FITTING["servicemonitor"][0], ("servicemonitor",)), "ServiceMonitor")
    broken = json.loads(json.dumps(monitor).replace('"15s"', '"15 seconds"'))
    (fault,) = _faults(models, [broken])
    assert fault is not None
    assert "interval" in fault
