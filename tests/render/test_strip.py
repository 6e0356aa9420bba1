"""The strip of runs: the latest ones up to the moment of the Snapshot, in bounded space."""

from make import FAIL, PASS, UNKNOWN, result, snapshot, spec

from exporter.evaluation.history import History
from exporter.evaluation.settle import settle
from exporter.model import Reason, State, Status
from exporter.render.strip import CELLS, Cells, describe_cells, draw_strip, find_cells, find_failure

OUTCOMES = {"P": PASS, "F": FAIL, "U": UNKNOWN}


def recorded(letters, ahead=""):
    """The history, and the Snapshot after these runs, one every 10 s; the runs `ahead` are only in the history."""
    history, check = History(), spec("web")
    state = State(check)
    for number, letter in enumerate(letters + ahead):
        run = result(OUTCOMES[letter], at=1000.0 + 10 * number)
        history.note_run(check, run, number)
        if number < len(letters):
            state = settle(state, run)
    return history, snapshot([state], timestamp=1_001_000.0), state


def letters_of(cells):
    return "".join(part.status[0].upper() * part.count for part in cells)


def test_the_strip_ends_with_the_run_that_the_state_knows():
    for letters, ahead in (("PPFFP", ""), ("PPFFP", "PF"), ("P", "P"), ("PFU", "U")):
        assert letters_of(find_cells(*recorded(letters, ahead), CELLS)) == letters


def test_a_history_that_does_not_have_the_latest_run_yet_is_completed():
    history, shown, state = recorded("PPF")
    later = settle(state, result(PASS, at=1030.0))

    assert letters_of(find_cells(history, shown, later, CELLS)) == "PPFP"


def test_the_runs_of_an_earlier_process_are_shown_before_the_first_run():
    history, _, _ = recorded("PPF")
    state = State(spec("web", timeout=5))
    restarted, early = (snapshot([state], timestamp=moment) for moment in (1_001_026.0, 1_001_021.0))

    assert letters_of(find_cells(history, restarted, state, CELLS)) == "PPF"
    assert find_failure(history, restarted, state).outcome is FAIL
    # This run may have ended after the Snapshot.
    assert letters_of(find_cells(history, early, state, CELLS)) == "PP"
    assert find_failure(history, early, state) is None


def test_the_latest_runs_fill_the_strip():
    cells = find_cells(*recorded("F" + "P" * CELLS), CELLS)

    assert letters_of(cells) == "P" * CELLS
    assert 'width="40"' in draw_strip(cells, CELLS)


def test_a_failure_is_higher_and_says_when_and_why():
    drawn = draw_strip(find_cells(*recorded("PFFP"), CELLS), CELLS)

    assert '<rect class="pass" x="36" y="4" width="1" height="6"></rect>' in drawn
    assert '<rect class="fail" x="37" y="0" width="2" height="10"><title>2 runs until 14:03:' in drawn
    assert "UTC: fail (connect)</title>" in drawn
    assert 'aria-label="latest 4 runs: 2 fail, 2 pass"' in drawn


def test_the_description_counts_the_runs():
    assert describe_cells([]) == "no runs yet"
    assert describe_cells([Cells(Status.FAIL, Reason.BODY, 1, 0.0)]) == "1 run: 1 fail"


def test_a_failure_after_the_snapshot_is_not_shown():
    assert find_failure(*recorded("PP", "F")) is None
    assert find_failure(*recorded("PFP")).outcome is FAIL
