"""The health endpoints' bodies: the apiserver's grammar, and the health+json draft's document."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import in_groups, settled, snapshot
from render.scene import golden, scene

from exporter.evaluation.judge import judge
from exporter.model import Group, Status
from exporter.render.health import MAX_LISTED, render_check, render_json, render_text, render_unknown

PATH = {Group.LIVENESS: "livez", Group.READINESS: "readyz", Group.STARTUP: "startupz", Group.ALL: "healthz"}


def test_the_whole_of_the_plain_answers():
    shown = scene(draining=True)
    bodies = [
        render_text(judge(shown, group), path, verbose=True, exclude=["web", "nope"]) for group, path in PATH.items()
    ]

    golden("scene.txt", "\n".join(bodies))


@pytest.mark.parametrize("group", Group)
def test_the_whole_document(group):
    shown = scene(draining=True)

    described = json.loads(render_json(shown, judge(shown, group), detailed=False))
    described["releaseId"] = "..."

    golden(f"scene.{PATH[group]}.json", json.dumps(described, indent=2) + "\n")


@pytest.mark.parametrize(
    ("letters", "group", "status"),
    [
        ("P", Group.READINESS, Status.PASS),
        ("W", Group.READINESS, Status.WARN),
        ("F", Group.READINESS, Status.FAIL),
        ("", Group.READINESS, Status.FAIL),
        ("", Group.LIVENESS, Status.PASS),
        ("W", Group.LIVENESS, Status.WARN),
    ],
)
def test_the_document_s_status_is_the_verdict(letters, group, status):
    shown = snapshot([settled(letters, failure_threshold=1, groups=in_groups(group))])

    assert json.loads(render_json(shown, judge(shown, group), detailed=False))["status"] == status


def test_a_check_that_has_never_run_has_no_result():
    shown = snapshot([settled("")])
    ((described,),) = json.loads(render_json(shown, judge(shown, Group.ALL), detailed=False))["checks"].values()

    assert (described["status"], described["reason"], described["runs"]) == ("unknown", "pending", 0)
    assert not described.keys() & {"time", "lastStatus", "lastReason", "durationSeconds", "since"}


def test_times_are_rfc_3339_in_utc():
    shown = scene()
    ((described,), *_) = json.loads(render_json(shown, judge(shown, Group.LIVENESS), detailed=False))["checks"].values()

    assert described["time"] == "2023-11-14T22:12:50.000Z"
    assert datetime.fromisoformat(described["time"]) == datetime(2023, 11, 14, 22, 12, 50, tzinfo=UTC)


def test_free_text_is_in_no_answer_without_details():
    shown = scene()
    verdict = judge(shown, Group.ALL)
    answers = [render_text(verdict, "healthz", verbose=True), render_json(shown, verdict, detailed=False)]
    answers += [render_check(state, Group.ALL) for state in shown.states.values()]

    summaries = [state.last.outcome.summary for state in shown.states.values() if state.last]
    assert not [text for text in summaries for answer in answers if text in answer]


def test_details_are_what_the_page_shows():
    texts = {"owner": "shop", "description": "Orders wait.", "runbook_url": "https://runbooks.example/db"}
    shown = snapshot([settled("F", failure_threshold=1, **texts), settled("", name="new")])
    described = json.loads(render_json(shown, judge(shown, Group.ALL), detailed=True))["checks"]
    (api,), (new,) = described["api"], described["new"]

    assert (api["output"], api["owner"], api["description"]) == ("refused", "shop", "Orders wait.")
    assert api["runbookUrl"] == "https://runbooks.example/db"
    assert not new.keys() & {"output", "owner", "description", "runbookUrl"}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("nope", "no check has this name; the checks of readiness are: c00, c01"),
        ("live", "the check live is only in all, liveness; the checks of readiness are: c00, c01"),
    ],
)
def test_a_404_names_the_checks_that_exist(name, body):
    groups = in_groups(Group.READINESS)
    states = [settled("P", name=f"c{number:02}", groups=groups) for number in range(MAX_LISTED + 3)]
    states.append(settled("P", name="live", groups=in_groups(Group.LIVENESS)))
    shown = snapshot(states)

    text = render_unknown(shown, judge(shown, Group.READINESS), name)

    assert text.startswith(f"404 Not Found\n{body}")
    assert text.endswith(f", c{MAX_LISTED - 1}, 3 more\n")


def test_a_404_without_checks_says_so():
    shown = snapshot([])

    assert render_unknown(shown, judge(shown, Group.ALL), "x").endswith("the checks of all are: none\n")


@given(st.text(st.characters(codec=None), max_size=40), st.text(max_size=40))
def test_a_line_stays_a_line(name, excluded):
    """Names come from the configuration, and excluded names from any client."""
    shown = snapshot([settled("F", name=name, failure_threshold=1)])
    verdict = judge(shown, Group.ALL)

    body = render_text(verdict, "healthz", verbose=True, exclude=[excluded])

    assert len(body.split("\n")) == 3 + (excluded != name)
    assert body.replace("\n", "").isprintable()
    assert render_check(verdict.members[0], Group.ALL).rstrip("\n").isprintable()
    json.loads(render_json(shown, verdict, detailed=False))
