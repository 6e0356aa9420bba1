"""docs/capacity.md shows what docs/capacity.csv has, and its formula of series holds for a real exposition."""

import re
from pathlib import Path

import pytest
from bench.page import draw_plot, fill
from bench.results import read
from support import Exporter, ended, eventually, free_port

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "capacity.md").read_text(encoding="utf-8")
CHECKS = """\
checks:
  - {{name: httpGet, httpGet: {{path: /-/healthy, port: {port}}}, periodSeconds: 1, groups: [readiness]}}
  - {{name: tcpSocket, tcpSocket: {{port: {port}}}, periodSeconds: 1, groups: [readiness]}}
  - {{name: loadAverage, loadAverage: {{failRatio: 1000}}, periodSeconds: 1, groups: [readiness]}}
  - {{name: disk, disk: {{path: /, failRatio: 1}}, periodSeconds: 1, groups: [readiness]}}
  - {{name: file, file: {{path: {path}}}, periodSeconds: 1, groups: [readiness]}}
  - {{name: exec, exec: {{command: ['true']}}, periodSeconds: 1, groups: [readiness]}}
"""
MEASUREMENT = re.compile(r"health_(?!check_|group_|answers_|snapshot_|exporter_)")


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """The samples of an exporter with a healthy check of several kinds, which a probe has asked."""
    config, port = tmp_path_factory.mktemp("capacity") / "health.yml", free_port()
    config.write_text(CHECKS.format(port=port, path=config))
    with ended(Exporter("--web.listen-address", f"127.0.0.1:{port}", config=config)) as exporter:
        eventually(lambda: runs_twice(exporter.metrics()), what="each check runs twice")
        assert exporter.get("/readyz").status == 200
        return eventually(lambda: read_lines(exporter), what="the response is counted")


def runs_twice(samples):
    """Whether each check has run more than once: the first run has a series of its own."""
    runs = [value for name, value in samples.items() if name.startswith("health_check_runs_total")]
    return len(runs) == 6 and min(runs) > 1


def read_lines(exporter):
    """The samples, if the response to the probe is among them."""
    text = exporter.get("/metrics").text
    return "health_answers_total{" in text and [line for line in text.splitlines() if not line.startswith("#")]


def test_the_measured_blocks_and_the_plot_are_those_of_the_file():
    results = read(DOCS / "capacity.csv")

    assert fill(PAGE, results) == PAGE, "run `python -m tests.bench growth --draw`"
    assert draw_plot(results) == (DOCS / "capacity.svg").read_text(encoding="utf-8")


def test_the_formula_of_series_holds(lines):
    base, each_group, each_check = map(int, re.findall(r"series = (\d+)\D+(\d+)\D+groups\D+(\d+)\D+checks", PAGE)[0])
    memberships = len([line for line in lines if line.startswith("health_check_group{")])
    numbers = len([line for line in lines if MEASUREMENT.match(line)])  # with their limits

    assert len(lines) == base + each_group * 1 + each_check * 6 + memberships + numbers


def test_the_series_of_a_check_are_those_of_the_table(lines):
    documented = dict(re.findall(r"^\| `(\w+)` \|.* \| (\d+) \|$", PAGE, re.MULTILINE))
    kinds = re.findall(r"name: (\w+),", CHECKS)

    assert {kind: documented[kind] for kind in kinds} == {
        kind: str(len([line for line in lines if f'kind="{kind}"' in line])) for kind in kinds
    }
