"""The manifests in k8s/ build, pass the API server's validation, and follow the rules of this project."""

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import pytest
import yaml
from k8s.kustomized import (
    COMBINATIONS,
    CUSTOM,
    FITTING,
    K8S,
    OVERLAYS,
    ROOT,
    SIDECARS,
    Object,
    build,
    container,
    containers,
    describe,
    exporter,
    fitting,
    health_yml,
    only,
    overlay,
    pod,
    rendered,
    workload,
)

from exporter import __version__
from k8s import schemas

LABELS = {f"app.kubernetes.io/{label}" for label in ("name", "instance", "component", "part-of", "managed-by")}
SELECTOR_LABELS = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
VERSIONS = ((1, 25), (1, 29), (1, 33), (1, 37))
NATIVE_SIDECAR_SINCE = (1, 29)

ANNOTATION_LIMIT = 256 * 1024
"""`kubectl apply` stores the applied object in an annotation. This is the maximum size of all annotations together."""


def validate(object_: Object, version: tuple[int, int]) -> str | None:
    """The error that an API server of this version would return."""
    try:
        schemas.validate(object_, ".".join(map(str, version)))
    except schemas.ValidationError as error:
        return f"Kubernetes {version[0]}.{version[1]}: {error.message}"
    return None


def test_the_tests_know_every_overlay_and_component() -> None:
    overlays, components = (
        {path.name for path in (K8S / folder).iterdir() if path.is_dir()} for folder in ("overlays", "components")
    )
    assert overlays == set(OVERLAYS)
    assert components == {name for name in FITTING if "/" not in name}


def test_each_overlay_lists_the_components_that_fit_it() -> None:
    texts = {name: (K8S / "overlays" / name / "kustomization.yaml").read_text() for name in OVERLAYS}
    listed = {
        name: set(re.findall(r"^ *#  *- \.\./\.\./components/(\S+)$", text, re.MULTILINE))
        for name, text in texts.items()
    }
    assert listed == {name: set(fitting(name)) for name in OVERLAYS}


def test_every_object_is_valid_in_every_version() -> None:
    builtin = [found for found in rendered() if not found.object["apiVersion"].startswith(CUSTOM)]
    errors = [
        f"{found.place}: {error}"
        for version in VERSIONS
        for found in builtin
        if not (found.overlay == "native-sidecar" and version < NATIVE_SIDECAR_SINCE)
        if (error := validate(found.object, version))
    ]
    assert len(builtin) > len(COMBINATIONS)
    assert not errors, "\n".join(errors)


def test_kubernetes_before_1_29_rejects_the_native_sidecar() -> None:
    errors = [validate(workload("native-sidecar"), version) for version in VERSIONS if version < NATIVE_SIDECAR_SINCE]
    assert errors
    assert all(error and "restartPolicy" in error for error in errors)


def test_names_are_unique() -> None:
    places = [found.place for found in rendered()]
    duplicates = sorted({place for place in places if places.count(place) > 1})
    assert not duplicates, "\n".join(duplicates)


def references(spec: Object) -> Iterator[tuple[str, str]]:
    """The kinds and names of the objects that a workload refers to."""
    template = spec["template"]["spec"]
    for volume in template["volumes"]:
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
    if "serviceAccountName" in template:
        yield "ServiceAccount", template["serviceAccountName"]
    if "serviceName" in spec:
        yield "Service", spec["serviceName"]


def test_every_referenced_object_exists() -> None:
    missing = []
    for combination in COMBINATIONS:
        existing = {(object_["kind"], object_["metadata"]["name"]) for object_ in overlay(*combination)}
        found = list(references(workload(*combination)["spec"]))
        assert found, describe(*combination)
        missing += [f"{describe(*combination)}: {kind} {name}" for kind, name in found if (kind, name) not in existing]
    assert not missing, "\n".join(missing)


def test_every_object_has_the_recommended_labels() -> None:
    violations = []
    for found in rendered():
        labels = found.object["metadata"]["labels"]
        violations += [f"{found.place}: no label {label}" for label in LABELS - labels.keys()]
        if labels.get("app.kubernetes.io/managed-by") != "kustomize":
            violations.append(f"{found.place}: not managed by kustomize")
    for combination in COMBINATIONS:
        labels = workload(*combination)["spec"]["template"]["metadata"]["labels"]
        missing = (LABELS | {"app.kubernetes.io/version"}) - labels.keys()
        violations += [f"{describe(*combination)}: no label {label} on the pods" for label in missing]
    assert not violations, "\n".join(violations)


def selector(object_: Object) -> dict[str, Any] | None:
    """The labels by which an object selects pods; None if it selects none."""
    spec, kind = object_.get("spec", {}), object_["kind"]
    if kind == "Service":
        labels = spec["selector"]
    elif kind in ("Deployment", "StatefulSet", "DaemonSet", "PodDisruptionBudget"):
        labels = spec["selector"]["matchLabels"]
    elif kind == "NetworkPolicy":
        labels = spec["podSelector"]["matchLabels"]
    else:
        return None
    return dict(labels)


def test_selectors_are_name_and_instance_and_match_the_pods() -> None:
    violations = []
    selecting = [(found, labels) for found in rendered() if (labels := selector(found.object)) is not None]
    for found, labels in selecting:
        pods = workload(found.overlay, found.components)["spec"]["template"]["metadata"]["labels"]
        if labels.keys() != SELECTOR_LABELS:
            violations.append(f"{found.place}: selects by {sorted(labels)}")
        if not labels.items() <= pods.items():
            violations.append(f"{found.place}: {labels} does not match the pods")
    kinds = {found.object["kind"] for found, _ in selecting}
    assert kinds == {
        "Service",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }
    assert not violations, "\n".join(violations)


def test_the_servicemonitor_selects_the_service_and_its_port() -> None:
    for name in FITTING["servicemonitor"]:
        objects = overlay(name, ("servicemonitor",))
        spec, service = only(objects, "ServiceMonitor")["spec"], only(objects, "Service")
        assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items(), name
        ports = [port["name"] for port in service["spec"]["ports"]]
        assert [endpoint["port"] for endpoint in spec["endpoints"]] == ports, name
        assert service["spec"]["ports"][0]["targetPort"] == exporter(name)["ports"][0]["name"], name
        assert service["metadata"]["labels"][spec["jobLabel"]] == "health-exporter", name


def test_the_podmonitor_selects_the_sidecars_port_and_uses_the_application_as_the_job() -> None:
    for name in SIDECARS:
        spec = only(overlay(name, ("podmonitor",)), "PodMonitor")["spec"]
        labels = workload(name)["spec"]["template"]["metadata"]["labels"]
        (rule,) = spec["selector"]["matchExpressions"]
        assert rule["operator"] == "NotIn", name
        assert labels[rule["key"]] not in rule["values"], name
        ports = [endpoint["port"] for endpoint in spec["podMetricsEndpoints"]]
        assert ports == [exporter(name)["ports"][0]["name"]], name
        assert labels[spec["jobLabel"]] == "shop", name


def test_overlays_in_one_namespace_do_not_select_each_others_pods() -> None:
    instances = {
        workload(name)["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"]
        for name in FITTING["servicemonitor"]
    }
    names = {workload(name)["metadata"]["name"] for name in FITTING["servicemonitor"]}
    assert len(instances) == len(names) == len(FITTING["servicemonitor"])


def test_the_exporter_runs_the_image_of_this_version_and_mounts_its_configuration_as_a_folder() -> None:
    expected = {
        "image": f"health-exporter:{__version__}",
        "ports": [{"name": "http-health", "containerPort": 4584}],
        "args": ["serve", "--config.file=/etc/health-exporter/health.yml"],
        "mounts": [{"name": "health-exporter", "mountPath": "/etc/health-exporter", "readOnly": True}],
    }
    violations = []
    for name in OVERLAYS:
        spec = exporter(name)
        found = {
            "image": spec["image"],
            "ports": spec["ports"],
            "args": spec["args"][:2],
            "mounts": [mount for mount in spec["volumeMounts"] if mount["name"] == "health-exporter"],
        }
        violations += [f"{name}: {key} is {found[key]}" for key in expected if found[key] != expected[key]]
    assert not violations, "\n".join(violations)


def test_only_the_configmap_of_a_sidecar_has_a_hash_in_its_name() -> None:
    """Several applications and a standalone exporter in one namespace would otherwise share a ConfigMap."""
    names = {
        name: volume["configMap"]["name"]
        for name in OVERLAYS
        for volume in pod(name)["volumes"]
        if volume["name"] == "health-exporter"
    }
    assert {name for name, map_ in names.items() if re.search(r"-[a-z0-9]{10}$", map_)} == set(SIDECARS)
    assert names.keys() == set(OVERLAYS)


DIFFERENT = {"args", "livenessProbe", "readinessProbe", "startupProbe", "restartPolicy", "securityContext"}
"""Fields that may differ. Security may come from the pod, and probes and arguments have their own tests."""


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_exporters_container_is_the_same_in_every_overlay(name: str) -> None:
    fields = {key: value for key, value in exporter(name).items() if key not in DIFFERENT}
    expected = {key: value for key, value in exporter("standalone").items() if key not in DIFFERENT}
    if name == "daemonset":
        fields["volumeMounts"] = [mount for mount in fields["volumeMounts"] if mount["name"] != "kubelet"]
    if name == "sharded":
        fields["resources"] = expected["resources"]
        fields["env"] = [variable for variable in fields["env"] if variable["name"] != "POD_NAME"]
    assert fields == expected


def test_every_container_has_requests_and_a_memory_limit_but_no_cpu_limit() -> None:
    resources = {
        f"{name}: {container['name']}": {kind: set(values) for kind, values in container["resources"].items()}
        for name in OVERLAYS
        for container in containers(pod(name))
    }
    expected = {"requests": {"cpu", "memory"}, "limits": {"memory"}}
    violations = [f"{place}: {found}" for place, found in resources.items() if found != expected]
    assert len(resources) == len(OVERLAYS) + len(SIDECARS)
    assert not violations, "\n".join(violations)


def test_no_token_is_mounted_and_service_links_are_disabled() -> None:
    accounts = {found.place: found.object for found in rendered() if found.object["kind"] == "ServiceAccount"}
    specs = {describe(*combination): pod(*combination) for combination in COMBINATIONS}
    violations = [
        f"{place}: {field} is not false"
        for field, objects in (("automountServiceAccountToken", specs | accounts), ("enableServiceLinks", specs))
        for place, object_ in objects.items()
        if object_.get(field) is not False
    ]
    assert accounts
    assert not violations, "\n".join(violations)


def test_the_native_sidecar_differs_from_the_sidecar_only_in_arguments_and_restart_policy() -> None:
    native, plain = exporter("native-sidecar"), exporter("sidecar")
    assert native in pod("native-sidecar")["initContainers"]
    assert native["restartPolicy"] == "Always"
    assert {key for key in native if native[key] != plain.get(key)} == {"args", "restartPolicy"}
    assert native["args"][2] == "--shutdown-delay=0"
    assert container("shop", "native-sidecar") == container("shop", "sidecar")
    assert health_yml("native-sidecar") == health_yml("sidecar")


@pytest.mark.parametrize("count", [3, 7])
def test_the_number_of_shards_is_set_in_one_place(count: int, tmp_path: Path) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    copied = tmp_path / "k8s" / "overlays" / "sharded"
    kustomization = copied / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("count: 3 #", f"count: {count} #"))
    spec = only(build(copied), "StatefulSet")["spec"]
    assert spec["replicas"] == count
    assert spec["template"]["spec"]["containers"][0]["args"][-2:] == ["--shard=$(POD_NAME)", f"--shards={count}"]


def test_the_daemonset_checks_the_kubelets_filesystem_without_a_hostpath() -> None:
    paths = {check["disk"]["path"] for check in health_yml("daemonset")["checks"] if "disk" in check}
    mounts = {mount["mountPath"] for mount in exporter("daemonset")["volumeMounts"]}
    assert paths - {"/"} <= mounts
    assert [volume for volume in pod("daemonset")["volumes"] if "hostPath" in volume] == []


def test_the_component_host_disk_mounts_the_nodes_root_read_only() -> None:
    mounts = {mount["mountPath"]: mount for mount in exporter("daemonset", ("host-disk",))["volumeMounts"]}
    assert mounts["/host"]["readOnly"] is True


def test_the_component_for_kubernetes_1_20_removes_only_the_grace_period_of_the_probe() -> None:
    patched = copy.deepcopy(exporter("sidecar", ("sidecar/kubernetes-1.20",)))
    assert "terminationGracePeriodSeconds" not in patched["livenessProbe"]
    patched["livenessProbe"]["terminationGracePeriodSeconds"] = 1
    assert patched == exporter("sidecar")


def test_the_component_contains_the_rules_from_alerts() -> None:
    sources = {path.name.removesuffix(".rules.yml"): path for path in (ROOT / "alerts").glob("*.rules.yml")}
    objects = build(K8S / "components" / "prometheusrule")
    assert {rule["metadata"]["name"]: rule["spec"] for rule in objects} == {
        name: yaml.safe_load(path.read_text()) for name, path in sources.items()
    }, "run `make manifests`"


def test_the_generated_rules_are_up_to_date() -> None:
    folder = K8S / "components" / "prometheusrule"
    code = "import generate; print(generate.rendered(), end='')"
    result = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert result.stdout == (folder / "rules.yaml").read_text(), "run `make manifests`"


def test_every_dashboard_is_in_a_configmap_for_grafanas_sidecar() -> None:
    maps = build(K8S / "components" / "dashboards")
    dashboards = {name: text for map_ in maps for name, text in map_["data"].items()}
    assert dashboards == {path.name: path.read_text() for path in (ROOT / "dashboards").glob("*.json")}
    assert {map_["metadata"]["labels"]["grafana_dashboard"] for map_ in maps} == {"1"}
    assert all(json.loads(text)["uid"] for text in dashboards.values())


def test_every_object_is_small_enough_for_kubectl_apply() -> None:
    sizes = {found.place: len(json.dumps(found.object)) for found in rendered()}
    large = [f"{place}: {size} bytes" for place, size in sizes.items() if size >= ANNOTATION_LIMIT]
    assert sizes
    assert not large, "\n".join(large)


def advice(path: Path) -> list[str]:
    """The advice that `validate` prints for a valid configuration."""
    result = commands.run("validate", path, "--scrape-interval", "15", env={"POD_IP": "127.0.0.2"})
    assert result.returncode == 0, result.stdout + result.stderr
    return re.findall(r"health\.yml:\d+: (.*) \(advice\)$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("path", sorted(K8S.glob("*/**/health.yml")), ids=lambda path: str(path.parent.name))
def test_every_configuration_is_valid_and_has_no_advice_except_about_the_kubelet(path: Path) -> None:
    """`validate` does not know that the kubelet counts further failures after the exporter."""
    known = [r"checks\[0\]\.failureThreshold: /livez returns 503 within 4 s"] if path.parent.name in SIDECARS else []
    printed = advice(path)
    assert len(printed) == len(known), printed
    assert all(re.match(pattern, line) for pattern, line in zip(known, printed, strict=True)), printed
