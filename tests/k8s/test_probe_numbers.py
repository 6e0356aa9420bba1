"""The thresholds of the exporter and of the kubelet fit each other: the rules of k8s/README.md, on what is shipped.

P, F and T are a check's periodSeconds, failureThreshold and timeoutSeconds in the exporter; p, f and t those of a probe
of the kubelet. A fault begins, or ends, at the worst or at the best moment for both of them.
"""

import re
from dataclasses import dataclass

import pytest
import yaml
from kustomized import K8S, OVERLAYS, SIDECARS, Object, container, exporter, health_yml, pod

by_sidecar = pytest.mark.parametrize("name", SIDECARS)
START = 4
AWAY = 25 + START
"""Seconds: a look within the back-off of 10 puts the next one off by 10 to 15 (pod_workers.go, completeWork)."""
PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


@dataclass(frozen=True)
class Count:
    """How somebody counts who asks at regular intervals; Kubernetes' defaults."""

    period: int = 10
    failures: int = 3
    timeout: int = 1
    successes: int = 1
    delay: int = 0

    @classmethod
    def of(cls, spec: Object) -> "Count":
        names = ("periodSeconds", "failureThreshold", "timeoutSeconds", "successThreshold", "initialDelaySeconds")
        defaults = (10, 3, 1, 1, 0)
        return cls(*(spec.get(name, default) for name, default in zip(names, defaults, strict=True)))


NOBODY = Count(period=0, timeout=0)
KUBERNETES = Count()


def checks(name: str, group: str) -> list[Count]:
    return [Count.of(each) for each in health_yml(name)["checks"] if group in each.get("groups", ["readiness"])]


def probe(name: str, which: str) -> Count:
    return Count.of(container("shop", name)[which])


def fault(check: Count, asked: Count) -> tuple[int, int]:
    """From a fault to the kubelet's verdict, at least and at most.

    A check that hangs takes its timeout, and its exporter answers the kubelet at once. Where the kubelet asks the
    application itself, that takes the timeout.
    """
    least = (check.failures - 1) * check.period + (asked.failures - 1) * asked.period
    last = check.timeout if check.period else asked.timeout
    return least, check.failures * check.period + last + asked.failures * asked.period


def recovery(check: Count, asked: Count) -> tuple[int, int]:
    least = (check.successes - 1) * check.period + (asked.successes - 1) * asked.period
    last = check.timeout if check.period else asked.timeout
    return least, check.successes * check.period + last + asked.successes * asked.period


@by_sidecar
def test_the_applications_probes_ask_the_exporter(name: str) -> None:
    shop = container("shop", name)
    port = exporter(name)["ports"][0]["containerPort"]
    for which, path in PROBES.items():
        assert shop[which]["httpGet"] == {"path": path, "port": port}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_exporters_own_probes_ask_about_itself(name: str) -> None:
    own = [exporter(name)[which] for which in PROBES if which in exporter(name)]
    assert {"livenessProbe", "startupProbe"} <= exporter(name).keys()
    assert {each["httpGet"]["path"] for each in own} == {"/-/healthy"}
    assert {each["httpGet"]["port"] for each in own} == {exporter(name)["ports"][0]["name"]}


@by_sidecar
def test_rule_a_the_kubelet_is_as_patient_as_it_was_and_the_exporter_adds_little(name: str) -> None:
    (check,), asked = checks(name, "liveness"), probe(name, "livenessProbe")
    patience = (asked.failures - 1) * asked.period
    assert patience == KUBERNETES.failures * KUBERNETES.period
    assert check.failures * check.period + asked.period <= patience / 5


@by_sidecar
def test_rule_b_the_exporter_may_crash_twice(name: str) -> None:
    asked = probe(name, "livenessProbe")
    assert (asked.failures - 1) * asked.period >= AWAY


@by_sidecar
def test_rule_b_a_frozen_exporter_is_back_in_time(name: str) -> None:
    own, asked = exporter(name)["livenessProbe"], probe(name, "livenessProbe")
    mine = Count.of(own)
    killed = mine.failures * mine.period + mine.timeout + own["terminationGracePeriodSeconds"]
    assert killed + START <= (asked.failures - 1) * asked.period


@by_sidecar
def test_rule_c_what_may_kill_is_asked_before_it_may_kill_again(name: str) -> None:
    liveness = [each["name"] for each in health_yml(name)["checks"] if "liveness" in each["groups"]]
    startup = [each["name"] for each in health_yml(name)["checks"] if "startup" in each["groups"]]
    assert liveness
    assert set(liveness) <= set(startup)


@by_sidecar
def test_rule_c_the_first_question_comes_when_an_old_pass_has_gone(name: str) -> None:
    gone = min(check.failures * check.period + check.timeout for check in checks(name, "startup"))
    assert probe(name, "startupProbe").delay > gone


@by_sidecar
def test_rule_e_traffic_goes_elsewhere_before_the_restart(name: str) -> None:
    (check,) = checks(name, "readiness")
    assert fault(check, probe(name, "readinessProbe"))[1] < fault(check, probe(name, "livenessProbe"))[0]


@by_sidecar
def test_prometheus_sees_the_reason_before_the_restart(name: str) -> None:
    """From the first failed run, which shows, to the kill."""
    config = yaml.safe_load((K8S / "prometheus.yml").read_text())
    interval = int(config["global"]["scrape_interval"].removesuffix("s"))
    (check,) = checks(name, "liveness")
    assert interval < fault(check, probe(name, "livenessProbe"))[0]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_grace_period_holds_the_shutdown_delay(name: str) -> None:
    """And the 4 s that the server gives to answers under way."""
    (delay,) = (each for each in exporter(name)["args"] if each.startswith("--shutdown-delay="))
    assert pod(name)["terminationGracePeriodSeconds"] > int(delay.partition("=")[2]) + 4


def test_the_table_of_the_readme_is_what_the_manifests_and_the_rules_give() -> None:
    text = (K8S / "README.md").read_text()
    rows = re.findall(r"^\| (.+?) \|.*\| (\d+) to (\d+) s \| (\d+) to (\d+) s \|$", text, re.MULTILINE)
    (live,), (ready,) = checks("sidecar", "liveness"), checks("sidecar", "readiness")
    liveness, readiness, startup = (probe("sidecar", f"{which}Probe") for which in ("liveness", "readiness", "startup"))
    started = (startup.delay, startup.delay + startup.period + readiness.period)
    expected = {
        "a fault to the restart": (fault(live, liveness), fault(NOBODY, KUBERNETES)),
        "a fault to out of the endpoints": (fault(ready, readiness), fault(NOBODY, KUBERNETES)),
        "well again to back in the endpoints": (recovery(ready, readiness), recovery(NOBODY, KUBERNETES)),
        "a container's start to in the endpoints": (started, recovery(NOBODY, KUBERNETES)),
    }
    assert {row[0]: tuple(map(int, row[1:])) for row in rows} == {
        what: (*shipped, *default) for what, (shipped, default) in expected.items()
    }


def test_the_rules_of_the_readme_have_the_numbers_that_are_shipped() -> None:
    text = (K8S / "README.md").read_text()
    (check,), live = checks("sidecar", "liveness"), probe("sidecar", "livenessProbe")
    ready, startup = probe("sidecar", "readinessProbe"), probe("sidecar", "startupProbe")
    assert f"P={check.period} F={check.failures} T={check.timeout}" in text
    assert f"liveness p={live.period} f={live.failures}" in text
    assert f"readiness p={ready.period} f={ready.failures}" in text
    assert f"startup p={startup.period} f={startup.failures}" in text
    assert f"`initialDelaySeconds: {startup.delay}`" in text
