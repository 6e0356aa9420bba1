"""The output of `kubectl kustomize` for k8s/, and the parts of it that the tests examine."""

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from support import unavailable

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
CUSTOM = "monitoring.coreos.com/"
KUSTOMIZE = 5
"""The required major version. Version 4 is sufficient too, but kubectl 1.20, which some distributions ship, has 2."""

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
    "authentication": ALONE,
    "sidecar": (),
    "native-sidecar": (),
    "sidecar/authentication": ("sidecar",),
    "native-sidecar/authentication": ("native-sidecar",),
    "sidecar/kubernetes-1.20": ("sidecar",),
}
"""Each component, with the overlays it is meant for, beyond the component that an overlay consists of."""


def fitting(overlay: str) -> tuple[str, ...]:
    """The components that are meant for an overlay."""
    return tuple(component for component in FITTING if overlay in FITTING[component])


COMBINATIONS = [(name, ()) for name in OVERLAYS] + [(name, fitting(name)) for name in OVERLAYS]
"""Each overlay without components, and with all components that are meant for it."""


@functools.cache
def kubectl() -> str:
    """The path of kubectl, if its kustomize is new enough."""
    path = shutil.which("kubectl") or unavailable("kubectl is not installed: 1.27 or newer is needed")
    command = [path, "version", "--client", "-o", "json"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    version = json.loads(printed).get("kustomizeVersion", "v2")
    if int(version.removeprefix("v").split(".")[0]) < KUSTOMIZE:
        unavailable(f"kubectl includes kustomize {version}, but {KUSTOMIZE} is needed: kubectl 1.27 or newer")
    return path


@functools.cache
def build(folder: Path) -> tuple[Object, ...]:
    """The objects of a kustomization, as `kubectl apply -k` applies them."""
    result = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True)
    assert result.returncode == 0, f"{folder}: {result.stderr}"
    assert not result.stderr, f"{folder}: {result.stderr}"
    return tuple(yaml.safe_load_all(result.stdout))


@functools.cache
def overlay(name: str, components: tuple[str, ...] = ()) -> tuple[Object, ...]:
    """The objects of an overlay with the given components."""
    if not components:
        return build(K8S / "overlays" / name)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(K8S, Path(folder) / "k8s")
        (Path(folder) / "dashboards").mkdir()
        for file in (ROOT / "dashboards").glob("*.*"):
            shutil.copy(file, Path(folder) / "dashboards")
        copied = Path(folder) / "k8s" / "overlays" / name
        add_components(copied / "kustomization.yaml", components)
        return build(copied)


def add_components(kustomization: Path, components: Iterable[str]) -> None:
    """Append to the components of a kustomization in an overlay's folder."""
    content = yaml.safe_load(kustomization.read_text())
    content.setdefault("components", []).extend(f"../../components/{component}" for component in components)
    kustomization.write_text(yaml.safe_dump(content))


class Rendered(NamedTuple):
    """An object, and where it comes from."""

    overlay: str
    components: tuple[str, ...]
    object: Object

    @property
    def place(self) -> str:
        return f"{describe(self.overlay, self.components)}: {self.object['kind']} {self.object['metadata']['name']}"


def rendered() -> list[Rendered]:
    """Every object of every combination."""
    return [Rendered(*combination, object_) for combination in COMBINATIONS for object_ in overlay(*combination)]


def describe(name: str, components: tuple[str, ...]) -> str:
    return f"{name} with all components" if components else name


def of_kind(objects: tuple[Object, ...], *kinds: str) -> list[Object]:
    return [object_ for object_ in objects if object_["kind"] in kinds]


def only(objects: tuple[Object, ...], *kinds: str) -> Object:
    (found,) = of_kind(objects, *kinds)
    return found


def workload(name: str, components: tuple[str, ...] = ()) -> Object:
    """The Deployment, StatefulSet or DaemonSet of an overlay."""
    return only(overlay(name, components), "Deployment", "StatefulSet", "DaemonSet")


def pod(name: str, components: tuple[str, ...] = ()) -> Object:
    spec: Object = workload(name, components)["spec"]["template"]["spec"]
    return spec


def containers(spec: Object) -> Iterator[Object]:
    yield from spec.get("initContainers", [])
    yield from spec["containers"]


def container(name: str, of: str, components: tuple[str, ...] = ()) -> Object:
    (found,) = (container for container in containers(pod(of, components)) if container["name"] == name)
    return found


def exporter(of: str, components: tuple[str, ...] = ()) -> Object:
    return container("health-exporter", of, components)


def health_yml(of: str) -> Object:
    """The configuration in the ConfigMap that the exporter's pod mounts."""
    (name,) = (volume["configMap"]["name"] for volume in pod(of)["volumes"] if volume["name"] == "health-exporter")
    (found,) = (map_ for map_ in of_kind(overlay(of), "ConfigMap") if map_["metadata"]["name"] == name)
    parsed: Object = yaml.safe_load(found["data"]["health.yml"])
    return parsed
