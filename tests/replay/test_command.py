"""`health-exporter replay`, from the history file to the table."""

import json
import socket

import pytest
from click.testing import CliRunner
from make import FAIL, PASS, check, in_groups
from support import Clock

from exporter.cli.main import cli
from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.entries import encode
from exporter.evaluation.history import Event
from exporter.evaluation.store import Store
from exporter.model import Group, Result

BEGIN = 1_772_355_600  # 2026-03-01T09:00:00Z
CONFIG = """
checks:
  - name: api
    httpGet: {port: 80}
    failureThreshold: 5
    groups: [liveness, readiness]
"""


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """An hour of a check every 10 s, with outages of 3 and of 30 failed runs, and a kubelet every 10 s."""
    path = tmp_path_factory.mktemp("replay") / "history.jsonl"
    clock, lines = Clock(0.0), []
    store, answers = Store(clock, lambda: BEGIN + clock.now), AnswerLog(lambda: BEGIN + clock.now)
    store.history.sink = lambda entry: lines.append(encode(entry))
    store.note(Event.STARTED)
    (api,) = store.configure([check(groups=in_groups(Group.LIVENESS, Group.READINESS))])
    for number in range(360):
        failing = 100 <= number < 103 or 200 <= number < 230
        clock.advance(5)
        store.record(api, Result(FAIL if failing else PASS, BEGIN + clock.now, clock.now, 0.0))
        clock.advance(5)
        up = store.snapshot().states["api"].status != "fail"
        for route in ("/livez", "/readyz"):
            answers.note(route, 200 if up else 503, ["api (connect)"], 1, kubelet=True)
    store.note(Event.STOPPED)
    path.write_text("".join(f"{line}\n" for line in [*lines, *map(encode, answers.entries())]))
    return path


def run(*arguments):
    return CliRunner().invoke(cli, ["replay", *map(str, arguments)], standalone_mode=False)


def rows(history, *arguments):
    done = run("--history.file", history, "--format", "json", *arguments)
    assert done.return_value == 0
    return {row["name"]: row for row in json.loads(done.output)["variants"]}


def exact(number):
    return {"min": number, "max": number}


def test_the_table_compares_each_variant_with_what_happened(history):
    probes = ("--kubelet", "liveness.failureThreshold=1", "--kubelet", "readiness.periodSeconds=10")
    done = run("--history.file", history, "--set", "api.failureThreshold=3,4", *probes)

    assert done.return_value == 0
    assert done.output.partition("\n\n")[0].splitlines() == [
        "variant                 restarts  unready         /livez 503  /readyz 503  outages noticed  after",
        "as recorded             2         4.5 to 4.7 min  4.8 min     4.9 min      2 of 2           20.0 s",
        "api.failureThreshold=3  2         4.5 to 4.7 min  4.8 min     4.9 min      2 of 2           20.0 s",
        "api.failureThreshold=4  1         4.3 to 4.5 min  4.5 min     4.6 min      1 of 2           30.0 s",
    ]
    assert "Covers 2026-03-01T09:00:00Z to 2026-03-01T10:00:00Z, 60.0 min." in done.output
    assert "The kubelet: livenessProbe every 10 s, failureThreshold 1" in done.output


def test_the_numbers_are_those_of_the_outages(history):
    found = rows(history, "--set", "api.failureThreshold=2,5", "--kubelet", "readiness.periodSeconds=10")

    assert found["as recorded"]["livezDownSeconds"] == exact(300 - 20 + 10)
    assert found["api.failureThreshold=2"]["livezDownSeconds"] == exact(20 + 290)
    assert found["api.failureThreshold=5"]["livezDownSeconds"] == exact(260)
    assert [row["noticed"] for row in found.values()] == [exact(2), exact(2), exact(1)]
    assert [row["restarts"] for row in found.values()] == [exact(1), exact(1), exact(1)]


def test_groups_and_probes_are_replayed(history):
    found = rows(history, "--set", "api.groups=readiness", "--set", "livenessProbe.failureThreshold=1")

    assert found["api.groups=readiness livenessProbe.failureThreshold=1"]["restarts"] == exact(0)


def test_another_configuration_is_a_variant(history, tmp_path):
    (tmp_path / "new.yml").write_text(CONFIG)
    name = str(tmp_path / "new.yml")
    found = rows(history, "--config.file", name, "--set", "api.failureThreshold=2")

    assert found[f"{name} api.failureThreshold=2"]["livezDownSeconds"] == exact(310)
    assert rows(history, "--config.file", name)[name]["livezDownSeconds"] == exact(260)


def test_a_part_of_the_time_is_replayed(history):
    (recorded,) = rows(history, "--since", "2026-03-01T09:30:00Z", "--until", "2026-03-01T09:45:00Z").values()

    assert (recorded["outages"], recorded["noticed"]) == (1, exact(1))


def test_a_longer_period_has_bounds(history):
    found = rows(history, "--set", "api.periodSeconds=20")["api.periodSeconds=20"]

    assert found["noticed"] == exact(1)
    assert found["noticedAfterSeconds"] == {"min": 40.0, "max": 50.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "api.periodSeconds=5"], "the recorded runs are 10 s apart, and nothing is known in between"),
        (["--set", "api.periodSeconds=15"], "use a multiple, such as 20, 30, 40"),
        (["--set", "web.periodSeconds=20"], "no runs of web are recorded; the checks are: api"),
        (["--since", "2026-03-02T09:00:00Z"], "there is no history, or none of this time"),
        (["--config.file", "missing.yml"], "missing.yml: cannot be read"),
    ],
)
def test_a_question_without_an_answer_is_an_error(history, arguments, message):
    done = run("--history.file", history, *arguments)

    assert message in str(done.exception.format_message())


def test_a_missing_history_is_an_error(tmp_path):
    assert "missing: cannot be read: No such file or directory" in str(
        run("--history.file", tmp_path / "missing").exception
    )
    (tmp_path / "empty").write_text("no history\n")
    assert "empty: has no history that this version can read" in str(
        run("--history.file", tmp_path / "empty").exception
    )


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_an_invalid_time_is_an_error(history, option):
    assert f"{option} must be a time such as" in str(run("--history.file", history, option, "yesterday").exception)


def test_a_duration_counts_back_from_the_end_of_the_file(history):
    done = run("--history.file", history, "--since", "30m")

    assert "Covers 2026-03-01T09:30:00Z to 2026-03-01T10:00:00Z" in done.output


def test_a_wrong_period_of_the_kubelet_is_noticed(history):
    done = run("--history.file", history)

    assert "They came every 10.0 s, not every 6 s: see --kubelet readinessProbe.periodSeconds." in done.output


@pytest.mark.parametrize(
    "sources", [[], ["--history.file", "history.jsonl", "--prometheus.url", "http://127.0.0.1:9090"]]
)
def test_one_source_is_needed(sources):
    assert "give either --history.file or --prometheus.url" in str(run(*sources).exception)


def test_a_prometheus_that_does_not_respond_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    assert "Connection refused" in str(run("--prometheus.url", f"http://127.0.0.1:{port}").exception)
