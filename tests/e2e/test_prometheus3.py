"""Prometheus 3 scrapes a running exporter in each of its protocols, with features that Prometheus 2 does not have."""

import pytest
import yaml
from support import Exporter, Prometheus, ended, eventually

pytestmark = pytest.mark.prometheus3

CHECKS = """\
checks:
  - {name: well, exec: {command: ["true"]}, periodSeconds: 3600, groups: [liveness, startup]}
  - {name: ill, exec: {command: ["false"]}, periodSeconds: 3600, failureThreshold: 1}
  - {name: blind, exec: {command: [/not/there]}, periodSeconds: 3600, dependsOn: [ill]}
  - {name: load, loadAverage: {warnRatio: 0.0000001, failRatio: 1000000}, periodSeconds: 3600, groups: []}
  - {name: refused, tcpSocket: {port: 1}, periodSeconds: 3600, latencyBuckets: [0.1, 1]}
"""
PROTOCOLS = {
    "default": None,
    "proto-first": ["PrometheusProto", "OpenMetricsText1.0.0", "PrometheusText1.0.0", "PrometheusText0.0.4"],
    "proto": ["PrometheusProto"],
    "openmetrics-2.0.0": ["OpenMetricsText2.0.0"],
    "openmetrics-1.0.0": ["OpenMetricsText1.0.0"],
    "openmetrics-0.0.1": ["OpenMetricsText0.0.1"],
    "text-1.0.0": ["PrometheusText1.0.0"],
    "text-0.0.4": ["PrometheusText0.0.4"],
}
FEATURES = (
    "",
    "created-timestamp-zero-ingestion",
    "type-and-unit-labels",
    "created-timestamp-zero-ingestion,type-and-unit-labels",
)
SCRAPES = 3
"""The problem of a second scrape is one with the samples of the first."""


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """The address of an exporter whose checks have all run and do not run again."""
    config = tmp_path_factory.mktemp("exporter") / "health.yml"
    config.write_text(CHECKS)
    with ended(Exporter(config=config)) as exporter:
        eventually(
            lambda: sum(value for name, value in exporter.metrics().items() if "check_runs_total" in name) == 5,
            what="all checks have run",
        )
        yield exporter.url.removeprefix("http://")


@pytest.fixture(scope="module", params=FEATURES, ids=lambda features: features or "no features")
def prometheus(request, tmp_path_factory, target):
    """A Prometheus that has scraped the exporter several times in each protocol."""
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [target]}]}
        | ({"scrape_protocols": protocols} if protocols else {})
        for name, protocols in PROTOCOLS.items()
    ]
    config = tmp_path_factory.mktemp("prometheus") / "prometheus.yml"
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    features = [f"--enable-feature={request.param}"] if request.param else []
    with ended(Prometheus(config, *features)) as process:
        scraped = f"count(count_over_time(scrape_samples_scraped[1h]) >= {SCRAPES}) == {len(PROTOCOLS)}"
        eventually(lambda: process.query(scraped), what="every job has been scraped")
        yield process


def test_the_exporter_is_up_in_every_protocol(prometheus):
    active = prometheus.api("targets")["activeTargets"]

    assert {found["labels"]["job"]: (found["health"], found["lastError"]) for found in active} == dict.fromkeys(
        PROTOCOLS, ("up", "")
    )


def test_every_protocol_shows_the_same_values(prometheus):
    """Except for the created timestamps, which only OpenMetrics has."""
    values = {}
    for found in prometheus.query('{__name__=~"health_(check|endpoint|group)_.*", __name__!~".*_created"}'):
        labels = {name: value for name, value in found["metric"].items() if name not in {"job", "instance"}}
        values.setdefault(found["metric"]["job"], {})[frozenset(labels.items())] = found["value"][1]

    assert len(values["default"]) > 50
    assert {name: found for name, found in values.items() if found != values["default"]} == {}


def test_prometheus_logs_no_warning_and_no_error(prometheus):
    assert [line for line in prometheus.lines if "level=INFO" not in line] == []


def test_a_query_to_which_prometheus_objects_fails_a_test(prometheus):
    with pytest.raises(AssertionError, match="counter"):
        prometheus.query("rate(health_check_up[1h])")
