"""The application's new process: results about the previous one must not restart it, nor lead traffic to it."""

from typing import Any

import pytest
import yaml
from manifests.fifty_manifests import run

SLOW = "{name: slow, httpGet: {host: $(POD_IP), port: 80}, periodSeconds: 120, failureThreshold: 1"
EXEC = "startupProbe: {exec: {command: ['true']}}"


def inject(tmp_path, checks: str, probes: str = "") -> dict[str, Any]:
    """Inject these checks into a pod with these probes, and return its container."""
    config = tmp_path / "own.yml"
    config.write_text(f"checks: {checks}\n")
    return inject_pod(probes, "--config.file", str(config))


def inject_pod(probes: str, *options: str) -> dict[str, Any]:
    pod = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{containers: [{{name: web, {probes}}}]}}\n"
    injected = run("inject", pod.encode(), *options)
    assert injected.exit_code == 0, injected.stderr
    container: dict[str, Any] = list(yaml.safe_load_all(injected.stdout))[-1]["spec"]["containers"][0]
    return container


def test_a_liveness_probe_without_a_startup_probe_begins_after_one_run_of_its_slowest_check(tmp_path):
    container = inject(tmp_path, f"[{SLOW}, groups: [liveness]}}]")

    assert "startupProbe" not in container
    assert container["livenessProbe"]["initialDelaySeconds"] == 122


def test_the_advice_on_a_configuration_is_printed_once_for_all_workloads(tmp_path):
    (tmp_path / "own.yml").write_text(f"checks: [{SLOW}, groups: [liveness]}}]\n")
    pods = "---".join(
        f"\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: {name}}}]}}\n"
        for name in ("web", "api")
    )
    injected = run("inject", pods.encode(), "--config.file", str(tmp_path / "own.yml"))

    lines = [line for line in injected.stderr.splitlines() if line.endswith("(advice)")]
    assert [line.partition(":")[2].partition(",")[0] for line in lines] == ["1: checks[0].groups: in liveness"]


def test_a_liveness_probe_after_a_startup_probe_for_all_its_checks_begins_at_once(tmp_path):
    container = inject(tmp_path, f"[{SLOW}, groups: [liveness, startup]}}]")

    assert "initialDelaySeconds" not in container["livenessProbe"]
    assert container["livenessProbe"]["periodSeconds"] == 10


@pytest.mark.parametrize(
    ("checks", "probes"),
    [
        (f"[{SLOW}, groups: [liveness]}}, {{name: quick, memory: {{}}, groups: [startup]}}]", ""),
        (f"[{SLOW}, groups: [liveness]}}]", EXEC),
    ],
    ids=["startup-without-the-check", "startup-probe-of-the-application"],
)
def test_a_startup_probe_that_does_not_wait_for_a_check_gives_it_time_for_one_run(tmp_path, checks, probes):
    liveness = inject(tmp_path, checks, probes)["livenessProbe"]

    assert (liveness["failureThreshold"] - 1) * liveness["periodSeconds"] >= 122


def test_a_converted_check_has_time_for_one_run_after_an_exec_startup_probe():
    probe = "livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 60, timeoutSeconds: 60, failureThreshold: 1}"
    liveness = inject_pod(f"{probe}, {EXEC}")["livenessProbe"]

    assert (liveness["failureThreshold"] - 1) * liveness["periodSeconds"] >= 121


def test_traffic_waits_for_the_checks_in_readiness_whatever_the_startup_probe_waits_for(tmp_path):
    ready = "{name: ready, httpGet: {port: 80}, periodSeconds: 6, failureThreshold: 2, groups: [readiness]}"
    container = inject(tmp_path, f"[{{name: a, httpGet: {{port: 80}}, periodSeconds: 1, groups: [startup]}}, {ready}]")

    assert container["readinessProbe"]["initialDelaySeconds"] == 14
