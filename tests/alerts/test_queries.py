"""The queries of docs/queries.md return what the page says, from what simulated exporters expose."""

import json
import re
import subprocess
from dataclasses import replace

import pytest
from alerts.incidents import down
from alerts.pods import DAY, MINUTE, STEP, Watch, deploy
from alerts.rules import ALERTS
from alerts.timeline import build_series, write_values
from support import command

from exporter.evaluation.settle import settle
from exporter.model import STREAK_BOUNDS, Result, Spec, State

PAGE = (ALERTS.parent / "docs" / "queries.md").read_text()
QUERIES = [
    (heading, query)
    for heading, text in re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    for query in re.findall(r"^```promql\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
]
MINUTES = 120
AT = MINUTES * MINUTE + 5  # seconds; not on the edge of a range, which Prometheus 2 includes and Prometheus 3 does not
LABELS = ("check", "reason")
NOBODY = frozenset()
CHECKS = (
    Watch("api", ((0, "slow"),), "httpGet"),
    # streaks of 3, 3, 5 and 90 failed runs, and one that goes on
    Watch(
        "database",
        (
            *((0, "pass"), (20, "connect"), (20.1, "pass"), (30, "connect"), (30.1, "pass"), (40, "connect")),
            *((40.15, "pass"), (50, "connect"), (53, "pass"), (119, "timeout")),
        ),
    ),
    replace(down("cache", 60, 90, "flap"), groups=NOBODY),  # 15 times a minute of failures
    down("late", 120, 121, "body"),  # one failed run, and a failureThreshold of 2
    Watch("certificate", kind="certificate", groups=NOBODY, expires=MINUTES + 10 * DAY / MINUTE),
)
RESULTS = [  # by check and reason: the sum over everything else, rounded to the unit
    ("Which checks are not healthy now, and why?", 1, {("database", "timeout"): 2}),
    ("Which checks are not healthy now, and why?", 1, {("late",): 2}),
    ("Which checks keep replicas out of service?", 1, {("database",): 2}),
    ("Which checks keep replicas out of service?", 1, {("database",): 6}),
    ("Which checks are flapping?", 1, {("cache",): 60}),
    ("Which certificates expire soon?", 1, {("certificate",): 10}),
    (
        "Which endpoints are slow?",
        0.01,
        {("api",): 0.9, ("database",): 0.02, ("cache",): 0.02, ("late",): 0.02},
    ),
    (
        "Which endpoints are slow?",
        0.01,
        {("api",): 0.9, ("database",): 0.04, ("cache",): 0.02, ("late",): 0.02, ("certificate",): 0.02},
    ),
    (
        "How available was a check?",
        0.01,
        {("api",): 1, ("database",): 0.97, ("cache",): 0.91, ("late",): 1, ("certificate",): 1},
    ),
    (
        "How often did checks fail, and why?",
        1,
        {("cache", "connect"): 900, ("database", "connect"): 0, ("database", "timeout"): 62, ("late", "body"): 2},
    ),
    ("What would another failureThreshold have done?", 1, {("database",): 4, ("cache",): 30}),
]


@pytest.fixture(scope="module")
def series():
    """The series of two replicas with the metrics of the page."""
    names = frozenset(re.findall(r"\bhealth_[a-z0-9_]+", " ".join(query for _, query in QUERIES)))
    found = build_series(deploy(2, *CHECKS), (), MINUTES, names)
    assert {name.partition("{")[0] for name in found} == names | {"up", "process_start_time_seconds"}
    return found


def test_every_query_is_tested():
    assert len(QUERIES) == PAGE.count("```promql")
    assert [heading for heading, *_ in RESULTS] == [heading for heading, _ in QUERIES]


@pytest.mark.parametrize(
    ("query", "unit", "results"),
    [(query, unit, results) for (_, query), (_, unit, results) in zip(QUERIES, RESULTS, strict=True)],
)
def test_a_query_returns_what_the_page_says(series, query, unit, results, tmp_path):
    expected = {
        "expr": f"round(sum by (check, reason) ({query}), {unit})",
        "eval_time": f"{AT}s",
        "exp_samples": [
            {"labels": write_labels(dict(zip(LABELS, labels, strict=False))), "value": value}
            for labels, value in results.items()
        ],
    }
    values = [{"series": name, "values": write_values(values)} for name, values in series.items()]
    case = {"interval": f"{STEP}s", "input_series": values, "promql_expr_test": [expected]}
    test = tmp_path / "queries.test.yml"
    test.write_text(json.dumps({"tests": [case]}))
    done = subprocess.run([command("promtool"), "test", "rules", str(test)], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def write_labels(labels):
    """Return the labels in PromQL's notation."""
    pairs = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{{{pairs}}}"


def test_the_table_of_thresholds_has_the_buckets_of_the_histogram():
    thresholds, buckets = (re.findall(r"[\d.]+|none", row) for row in re.findall(r"^\| \w.*", PAGE, re.MULTILINE))

    assert dict(zip(map(int, thresholds), buckets, strict=True)) == {
        1: "none",
        **{bound + 1: f"{bound:.1f}" for bound in STREAK_BOUNDS},
    }


def test_the_numbers_of_the_scene_are_those_of_another_failure_threshold():
    """The runs of the check `database`, settled with the thresholds of the page."""
    (database,) = (watch for watch in CHECKS if watch.name == "database")
    times = range(0, MINUTES * MINUTE + 1, database.period)
    failed = {}
    for threshold in (2, 3, 5, 10):
        state = State(Spec("database", "mysql", failure_threshold=threshold))
        for now in times:
            outcome, _ = database.run(now)
            state = settle(state, Result(outcome, now, now, 0))
        failed[threshold] = (state.transitions - 1) // 2  # the one of the end has not recovered

    assert failed == {2: 4, 3: 4, 5: 2, 10: 1}
