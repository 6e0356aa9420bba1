"""`inject` adds the same exporter as the kustomize component, and asks the same questions."""

from pathlib import Path

import yaml

from exporter.manifests.configuration import Configuration
from exporter.manifests.endpoints import choose_probes, make_probe
from exporter.manifests.sidecar import make_container
from exporter.manifests.timing import Timing
from exporter.manifests.tree import build_data
from exporter.model import Group

POD = Path(__file__).parents[2] / "k8s" / "components" / "sidecar" / "template" / "pod.yaml"
CONTAINERS = {
    container["name"]: container for container in yaml.safe_load(POD.read_text())["template"]["spec"]["containers"]
}


def test_the_container_is_that_of_the_component():
    assert build_data(make_container("health-exporter", native=False), "x") == CONTAINERS["health-exporter"]


def test_the_probes_of_a_container_without_probes_are_those_of_the_component():
    """The component's readinessProbe has no delay of its own, because its startupProbe has the same one."""
    checks = {group: [Timing(period=2, failure_threshold=2)] for group in Group}
    chosen = choose_probes({}, Configuration("", checks, True, (), ()), own=True)
    probes = {key: make_probe(key, numbers, {}) for key, numbers in chosen.items()}

    assert probes["readinessProbe"].pop("initialDelaySeconds") == probes["startupProbe"]["initialDelaySeconds"]
    assert {"name": "application", **probes} == CONTAINERS["application"]
