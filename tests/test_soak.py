"""The parts of `make soak` work: its configuration is valid, and its report is complete."""

import csv
import xml.etree.ElementTree as ET
from collections import defaultdict

import pytest
from soak.checks import SETTLING, build, change_one, write
from soak.report import COLUMNS, describe, p99, write_files
from soak.tally import Tally
from soak.targets import HALF_CYCLE

from exporter.config.checks import load

FLAPS = HALF_CYCLE * 1_000_000.0  # a time at which the flapping targets become healthy


def build_all():
    return build(defaultdict(lambda: 8080), "/run/soak", 1)


def test_the_configuration_is_valid_and_a_reload_changes_one_check(tmp_path):
    config = tmp_path / "health.yml"
    subjects = build_all()
    config.write_text(write(subjects))
    before = {check.spec.name: check for check in load(config).checks}
    changed = change_one(subjects, 3)
    config.write_text(write(subjects))
    after = {check.spec.name: check for check in load(config).checks}

    assert len(before) == 200
    assert [name for name in before if before[name].spec != after[name].spec] == [changed]


def test_a_flapping_check_has_one_right_status_once_it_has_settled():
    expect = next(subject.expect for subject in build_all() if subject.name == "flapping-0")

    assert expect(FLAPS + SETTLING + 1) == {"pass"}
    assert expect(FLAPS + HALF_CYCLE + SETTLING + 1) == {"fail"}
    assert expect(FLAPS + 1) == {"pass", "warn", "fail", "unknown"}


def test_a_wrong_verdict_is_counted_and_a_busy_exporter_is_not_one():
    tally = Tally()
    tally.add_probe(100.0, "/livez", 0.01, 503, settled=False)
    tally.add_probe(101.0, "/readyz", 0.01, 503, settled=False)
    tally.add_probe(102.0, "/readyz", 0.01, 0, settled=True)
    tally.add_scrape("/metrics", 503, True, settled=True)
    tally.add_scrape("/healthz?format=json", 503, True, settled=True)
    assert not tally.is_without_verdict(503, b'{"status": "fail"}')
    assert tally.is_without_verdict(503, b"503 Service Unavailable\n")
    assert tally.is_without_verdict(0, b"")

    assert tally.wrong == {"/livez returned 503": [100.0]}
    assert (tally.unanswered, tally.shed) == (2, 2)


@pytest.mark.parametrize(
    ("values", "highest"), [([], 0.0), ([3.0], 3.0), ([*map(float, range(1, 101))], 99.0), ([2.0, 1.0], 2.0)]
)
def test_one_in_a_hundred_is_above_the_99th_percentile(values, highest):
    assert p99(values) == highest


def test_the_report_shows_growth_and_draws_every_sample(tmp_path):
    rows = [{**dict.fromkeys(COLUMNS, 1.0), "seconds": 10.0 * number, "rss_mib": 50 + number} for number in range(40)]
    tally = Tally()
    tally.storms.append((60.0, 70.0, "abandoned"))
    tally.add_probe(65.0, "/livez", 0.25, 200, settled=True)
    write_files(tmp_path, rows)
    lines = list(describe(rows, tally, 0.0, 80.0))
    drawing = ET.parse(tmp_path / "soak.svg")
    lines_drawn = [line.get("points", "").split() for line in drawing.iter("{http://www.w3.org/2000/svg}polyline")]

    assert "rss_mib: 59.5 -> 87.5, growth +28.00, highest 89.0" in lines
    assert "worst of both: /livez, 250.0 ms, 65 s after the start, during a storm (abandoned)" in lines
    assert [len(points) for points in lines_drawn] == [len(rows)] * 7
    assert len(list(csv.DictReader((tmp_path / "soak.csv").read_text().splitlines()))) == len(rows)
