"""The components sidecar and native-sidecar add the exporter to workloads of every kind, and change nothing else."""

import copy
import functools
import itertools
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from k8s.kustomized import K8S, SIDECARS, Object, build, of_kind

from k8s import schemas

TEMPLATE = yaml.safe_load((K8S / "components" / "sidecar" / "template" / "pod.yaml").read_text())["template"]["spec"]
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
TIMING = {"initialDelaySeconds": 7, "periodSeconds": 3, "successThreshold": 1, "failureThreshold": 9}

HANDLERS: dict[str, Object] = {
    "exec": {"exec": {"command": ["cat", "/tmp/healthy"]}},
    "http": {"httpGet": {"path": "/health", "port": "http", "scheme": "HTTP"}},
    "https": {
        "httpGet": {"port": 8443, "scheme": "HTTPS", "host": "web", "httpHeaders": [{"name": "a", "value": "b"}]}
    },
    "tcp": {"tcpSocket": {"port": 3306}},
    "grpc": {"grpc": {"port": 9000, "service": "shop"}},
}
WEB: Object = {"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]}


def probed(handler: Object) -> Object:
    """A container with three probes."""
    grace = {"terminationGracePeriodSeconds": 5}
    return {**WEB, **{type_: {**handler, **TIMING, **(grace if type_[0] != "r" else {})} for type_ in PROBES}}


SPECS: dict[str, Object] = {
    "plain": {"containers": [WEB]},
    **{name: {"containers": [probed(handler)]} for name, handler in HANDLERS.items()},
    "volumes": {
        "containers": [{**WEB, "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}],
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "web", "configMap": {"name": "web"}}],
    },
    "containers": {
        "initContainers": [{"name": "migrate", "image": "web:1"}, {"name": "seed", "image": "web:1"}],
        "containers": [
            WEB,
            probed(HANDLERS["https"]) | {"name": "proxy", "ports": []},
            {"name": "logs", "image": "logs:1"},
        ],
    },
}


def workload(kind: str, name: str, spec: Object) -> Object:
    """A workload of a kind, with its pod's specification."""
    spec = copy.deepcopy(spec)
    metadata, labels = {"name": name}, {"app": name}
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}
    template: Object = {"metadata": {"labels": labels}, "spec": spec}
    if kind in ("Job", "CronJob"):
        spec["restartPolicy"] = "Never"
        job: Object = {"template": template}
        cron = {"schedule": "@daily", "jobTemplate": {"spec": job}}
        return {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": job if kind == "Job" else cron}
    named = {"serviceName": name} if kind == "StatefulSet" else {}
    outer = {"selector": {"matchLabels": labels}, "template": template, **named}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": outer}


KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
WORKLOADS = {
    f"{kind.lower()}-{name}": workload(kind, f"{kind.lower()}-{name}", spec)
    for kind, (name, spec) in itertools.product(KINDS, SPECS.items())
}
by_component = pytest.mark.parametrize("component", SIDECARS)


def pod_of(object_: Object) -> Object:
    spec = object_["spec"]
    for key in ("jobTemplate", "template"):
        spec = spec[key]["spec"] if key in spec else spec
    found: Object = spec
    return found


def kustomize(folder: Path, component: str, *objects: Object, **options: Any) -> tuple[Object, ...]:
    """The objects of a user's kustomization with the component."""
    (folder / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    (folder / "health.yml").write_text("checks: []\n")
    kustomization = {
        "resources": ["objects.yaml"],
        "components": [os.path.relpath(K8S / "components" / component, folder.resolve())],
        "configMapGenerator": [{"name": "health-exporter", "files": ["health.yml"]}],
        "images": [{"name": "health-exporter", "newTag": "0.1.0"}],
        **options,
    }
    (folder / "kustomization.yaml").write_text(json.dumps(kustomization))
    return build(folder)


@functools.cache
def built(component: str) -> dict[str, Object]:
    """Every workload, with the component; and the ConfigMap."""
    with tempfile.TemporaryDirectory() as folder:
        objects = kustomize(Path(folder), component, *WORKLOADS.values())
    return {object_["metadata"]["name"]: object_ for object_ in objects}


def expected(component: str, original: Object, map_name: str) -> Object:
    """The workload as somebody would write it by hand."""
    object_ = copy.deepcopy(original)
    spec = pod_of(object_)
    application, exporter = copy.deepcopy(TEMPLATE["containers"])
    exporter["image"] += ":0.1.0"
    spec["containers"][0].update({type_: application[type_] for type_ in PROBES})
    if component == "sidecar":
        spec["containers"].append(exporter)
    else:
        exporter.update(restartPolicy="Always", args=[*exporter["args"][:2], "--shutdown-delay=0"])
        spec["initContainers"] = [exporter, *spec.get("initContainers", [])]
    volume = {"name": "health-exporter", "configMap": {"name": map_name}}
    spec["volumes"] = [*spec.get("volumes", []), volume]
    return object_


def map_of(objects: dict[str, Object]) -> str:
    (map_,) = of_kind(tuple(objects.values()), "ConfigMap")
    name: str = map_["metadata"]["name"]
    return name


@by_component
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_kind_of_workload_gets_the_exporter_and_its_probes_and_nothing_else(component: str, name: str) -> None:
    assert built(component)[name] == expected(component, WORKLOADS[name], map_of(built(component)))


@by_component
def test_nothing_else_is_in_the_output(component: str) -> None:
    assert built(component).keys() == WORKLOADS.keys() | {map_of(built(component))}


@by_component
def test_the_api_server_accepts_every_workload(component: str) -> None:
    for object_ in built(component).values():
        schemas.validate(object_)
        first = pod_of(object_)["containers"][0] if "spec" in object_ else {}
        handlers = [first[type_].keys() & {"exec", "httpGet", "tcpSocket", "grpc"} for type_ in PROBES if first]
        assert handlers == [{"httpGet"}] * len(handlers)


@by_component
def test_the_configuration_is_found_when_the_users_kustomization_renames_it(component: str, tmp_path: Path) -> None:
    options = {"namePrefix": "blue-", "namespace": "shopping", "nameSuffix": "-2"}
    originals = [workload(kind, kind.lower(), SPECS["volumes"]) for kind in KINDS]
    objects = kustomize(tmp_path, component, *originals, **options)
    (map_,) = of_kind(objects, "ConfigMap")
    assert map_["metadata"]["name"].startswith("blue-health-exporter-2-")
    mounted = [pod_of(object_)["volumes"][-1]["configMap"]["name"] for object_ in of_kind(objects, *KINDS)]
    assert mounted == [map_["metadata"]["name"]] * len(KINDS)


@by_component
def test_an_image_of_a_registry_replaces_that_of_the_exporter(component: str, tmp_path: Path) -> None:
    images = [{"name": "health-exporter", "newName": "registry.example/health-exporter", "newTag": "2"}]
    for object_ in of_kind(kustomize(tmp_path, component, *WORKLOADS.values(), images=images), *KINDS):
        spec = pod_of(object_)
        images_used = {container["image"] for container in spec["containers"] + spec.get("initContainers", [])}
        assert "registry.example/health-exporter:2" in images_used


@by_component
def test_the_annotation_disables_it_for_one_workload(component: str, tmp_path: Path) -> None:
    originals = [workload(kind, kind.lower(), SPECS["plain"]) for kind in KINDS]
    for original in originals:
        original["metadata"]["annotations"] = {"health-exporter/inject": "disabled"}
    objects = of_kind(kustomize(tmp_path, component, *originals), *KINDS)
    assert sorted(objects, key=lambda object_: KINDS.index(object_["kind"])) == originals


@by_component
def test_the_users_patches_apply_after_the_component(component: str, tmp_path: Path) -> None:
    """So that a team can change the exporter's resources, for example, without a copy of its container."""
    where = "containers/1" if component == "sidecar" else "initContainers/0"
    patch = [{"op": "replace", "path": f"/spec/template/spec/{where}/resources/requests/cpu", "value": "200m"}]
    patches = [{"target": {"kind": "Deployment"}, "patch": json.dumps(patch)}]
    original = workload("Deployment", "web", SPECS["plain"])
    (object_,) = of_kind(kustomize(tmp_path, component, original, patches=patches), "Deployment")
    place, index = where.split("/")
    assert pod_of(object_)[place][int(index)]["resources"]["requests"]["cpu"] == "200m"


def recipe(name: str) -> str:
    """The file of this name in the README."""
    found = re.search(rf"```yaml\n# {name}\n(.*?)```", (K8S / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_files_at_the_start_of_the_readme_add_the_exporter_to_an_application(tmp_path: Path) -> None:
    (tmp_path / "health-exporter").symlink_to(K8S.parent)
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(recipe("kustomization.yaml"))
    (folder / "health.yml").write_text(recipe("health.yml"))
    original = workload("Deployment", "web", SPECS["https"])
    (folder / "deployment.yaml").write_text(yaml.safe_dump(original))
    objects = build(folder)
    (map_,) = of_kind(objects, "ConfigMap")
    (deployment,) = of_kind(objects, "Deployment")
    pod_of(deployment)["containers"][1]["image"] = "health-exporter:0.1.0"
    assert deployment == expected("sidecar", original, map_["metadata"]["name"])
    shipped = (K8S / "overlays" / "sidecar" / "health.yml").read_text()
    (check,), (example,) = (yaml.safe_load(text)["checks"] for text in (recipe("health.yml"), shipped))
    assert {**example, "name": "web"} == {"timeoutSeconds": 1, **check}
