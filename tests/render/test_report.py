"""The report of `health-exporter check`: aligned for people, exact for programs."""

import json
import re

import pytest
from make import FAIL, PASS, UNKNOWN, WARN, result, settled, snapshot, spec
from render.scene import golden, scene

from exporter.evaluation.judge import judge
from exporter.evaluation.settle import settle
from exporter.model import Group, Measurement, Outcome, Reason, Snapshot, State
from exporter.render.columns import measure
from exporter.render.report import render_json, render_text


def once(name: str, outcome: Outcome, **options: object) -> State:
    """A check after one run, as in `health-exporter check`."""
    return settle(State(spec(name, failure_threshold=1, **options)), result(outcome))


RUNS = (
    once("api", Outcome.passed("http://127.0.0.1:80/ answered 200", Measurement("endpoint_latency_seconds", 0.00321))),
    once(
        "load",
        Outcome.measured("load is 75 % of the CPUs", Measurement("load_ratio", 0.75, 0.7, 0.9), Measurement("cpus", 2)),
    ),
    once("disk", Outcome.measured("97 % is in use", Measurement("disk_used_ratio", 0.97, None, 0.9))),
    once("mysql", Outcome.failed(Reason.CONNECT, "127.0.0.1:3306: Connection refused")),
    once("warm", Outcome(UNKNOWN.status, Reason.MISSING, "cat: no such command"), kind="exec"),
    State(spec("stuck", kind="tcpSocket")),
)


def report(*states: State, group: Group = Group.ALL, color: bool = False) -> str:
    shown = snapshot(states)
    return render_text(shown, judge(shown, group), color=color)


def test_the_report_for_people():
    golden("report.txt", report(*RUNS) + "\n")


def test_the_report_on_a_terminal_has_colors():
    golden("report.color.txt", report(*RUNS, color=True) + "\n")


def test_the_report_of_everything_there_can_be():
    golden("report.scene.txt", render_text(scene(), judge(scene(), Group.READINESS), color=False) + "\n")


def test_the_report_as_json():
    golden("report.json", render_json(snapshot(RUNS), judge(snapshot(RUNS), Group.ALL)) + "\n")


def test_color_changes_nothing_else():
    assert re.sub(r"\x1b\[[0-9;]*m", "", report(*RUNS, color=True)) == report(*RUNS)


def test_the_columns_stand_under_each_other():
    names = ["a", "a-name-of-some-length", "another"]
    lines = report(*[once(name, PASS, kind="exec") for name in names]).splitlines()[:3]

    assert len({line.index("exec") for line in lines}) == 1
    assert len({line.index("well") for line in lines}) == 1


def test_the_columns_stand_under_each_other_after_a_long_name_and_a_wide_one():
    lines = report(*[once(name, PASS, kind="exec") for name in ("n" * 63, "a", "健康")]).splitlines()[:3]

    assert {measure(line.partition("exec")[0]) for line in lines} == {8 - 2 + 63 + 2}


LONG = "x" * 30 + " and many more words than the columns of a terminal can hold, one after the other, 健康 until here"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_line_fits_the_terminal(width):
    states = [once("n" * 63, Outcome.failed(Reason.CONNECT, LONG)), *RUNS]
    shown = snapshot(states)
    text = render_text(shown, judge(shown, Group.ALL), color=False, width=width)
    colored = render_text(shown, judge(shown, Group.ALL), color=True, width=width)

    assert max(map(measure, text.splitlines())) <= (width if width > 40 else 60)
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == text
    assert "".join(LONG.split()) in "".join(text.split())


def test_a_summary_that_does_not_fit_is_below_its_check():
    golden("report.80.txt", render_text(snapshot(RUNS), judge(snapshot(RUNS), Group.ALL), color=False, width=80) + "\n")


def test_no_line_ends_in_spaces():
    assert not re.search(r" +$", report(*RUNS, once("mute", Outcome.passed(""))), re.MULTILINE)


def test_what_is_wrong_comes_first():
    states = [once("p", PASS), once("w", WARN), once("u", UNKNOWN), once("f", FAIL), once("p2", PASS)]
    words = [line.split()[:2] for line in report(*states).splitlines()[:5]]

    assert words == [["FAIL", "f"], ["UNKNOWN", "u"], ["WARN", "w"], ["PASS", "p"], ["PASS", "p2"]]


def test_a_check_that_could_not_look_says_why():
    (line, *_) = report(RUNS[4]).splitlines()

    assert line == "UNKNOWN  warm  exec  missing   10.0 ms  cat: no such command"


def test_a_check_that_did_not_end_has_no_duration_and_says_so():
    (line, *_) = report(RUNS[5]).splitlines()

    assert line == "UNKNOWN  stuck  tcpSocket  pending            did not end in time"


@pytest.mark.parametrize(
    ("letters", "group", "last"),
    [
        ([], Group.ALL, "verdict: pass (no checks)"),
        (["P"], Group.ALL, "verdict: pass (1 check, all pass)"),
        (["P", "W"], Group.ALL, "verdict: warn (1 warn of 2 checks)"),
        (["P", "F"], Group.ALL, "verdict: fail (1 fail of 2 checks)"),
        (["U"], Group.ALL, "verdict: fail (1 unknown of 1 check)"),
        (["U"], Group.LIVENESS, "liveness: pass (1 unknown of 1 check)"),
        (["U"], Group.READINESS, "readiness: fail (1 unknown of 1 check)"),
    ],
)
def test_the_last_line_is_the_verdict(letters, group, last):
    groups = frozenset({group, Group.ALL})
    states = [settled(each, name=f"c{n}", failure_threshold=1, groups=groups) for n, each in enumerate(letters)]

    assert report(*states, group=group).splitlines()[-1] == last


def test_the_json_has_exactly_these_keys():
    written = json.loads(render_json(snapshot(RUNS, generation=7), judge(snapshot(RUNS), Group.ALL)))

    assert list(written) == ["generation", "status", "checks"]
    assert (written["generation"], written["status"]) == (7, "fail")
    for check in written["checks"]:
        assert list(check) == ["name", "kind", "status", "reason", "summary", "durationSeconds", "measurements"]


def test_the_json_lists_the_checks_in_the_order_of_the_configuration():
    written = json.loads(render_json(snapshot(RUNS), judge(snapshot(RUNS), Group.ALL)))

    assert [check["name"] for check in written["checks"]] == ["api", "load", "disk", "mysql", "warm", "stuck"]


def test_nothing_checked_is_a_list_of_nothing():
    nothing = Snapshot(1, 0.0, {})

    assert json.loads(render_json(nothing, judge(nothing, Group.ALL))) == {
        "generation": 1,
        "status": "pass",
        "checks": [],
    }
