"""k8s/ builds, is what the API server expects, and keeps the rules it is written by."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from kustomized import (
    COMBINATIONS,
    CUSTOM,
    FITTING,
    K8S,
    OVERLAYS,
    ROOT,
    SIDECARS,
    build,
    container,
    containers,
    exporter,
    health_yml,
    of_kind,
    only,
    overlay,
    pod,
    workload,
)

from exporter import __version__

LABELS = {f"app.kubernetes.io/{each}" for each in ("name", "instance", "component", "part-of", "managed-by")}
SELECTING = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
SINCE = {"native-sidecar": "1.29"}
VERSIONS = ("1.25", "1.29", "1.33", "1.37")

ANNOTATION_LIMIT = 256 * 1024
"""`kubectl apply` keeps what it applied in an annotation, and all annotations of an object may have this size."""
by_overlay = pytest.mark.parametrize("name", OVERLAYS)
by_combination = pytest.mark.parametrize(("name", "components"), COMBINATIONS)


def test_the_tests_know_every_overlay_and_component() -> None:
    folders = {
        each: {path.name for path in (K8S / each).iterdir() if path.is_dir()} for each in ("overlays", "components")
    }
    assert folders["overlays"] == set(OVERLAYS)
    assert folders["components"] == set(FITTING)


@by_overlay
def test_an_overlay_lists_the_components_that_fit_it(name: str) -> None:
    text = (K8S / "overlays" / name / "kustomization.yaml").read_text()
    listed = re.findall(r"^#   - \.\./\.\./components/(\S+)$", text, re.MULTILINE)
    assert set(listed) == {each for each in FITTING if name in FITTING[each]}


@pytest.mark.parametrize("version", VERSIONS)
@by_combination
def test_every_object_is_valid(name: str, components: tuple[str, ...], version: str) -> None:
    if tuple(map(int, version.split("."))) < tuple(map(int, SINCE.get(name, "0.0").split("."))):
        with pytest.raises(kubernetes_validate.ValidationError, match="restartPolicy"):
            kubernetes_validate.validate(workload(name, components), version, strict=True)
        return
    for each in overlay(name, components):
        if not each["apiVersion"].startswith(CUSTOM):
            kubernetes_validate.validate(each, version, strict=True)


@by_combination
def test_names_are_unique_and_references_are_met(name: str, components: tuple[str, ...]) -> None:
    objects = overlay(name, components)
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    spec = pod(name, components)
    for volume in spec["volumes"]:
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in names
    if "serviceAccountName" in spec:
        assert ("ServiceAccount", spec["serviceAccountName"]) in names
    if governing := workload(name, components)["spec"].get("serviceName"):
        assert ("Service", governing) in names


@by_combination
def test_everything_has_the_recommended_labels(name: str, components: tuple[str, ...]) -> None:
    for each in overlay(name, components):
        labels = each["metadata"]["labels"]
        assert labels.keys() >= LABELS, each["metadata"]["name"]
        assert labels["app.kubernetes.io/managed-by"] == "kustomize"
    template = workload(name, components)["spec"]["template"]["metadata"]["labels"]
    assert template.keys() >= LABELS | {"app.kubernetes.io/version"}


@by_combination
def test_selectors_are_name_and_instance_and_meet_the_pods(name: str, components: tuple[str, ...]) -> None:
    labels = workload(name, components)["spec"]["template"]["metadata"]["labels"]
    for each in overlay(name, components):
        spec = each.get("spec", {})
        if each["kind"] == "Service":
            selector = spec["selector"]
        elif each["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "PodDisruptionBudget"):
            selector = spec["selector"]["matchLabels"]
        elif each["kind"] == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
        else:
            continue
        assert selector.keys() == SELECTING, each["kind"]
        assert selector.items() <= labels.items(), each["kind"]


@pytest.mark.parametrize("name", FITTING["servicemonitor"])
def test_the_servicemonitor_selects_the_service_and_its_port(name: str) -> None:
    objects = overlay(name, ("servicemonitor",))
    spec, service = only(objects, "ServiceMonitor")["spec"], only(objects, "Service")
    assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [each["port"] for each in spec["endpoints"]] == [each["name"] for each in service["spec"]["ports"]]
    assert service["spec"]["ports"][0]["targetPort"] == exporter(name)["ports"][0]["name"]
    assert service["metadata"]["labels"][spec["jobLabel"]] == "health-exporter"


@pytest.mark.parametrize("name", SIDECARS)
def test_the_podmonitor_selects_the_sidecars_port_and_names_the_job_by_the_application(name: str) -> None:
    spec = only(overlay(name, ("podmonitor",)), "PodMonitor")["spec"]
    labels = workload(name)["spec"]["template"]["metadata"]["labels"]
    (rule,) = spec["selector"]["matchExpressions"]
    assert rule["operator"] == "NotIn"
    assert labels[rule["key"]] not in rule["values"]
    assert [each["port"] for each in spec["podMetricsEndpoints"]] == [exporter(name)["ports"][0]["name"]]
    assert labels[spec["jobLabel"]] == "shop"


def test_the_overlays_that_stand_side_by_side_do_not_select_each_others_pods() -> None:
    instances = {
        workload(name)["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"]
        for name in FITTING["servicemonitor"]
    }
    names = {workload(name)["metadata"]["name"] for name in FITTING["servicemonitor"]}
    assert len(instances) == len(names) == len(FITTING["servicemonitor"])


@by_overlay
def test_the_exporter_is_the_image_of_this_version_with_its_configuration_as_a_folder(name: str) -> None:
    its = exporter(name)
    assert its["image"] == f"health-exporter:{__version__}"
    assert its["ports"] == [{"name": "http-health", "containerPort": 4584}]
    assert its["args"][:2] == ["serve", "--config.file=/etc/health-exporter/health.yml"]
    (mount,) = (each for each in its["volumeMounts"] if each["name"] == "health-exporter")
    assert mount == {"name": "health-exporter", "mountPath": "/etc/health-exporter", "readOnly": True}


@by_overlay
def test_the_configmap_keeps_its_name_so_that_a_change_needs_no_rollout(name: str) -> None:
    (volume,) = (each for each in pod(name)["volumes"] if each["name"] == "health-exporter")
    assert not re.search(r"-[a-z0-9]{10}$", volume["configMap"]["name"])


@by_overlay
def test_the_exporters_container_is_the_same_everywhere_but_for_what_is_told(name: str) -> None:
    """A container's security may also come from its pod, and the probes and arguments have tests of their own."""
    told = {"args", "env", "livenessProbe", "readinessProbe", "startupProbe", "restartPolicy", "securityContext"}
    mine = {key: value for key, value in exporter(name).items() if key not in told}
    reference = {key: value for key, value in exporter("standalone").items() if key not in told}
    if name == "daemonset":
        mine["volumeMounts"] = [each for each in mine["volumeMounts"] if each["name"] != "kubelet"]
    if name == "sharded":
        mine["resources"] = reference["resources"]
    assert mine == reference


@by_overlay
def test_requests_and_a_memory_limit_but_no_cpu_limit(name: str) -> None:
    for each in containers(pod(name)):
        assert each["resources"]["requests"].keys() == {"cpu", "memory"}
        assert each["resources"]["limits"].keys() == {"memory"}


@by_overlay
def test_no_token_and_no_service_links(name: str) -> None:
    assert pod(name)["automountServiceAccountToken"] is False
    assert pod(name)["enableServiceLinks"] is False
    for account in of_kind(overlay(name), "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_the_native_sidecar_differs_from_the_sidecar_as_told() -> None:
    native, plain = exporter("native-sidecar"), exporter("sidecar")
    assert native in pod("native-sidecar")["initContainers"]
    assert native["restartPolicy"] == "Always"
    assert {key for key in native if native[key] != plain.get(key)} == {"args", "restartPolicy"}
    assert native["args"][2] == "--shutdown-delay=0"
    assert container("shop", "native-sidecar") == container("shop", "sidecar")
    assert health_yml("native-sidecar") == health_yml("sidecar")


@pytest.mark.parametrize("count", [3, 7])
def test_the_number_of_shards_is_changed_in_one_place(count: int, tmp_path: Path) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    copied = tmp_path / "k8s" / "overlays" / "sharded"
    kustomization = copied / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("count: 3 #", f"count: {count} #"))
    spec = only(build(copied), "StatefulSet")["spec"]
    assert spec["replicas"] == count
    assert spec["template"]["spec"]["containers"][0]["args"][-2:] == ["--shard=$(POD_NAME)", f"--shards={count}"]


def test_the_daemonset_sees_the_kubelets_filesystem_without_a_hostpath_and_all_with_the_component() -> None:
    looked_at = [check["disk"]["path"] for check in health_yml("daemonset")["checks"] if "disk" in check]
    mounts = {each["mountPath"]: each["name"] for each in exporter("daemonset")["volumeMounts"]}
    volumes = {each["name"]: each for each in pod("daemonset")["volumes"]}
    assert set(looked_at) - {"/"} <= mounts.keys()
    assert not any("hostPath" in each for each in volumes.values())
    mounts = {each["mountPath"]: each for each in exporter("daemonset", ("host-disk",))["volumeMounts"]}
    assert mounts["/host"]["readOnly"] is True


def test_the_patch_for_old_versions_takes_away_only_the_probes_own_grace_period(tmp_path: Path) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    copied = tmp_path / "k8s" / "overlays" / "sidecar"
    kustomization = copied / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("# - path: kubernetes-1.20", "- path: kubernetes-1.20"))
    spec = only(build(copied), "Deployment")["spec"]["template"]["spec"]
    (old,) = (each for each in spec["containers"] if each["name"] == "health-exporter")
    assert "terminationGracePeriodSeconds" not in old["livenessProbe"]
    old["livenessProbe"]["terminationGracePeriodSeconds"] = 1
    assert old == exporter("sidecar")


def test_the_rules_in_the_component_are_those_of_alerts() -> None:
    sources = {path.name.removesuffix(".rules.yml"): path for path in (ROOT / "alerts").glob("*.rules.yml")}
    rules = build(K8S / "components" / "prometheusrule")
    assert {each["metadata"]["name"]: each["spec"] for each in rules} == {
        name: yaml.safe_load(path.read_text()) for name, path in sources.items()
    }, "run `make manifests`"


def test_the_generated_rules_are_what_the_generator_writes() -> None:
    folder = K8S / "components" / "prometheusrule"
    code = "import generate; print(generate.rendered(), end='')"
    said = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert said.stdout == (folder / "rules.yaml").read_text(), "run `make manifests`"


def test_every_dashboard_is_in_a_configmap_that_grafanas_sidecar_finds() -> None:
    maps = build(K8S / "components" / "dashboards")
    shipped = {name: text for each in maps for name, text in each["data"].items()}
    assert shipped == {path.name: path.read_text() for path in (ROOT / "dashboards").glob("*.json")}
    for each in maps:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert all(json.loads(text)["uid"] for text in shipped.values())


@by_combination
def test_every_object_is_small_enough_for_kubectl_apply(name: str, components: tuple[str, ...]) -> None:
    for each in overlay(name, components):
        assert len(json.dumps(each)) < ANNOTATION_LIMIT, each["metadata"]["name"]


def _validated(path: Path) -> list[str]:
    arguments = [sys.executable, "-m", "exporter", "validate", str(path), "--scrape-interval", "15"]
    said = subprocess.run(arguments, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    return re.findall(r"health\.yml:\d+: (.*) \(advice\)$", said.stdout, re.MULTILINE)


@pytest.mark.parametrize("path", sorted(K8S.glob("*/**/health.yml")), ids=lambda path: str(path.parent.name))
def test_every_configuration_is_valid_and_needs_no_advice_but_one(path: Path) -> None:
    """The one: `validate` does not know that the kubelet counts on after the exporter has."""
    known = [r"checks\[0\]\.failureThreshold: /livez answers 503 within 4 s"] if path.parent.name in SIDECARS else []
    advice = _validated(path)
    assert len(advice) == len(known), advice
    assert all(re.match(*pair) for pair in zip(known, advice, strict=True)), advice


def test_the_recipe_of_the_readme_gives_an_application_its_exporter(tmp_path: Path) -> None:
    recipe = re.search(r"```yaml\n(# kustomization\.yaml\n.*?)```", (K8S / "README.md").read_text(), re.DOTALL)
    assert recipe is not None
    (tmp_path / "kustomization.yaml").write_text(recipe[1])
    (tmp_path / "deployment.yaml").write_text(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}}, "
        "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}}}"
    )
    for name in ("exporter.yaml", "probes.yaml", "health.yml"):
        text = (K8S / "overlays" / "sidecar" / name).read_text()
        (tmp_path / name).write_text(re.sub(r"\bshop\b", "web", text))
    objects = build(tmp_path)
    spec = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert {each["name"] for each in spec["containers"]} == {"web", "health-exporter"}
    mounted = next(each for each in spec["volumes"] if each["name"] == "health-exporter")["configMap"]["name"]
    assert mounted == only(objects, "ConfigMap")["metadata"]["name"] == "web-health"
    web = next(each for each in spec["containers"] if each["name"] == "web")
    assert web["livenessProbe"] == container("shop", "sidecar")["livenessProbe"]
