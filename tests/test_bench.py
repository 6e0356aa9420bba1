"""The benchmark's own arithmetic: pairs, budgets, straight lines and plots. Its figures never fail a test."""

import xml.etree.ElementTree as ET

import pytest
from bench.figure import FULL, Figure, show
from bench.peers import http_get
from bench.plot import Line, Panel, plot
from bench.results import Measured, Results, fit, read, write

from exporter.config.nodes import compose

SVG = "{http://www.w3.org/2000/svg}"


def test_a_ratio_is_that_of_a_pair():
    """The ratio of the medians would be 1."""
    assert Figure("cpu", "ms", [1, 2, 9], "peer", [2, 1, 3]).ratios == [0.5, 2, 3]


@pytest.mark.parametrize(
    ("ours", "peers", "at_most", "below", "verdict"),
    [
        ([1, 2, 3], [4, 4, 4], 0.75, None, "kept"),
        ([1, 2, 4], [4, 4, 4], 0.75, None, "median kept"),
        ([1, 4, 4], [4, 4, 4], 0.75, None, "MISSED"),
        ([1, 2, 3], [], None, 4, "kept"),
        ([1, 2, 4], [], None, 4, "median kept"),
        ([1, 4, 4], [], None, 4, "MISSED"),
        ([1, 2, 3], [], 0.5, None, "MISSED"),  # without a peer
        ([1, 2, 3], [4, 4, 4], None, None, ""),
    ],
)
def test_a_budget_is_kept_by_all_values_or_by_the_median(ours, peers, at_most, below, verdict):
    assert Figure("cpu", "ms", ours, "peer", peers, at_most, below).verdict == verdict


def test_the_table_has_the_spread_of_both_sides_and_of_the_ratios():
    _, row, other = show([Figure("cpu", "ms", [1, 2, 9], "peer", [2, 1, 3], 0.5), "gatus: not measured"]).splitlines()

    assert " ".join(row.split()) == "cpu 1 2 9 ms peer 1 2 3 0.5 2 3 at most 0.5 times MISSED"
    assert other == "gatus: not measured"


def test_the_largest_configuration_is_not_too_large():
    checks = [http_get(f"check-{number}", "http://127.0.0.1:32767/", period=60) for number in range(FULL.checks)]
    text = "".join(f"- {check}\n" for check in checks)

    assert compose(f"checks:\n{text}".encode(), "health.yml") is not None


def test_a_straight_line_goes_through_its_points():
    line = fit([(1, 5), (10, 23), (100, 203)])

    assert (line.base, line.slope) == pytest.approx((3, 2))


def test_small_values_count_as_much_as_large_ones():
    """With absolute errors, the line would miss the first point by half."""
    line = fit([(1, 10), (2, 10.5), (10_000, 5000), (20_000, 15_000)])

    assert line(1) == pytest.approx(10, rel=0.1)


def test_a_file_of_results_is_read_as_it_was_written(tmp_path):
    rows = [Measured.of("run", "10", "ms", [3, 1, 2]), Measured.of("kind", "httpGet, TLS", "", [14])]
    write(tmp_path / "capacity.csv", rows)

    assert read(tmp_path / "capacity.csv").rows == rows
    assert Results(rows).value("run", "10") == 2


def test_a_plot_has_names_units_ticks_and_a_point_for_each_value():
    points = [(1, 1, 2, 3), (10, 10, 20, 30), (100, 100, 200, 300)]
    panel = Panel("Memory", "checks", "MiB", [Line("resident", points), Line("private", points)], log_x=True)
    root = ET.fromstring(plot("Costs", [panel]))
    texts = [element.text for element in root.iter(f"{SVG}text")]

    assert {"Costs", "Memory", "checks", "MiB", "resident", "private", "1", "10", "100", "0", "200"} <= {*texts}
    assert len([*root.iter(f"{SVG}polyline")]) == 2
    assert len([*root.iter(f"{SVG}circle")]) == 2 * (3 + 1)  # and one in the legend
