"""The SLO rules give what sloth's formulas give for the same series, computed here independently of Prometheus.

sloth's `raw` and `events` SLIs: the error ratio of a window is 1 - sum_over_time(good[w]) / sum_over_time(total[w]). It
pages if the ratios of 5m and 1h are above 14.4 times the error budget or those of 30m and 6h above 6 times, and opens a
ticket for 2h and 1d above 3 times or 6h and 3d above 1 time (the table of the SRE workbook).
"""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest
import yaml
from alerts.rules import ALERTS, load_groups
from support import command

SLO = ALERTS / "health-slo.rules.yml"
MINUTE, HOUR, DAY = 1, 60, 1440  # minutes; the series have a sample in each minute
PAIRS = (("1h", "5m", 14.4), ("6h", "30m", 6), ("1d", "2h", 3), ("3d", "6h", 1))
BURN = 'group by (window) (ALERTS{alertname="HealthErrorBudgetBurn", alertstate="firing"})'


SERVICE = 'job="shop", namespace="prod", sli="service"'
RULES = [rule for group in yaml.safe_load(SLO.read_text())["groups"] for rule in group["rules"]]
CONDITIONS = {
    rule["labels"]["window"]: rule["expr"].split("\nand job:health_sli:ratio5m offset")[0]
    for rule in RULES
    if "alert" in rule
}


def name_series(name: str, labels: str) -> str:
    """Return the name of an indicator's series: `good` or `total`."""
    return f"job:health_sli_{name}:count{{{labels}}}"


def minutes(text: str) -> int:
    """Convert a window to minutes."""
    return int(text[:-1]) * {"m": MINUTE, "h": HOUR, "d": DAY}[text[-1]]


def compute_errors(good: Sequence[float], total: Sequence[float], window: str, now: int) -> float:
    """Return sloth's error ratio."""
    places = range(max(0, now - minutes(window)), now)
    return 1 - sum(good[place] for place in places) / sum(total[place] for place in places)


def outages(end: int, *spans: tuple[int, int]) -> list[float]:
    """Return a series until `end` that is 0 in these minutes and otherwise 1."""
    return [float(not any(start <= now < stop for start, stop in spans)) for now in range(end + 1)]


def ask(
    series: dict[str, Sequence[float]], questions: list[tuple[str, int]], folder: Path, interval: str = "1m"
) -> dict[tuple[str, int], str]:
    """Return the result of each query at each minute, from one run of promtool, as promtool prints it.

    The samples are at the half minutes: whether a range includes one at its start depends on the version of Prometheus.
    """
    asked = list(dict.fromkeys(questions))
    case = {
        "interval": "30s",
        "input_series": [
            {"series": name, "values": " ".join(f"_ {value:g}" for value in values)} for name, values in series.items()
        ],
        "promql_expr_test": [
            {"expr": query, "eval_time": f"{now}m", "exp_samples": [{"labels": "never", "value": 0}]}
            for query, now in asked
        ],
    }
    path = folder / "slo.test.yml"
    order = [group["name"] for file, group in load_groups() if file == SLO.name]
    content = {"rule_files": [str(SLO)], "evaluation_interval": interval, "group_eval_order": order, "tests": [case]}
    path.write_text(json.dumps(content))
    done = subprocess.run(
        [command("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    found = re.findall(r'expr: (".*"), time: .*\n\s+exp:.*\n\s+got:\s*(.*)', done.stdout + done.stderr)
    assert [json.loads(query) for query, _ in found] == [query for query, _ in asked], done.stdout[:3000] + done.stderr
    return {question: result for question, (_, result) in zip(asked, found, strict=True)}


def read(result: str) -> float:
    """Return the value of the only sample."""
    return float(result.rsplit(" ", 1)[1])


@dataclass(frozen=True)
class Measured:
    """A service with outages of several lengths, and what promtool records about it with this interval.

    Minutes show the shorter windows as they are shipped. Days would take long in minutes, so they are in steps of five.
    """

    interval: str
    pairs: tuple[tuple[str, str, float], ...]
    spans: tuple[tuple[int, int], ...]
    times: tuple[int, ...]
    results: dict[tuple[str, int], str] = field(default_factory=dict)

    @cached_property
    def good(self) -> list[float]:
        return outages(self.times[-1], *self.spans)

    @cached_property
    def total(self) -> list[float]:
        return [1.0] * len(self.good)

    @property
    def windows(self) -> set[str]:
        return {window for long, short, _ in self.pairs for window in (long, short)}

    def measure(self, folder: Path) -> None:
        queries = [*(f"1 - job:health_sli:ratio{window}" for window in sorted(self.windows)), BURN]
        queries += [CONDITIONS[long] for long, _, _ in self.pairs]
        questions = [(query, now) for query in queries for now in self.times]
        series = {name_series("good", SERVICE): self.good, name_series("total", SERVICE): self.total}
        self.results.update(ask(series, questions, folder, self.interval))


HOURS = Measured(
    "1m",
    PAIRS[:2],
    ((7 * HOUR, 7 * HOUR + 2), (10 * HOUR, 10 * HOUR + 30)),
    (*(7 * HOUR + now for now in (1, 2, 3)), *(10 * HOUR + now for now in (10, 40, 100))),
)
DAYS = Measured(
    "5m",
    PAIRS,
    ((2 * DAY, 2 * DAY + 2), (2 * DAY + 600, 2 * DAY + 630), (3 * DAY, 3 * DAY + 7), (3 * DAY + 20, 3 * DAY + 24)),
    (*(2 * DAY + now for now in (5, 610, 640, 700)), *(3 * DAY + now for now in (5, 25)), 4 * DAY),
)


@pytest.fixture(scope="module", params=[HOURS, DAYS], ids=["hours", "days"])
def measured(request, tmp_path_factory):
    request.param.measure(tmp_path_factory.mktemp("slo"))
    return request.param


def test_the_ratios_up_to_an_hour_are_exactly_those_of_sloth(measured):
    for window in measured.windows & {"5m", "30m", "1h"}:
        for now in measured.times:
            assert read(measured.results[f"1 - job:health_sli:ratio{window}", now]) == pytest.approx(
                compute_errors(measured.good, measured.total, window, now), abs=1e-9
            ), (window, now)


def test_the_longer_ratios_are_those_of_sloth_without_the_edges_of_the_window(measured):
    """They sum sums over five minutes. An outage within the last five minutes is still partly missing."""
    for window in measured.windows - {"5m", "30m", "1h"}:
        for now in measured.times:
            expected = compute_errors(measured.good, measured.total, window, now)
            slack = 6 / minutes(window)
            assert read(measured.results[f"1 - job:health_sli:ratio{window}", now]) == pytest.approx(
                expected, abs=slack
            ), (window, now)


def test_the_burn_rates_are_exceeded_exactly_where_sloth_alerts(measured):
    seen = set()
    for now in measured.times:
        for long, short, rate in measured.pairs:
            expected = all(
                compute_errors(measured.good, measured.total, window, now) > rate * 0.001 for window in (long, short)
            )
            seen.add((long, expected))
            assert bool(re.findall("shop", measured.results[CONDITIONS[long], now])) == expected, (long, now)
    assert seen == {(long, expected) for long, _, _ in measured.pairs for expected in (True, False)}


def test_an_alert_is_sent_for_the_first_window_and_not_again_for_a_longer_one(measured):
    windows = {now: re.findall(r'window="(\w+)"', measured.results[BURN, now]) for now in measured.times}

    assert windows[measured.spans[1][0] + 10] == ["1h"]
    assert all(len(found) <= 1 for found in windows.values()), windows


def test_a_total_outage_pages_with_its_first_minute(tmp_path):
    """The conditions of sloth hold then too: one sample of the last hour is more than 1.44 %."""
    start = 2 * HOUR
    good = outages(start + 1, (start, start + 30))
    series = {name_series(name, SERVICE): values for name, values in (("good", good), ("total", [1.0] * len(good)))}
    results = ask(series, [(BURN, start), (BURN, start + 1)], tmp_path)

    assert [re.findall(r'window="(\w+)"', results[BURN, now]) for now in (start, start + 1)] == [[], ["1h"]]
    assert compute_errors(good, [1.0] * len(good), "1h", start + 1) > 14.4 * 0.001


def test_the_most_specific_objective_counts_and_a_second_default_breaks_nothing(tmp_path):
    one = [1.0] * 30
    rests = (
        'job="shop", sli="service"',
        'job="shop", sli="check", check="db", kind="mysql"',
        'job="shop", sli="check", check="search", kind="grpc"',
        'job="bank", sli="service"',
        'job="bank", sli="check", check="search", kind="grpc"',
    )
    series: dict[str, Sequence[float]] = {
        name_series(name, f'cluster="eu", {rest}'): one for rest in rests for name in ("good", "total")
    }
    series |= {
        'health:slo_objective:ratio{cluster="us"}': [0.9] * 30,
        'health:slo_objective:ratio{job="shop"}': [0.99] * 30,
        'health:slo_objective:ratio{job="shop", cluster="us"}': [0.98] * 30,
        'health:slo_objective:ratio{job="shop", check="search"}': [0.95] * 30,
    }
    queries = [(f"job:health_sli:objective{{{rest}}}", 20) for rest in rests]
    results = ask(series, queries, tmp_path)

    assert [read(results[query]) for query in queries] == [0.99, 0.99, 0.95, 0.999, 0.999]


def test_no_alert_fires_on_too_little_history(tmp_path):
    """A job is new and half of it fails: only the alerts about failing checks and replicas report it."""
    good = [float(now % 2) for now in range(40)]
    series = {name_series(name, SERVICE): values for name, values in (("good", good), ("total", [1.0] * 40))}
    results = ask(series, [(BURN, 5), (BURN, 29), (BURN, 31)], tmp_path)

    assert [bool(re.findall(r"window", results[BURN, now])) for now in (5, 29, 31)] == [False, False, True]


def test_a_failing_check_of_severity_info_hides_only_its_own_budget(tmp_path):
    """Nobody receives its alert."""
    end = 12 * HOUR + 30
    series: dict[str, Sequence[float]] = {}
    for job, check in (("shop", "db"), ("bank", "note")):
        labels = f'job="{job}", sli="check", check="{check}"'
        series[name_series("good", labels)] = outages(end, (end - 25, end - 15))
        series[name_series("total", labels)] = outages(end)
        alert = f'alertname="HealthCheckFailing", alertstate="firing", severity="info", job="{job}", check="note"'
        series[f"ALERTS{{{alert}}}"] = outages(end)
    burn = BURN.replace("(window)", "(job)")
    results = ask(series, [(burn, end - 5)], tmp_path, "5m")

    assert re.findall(r'job="(\w+)"', results[burn, end - 5]) == ["shop"]
