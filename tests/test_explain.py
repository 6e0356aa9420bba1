"""`health-exporter explain`: where the story comes from, and what the exit codes are."""

import json
import re

import commands
import pytest
from kinds.servers import Server
from make import FAIL, PASS, check, in_groups
from stage import Stage, served
from support import free_port

from exporter.evaluation.entries import encode
from exporter.evaluation.history import Event
from exporter.model import Group

HINT = "If the exporter is gone, use --history.file with the file that it has written.\n"


@pytest.fixture(scope="module")
def stage():
    """An exporter whose check has failed; the kubelet has noticed that. Its lines are what a file would have."""
    made = Stage()
    made.lines = []
    made.store.history.sink = lambda entry: made.lines.append(encode(entry))
    with served(made.dispatch()) as made.url:
        made.store.note(Event.STARTED, "version 1 on web-0")
        made.watch(check("api", failure_threshold=2, groups=in_groups(Group.LIVENESS), owner="shop"), check("db"))
        for outcome in (PASS, FAIL, FAIL):
            made.clock.advance(10)
            made.conclude("api", outcome)
        made.get("/livez", User_Agent="kube-probe/1.31")
        yield made


@pytest.fixture(scope="module")
def file(stage, tmp_path_factory):
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    path.write_text("\n".join([*stage.lines, *map(encode, stage.answered.entries())]))
    return path


def explain(*arguments, **options):
    return commands.run("explain", *arguments, **options)


def unwrap(told):
    return re.sub(r"\n {3,}", " ", told.stdout)


def test_the_story_of_a_running_exporter(stage):
    told = explain("--url", stage.url, "--since", "1970-01-12T14:00:00Z")

    assert (told.returncode, told.stderr) == (0, "")
    assert "2 checks. At the end, api is fail (connect) and db is unknown (pending).\n" in told.stdout
    assert "  14:03:50  api failed (connect): refused. 2 runs in a row had failed since 14:03:39 (failure" in unwrap(
        told
    )
    assert "The kubelet received 503 from /livez because of api (connect): once.\n" in told.stdout
    assert "            api: Owner: shop.\n" in told.stdout


def test_the_story_of_a_file(file):
    told = explain("--history.file", file, "--since", "1970-01-12T14:00:00Z")

    assert (told.returncode, told.stderr) == (0, "")
    assert "2 runs in a row had failed" in told.stdout
    assert "The kubelet received 503 from /livez because of api (connect): once.\n" in told.stdout
    assert "            api: Owner: shop.\n" in told.stdout


def test_one_check_alone(stage):
    told = explain("--url", stage.url, "--since", "60000d", "--check", "db")
    assert told.returncode == 2, "no such duration"

    told = explain("--url", stage.url, "--since", "0", "--check", "db").stdout
    assert "1 check. At the end, db is unknown (pending).\n" in told
    assert "api" not in told
    assert "The exporter started: version 1 on web-0.\n" in told


def test_a_check_that_does_not_exist(stage, file):
    for source in (("--url", stage.url), ("--history.file", file)):
        told = explain(*source, "--check", "nope")
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr == "no such check: nope; the checks are: api, db\n"


def test_an_invalid_time_is_explained(file):
    told = explain("--history.file", file, "--since", "yesterday")

    assert (told.returncode, told.stdout) == (2, "")
    assert "Error: --since must be a time such as 2026-03-01T09:00:00Z" in told.stderr


def test_lines_fit_the_terminal(stage):
    told = explain("--url", stage.url, "--since", "0", env={"COLUMNS": "60"}).stdout

    assert 50 < max(map(len, told.splitlines())) <= 60


def test_the_connection_is_configured_as_that_of_ask(stage):
    assert explain("--since", "0", env={"HEALTH_EXPORTER_ASK_URL": stage.url}).returncode == 0


def test_an_exporter_that_is_gone():
    told = explain("--url", f"http://127.0.0.1:{free_port()}")

    assert (told.returncode, told.stdout) == (3, "")
    assert told.stderr.endswith(f"/events: the request failed: Connection refused\n{HINT}")


def test_a_probe_listener_has_no_history(stage):
    with served(stage.probes_only()) as url:
        told = explain("--url", url)

    assert told.returncode == 3
    assert f"{url}/events returned 404, expected 200: a listener for probes has no history\n" in told.stderr


def story(time, generation):
    event = {"type": "loaded", "time": time, "generation": generation}
    return json.dumps({"host": "a", "until": "2026-03-01T00:00:00Z", "leftOff": 0, "checks": {}, "events": [event]})


@pytest.mark.parametrize(
    "body",
    [
        *("", "ok", "[]", "{}", json.dumps({"events": [], "checks": {}}), "[" * 10_000, '{"events": 1}'),
        story("2026-03-01T00:00:00Z", float("inf")),
        story("0001-01-01T00:00:00+14:00", 1),
    ],
)
def test_something_else_at_the_url(body):
    server = Server((f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode(),))
    told = explain("--url", f"http://127.0.0.1:{server.port}")
    server.close()

    assert (told.returncode, told.stdout) == (3, "")
    assert "did not respond like a health exporter of this version\n" in told.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory\n"),
        ("checks: []\n", "has no history that this version can read\n"),
    ],
)
def test_a_file_that_is_not_a_history(tmp_path, content, said):
    if content is not None:
        (tmp_path / "file").write_text(content)
    told = explain("--history.file", tmp_path / "file")

    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.endswith(said)


def test_a_folder_is_not_a_history(tmp_path):
    told = explain("--history.file", tmp_path)

    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == f"{tmp_path}: cannot be read: it is not a regular file\n"
