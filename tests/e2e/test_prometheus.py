"""A real Prometheus scrapes a running exporter, and its values are the exporter's."""

import json
import re
import signal
from urllib.parse import quote

import pytest
from support import Exporter, Prometheus, ended, eventually, get

CHECKS = """\
checks:
  - {name: well, exec: {command: ["true"]}, periodSeconds: 3600, groups: [liveness, startup]}
  - {name: ill, exec: {command: ["false"]}, periodSeconds: 3600, failureThreshold: 1, severity: warning}
  - {name: shaky, exec: {command: ["false"]}, periodSeconds: 3600}
  - {name: blind, exec: {command: [/not/there]}, periodSeconds: 3600}
  - {name: load, loadAverage: {warnRatio: 0.0000001, failRatio: 1000000}, periodSeconds: 3600, groups: []}
  - {name: refused, tcpSocket: {port: 1}, periodSeconds: 3600}
  - {name: later, exec: {command: ["true"]}, initialDelaySeconds: 3600}
"""
ITS_OWN = ("health_answers_total", "health_exporter_scheduler_lag_seconds", "health_exporter_workers_busy")  # move on


class Scraper(Prometheus):
    def __init__(self, folder, target, *arguments, **options):
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: exporter, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        super().__init__(config, *arguments, **options)

    def value(self, promql):
        """The value of the only series of an instant query."""
        (sample,) = self.api("query", query=promql)["result"]
        return float(sample["value"][1])

    def query(self, promql):
        """An instant query's result: values by name and labels, without those that Prometheus adds."""
        return {
            (each["metric"].pop("__name__"), frozenset(each["metric"].items() - {("job", "exporter")})): each["value"][
                1
            ]
            for each in super().query(promql)
        }


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """An exporter whose checks have all run and do not run again, and a Prometheus that has scraped it."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "health.yml"
    config.write_text(CHECKS)
    with ended(Exporter(config=config)) as exporter:
        eventually(lambda: sum(said(exporter.get("/metrics").text, "health_check_runs_total").values()) == 6)
        target = exporter.url.removeprefix("http://")
        with ended(Scraper(folder, target)) as prometheus:
            generation = exporter.get("/livez").generation
            eventually(lambda: seen(prometheus, target).get(("health_snapshot_generation", frozenset())) == generation)
            yield exporter, prometheus, target, config


def said(text, only=""):
    """The samples of an exposition by name and labels, as numbers."""
    samples = {}
    for name, labels, value in re.findall(r"^(health_\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
        if name.startswith(only) and name not in ITS_OWN:
            samples[name, frozenset(re.findall(r'(\w+)="([^"]*)"', labels))] = float(value)
    return samples


def seen(prometheus, target):
    """The exporter's samples in Prometheus, without created timestamps, which only OpenMetrics has."""
    instance = ("instance", target)
    result = prometheus.query('{job="exporter",__name__=~"health_.*"}')
    return {
        (name, labels - {instance}): float(value)
        for (name, labels), value in result.items()
        if name not in ITS_OWN and not name.endswith("_created")
    }


def test_the_exporter_is_up(scraped):
    _, prometheus, target, _ = scraped

    assert prometheus.query("up") == {("up", frozenset({("instance", target)})): "1"}
    active = json.loads(get(f"{prometheus.url}/api/v1/targets").body)["data"]["activeTargets"]
    assert [(each["health"], each["lastError"]) for each in active] == [("up", "")]


def test_every_family_has_the_values_that_the_exporter_shows(scraped):
    exporter, prometheus, target, _ = scraped
    exposed = said(exporter.get("/metrics").text)

    assert seen(prometheus, target) == exposed
    assert len({name for name, _ in exposed}) > 30


@pytest.mark.parametrize(
    ("promql", "values"),
    [
        ('health_check_up{check="well"}', {"1"}),
        ('health_check_up{check=~"ill|blind|later"}', {"0"}),
        ('health_check_status{status="warn"} == 1 and on(check) health_check_up{check="load"}', {"1"}),
        ('health_check_failures_total{check="refused"}', {"1"}),
        ('health_check_reason{reason="exit"}', {"1"}),
        ('health_group_up{group=~"liveness|startup"}', {"1", "0"}),
        ('sum by (check) (health_check_failures_total) and on (check) health_check_info{severity="warning"}', {"1"}),
    ],
)
def test_questions_that_people_ask_have_answers(scraped, promql, values):
    _, prometheus, *_ = scraped
    answer = json.loads(get(f"{prometheus.url}/api/v1/query?query={quote(promql)}").body)["data"]["result"]

    assert answer
    assert {each["value"][1] for each in answer} <= values


def test_the_series_of_a_removed_check_end_at_the_next_scrape(scraped):
    """Prometheus marks them stale at once instead of showing them for five minutes."""
    exporter, prometheus, target, config = scraped
    assert [name for name, labels in seen(prometheus, target) if ("check", "ill") in labels]
    config.write_text("".join(line for line in CHECKS.splitlines(keepends=True) if "ill," not in line))

    exporter.signal(signal.SIGHUP)

    eventually(lambda: not [name for name, labels in seen(prometheus, target) if ("check", "ill") in labels])
    eventually(lambda: seen(prometheus, target) == said(exporter.get("/metrics").text))
