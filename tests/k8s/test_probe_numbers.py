"""The thresholds of the exporter and the kubelet fit each other: the numbers follow the rules in docs/probe-timing.md.

P, F and T are a check's periodSeconds, failureThreshold and timeoutSeconds in the exporter; p, f and t are those of a
probe of the kubelet. A fault begins and ends at the worst or at the best moment for both of them.
"""

import re
from dataclasses import dataclass

import pytest
import yaml
from k8s.kustomized import K8S, OVERLAYS, ROOT, SIDECARS, Object, container, exporter, health_yml, pod

by_sidecar = pytest.mark.parametrize("name", SIDECARS)
PAGE = (ROOT / "docs/probe-timing.md").read_text()
START = 4
AWAY = 25 + START
"""Seconds. A retry within the back-off of 10 s delays the next one by 10 to 15 s (pod_workers.go, completeWork)."""
EVENTS = 25
"""Warnings that the kubelet writes for a pod before it is limited to one per 300 s (client-go, events_cache.go)."""
PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


@dataclass(frozen=True)
class Count:
    """How a check or a probe counts; the defaults are those of Kubernetes."""

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


NO_EXPORTER = Count(period=0, timeout=0)
KUBERNETES = Count()


def checks(name: str, group: str) -> list[Count]:
    return [Count.of(check) for check in health_yml(name)["checks"] if group in check.get("groups", ["readiness"])]


def probe(name: str, type_: str) -> Count:
    return Count.of(container("shop", name)[type_])


def fault(check: Count, kubelet: Count) -> tuple[int, int]:
    """The seconds from a fault to the kubelet's decision, at least and at most.

    A check that hangs takes until its timeout, but its exporter responds to the kubelet immediately. Where the kubelet
    probes the application itself, the probe takes until its timeout.
    """
    shortest = (check.failures - 1) * check.period + (kubelet.failures - 1) * kubelet.period
    timeout = check.timeout if check.period else kubelet.timeout
    return shortest, check.failures * check.period + timeout + kubelet.failures * kubelet.period


def recovery(check: Count, kubelet: Count) -> tuple[int, int]:
    """The seconds from a recovery to the kubelet's decision, at least and at most."""
    shortest = (check.successes - 1) * check.period + (kubelet.successes - 1) * kubelet.period
    timeout = check.timeout if check.period else kubelet.timeout
    return shortest, check.successes * check.period + timeout + kubelet.successes * kubelet.period


def failed(startup: Count) -> tuple[int, int]:
    """The seconds from the start of a container that never becomes healthy to the kubelet's decision."""
    return startup.delay + (startup.failures - 1) * startup.period, startup.delay + startup.failures * startup.period


@by_sidecar
def test_the_applications_probes_query_the_exporter(name: str) -> None:
    shop = container("shop", name)
    port = exporter(name)["ports"][0]["containerPort"]
    assert {type_: shop[type_]["httpGet"] for type_ in PROBES} == {
        type_: {"path": path, "port": port, "scheme": "HTTP"} for type_, path in PROBES.items()
    }


@pytest.mark.parametrize("name", OVERLAYS)
def test_rule_4_the_exporters_own_probes_use_healthy_and_where_it_is_alone_ready(name: str) -> None:
    requests = {type_: exporter(name)[type_]["httpGet"] for type_ in PROBES if type_ in exporter(name)}
    port = exporter(name)["ports"][0]["name"]
    healthy = {type_: {"path": "/-/healthy", "port": port} for type_ in ("livenessProbe", "startupProbe")}
    ready = {} if name in SIDECARS else {"readinessProbe": {"path": "/-/ready", "port": port}}
    assert requests == healthy | ready


@by_sidecar
def test_rule_1_the_kubelet_waits_as_long_as_with_its_defaults_and_the_exporter_adds_little(name: str) -> None:
    (check,), kubelet = checks(name, "liveness"), probe(name, "livenessProbe")
    wait = (kubelet.failures - 1) * kubelet.period
    assert wait == KUBERNETES.failures * KUBERNETES.period
    assert check.failures * check.period + check.timeout <= wait / 5


@by_sidecar
def test_rule_2_the_exporter_may_crash_twice(name: str) -> None:
    kubelet = probe(name, "livenessProbe")
    assert (kubelet.failures - 1) * kubelet.period >= AWAY


@by_sidecar
def test_rule_2_a_frozen_exporter_is_restarted_in_time(name: str) -> None:
    spec, kubelet = exporter(name)["livenessProbe"], probe(name, "livenessProbe")
    own = Count.of(spec)
    killed = own.failures * own.period + own.timeout + spec["terminationGracePeriodSeconds"]
    assert f"{own.failures}·{own.period} s + {own.timeout} s + {spec['terminationGracePeriodSeconds']} s" in PAGE
    assert killed + START <= (kubelet.failures - 1) * kubelet.period


@by_sidecar
def test_rule_3_every_check_in_liveness_is_in_startup(name: str) -> None:
    liveness, startup = (
        {check["name"] for check in health_yml(name)["checks"] if group in check["groups"]}
        for group in ("liveness", "startup")
    )
    assert liveness
    assert liveness <= startup


@by_sidecar
def test_rule_3_the_first_startup_probe_comes_after_a_stale_pass_is_out_of_date(name: str) -> None:
    noticed = min(check.failures * check.period + check.timeout for check in checks(name, "startup"))
    assert probe(name, "startupProbe").delay > noticed


@by_sidecar
def test_rule_5_traffic_stops_before_the_restart(name: str) -> None:
    (check,) = checks(name, "readiness")
    assert fault(check, probe(name, "readinessProbe"))[1] < fault(check, probe(name, "livenessProbe"))[0]


@by_sidecar
def test_rule_7_prometheus_scrapes_the_reason_before_the_restart(name: str) -> None:
    """The time is from the first failed run, which the metrics show, to the kill."""
    config = yaml.safe_load((K8S / "prometheus.yml").read_text())
    interval = int(config["global"]["scrape_interval"].removesuffix("s"))
    (check,) = checks(name, "liveness")
    assert interval < fault(check, probe(name, "livenessProbe"))[0]


def warnings(name: str) -> int:
    """The most warnings that the kubelet writes from the first 503 until it restarts the application.

    That takes less than f·p of the livenessProbe. Both probes fail at each of their periods meanwhile. The kubelet also
    runs the readinessProbe when the status of a pod that is not ready changes (prober_manager.go, UpdatePodStatus).
    """
    liveness, readiness = probe(name, "livenessProbe"), probe(name, "readinessProbe")
    return liveness.failures + -(-liveness.failures * liveness.period // readiness.period) + 1


@by_sidecar
def test_rule_8_two_incidents_fit_into_the_events_of_a_pod(name: str) -> None:
    assert 2 * warnings(name) <= EVENTS


def test_rule_8_on_the_page_has_these_numbers() -> None:
    liveness, readiness = probe("sidecar", "livenessProbe"), probe("sidecar", "readinessProbe")
    most, text = warnings("sidecar"), " ".join(PAGE.split())
    assert f"{liveness.failures} of the livenessProbe and {most - liveness.failures} of the readinessProbe" in text
    assert f"f + f·p/{readiness.period} + 1 = {most} warnings" in text


@by_sidecar
def test_a_response_may_take_2_s_but_no_longer_than_the_next_probe(name: str) -> None:
    """On a node without spare CPU, the slowest responses take longer than the default of 1 s."""
    probes = [probe(name, type_) for type_ in PROBES]
    assert {found.timeout for found in probes} == {2}
    assert all(found.timeout <= found.period for found in probes)


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_grace_period_covers_the_shutdown_delay_and_the_requests_in_flight(name: str) -> None:
    """The server gives requests in flight 4 s."""
    (delay,) = (argument for argument in exporter(name)["args"] if argument.startswith("--shutdown-delay="))
    assert pod(name)["terminationGracePeriodSeconds"] > int(delay.partition("=")[2]) + 4


def test_the_page_shows_the_shipped_numbers() -> None:
    (check,), liveness = checks("sidecar", "liveness"), probe("sidecar", "livenessProbe")
    readiness, startup = probe("sidecar", "readinessProbe"), probe("sidecar", "startupProbe")
    rows = [
        f"| check in `health.yml` | P = {check.period} | F = {check.failures} | T = {check.timeout} | |",
        *(
            f"| {name} on `{path}` | p = {found.period} | f = {found.failures} | t = {found.timeout} | {delay} |"
            for name, path, found, delay in (
                ("livenessProbe", "/livez", liveness, ""),
                ("readinessProbe", "/readyz", readiness, ""),
                ("startupProbe", "/startupz", startup, startup.delay),
            )
        ),
    ]
    rows = [row.replace("|  |", "| |") for row in rows]
    missing = [row for row in rows if row not in PAGE]
    assert not missing, "\n".join(missing)
    assert f"`initialDelaySeconds: {startup.delay}`" in PAGE


def test_the_example_on_the_page_follows_from_the_manifests() -> None:
    """The worst case: each run fails at its timeout, and each probe comes just before the exporter's verdict."""
    (check,), liveness = checks("sidecar", "liveness"), probe("sidecar", "livenessProbe")
    readiness = probe("sidecar", "readinessProbe")
    verdict = check.failures * check.period + check.timeout
    removal, restart = fault(check, readiness)[1], fault(check, liveness)[1]
    table = re.findall(r"^\| (\d+) s \| .+ \| (.*?) ?\|$", PAGE, re.MULTILINE)
    assert check.failures == 2
    assert readiness.failures == 2
    assert [(int(time), counts) for time, counts in table] == [
        (0, ""),
        (check.period, "check: 1 of 2"),
        (2 * check.period, ""),
        (verdict, "check: 2 of 2"),
        (verdict + readiness.period, "readinessProbe: 1 of 2"),
        (verdict + liveness.period, f"livenessProbe: 1 of {liveness.failures}"),
        (removal, "readinessProbe: 2 of 2"),
        (restart, f"livenessProbe: {liveness.failures} of {liveness.failures}"),
    ]
    assert f"times out at {check.period + check.timeout} s" in PAGE
    times = (0, verdict, removal, restart)
    assert re.search(r"```text\n " + r"\s+".join(f"{time} s" for time in times) + r"\n", PAGE)
    assert f"liveness: f·p = {liveness.failures * liveness.period} s" in PAGE
    assert f"F·P + T = {verdict} s" in PAGE
    assert f"takes {fault(check, readiness)[0]} s and {fault(check, liveness)[0]} s" in PAGE


def test_the_table_of_times_on_the_page_follows_from_the_manifests() -> None:
    rows = re.findall(r"^\| (.+?) \|.*\| (\d+) to (\d+) s \| (\d+) to (\d+) s \|$", PAGE, re.MULTILINE)
    (live,), (ready,) = checks("sidecar", "liveness"), checks("sidecar", "readiness")
    liveness, readiness, startup = (
        probe("sidecar", type_) for type_ in ("livenessProbe", "readinessProbe", "startupProbe")
    )
    started = (startup.delay, startup.delay + startup.period + readiness.period)
    expected = {
        "fault to restart": (fault(live, liveness), fault(NO_EXPORTER, KUBERNETES)),
        "fault to removal from the endpoints": (fault(ready, readiness), fault(NO_EXPORTER, KUBERNETES)),
        "recovery to return to the endpoints": (recovery(ready, readiness), recovery(NO_EXPORTER, KUBERNETES)),
        "container start to first traffic": (started, recovery(NO_EXPORTER, KUBERNETES)),
        "container start to restart, if it never becomes healthy": (failed(startup), fault(NO_EXPORTER, KUBERNETES)),
    }
    assert {row[0]: tuple(map(int, row[1:])) for row in rows} == {
        name: (*shipped, *default) for name, (shipped, default) in expected.items()
    }
