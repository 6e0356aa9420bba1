"""The Prometheus Operator's objects are valid according to its custom resource definitions, as modeled on npm."""

import json
import subprocess
from pathlib import Path

import pytest
from k8s.kustomized import ALONE, CUSTOM, FITTING, K8S, Object, build, of_kind, overlay
from npm import install

MODELS = Path(__file__).parent / "models"


@pytest.fixture(scope="module")
def models() -> Path:
    """The folder with the models."""
    return install(MODELS)


def find_errors(models: Path, objects: list[Object]) -> list[str | None]:
    arguments = ["node", str(models / "check.js")]
    result = subprocess.run(arguments, input=json.dumps(objects), capture_output=True, text=True, check=True)
    errors: list[str | None] = json.loads(result.stdout)
    return errors


def operator_objects() -> list[Object]:
    objects = [object_ for name in ALONE for object_ in overlay(name, ("servicemonitor",))]
    objects += overlay("sidecar", ("podmonitor",))
    objects += build(K8S / "components" / "prometheusrule")
    return [object_ for object_ in objects if object_["apiVersion"].startswith(CUSTOM)]


def test_every_object_for_the_operator_is_valid(models: Path) -> None:
    objects = operator_objects()
    assert {object_["kind"] for object_ in objects} == {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
    found = zip(objects, find_errors(models, objects), strict=True)
    errors = [f"{object_['kind']} {object_['metadata']['name']}: {error}" for object_, error in found if error]
    assert not errors, "\n".join(errors)


def test_an_invalid_interval_is_detected(models: Path) -> None:
    (monitor,) = of_kind(overlay(FITTING["servicemonitor"][0], ("servicemonitor",)), "ServiceMonitor")
    broken = json.loads(json.dumps(monitor).replace('"15s"', '"15 seconds"'))
    (error,) = find_errors(models, [broken])
    assert error is not None
    assert "interval" in error
