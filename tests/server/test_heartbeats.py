"""`POST /heartbeat/NAME`: who may send heartbeats, and that they survive the exporter."""

import os
import re
import signal
import subprocess
from dataclasses import replace
from textwrap import dedent

import pytest
from docs.pages import find_blocks
from make import PASS, check
from stage import Stage, served
from support import Clock, Exporter, ended, eventually, get

from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.run import run
from exporter.evaluation.store import Store
from exporter.kinds.heartbeat import Heartbeat
from exporter.model import Beat, Reason, Status
from exporter.probe.check import Check
from exporter.server.history_file import HistoryFile
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
    """The latest heartbeat, if there has been one."""
    beat = stage.store.history.beats["backup"]
    return None if beat.exit_code is None else beat


def test_a_heartbeat_is_received(stage):
    answer = stage.get(PATH, "POST", **BEARER)

    assert (answer.status, answer.text) == (200, "ok\n")
    assert answer.headers["Health-Generation"] == str(stage.store.snapshot().generation)
    now = stage.clock.now
    assert find_beat(stage) == Beat("backup", 1_000_000 + now, now, stage.store.snapshot().generation)


def test_a_job_reports_its_exit_code(stage):
    assert stage.get(f"{PATH}?exitCode=3", "POST", **BEARER).status == 200
    assert find_beat(stage).exit_code == 3


@pytest.mark.parametrize("code", ["", "-1", "256", "x", "0&exitCode=1", "0&status=fail", "0&x"])
def test_another_value_or_parameter_is_refused(stage, code):
    answer = stage.get(f"{PATH}?exitCode={code}", "POST", **BEARER)

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


@pytest.mark.parametrize("path", [PATH, "/heartbeat/api", "/heartbeat/none"])
@pytest.mark.parametrize("token", [TOKEN, "wrong"])
def test_until_a_run_has_read_the_token_every_job_tries_again(path, token):
    """Otherwise a stranger would find out the names of checks."""
    made = Stage()
    made.watch(make_check(), check("api"))
    with served(made.dispatch()) as made.url:
        answer = made.get(path, "POST", Authorization=f"Bearer {token}")
        without = made.get(path, "POST")

    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.text == ("503 Service Unavailable: the token of a check has not been read yet, or cannot be read\n")
    assert without.status == 401


def test_a_token_that_cannot_be_read_keeps_no_other_job_from_its_check(stage):
    other = Heartbeat(max_age_seconds=60.0, token={"env": "ABSENT"})
    stage.watch(stage.checks["backup"], Check(check("other", kind="heartbeat").spec, other))

    assert stage.get(PATH, "POST", **BEARER).status == 200
    assert stage.get("/heartbeat/other", "POST", **BEARER).status == 503


def test_with_passwords_a_heartbeat_needs_only_its_token(stage):
    with served(stage.dispatch(users=Users(lambda: {"somebody": b"$2b$04$" + b"x" * 53}))) as stage.url:
        assert stage.get("/", **BEARER).status == 401
        assert stage.get(PATH, "POST").status == 401
        assert stage.get(PATH, **BEARER).status == 401
        assert stage.get(PATH, "POST", **BEARER).status == 200
        for path in ("/heartbeat/../metrics", "/heartbeat/", "//heartbeat/backup"):
            assert stage.get(path, "POST", **BEARER).headers["WWW-Authenticate"].startswith("Basic"), path


def test_the_commands_of_the_guide_send_heartbeats(stage, tmp_path):
    """The token of the second block is this test's; the port is free."""
    blocks = [block.text for block in find_blocks("docs/heartbeats.md") if block.language == "sh"]
    token, *sending = blocks
    done = subprocess.run(["bash", "-euc", f'{token}echo "${{#BACKUP_TOKEN}}"'], capture_output=True, text=True)
    assert done.stdout == "32\n"
    for block, code in zip(sending, (0, 5), strict=True):
        script = "make-backup() { return 5; }\n" + block.replace("http://127.0.0.1:4584", stage.url)
        done = subprocess.run(["bash", "-uc", script], capture_output=True, text=True)

        assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
        assert find_beat(stage).exit_code == code


# The history file


@pytest.fixture
def past(tmp_path):
    """A Stage with a check that waits for heartbeats, whose history is in a small file."""
    made = Stage()
    made.path = tmp_path / "history.jsonl"
    made.file = HistoryFile(made.path, 32_000, made.store, AnswerLog())
    made.watch(make_check(), check("api"))
    yield made
    made.file._segments.close()


def restart(past, wait=0.0, *checks):
    """The next process, which begins after this time on the wall clock, with another monotonic clock.

    It loads its configuration before it reads the file.
    """
    past.file.poll()
    past.file._segments.close()
    begin = 1_000_000 + past.clock.now + wait
    store = Store(Clock(5.0), lambda: begin)
    store.configure(checks or [make_check(), check("api")])
    past.file = HistoryFile(past.path, 32_000, store, AnswerLog())
    past.file.poll()
    past.store = store
    return store.history.beats


@pytest.mark.parametrize(("wait", "age"), [(30, 30), (1e6, 1e6), (-1, 0)], ids=["soon", "late", "clock set back"])
def test_the_next_process_knows_the_age_on_the_wall_clock(past, wait, age):
    past.store.receive("backup", 3)

    beat = restart(past, wait)["backup"]

    assert (beat.time, beat.clock, beat.exit_code) == (1_001_000, 5 - age, 3)


def test_a_heartbeat_from_the_future_does_not_count(past):
    """Its age is not known, and each restart would renew it."""
    past.store.receive("backup", 0)

    beat = restart(past, -50)["backup"]

    assert (beat.exit_code, beat.clock) == (None, 5)


def test_the_wait_for_the_first_heartbeat_survives_restarts(past):
    (began,) = past.store.history.beats.values()
    for wait in (30, 70):
        beat = restart(past, wait)["backup"]

        assert (beat.time, beat.clock, beat.exit_code) == (began.time, 5 - wait, None)
        outcome = run(past.store._checks["backup"], past.store._clock).outcome
        assert (outcome.status, outcome.reason) == (Status.UNKNOWN if wait < 60 else Status.FAIL, Reason.MISSING)


def test_a_heartbeat_after_the_restart_counts_and_one_before_it_comes_before_a_wait(past):
    past.store.receive("backup", 3)
    restart(past, 10)
    past.store.receive("backup", 0)

    assert restart(past, 20)["backup"].exit_code == 0


def test_a_changed_check_waits_no_longer_than_before(stage):
    began = stage.store.history.beats["backup"]
    stage.clock.advance(30)
    stage.watch(Check(replace(stage.checks["backup"].spec, owner="team"), make_check().probe))

    assert stage.store.history.beats["backup"] == began
    assert began.exit_code is None


def test_every_later_process_knows_it_too_and_however_much_has_happened(past):
    past.store.receive("backup", 0)
    for _ in range(500):
        past.conclude("api", PASS)
        past.file.poll()
    assert past.path.with_name("history.jsonl.3").exists()

    assert [restart(past)["backup"].time for _ in range(3)] == [1_001_000] * 3


def test_a_removed_check_is_forgotten(past):
    past.store.receive("backup", 0)

    assert restart(past, 0.0, check("api")) == {}
    assert restart(past)["backup"].exit_code is None


@pytest.mark.parametrize("damage", ['"exitCode":-1', '"time":1e999', '"clock":"x"', '"check":'])
def test_a_damaged_heartbeat_is_ignored(past, damage):
    past.store.receive("backup", 7)
    past.file.poll()
    name, _, _ = damage.partition(":")
    lines = past.path.read_text().splitlines()
    past.path.write_text(
        "\n".join(re.sub(f"{name}:[^,}}]+", damage, line) if '"heartbeat"' in line else line for line in lines) + "\n"
    )

    assert restart(past)["backup"].exit_code is None


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
