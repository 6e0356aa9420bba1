"""The reports of `check` for programs: each as its readers define it."""

import re
import subprocess
from xml.etree import ElementTree as ET

import pytest
import yaml
from make import FAIL, UNKNOWN, result, settled, snapshot, spec
from support import command

from exporter.evaluation.judge import judge
from exporter.evaluation.settle import settle
from exporter.model import Group, Measurement, Outcome, Reason, Snapshot, State, Verdict
from exporter.render import junit, nagios, tap
from exporter.render.metrics import render_textfile

NUMBERS = (
    Measurement("endpoint_latency_seconds", 0.000015),
    Measurement("disk_size_bytes", 1e15),
    Measurement("load_ratio", 0.75, warn=0.7, fail=0.9),
    Measurement("certificate_remaining_seconds", -60, warn=864000, fail=86400, falling=True),
    Measurement("last_success_timestamp_seconds", 1.7e9),
    Measurement("oom_kills_total", 3),
)


def once(name: str, outcome: Outcome, **options: object) -> State:
    """A check after one run."""
    return settle(State(spec(name, failure_threshold=1, **options)), result(outcome))


def judged(*states: State, group: Group = Group.ALL) -> tuple[Snapshot, Verdict]:
    shown = snapshot(states)
    return shown, judge(shown, group)


RUNS = (
    once("api", Outcome.passed("answered 200", *NUMBERS), kind="httpGet"),
    once("load", Outcome.measured("load is 0.75", Measurement("load_ratio", 0.75, 0.7, 0.9))),
    once("mysql", Outcome.failed(Reason.CONNECT, 'refused | "quoted" <tag> & # 健康')),
    once("warm", Outcome(UNKNOWN.status, Reason.MISSING, "cat: no such command"), kind="exec"),
    State(spec("stuck", kind="tcpSocket")),
)


# Nagios


@pytest.mark.parametrize(
    ("letters", "group", "state"),
    [
        ("", Group.ALL, nagios.PluginState.OK),
        ("P", Group.ALL, nagios.PluginState.OK),
        ("PW", Group.ALL, nagios.PluginState.WARNING),
        ("PWF", Group.ALL, nagios.PluginState.CRITICAL),
        ("UF", Group.ALL, nagios.PluginState.CRITICAL),
        ("WU", Group.ALL, nagios.PluginState.UNKNOWN),
        ("U", Group.LIVENESS, nagios.PluginState.OK),
    ],
)
def test_the_state_of_a_plugin(letters, group, state):
    groups = frozenset({group, Group.ALL})
    states = [settled(each, name=f"c{n}", failure_threshold=1, groups=groups) for n, each in enumerate(letters)]
    shown, verdict = judged(*states, group=group)

    assert nagios.find_state(verdict) is state
    assert nagios.render(shown, verdict).startswith(f"HEALTH {state.name} - ")


def test_the_line_of_a_plugin_has_problems_and_performance_data():
    line = nagios.render(*judged(*RUNS))
    text, bar, data = line.partition(" | ")

    assert "\n" not in line
    assert bar
    assert text == (
        "HEALTH CRITICAL - 1 fail, 2 unknown, 1 warn of 5 checks: "
        'mysql (connect): refused ¦ "quoted" <tag> & # 健康; warm (missing): cat: no such command; '
        "stuck (pending): did not end in time; load (threshold): load is 0.75: warn limit 70 % reached"
    )
    assert data.split(" ") == [
        "'api_endpoint_latency_seconds'=0.000015s;;",
        "'api_disk_size_bytes'=1000000000000000.0B;;",
        "'api_load_ratio'=0.75;0.7;0.9",
        "'api_certificate_remaining_seconds'=-60s;864000:;86400:",
        "'api_last_success_timestamp_seconds'=1700000000.0;;",
        "'api_oom_kills_total'=3c;;",
        "'load_load_ratio'=0.75;0.7;0.9",
    ]


def test_a_plugin_describes_a_limited_number_of_problems():
    line = nagios.render(*judged(*(once(f"c{number}", FAIL) for number in range(12))))

    assert line.endswith("; 2 more")
    assert line.count("c1") == 1


def test_a_plugin_describes_a_problem_in_limited_length():
    line = nagios.render(*judged(once("long", Outcome.failed(Reason.ERROR, "x" * 500))))

    assert line.partition(": ")[2] == f"long (error): {'x' * (nagios.MAX_PROBLEM - 15)}…"


# JUnit


def test_a_junit_report_has_one_case_for_each_check():
    (suite,) = ET.fromstring(junit.render(*judged(*RUNS)))
    found = suite.findall("testcase")

    assert [case.get("name") for case in found] == ["api", "load", "mysql", "warm", "stuck"]
    assert [case.get("classname") for case in found[:2]] == ["health-exporter.httpGet", "health-exporter.scripted"]
    assert [[child.tag for child in case] for case in found] == [[], [], ["failure"], ["error"], ["error"]]
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["5", "1", "2", "0"]
    assert found[2][0].attrib == {"type": "connect", "message": 'refused | "quoted" <tag> & # 健康'}
    assert found[0].get("time") == "0.010"
    assert (
        "load: warn, threshold: load is 0.75: warn limit 70 % reached" in suite.findtext("system-out", "").splitlines()
    )


def test_a_junit_report_has_what_the_schemas_of_ant_and_jenkins_require():
    root = ET.fromstring(junit.render(*judged(*RUNS)))
    (suite,) = root

    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    assert [child.tag for child in suite] == ["properties", *["testcase"] * 5, "system-out", "system-err"]
    assert {*suite.attrib} == {
        *("id", "name", "package", "hostname", "timestamp", "time", "tests", "failures", "errors", "skipped")
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", "")), "without a time zone"


# TAP


def test_prove_reads_the_tap(tmp_path):
    """Prove is part of Perl, which git requires."""
    (tmp_path / "health.tap").write_text(tap.render(*judged(*RUNS)) + "\n", encoding="utf-8")
    done = subprocess.run([command("prove"), "-v", "--exec", "cat", "health.tap"], cwd=tmp_path, capture_output=True)
    printed = done.stdout.decode()

    assert done.returncode == 1, done.stderr
    assert "Failed 3/5 subtests" in printed
    assert "Parse errors" not in printed


def test_a_test_that_did_not_pass_has_a_yaml_block():
    text = tap.render(*judged(*RUNS))
    found = re.findall(r"^  ---\n(.*?)^  \.\.\.$", text, re.DOTALL | re.MULTILINE)

    assert text.splitlines()[:3] == ["TAP version 13", "1..5", "ok 1 - api (httpGet)"]
    assert [yaml.safe_load(block)["reason"] for block in found] == ["threshold", "connect", "missing", "pending"]
    assert yaml.safe_load(found[1])["message"] == 'refused | "quoted" <tag> & # 健康'


# Prometheus


def test_promtool_accepts_the_textfile():
    text = render_textfile(judged(*RUNS)[0], Group)
    done = subprocess.run([command("promtool"), "check", "metrics"], input=text, capture_output=True)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_textfile_has_what_one_run_knows():
    text = render_textfile(judged(*RUNS)[0], [Group.ALL]).decode()

    assert 'health_check_up{check="api",kind="httpGet"} 1.0' in text
    assert 'health_endpoint_latency_seconds{check="api",kind="httpGet"} 1.5e-05' in text
    assert 'health_oom_kills_total{check="api",kind="httpGet"} 3.0' in text
    assert 'health_check_reason{check="mysql",kind="scripted",reason="connect"} 1.0' in text
    assert re.findall("^health_group_up.*", text, re.MULTILINE) == ['health_group_up{group="all"} 0.0']
    assert "\nhealth_snapshot_timestamp_seconds " in text
    for absent in ("process_", "health_exporter_", "_runs_total", "_failures_total", "period_seconds", "generation"):
        assert absent not in text


def test_a_group_without_all_its_checks_has_no_verdict():
    assert not re.search("^health_group_up", render_textfile(judged(*RUNS)[0], []).decode(), re.MULTILINE)
