"""The Helm chart renders the same objects as the overlays.

The differences: the label managed-by is Helm, each object also has the labels of the chart and the version, and the
text of health.yml has no comments when the checks are values. The order of volumes and ports has no meaning.

Compiling helm takes minutes, so these objects are recorded in rendered/, with the digest of the chart that they are
from. Where helm is installed, the record is compared with what it renders, and the values are tested too. `python
tests/k8s/test_chart.py` records again.
"""

import copy
import functools
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from k8s.kustomized import ALONE, CUSTOM, K8S, Object, of_kind, only, overlay

from exporter import __version__
from k8s import schemas

CHART = K8S / "chart"
RELEASES = {"standalone": "health-exporter", "daemonset": "health-exporter-node", "sharded": "health-exporter-sharded"}
"""The releases whose names are those of the overlays' objects."""
COMPONENTS = {
    "networkpolicy": "networkPolicy",
    "poddisruptionbudget": "podDisruptionBudget",
    "servicemonitor": "serviceMonitor",
    "authentication": "authentication",
}
"""The components that are values of the chart, in the order in which a kustomization lists them."""
by_mode = pytest.mark.parametrize("mode", ALONE)


RENDERED = Path(__file__).parent / "rendered"
WITH_COMPONENTS = "-with-components"


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not (program := shutil.which("helm")):
        pytest.skip("helm is not installed (go install helm.sh/helm/v3/cmd/helm@v3.22.0)")
    return subprocess.run([program, *arguments], capture_output=True, text=True, cwd=CHART)


def digest(mode: str) -> str:
    """A line that changes with the files of the chart, and with the checks of a mode."""
    paths = [*sorted(path for path in CHART.rglob("*") if path.is_file()), K8S / "overlays" / mode / "health.yml"]
    content = b"".join(str(path.relative_to(K8S)).encode() + b"\0" + path.read_bytes() + b"\0" for path in paths)
    return f"# sha256 of k8s/chart and the checks: {hashlib.sha256(content).hexdigest()}\n"


def components_of(mode: str) -> tuple[str, ...]:
    return tuple(name for name in COMPONENTS if (mode, name) != ("daemonset", "poddisruptionbudget"))


def arguments_of(name: str) -> list[str]:
    """The arguments of `helm template` for a record."""
    mode = name.removesuffix(WITH_COMPONENTS)
    values = COMPONENTS.values() if name != mode else ()
    enabled = [word for value in values for word in ("--set", f"{value}.enabled=true")]
    checks = K8S / "overlays" / mode / "health.yml"
    return ["template", RELEASES[mode], str(CHART), "--set", f"mode={mode}", "--values", str(checks), *enabled]


def recorded(name: str) -> tuple[Object, ...]:
    return tuple(object_ for object_ in yaml.safe_load_all((RENDERED / f"{name}.yaml").read_text()) if object_)


by_record = pytest.mark.parametrize("name", [mode + suffix for mode in ALONE for suffix in ("", WITH_COMPONENTS)])


@by_record
def test_the_record_is_of_this_chart(name: str) -> None:
    first, *_ = (RENDERED / f"{name}.yaml").read_text().splitlines(keepends=True)
    assert first == digest(name.removesuffix(WITH_COMPONENTS)), "run `python tests/k8s/test_chart.py`"


@by_record
def test_helm_renders_the_record(name: str) -> None:
    assert helm(*arguments_of(name)).stdout == (RENDERED / f"{name}.yaml").read_text().partition("\n")[2]


@functools.cache
def template(release: str, *arguments: str) -> tuple[Object, ...]:
    """The objects that `helm install` would create."""
    result = helm("template", release, str(CHART), *arguments)
    assert result.returncode == 0, result.stderr
    return tuple(object_ for object_ in yaml.safe_load_all(result.stdout) if object_)


def by_name(objects: tuple[Object, ...]) -> dict[tuple[str, str], Object]:
    """Objects by their kinds and names, without the differences that Helm requires, and the configuration parsed."""
    found = {(object_["kind"], object_["metadata"]["name"]): copy.deepcopy(object_) for object_ in objects}
    for object_ in found.values():
        template_ = object_.get("spec", {}).get("template", {"metadata": {"labels": {}}})
        for labels in (object_["metadata"]["labels"], template_["metadata"]["labels"]):
            labels.pop("helm.sh/chart", None)
            labels.pop("app.kubernetes.io/managed-by", None)
        object_["metadata"]["labels"]["app.kubernetes.io/version"] = __version__
        for container in template_.get("spec", {"containers": []})["containers"]:
            for field in ("ports", "volumeMounts"):
                container[field].sort(key=lambda item: str(item["name"]))
        template_.get("spec", {"volumes": []})["volumes"].sort(key=lambda volume: str(volume["name"]))
        if object_["kind"] == "ConfigMap":
            object_["data"] = {name: yaml.safe_load(text) for name, text in object_["data"].items()}
    return found


@by_mode
def test_the_chart_renders_the_objects_of_the_overlay(mode: str) -> None:
    assert by_name(recorded(mode)) == by_name(overlay(mode))


@by_mode
def test_the_values_render_the_objects_of_the_components(mode: str) -> None:
    assert by_name(recorded(mode + WITH_COMPONENTS)) == by_name(overlay(mode, components_of(mode)))


@by_mode
def test_the_text_of_a_file_is_the_configuration_unchanged(mode: str) -> None:
    path = K8S / "overlays" / mode / "health.yml"
    objects = template(RELEASES[mode], "--set", f"mode={mode}", "--set-file", f"config={path}")
    assert only(objects, "ConfigMap")["data"] == {"health.yml": path.read_text()}


def test_the_default_checks_are_those_of_the_base() -> None:
    assert (
        yaml.safe_load((CHART / "values.yaml").read_text())["checks"]
        == yaml.safe_load((K8S / "base" / "health.yml").read_text())["checks"]
    )


def test_every_managed_by_is_helm() -> None:
    objects = recorded("standalone")
    assert {object_["metadata"]["labels"]["app.kubernetes.io/managed-by"] for object_ in objects} == {"Helm"}
    assert {object_["metadata"]["labels"]["helm.sh/chart"] for object_ in objects} == {f"health-exporter-{__version__}"}


def test_the_chart_has_the_version_of_the_exporter() -> None:
    found = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert found["version"] == found["appVersion"] == __version__


@by_mode
def test_helm_lint_finds_nothing(mode: str) -> None:
    result = helm("lint", "--strict", str(CHART), "--set", f"mode={mode}")
    assert result.returncode == 0, result.stdout + result.stderr


EVERYTHING: dict[str, Any] = {
    "image": {"repository": "registry.example/health-exporter", "digest": f"sha256:{'a' * 64}", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "extraArgs": ["--log.format=json"],
    "env": [{"name": "DATABASE", "value": "db.internal"}],
    "envFrom": [{"secretRef": {"name": "database"}}],
    "volumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
    "resources": {"requests": {"cpu": "200m"}, "limits": {"memory": "256Mi"}},
    "tolerations": [],
    "nodeSelector": {"disk": "ssd"},
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
    "priorityClassName": "system-cluster-critical",
    "podAnnotations": {"team": "shop"},
    "podLabels": {"team": "shop"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "fullnameOverride": "checks",
}


@by_mode
def test_every_value_reaches_a_valid_pod(mode: str, tmp_path: Path) -> None:
    (tmp_path / "values.json").write_text(json.dumps({**EVERYTHING, "mode": mode}))
    objects = template("release", "--values", str(tmp_path / "values.json"))
    for object_ in objects:
        if not object_["apiVersion"].startswith(CUSTOM):
            schemas.validate(object_)
    template_ = only(objects, "Deployment", "DaemonSet", "StatefulSet")["spec"]["template"]
    spec, (container,) = template_["spec"], template_["spec"]["containers"]
    assert container["image"] == f"registry.example/health-exporter@sha256:{'a' * 64}"
    assert container["imagePullPolicy"] == "Always"
    assert container["args"][-1:] == EVERYTHING["extraArgs"]
    for field in ("env", "volumeMounts"):
        assert container[field][-1:] == EVERYTHING[field]
    for field in ("envFrom", "resources"):
        assert container[field] == EVERYTHING[field]
    for field in ("imagePullSecrets", "nodeSelector", "affinity", "topologySpreadConstraints", "priorityClassName"):
        assert spec[field] == EVERYTHING[field]
    assert spec["volumes"][-1:] == EVERYTHING["volumes"]
    assert "tolerations" not in spec
    assert template_["metadata"]["annotations"] == EVERYTHING["podAnnotations"]
    assert template_["metadata"]["labels"]["team"] == "shop"
    assert only(objects, "ServiceMonitor")["metadata"]["labels"]["release"] == "prometheus"
    assert {object_["metadata"]["name"] for object_ in objects} == {"checks"}


def test_the_values_that_this_file_does_not_set_have_their_own_tests() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    others = {"mode", "checks", "config", "shards", "nameOverride", "networkPolicy", "podDisruptionBudget"}
    assert values.keys() == EVERYTHING.keys() | others | {"authentication"}
    assert values.keys() == json.loads((CHART / "values.schema.json").read_text())["properties"].keys() - {"global"}


def test_the_number_of_shards_is_one_value() -> None:
    spec = only(template("release", "--set", "mode=sharded", "--set", "shards=7"), "StatefulSet")["spec"]
    assert spec["replicas"] == 7
    assert spec["template"]["spec"]["containers"][0]["args"][-2:] == ["--shard=$(POD_NAME)", "--shards=7"]


@pytest.mark.parametrize(
    "value",
    ["mode=sidecar", "image.tga=1", "replicas=2", "shards=0", "serviceMonitor.interval=15", "image.digest=abc"],
)
def test_a_mistake_in_the_values_is_rejected(value: str) -> None:
    result = helm("template", "release", str(CHART), "--set", value)
    assert result.returncode != 0
    assert value.partition("=")[0].split(".")[-1] in result.stderr


@by_mode
def test_the_notes_name_the_workload(mode: str, tmp_path: Path) -> None:
    """`helm template` does not print them, and `helm install` needs a cluster."""
    copied = shutil.copytree(CHART, tmp_path / "chart")
    shutil.copy(CHART / "templates" / "NOTES.txt", copied)
    notes = '{kind: Notes, apiVersion: v1, text: {{ tpl (.Files.Get "NOTES.txt") . | quote }}}'
    (copied / "templates" / "notes.yaml").write_text(notes)
    result = helm("template", "release", str(copied), "--set", f"mode={mode}")
    assert result.returncode == 0, result.stderr
    text = only(tuple(yaml.safe_load_all(result.stdout)), "Notes")["text"]
    (kind,) = (object_["kind"] for object_ in of_kind(recorded(mode), "Deployment", "DaemonSet", "StatefulSet"))
    short = {"Deployment": "deploy", "DaemonSet": "ds", "StatefulSet": "sts"}[kind]
    assert f"rollout status {short}/release-health-exporter\n" in text
    assert "http://127.0.0.1:4584/metrics" in text


def record() -> None:
    for mode in ALONE:
        for name in (mode, mode + WITH_COMPONENTS):
            (RENDERED / f"{name}.yaml").write_text(digest(mode) + helm(*arguments_of(name)).stdout)


if __name__ == "__main__":
    record()
