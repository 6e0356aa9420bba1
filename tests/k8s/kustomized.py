"""What `kubectl kustomize` makes of k8s/, and the places in it that the tests look at."""

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from support import unavailable

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
CUSTOM = "monitoring.coreos.com/"
NEEDED = 5
"""kustomize's major version: 4 has the features too, but kubectl 1.20, as some distributions have it, brings 2."""

SIDECARS = ("sidecar", "native-sidecar")
ALONE = ("standalone", "daemonset", "sharded")
OVERLAYS = SIDECARS + ALONE
FITTING = {
    "servicemonitor": ALONE,
    "podmonitor": SIDECARS,
    "networkpolicy": ALONE,
    "poddisruptionbudget": ("standalone", "sharded"),
    "prometheusrule": OVERLAYS,
    "dashboards": OVERLAYS,
    "host-disk": ("daemonset",),
}
"""Each component, with the overlays it is meant for."""
COMBINATIONS = [(overlay, ()) for overlay in OVERLAYS] + [
    (overlay, tuple(each for each in FITTING if overlay in FITTING[each])) for overlay in OVERLAYS
]
"""Each overlay with none of its components, and with all of them."""


@functools.cache
def kubectl() -> str:
    """The program, if its kustomize is new enough."""
    path = shutil.which("kubectl") or unavailable("kubectl is not installed: 1.27 or newer is needed")
    said = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True, text=True, check=True)
    version = json.loads(said.stdout).get("kustomizeVersion", "v2")
    if int(version.removeprefix("v").split(".")[0]) < NEEDED:
        unavailable(f"kubectl brings kustomize {version}, and {NEEDED} is needed: kubectl 1.27 or newer")
    return path


@functools.cache
def build(folder: Path) -> tuple[Object, ...]:
    """The objects of a kustomization, as `kubectl apply -k` would apply them."""
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    assert not done.stderr, f"{folder}: {done.stderr}"
    return tuple(yaml.safe_load_all(done.stdout))


@functools.cache
def overlay(name: str, components: tuple[str, ...] = ()) -> tuple[Object, ...]:
    """An overlay, with its list of components as given rather than commented out."""
    if not components:
        return build(K8S / "overlays" / name)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(K8S, Path(folder) / "k8s")
        (Path(folder) / "dashboards").mkdir()
        for file in (ROOT / "dashboards").glob("*.*"):
            shutil.copy(file, Path(folder) / "dashboards")
        copied = Path(folder) / "k8s" / "overlays" / name
        wanted = "".join(f"  - ../../components/{each}\n" for each in components)
        with (copied / "kustomization.yaml").open("a") as kustomization:
            kustomization.write(f"components:\n{wanted}")
        return build(copied)


def of_kind(objects: tuple[Object, ...], *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def only(objects: tuple[Object, ...], *kinds: str) -> Object:
    (found,) = of_kind(objects, *kinds)
    return found


def workload(name: str, components: tuple[str, ...] = ()) -> Object:
    """The one object of an overlay that makes pods."""
    return only(overlay(name, components), "Deployment", "StatefulSet", "DaemonSet")


def pod(name: str, components: tuple[str, ...] = ()) -> Object:
    spec: Object = workload(name, components)["spec"]["template"]["spec"]
    return spec


def containers(spec: Object) -> Iterator[Object]:
    yield from spec.get("initContainers", [])
    yield from spec["containers"]


def container(name: str, of: str, components: tuple[str, ...] = ()) -> Object:
    (found,) = (each for each in containers(pod(of, components)) if each["name"] == name)
    return found


def exporter(of: str, components: tuple[str, ...] = ()) -> Object:
    return container("health-exporter", of, components)


def health_yml(of: str) -> Object:
    """The configuration in the ConfigMap that the exporter's pod mounts."""
    (name,) = (each["configMap"]["name"] for each in pod(of)["volumes"] if each["name"] == "health-exporter")
    (found,) = (each for each in of_kind(overlay(of), "ConfigMap") if each["metadata"]["name"] == name)
    parsed: Object = yaml.safe_load(found["data"]["health.yml"])
    return parsed
