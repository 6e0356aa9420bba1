"""The page of one check: its runs, its changes and the responses that it caused."""

import re

from make import FAIL, PASS, result, snapshot, spec

from exporter.evaluation.answered import Answered
from exporter.evaluation.history import History
from exporter.evaluation.settle import settle
from exporter.model import Outcome, Reason, State, Vitals
from exporter.render.check_page import CELLS, render
from exporter.render.page import Past

NOW = 1_001_000.0


def rendered(*outcomes, answers=(), **options):
    history, check = History(), spec("web", **options)
    state = State(check)
    for number, outcome in enumerate(outcomes):
        run = result(outcome, at=1000.0 - 10 * (len(outcomes) - number))
        before, state = state, settle(state, run)
        history.note_run(check, run, number)
        history.note_change(before, state, number, run.ended, expired=False)
    shown = snapshot([state], generation=len(outcomes))
    return render(shown, state, Past(history, {"web": 3.0}), answers, NOW, vitals=Vitals(True))


def test_the_strip_shows_the_latest_runs():
    html = rendered(*[PASS] * (CELLS + 5))

    assert f'aria-label="latest {CELLS} runs: {CELLS} pass"' in html


def test_the_responses_that_the_check_caused_are_listed():
    entries = [
        Answered("/readyz", True, ("web (connect)",), 3, NOW - 50, NOW - 20, 4),
        Answered("/readyz", True, ("webshop (connect)",), 3, NOW - 50, NOW - 20, 7),
    ]
    html = rendered(PASS, FAIL, FAIL, FAIL, answers=entries)

    cells = re.findall(r"<td[^>]*>(.*?)</td>", html)

    assert cells[-5:-2] == ["/readyz", "the kubelet", "4"]
    assert "7" not in cells
    assert cells.count('<span class="status">fail <small>connect</small></span>') == 2
    assert "3 of 3 in a row" in html


def test_hostile_text_is_text():
    evil = "\"'><script>%s"
    texts = dict.fromkeys(("kind", "target", "owner", "description", "runbook_url"), evil)
    answers = [Answered(evil, False, ("web (body)",), 1, NOW, NOW, 1)]
    html = rendered(Outcome.failed(Reason.BODY, evil), answers=answers, failure_threshold=1, **texts)

    assert html.count("<script>") == 1
