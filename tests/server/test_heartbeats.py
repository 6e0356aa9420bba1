"""`POST /heartbeat/NAME`: who may send heartbeats, and that they survive the exporter."""

import os
import signal
from textwrap import dedent

import pytest
from make import check
from stage import Stage, served
from support import Exporter, ended, eventually, get

from exporter.evaluation.run import run
from exporter.kinds.heartbeat import Heartbeat
from exporter.model import Beat
from exporter.probe.check import Check
from exporter.server.users import Users

TOKEN = "a-token-of-the-backup"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PATH = "/heartbeat/backup"


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv("BACKUP_TOKEN", TOKEN)


def make_check(name="backup"):
    probe = Heartbeat(max_age_seconds=60.0, token={"env": "BACKUP_TOKEN"})
    return Check(check(name, kind="heartbeat").spec, probe)


@pytest.fixture
def stage():
    """An exporter with a check that waits for heartbeats and one that does not."""
    made = Stage()
    made.watch(make_check(), check("api"))
    run(made.checks["backup"])
    with served(made.dispatch()) as made.url:
        yield made


def find_beat(stage):
    return stage.store.history.beats.get("backup")


def test_a_heartbeat_is_received(stage):
    answer = stage.get(PATH, "POST", **BEARER)

    assert (answer.status, answer.text) == (200, "ok\n")
    assert answer.headers["Health-Generation"] == str(stage.store.snapshot().generation)
    now = stage.clock.now
    assert find_beat(stage) == Beat("backup", 1_000_000 + now, now, stage.store.snapshot().generation)


def test_a_job_reports_its_exit_code(stage):
    assert stage.get(f"{PATH}?exitCode=3", "POST", **BEARER).status == 200
    assert find_beat(stage).exit_code == 3


@pytest.mark.parametrize("query", ["exitCode=", "exitCode=-1", "exitCode=256", "exitCode=x", "status=fail", "x"])
def test_another_parameter_is_refused(stage, query):
    answer = stage.get(f"{PATH}?{query}", "POST", **BEARER)

    assert answer.status == 400
    assert "exitCode, from 0 to 255" in answer.text
    assert find_beat(stage) is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff"]
)
@pytest.mark.parametrize("path", [PATH, "/heartbeat/api", "/heartbeat/none"])
def test_a_stranger_learns_nothing(stage, path, header):
    answer = stage.get(path, "POST", **({"Authorization": header} if header else {}))

    assert (answer.status, answer.text, answer.headers["WWW-Authenticate"]) == (401, "401 Unauthorized\n", "Bearer")
    assert find_beat(stage) is None


def test_a_check_of_another_kind_receives_none_with_any_token(stage):
    assert stage.get("/heartbeat/api", "POST", **BEARER).status == 401


def test_only_post_is_a_heartbeat(stage):
    assert [stage.get(PATH, method, **BEARER).status for method in ("GET", "HEAD", "PUT", "DELETE")] == [405] * 4
    assert find_beat(stage) is None


def test_a_listener_for_probes_does_not_receive_heartbeats(stage):
    with served(stage.probes_only()) as stage.url:
        assert stage.get(PATH, "POST", **BEARER).status == 404


def test_until_a_run_has_read_the_token_the_job_tries_again():
    made = Stage()
    made.watch(make_check())
    with served(made.dispatch()) as made.url:
        answer = made.get(PATH, "POST", **BEARER)

    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


def test_with_passwords_a_heartbeat_needs_only_its_token(stage):
    with served(stage.dispatch(users=Users(lambda: {"somebody": b"$2b$04$" + b"x" * 53}))) as stage.url:
        assert stage.get("/", **BEARER).status == 401
        assert stage.get(PATH, "POST").status == 401
        assert stage.get(PATH, **BEARER).status == 401
        assert stage.get(PATH, "POST", **BEARER).status == 200


# The process

CONFIG = """
    checks:
      - name: backup
        heartbeat: {maxAgeSeconds: 3600, token: {env: BACKUP_TOKEN}}
        periodSeconds: 1
    """


def start(path, *arguments):
    return Exporter("--history.file", str(path.with_name("history.jsonl")), *arguments, config=path)


def send(exporter, query=""):
    eventually(lambda: get(f"{exporter.url}{PATH}{query}", "POST", BEARER).status == 200, what="the token was read")


def wait_for(exporter, status):
    sample = f'health_check_status{{check="backup",kind="heartbeat",status="{status}"}}'
    eventually(lambda: exporter.metrics().get(sample) == 1, what=f"the check is {status}")


def test_a_heartbeat_survives_a_restart_a_crash_and_a_reload(tmp_path):
    path = tmp_path / "health.yml"
    path.write_text(dedent(CONFIG))
    with ended(start(path)) as exporter:
        send(exporter)
        wait_for(exporter, "pass")
    with ended(start(path, "--web.enable-lifecycle")) as exporter:
        wait_for(exporter, "pass")
        os.kill(exporter.worker, signal.SIGKILL)
        eventually(lambda: get(f"{exporter.url}/-/reload", "POST").status == 200, what="another worker responds")
        wait_for(exporter, "pass")
        path.write_text(dedent(CONFIG).replace("3600", "7200"))
        assert get(f"{exporter.url}/-/reload", "POST").status == 200
        wait_for(exporter, "pass")
        send(exporter, "?exitCode=1")
        wait_for(exporter, "fail")
