"""`/events` and the pages of checks, over real sockets."""

import json
import re

import pytest
from make import FAIL, PASS, UNKNOWN, check
from stage import Stage, served
from support import get

from exporter.config.moments import parse_since
from exporter.evaluation.history import Event
from exporter.render.events import MAX_EVENTS

JSON = "application/json"


@pytest.fixture(scope="module")
def stage():
    """An application with a past: `api` has failed twice and recovered, which the kubelet has noticed."""
    made = Stage()
    with served(made.dispatch()) as made.url:
        made.store.note(Event.STARTED, "version 1")
        made.watch(check(failure_threshold=2, runbook_url="https://runbooks.example/api"), check("web"))
        for outcome in (PASS, PASS, FAIL, FAIL):
            made.clock.advance(10)
            made.conclude("api", outcome)
        for _ in range(3):
            made.get("/readyz", User_Agent="kube-probe/1.31")
        made.get("/readyz/api")
        made.clock.advance(10)
        made.conclude("api", PASS)
        made.conclude("web", UNKNOWN)
        yield made


def events(stage, query="", **headers):
    answer = stage.get(f"/events?format=json{query}", **headers)
    assert (answer.status, answer.headers["Content-Type"]) == (200, JSON)
    return json.loads(answer.body)


def test_the_events_as_json(stage):
    document = events(stage)
    kinds = [event["type"] for event in document["events"] if event["type"] != "answered"]
    failed = next(event for event in document["events"] if event.get("after") == "fail")
    told = [event for event in document["events"] if event["type"] == "answered"]

    assert kinds == ["started", "loaded", "transition", "transition", "transition"]
    assert failed == {
        "type": "transition",
        "time": "1970-01-12T14:04:00.000Z",
        "check": "api",
        "before": "pass",
        "after": "fail",
        "reason": "connect",
        "output": "refused",
        "streak": 2,
        "threshold": 2,
        "groups": ["readiness"],
        "generation": 5,
    }
    assert [(event["path"], event["kubelet"], event["count"]) for event in told] == [
        ("/readyz", True, 3),
        ("/readyz/api", False, 1),
    ]
    assert told[0]["because"] == ["api (connect)", "web (pending)"]
    assert document["checks"]["api"]["failureThreshold"] == 2
    assert document["checks"]["api"]["runbookUrl"] == "https://runbooks.example/api"
    assert "runbookUrl" not in document["checks"]["web"]
    assert document["generation"] == stage.store.snapshot().generation
    assert document["leftOff"] == 0


def test_the_events_as_text(stage):
    answer = stage.get("/events")
    times = [line.partition(" ")[0] for line in answer.text.splitlines()]

    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert times == sorted(times)
    assert "1970-01-12T14:04:00.000Z check api: pass -> fail (connect), 2 of 2 in a row: refused\n" in answer.text
    assert re.search(
        r"answered /readyz with 503 to the kubelet 3 times until \S+: api \(connect\), web \(pending\)\n", answer.text
    )
    assert "exporter started: version 1\n" in answer.text
    assert "configuration loaded: 2 checks\n" in answer.text


def test_one_check_has_its_runs(stage):
    document = events(stage, "&check=api")
    runs = [
        (event["status"], event.get("reason"), event["count"])
        for event in document["events"]
        if event["type"] == "runs"
    ]

    assert runs == [("pass", None, 2), ("fail", "connect", 2), ("pass", None, 1)]
    assert {event.get("check", "api") for event in document["events"]} == {"api"}
    assert [*document["checks"]] == ["api"]
    assert "check api: 2 runs until " in stage.get("/events?check=api").text


def test_the_runs_of_all_checks_are_there_on_request(stage):
    found = events(stage, "&runs")["events"]

    assert {event["check"] for event in found if event["type"] == "runs"} == {"api", "web"}


def test_the_number_of_events_is_limited_to_the_latest(stage):
    every, one = events(stage)["events"], events(stage, "&limit=1")

    assert one["events"] == every[-1:]
    assert one["leftOff"] == len(every) - 1
    assert stage.get("/events?limit=1").text.startswith(f"{len(every) - 1} earlier events are left off\n")


def test_events_since_a_time(stage):
    every = events(stage)["events"]

    assert events(stage, "&since=0")["events"] == every
    assert events(stage, "&since=1970-01-12T14:04:00Z")["events"] == [
        event for event in every if event.get("last", event.get("time")) >= "1970-01-12T14:04:00.000Z"
    ]
    assert events(stage, "&since=1h")["events"] == [event for event in every if event["type"] == "answered"], (
        "only answers have the real time here"
    )
    assert stage.get("/events?since=9999999999").text == "no events\n"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1000", 1000.0),
        ("1000.5", 1000.5),
        ("1970-01-01T00:16:40Z", 1000.0),
        ("1970-01-01T01:16:40+01:00", 1000.0),
        ("1970-01-01T01:16:40 01:00", 1000.0),
        ("1h", 86_400.0 - 3600),
        ("1h30m", 86_400.0 - 5400),
        ("90s", 86_400.0 - 90),
        ("1d", 0.0),
        ("1d12h", -43_200.0),
    ],
)
def test_a_time_has_several_forms(text, seconds):
    assert parse_since(text, 86_400.0, "since") == seconds


@pytest.mark.parametrize(
    "query",
    [
        "since=",
        "since=yesterday",
        "since=d",
        "since=1d1",
        "since=1970-01-01",
        "since=-1",
        "since=1e9",
        "limit=0",
        "limit=x",
        "limit=",
    ],
)
def test_an_invalid_parameter_is_explained(stage, query):
    answer = stage.get(f"/events?{query}")

    assert answer.status == 400
    assert "must be a" in answer.text
    assert stage.get(f"/events?limit={MAX_EVENTS + 1}").status == 400


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        (JSON, JSON),
        ("text/html", "text/plain; charset=utf-8"),
    ],
)
def test_accept_chooses_the_form(stage, accept, content_type):
    answer = stage.get("/events", Accept=accept) if accept else stage.get("/events")

    assert answer.headers["Content-Type"] == content_type


def test_a_check_that_does_not_exist_is_404_with_those_that_do(stage):
    for path in ("/events?check=nope", "/check/nope"):
        answer = stage.get(path)
        assert answer.status == 404
        assert answer.text == "404 Not Found\nno check has this name; the checks of all are: api, web\n"


def test_the_page_of_a_check(stage):
    answer = stage.get("/check/api")
    text = " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]*>", " ", answer.text, flags=re.DOTALL).split())

    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<title>api: pass · Health Exporter</title>" in answer.text
    assert "failures until fail 2 successes until pass 1" in text
    assert re.search(r"latest failure 1970-01-12 14:03:59 UTC \d+ d ago : fail \(connect\): refused", text)
    assert re.search(r"fail connect 2 1970-01-12 14:03:49 UTC .* 10.0 ms pass 2 ", text)
    assert re.search(r"fail connect 1970-01-12 14:04:00 UTC \d+ d ago pass 2 of 2 in a row refused", text)
    assert re.search(r"/readyz the kubelet 3 [\d:]+ UTC ", text)
    assert "/readyz/api another 1 " in text
    assert "run it now health-exporter check --name api" in text
    assert '<a href="https://runbooks.example/api" rel="noreferrer">runbook</a>' in answer.text
    assert stage.get("/check/web").status == 200
    assert "/check/api" in stage.get("/").text


def test_a_hostile_name_is_escaped_everywhere():
    evil = '<b>"\r\nX: y'
    stage = Stage()
    with served(stage.dispatch()) as stage.url:
        stage.watch(check(evil, failure_threshold=1, runbook_url="https://x/'><b>"))
        stage.conclude(evil, FAIL)
        page, text = stage.get("/check/%3Cb%3E%22%0D%0AX:%20y"), stage.get("/events").text

    assert page.status == 200
    assert page.headers["X"] is None
    assert "<b>" not in page.text
    assert "\r" not in text
    assert not [line for line in text.splitlines() if line.startswith("X: ")]


def test_the_past_is_not_on_the_probe_listener(stage):
    with served(stage.probes_only()) as url:
        assert [get(f"{url}{path}").status for path in ("/events", "/check/api")] == [404, 404]
