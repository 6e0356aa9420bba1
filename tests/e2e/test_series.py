"""The series of a sidecar in a real Prometheus: how many there are, and that increase() sees the first failure."""

import os
import re
import signal
import time

import pytest
from e2e.test_prometheus import Scraper
from support import Exporter, Process, command, ended, eventually, free_port

MOST = 100
FROM_PROMETHEUS = 5  # up and four scrape_ series, which Prometheus adds for every target
SIDECAR = """\
checks:
  - {{name: api, httpGet: {{path: /-/healthy, port: {web}}}, periodSeconds: 1, groups: [liveness, readiness]}}
  - {{name: web, tcpSocket: {{port: {web}}}, periodSeconds: 1}}
  - {{name: cache, redis: {{port: {redis}}}, periodSeconds: 1}}
  - {{name: disk, disk: {{path: /, failRatio: 1}}, periodSeconds: 1}}
  - {{name: memory, memory: {{failRatio: 1}}, periodSeconds: 1}}
"""


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory):
    """An exporter with five healthy checks, which a kubelet's probes ask, and a Prometheus that has scraped it."""
    folder = tmp_path_factory.mktemp("sidecar")
    redis, web, address = free_port(), free_port(), f"127.0.0.1:{free_port()}"
    config = folder / "health.yml"
    config.write_text(SIDECAR.format(web=web, redis=redis))
    with (
        ended(Process([command("redis-server"), "--port", str(redis), "--save", ""], cwd=folder)) as cache,
        ended(Scraper(folder, address, port=web)) as prometheus,
    ):
        cache.line("Ready to accept connections")
        with ended(Exporter("--web.listen-address", address, config=config)) as exporter:
            probed = {}
            eventually(lambda: probed.update(probe(exporter)) or set(probed.values()) == {200}, what="it is healthy")
            eventually(lambda: prometheus.query('health_answers_total{group="readiness",code="200"}'))
            yield exporter, prometheus


def probe(exporter):
    """Probe as the kubelet does; the status codes by path."""
    return {path: exporter.get(path).status for path in ("/livez", "/readyz")}


def test_a_sidecar_with_five_checks_fits_the_budget(sidecar):
    _, prometheus = sidecar
    (count,) = prometheus.api("query", query='count({job="exporter"})')["result"]

    assert int(count["value"][1]) - FROM_PROMETHEUS <= MOST


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_no_format_has_more_series(sidecar, accept):
    exporter, _ = sidecar
    text = exporter.get("/metrics", headers={"Accept": accept}).text

    assert 0 < len([line for line in text.splitlines() if not line.startswith("#")]) <= MOST


CREATED = re.compile(r"^(health_check_\w+)_created\{.*\} (\S+)$", re.MULTILINE)
FAILS = "checks: [{{name: api, exec: {{command: ['false']}}, periodSeconds: 3600, groups: [{}]}}{}]"


def created(exporter):
    """The created timestamps of the counters, by their names."""
    text = exporter.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}).text
    return {name: float(value) for name, value in CREATED.findall(text)}


def test_a_counter_is_as_old_as_its_state(start, tmp_path):
    """An unchanged check keeps its counters over a reload. A changed check and a new worker begin new ones."""
    started = time.time()
    exporter = start(FAILS.format("liveness", ""))
    seen = [eventually(lambda: created(exporter), what="it has failed")]
    for checks in (
        FAILS.format("liveness", ", {name: other, exec: {command: ['true']}, groups: []}"),
        FAILS.format("startup", ""),
    ):
        (tmp_path / "health.yml").write_text(checks)
        exporter.signal(signal.SIGHUP)
        exporter.line('msg="configuration loaded"', after=len(exporter.lines))
        seen.append(eventually(lambda: created(exporter), what="it has failed again"))
    os.kill(exporter.worker, signal.SIGKILL)
    eventually(
        lambda: exporter.metrics().get("health_exporter_worker_restarts_total") == 1, what="the new worker serves"
    )
    seen.append(eventually(lambda: created(exporter), what="it has failed in the new worker"))

    assert [{*found} for found in seen] == [{"health_check_failures", "health_check_failure_streak_runs"}] * 4
    first, kept, changed, restarted = (found["health_check_failures"] for found in seen)
    assert started <= first == kept < changed < restarted <= time.time()


def test_increase_sees_the_first_failure(tmp_path):
    """By the created timestamp if the server uses it, and otherwise by the query of docs/queries.md."""
    (tmp_path / "health.yml").write_text(FAILS.format("liveness", ""))
    counter, feature = "health_check_failures_total", "--enable-feature=created-timestamp-zero-ingestion"
    with (
        ended(Exporter(config=tmp_path / "health.yml")) as exporter,
        ended(Scraper(tmp_path, exporter.url.removeprefix("http://"), feature)) as prometheus,
    ):
        eventually(
            lambda: prometheus.value(f"sum(count_over_time({counter}[5m])) or vector(0)") > 2, what="several scrapes"
        )
        used = not prometheus.value("count(health_check_failures_created) or vector(0)")
        plain = prometheus.value(f"round(increase({counter}[5m]))")
        young = prometheus.value(
            f"round({counter} unless present_over_time({counter}[1d] offset 1h) or increase({counter}[1h]))"
        )

    assert plain == used
    assert young == 1
