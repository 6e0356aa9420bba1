"""How many series a sidecar costs in Prometheus. A fleet has thousands of sidecars."""

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
