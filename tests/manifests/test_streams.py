"""Streams with several workloads: what is injected, and what stays as it is."""

import subprocess
from typing import Any

import pytest
import yaml
from manifests.fifty_manifests import run
from support import command


def make(name: str, *containers: str, probes: bool = True) -> dict[str, Any]:
    probe = {"livenessProbe": {"httpGet": {"port": 80}}} if probes else {}
    spec = {"containers": [{"name": container, **probe} for container in containers]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def stream(*objects: dict[str, Any]) -> bytes:
    return yaml.safe_dump_all(objects, sort_keys=False).encode()


def watched(text: str) -> dict[str, list[str]]:
    """The containers of each pod that query the exporter."""
    objects = [item for item in yaml.safe_load_all(text) if item["kind"] == "Pod"]
    return {
        item["metadata"]["name"]: [
            container["name"]
            for container in item["spec"]["containers"]
            if container.get("livenessProbe", {}).get("httpGet", {}).get("path") == "/livez"
        ]
        for item in objects
    }


def test_a_workload_without_a_choice_is_skipped():
    injected = run("inject", stream(make("one", "a"), make("two", "a", "b")))

    assert watched(injected.stdout) == {"one": ["a"], "two": []}
    reason = "unchanged, because it has several containers, choose one with --container: a, b"
    assert f"pod/two: {reason}" in injected.stderr


def test_nothing_injected_is_an_error():
    refused = run("inject", stream(make("two", "a", "b")))

    assert (bool(refused.exit_code), refused.stdout) == (True, "")
    assert "pod/two: unchanged, because it has several containers" in refused.stderr


def test_the_first_container_that_a_pod_has_counts():
    pods = stream(make("one", "a", "b"), make("two", "b", "c"), make("three", "c"))
    injected = run("inject", pods, "--container", "a", "--container", "b")

    assert watched(injected.stdout) == {"one": ["a"], "two": ["b"], "three": []}
    assert "pod/three: unchanged, because no container has the name a or b; the containers are: c" in injected.stderr


def test_a_workload_that_is_skipped_keeps_the_exporter():
    first = list(yaml.safe_load_all(run("inject", stream(make("one", "a"))).stdout))
    del first[1]["spec"]["containers"][0]["livenessProbe"]
    both = run("inject", stream(*first, make("two", "a")))
    objects = list(yaml.safe_load_all(both.stdout))

    assert "pod/one: unchanged, because the container a has no probe" in both.stderr
    assert objects[:2] == first


@pytest.mark.parametrize("options", [(), ("--container", "a")])
def test_convert_ignores_workloads_without_probes(options):
    converted = run("convert", stream(make("test", "b", probes=False), make("one", "a")), *options)

    assert converted.stdout.startswith("# Converted from the probes of the container a of pod/one.")


def test_the_name_of_the_exporter_is_refused_before_a_container_is_chosen():
    refused = run("inject", stream(make("one", "web", "health-exporter")))

    assert "containers has a health-exporter that inject has not added: remove it first" in refused.stderr


def test_a_new_chart_is_injected(tmp_path):
    """Its test pod has another container."""
    environment = {"HOME": str(tmp_path)}
    subprocess.run([command("helm"), "create", "web"], cwd=tmp_path, env=environment, check=True, timeout=120)
    words = [command("helm"), "template", "web", "web"]
    chart = subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    injected = run("inject", chart.stdout, "--container", "web")

    assert injected.exit_code == 0, injected.stderr
    kinds = [item["kind"] for item in yaml.safe_load_all(injected.stdout)]
    assert kinds == ["ServiceAccount", "Service", "ConfigMap", "Deployment", "Pod"]
    reason = "no container has the name web; the containers are: wget"
    assert f"pod/web-test-connection: unchanged, because {reason}" in injected.stderr
    assert run("convert", chart.stdout, "--container", "web").exit_code == 0


def test_an_unsupported_kind_is_noted():
    rollout: dict[str, Any] = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"}}
    rollout["spec"] = {"template": {"spec": make("x", "a")["spec"]}}
    injected = run("inject", stream(rollout, make("one", "a")))
    listed = run("inject", stream({"apiVersion": "v1", "kind": "List", "items": [rollout, make("one", "a")]}))
    alone = run("inject", stream(rollout))

    note = "rollout/shop: unchanged, because inject does not support the kind Rollout\n"
    assert note in injected.stderr
    assert note in listed.stderr
    assert alone.exit_code
    assert note in alone.stderr


def test_the_hint_for_a_container_without_a_port_has_no_port():
    refused = run("inject", stream(make("one", "a", probes=False)))

    assert "path: /, port: PORT}" in refused.stderr
