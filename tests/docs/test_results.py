"""The example of docs/results.md is what the code does."""

import re

from docs.pages import ROOT

from exporter.evaluation.settle import settle
from exporter.model import Outcome, Reason, Result, Spec, State, Status

PAGE = (ROOT / "docs" / "results.md").read_text()


def list_cells(row: str) -> list[str]:
    found = re.search(rf"^\| {row} \| (.*) \|$", PAGE, re.MULTILINE)
    assert found is not None
    return found[1].split(" | ")


def test_the_statuses_of_the_example_follow_from_its_results():
    state, seen = State(Spec("web", "httpGet", failure_threshold=3, success_threshold=1)), []
    for number, status in enumerate(map(Status, list_cells("result"))):
        outcome = Outcome(status, None if status is Status.PASS else Reason.CONNECT)
        state = settle(state, Result(outcome, number, 0.1, number))
        failures = 0 if state.streak_healthy else state.streak
        seen.append((str(failures), str(state.status)))

    assert seen == list(zip(list_cells("consecutive failures"), list_cells("status"), strict=True))
