"""`POST /-/hold` and `health-exporter hold`: who may suspend restarts, for how long, and what everyone is told."""

import json
import os
import re
import shlex
import signal
from pathlib import Path

import commands
import pytest
from kinds.servers import Server
from stage import Stage, served
from support import Exporter, ended, eventually, free_port

from exporter.model import Group
from exporter.server.users import Users

ROOT = Path(__file__).parents[2]
HOLD = "/-/hold?for=15m&why=debugging%20%3Cb%3E"
UNTIL = "1970-01-12T14:18:20.000Z"


@pytest.fixture
def stage():
    """An exporter with a check whose liveness fails."""
    made = Stage()
    made.show({"api": "F"}, Group.LIVENESS)
    with served(made.dispatch(holds=True)) as made.url:
        yield made


def hold(*arguments, **options):
    return commands.run("hold", "liveness", *arguments, **options)


# The endpoint


def test_it_is_off_by_default():
    made = Stage()
    made.show({"api": "F"})
    with served(made.dispatch(reload=lambda: None)) as made.url:
        refused = made.get(HOLD, "POST")

        assert (refused.status, refused.text) == (403, "Holds are off; --web.enable-hold turns them on.\n")
        assert made.get("/livez").status == 503


def test_it_suspends_restarts_for_every_client_of_liveness(stage):
    answer = stage.get(HOLD, "POST")

    assert (answer.status, answer.text) == (200, f"restarts are suspended until {UNTIL}: debugging <b>\n")
    assert (stage.get("/livez").status, stage.get("/livez/api").status, stage.get("/livez?verbose").status) == (
        200,
    ) * 3
    assert stage.get("/healthz").status == 503


def test_only_post_without_origin_may_do_that(stage):
    assert [stage.get(HOLD, method).status for method in ("GET", "HEAD", "PUT", "DELETE")] == [405] * 4
    assert stage.get(HOLD, "POST", Origin="https://elsewhere.example").status == 403
    assert stage.get(HOLD, "POST", Origin="null").status == 403
    assert stage.get("/livez").status == 503


def test_a_listener_for_probes_does_not_have_it(stage):
    with served(stage.probes_only()) as stage.url:
        assert stage.get(HOLD, "POST").status == 404
        assert stage.get("/livez").status == 503


@pytest.mark.parametrize(
    "query",
    [
        "",
        "for=15m",
        "why=x",
        "for=15m&why=",
        "for=2h&why=x",
        "for=x&why=x",
        "for=nan&why=x",
        "for=15m&why=x&end",
        "end&x",
        "for=1m&for=2m&why=x",
        "for=1m&why=x&why=y",
    ],
)
def test_an_invalid_request_changes_nothing(stage, query):
    generation = stage.get("/livez").generation
    answer = stage.get(f"/-/hold?{query}", "POST")

    assert answer.status == 400
    assert len(answer.text) > 30
    assert stage.get("/livez").generation == generation


def test_where_there_are_users_it_requires_a_password():
    made = Stage()
    made.show({"api": "F"})
    with served(made.dispatch(users=Users(lambda: {"prometheus": b"$2b$04$"}), holds=True)) as made.url:
        assert made.get(HOLD, "POST").status == 401
        assert made.store.snapshot().hold is None


# What clients see


def test_the_reason_is_shown_on_the_web_listener_only(stage):
    stage.get(HOLD, "POST")
    for path in ("/livez", "/livez?verbose", "/livez/api", "/livez?format=json", "/livez?exclude=api"):
        assert "debugging <b>" in stage.get(path).text, path
    assert "debugging &lt;b&gt;" in stage.get("/").text
    assert "debugging" not in stage.get("/readyz?verbose").text
    with served(stage.probes_only()) as stage.url:
        for path in ("/livez", "/livez?verbose", "/livez/api", "/livez?format=json", "/livez?exclude=api"):
            shown = stage.get(path).text
            assert "restarts are suspended until 19" in shown or '"until": "19' in shown, path
            assert "debugging" not in shown, path


def test_a_verdict_that_is_held_has_the_grammar_of_the_others(stage):
    stage.get(HOLD, "POST")
    line = re.escape("[+]hold ok: restarts are suspended until ") + r"\S+Z: debugging <b>\n"

    assert re.fullmatch(rf"\[-\]api failed: connect\n{line}livez check passed\n", stage.get("/livez").text)
    assert re.fullmatch(rf"api failed: connect\n{line}", stage.get("/livez/api").text)
    health = json.loads(stage.get("/livez?format=json").text)
    assert (health["status"], health["checks"]["api"][0]["status"]) == ("warn", "fail")
    assert health["hold"].keys() == {"until", "why"}
    assert health["notes"] == [f"restarts are suspended until {health['hold']['until']}: debugging <b>"]


def test_no_response_of_200_is_noted_as_a_failure(stage):
    stage.get(HOLD, "POST")
    stage.get("/livez")
    stage.get("/livez/api")

    assert stage.answered.entries() == ()


# The command


def test_the_command_begins_and_ends_a_hold(stage):
    begun = hold("--for", "15m", "--why", "a & b", "--url", stage.url)
    asked = commands.run("ask", "livez", "--url", stage.url)
    over, again = (hold("--end", "--url", stage.url) for _ in range(2))

    assert (begun.returncode, begun.stderr) == (0, "")
    assert re.fullmatch(r"restarts are suspended until \S+Z: a & b\n", begun.stdout)
    assert asked.returncode == 0
    assert re.match(rf"livez: warn, generation \d+\n{re.escape(begun.stdout)}api \(", asked.stdout)
    assert (over.returncode, over.stdout) == (0, "restarts are no longer suspended\n")
    assert (again.returncode, again.stdout) == (0, "restarts are not suspended\n")


def test_the_commands_of_the_guide_work(stage):
    lines = re.findall(r"health-exporter (hold liveness .*)", (ROOT / "docs" / "holds.md").read_text())

    assert len(lines) == 3
    for line in lines:
        assert commands.run(*shlex.split(line), "--url", stage.url).returncode == 0, line


def test_ask_accepts_a_list_with_200(stage, monkeypatch):
    """An exporter that is too busy for JSON sends plain text."""
    stage.store.hold(60, "x")
    monkeypatch.setattr("exporter.server.dispatch.Dispatcher._submit", lambda *_: False)
    asked = commands.run("ask", "livez", "--url", stage.url)

    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.endswith(": x\nlivez check passed\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--for", "15m"],
        ["--why", "x"],
        ["--for", "15m", "--why", ""],
        ["--for", "0", "--why", "x"],
        ["--for", "long", "--why", "x"],
        ["--end", "--why", "x"],
        ["--end", "--for", "15m"],
    ],
)
def test_a_command_line_without_time_or_reason_is_invalid(stage, arguments):
    assert hold(*arguments, "--url", stage.url).returncode == 2
    assert stage.store.snapshot().hold is None


def test_only_liveness_can_be_held(stage):
    for group in ("readiness", "startup", "all"):
        assert commands.run("hold", group, "--for", "15m", "--why", "x", "--url", stage.url).returncode == 2


def test_a_refusal_is_explained(stage):
    refused = hold("--for", "2h", "--why", "x", "--url", stage.url)
    with served(stage.probes_only()) as url:
        other = hold("--for", "1h", "--why", "x", "--url", url)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"{stage.url}/-/hold returned 400: a hold lasts more than 0 and at most 3600 seconds\n"
    assert other.returncode == 2
    assert other.stderr.startswith(f"{url}/-/hold returned 404: use a web listener in --url; ")


def test_without_an_exporter_nothing_is_known():
    server = Server((b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",))
    gone = hold("--end", "--url", f"http://127.0.0.1:{free_port()}")
    other = hold("--end", "--url", f"http://127.0.0.1:{server.port}")
    server.close()

    assert (gone.returncode, other.returncode) == (3, 3)
    assert "Connection refused" in gone.stderr
    assert other.stderr.endswith("did not respond like a health exporter\n")


# The process

CONFIG = """
checks:
  - name: api
    exec: {command: ["false"]}
    periodSeconds: 1
    failureThreshold: 1
    groups: [liveness, readiness]
"""


def test_a_process_expires_a_hold_and_forgets_it_with_its_worker(tmp_path):
    """Without a request, too: the log has the end."""
    config, probe = tmp_path / "health.yml", free_port()
    config.write_text(CONFIG)
    with ended(
        Exporter("--web.enable-hold", "--probe.listen-address", f"127.0.0.1:{probe}", config=config)
    ) as exporter:
        eventually(lambda: exporter.get("/livez").status == 503)
        assert hold("--for", "1s", "--why", "short", "--url", exporter.url).returncode == 0
        exporter.line("restarts are no longer suspended: the hold expired")
        eventually(lambda: exporter.get("/livez").status == 503)

        assert hold("--for", "1h", "--why", "long", "--url", exporter.url).returncode == 0
        metrics = exporter.metrics()
        assert metrics['health_group_up{group="liveness"}'] == 1
        assert metrics['health_group_up{group="readiness"}'] == 0
        assert metrics['health_check_up{check="api",kind="exec"}'] == 0
        assert 'health_group_hold_expiry_timestamp_seconds{group="liveness"}' in metrics
        runs = metrics['health_check_runs_total{check="api",kind="exec"}']
        eventually(lambda: exporter.metrics()['health_check_runs_total{check="api",kind="exec"}'] > runs)
        assert commands.run("ask", "livez", "--url", f"http://127.0.0.1:{probe}").returncode == 0

        kill_worker(exporter)
        eventually(lambda: exporter.get("/livez").status == 503)
        assert 'health_group_hold_expiry_timestamp_seconds{group="liveness"}' not in exporter.metrics()


def kill_worker(exporter):
    before = exporter.worker
    os.kill(before, signal.SIGKILL)
    eventually(lambda: exporter.worker != before)
