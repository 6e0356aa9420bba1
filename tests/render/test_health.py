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
from exporter.render.health import render_check, render_json, render_text

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

    described = json.loads(render_json(shown, judge(shown, group)))
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

    assert json.loads(render_json(shown, judge(shown, group)))["status"] == status


def test_a_check_that_has_never_run_has_no_result():
    shown = snapshot([settled("")])
    ((described,),) = json.loads(render_json(shown, judge(shown, Group.ALL)))["checks"].values()

    assert (described["status"], described["reason"], described["runs"]) == ("unknown", "pending", 0)
    assert not described.keys() & {"time", "lastStatus", "lastReason", "durationSeconds", "since"}


def test_times_are_rfc_3339_in_utc():
    shown = scene()
    ((described,), *_) = json.loads(render_json(shown, judge(shown, Group.LIVENESS)))["checks"].values()

    assert described["time"] == "2023-11-14T22:12:50.000Z"
    assert datetime.fromisoformat(described["time"]) == datetime(2023, 11, 14, 22, 12, 50, tzinfo=UTC)


def test_free_text_is_in_no_answer():
    shown = scene()
    verdict = judge(shown, Group.ALL)
    answers = [render_text(verdict, "healthz", verbose=True), render_json(shown, verdict)]
    answers += [render_check(state, Group.ALL) for state in shown.states.values()]

    summaries = [state.last.outcome.summary for state in shown.states.values() if state.last]
    assert not [text for text in summaries for answer in answers if text in answer]


@given(st.text(st.characters(codec=None), max_size=40), st.text(max_size=40))
def test_a_line_stays_a_line(name, excluded):
    """Names come from the configuration, and excluded names from any client."""
    shown = snapshot([settled("F", name=name, failure_threshold=1)])
    verdict = judge(shown, Group.ALL)

    body = render_text(verdict, "healthz", verbose=True, exclude=[excluded])

    assert len(body.split("\n")) == 3 + (excluded != name)
    assert body.replace("\n", "").isprintable()
    assert render_check(verdict.members[0], Group.ALL).rstrip("\n").isprintable()
    json.loads(render_json(shown, verdict))
