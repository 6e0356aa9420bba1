"""Every check once: one run settles a check, and one that hangs does not hold up the others."""

import threading
import time

from make import FAIL, PASS, UNKNOWN, WARN, check
from support import PATIENCE

from exporter.evaluation.once import MAX_WORKERS, run_all


def statuses(snapshot) -> dict[str, str]:
    return {name: state.status.value for name, state in snapshot.states.items()}


def test_one_run_settles_every_check_whatever_its_thresholds():
    outcomes = {"pass": PASS, "warn": WARN, "fail": FAIL, "unknown": UNKNOWN}
    checks = [
        check(name, outcome, success_threshold=3, failure_threshold=3, timeout=PATIENCE)
        for name, outcome in outcomes.items()
    ]

    assert statuses(run_all(checks)) == {name: name for name in outcomes}


def test_more_checks_than_workers_all_run():
    snapshot = run_all([check(f"c{number}", timeout=PATIENCE) for number in range(5)], workers=2)

    assert [state.runs for state in snapshot.states.values()] == [1] * 5


def test_a_limited_number_of_checks_run_at_the_same_time():
    """Each run waits until so many others run too, so with fewer threads the runs would fail."""
    together, threads = threading.Barrier(MAX_WORKERS, timeout=PATIENCE), set()

    def meet(deadline):
        threads.add(threading.get_ident())
        together.wait()
        return PASS

    snapshot = run_all([check(f"c{number}", meet, timeout=PATIENCE) for number in range(3 * MAX_WORKERS)])

    assert set(statuses(snapshot).values()) == {"pass"}
    assert len(threads) == MAX_WORKERS


def test_without_checks_the_snapshot_is_empty():
    assert run_all([]).states == {}


def test_a_check_that_ignores_its_deadline_stays_unknown_and_is_not_waited_for():
    release, ended = threading.Event(), threading.Event()

    def hang(deadline):
        release.wait(PATIENCE)
        ended.set()
        return PASS

    snapshot = run_all([check("hung", hang, timeout=0.1), check("quick", timeout=0.1)])

    assert not ended.is_set()
    assert statuses(snapshot) == {"hung": "unknown", "quick": "pass"}
    release.set()


def test_the_progress_names_the_checks_that_run():
    release, seen = threading.Event(), []

    def wait(deadline):
        release.wait(PATIENCE)
        return PASS

    def note(running, done):
        seen.append((list(running), done))
        if seen[-1] == (["slow"], 1):
            release.set()

    snapshot = run_all(
        [check("slow", wait, timeout=PATIENCE), check("quick", timeout=PATIENCE)], workers=2, progress=note
    )

    assert statuses(snapshot) == {"slow": "pass", "quick": "pass"}
    assert (["slow"], 1) in seen


def test_after_a_state_that_is_enough_no_check_starts():
    checks = [check(name, outcome) for name, outcome in (("first", PASS), ("fails", FAIL), ("last", PASS))]
    snapshot = run_all(checks, workers=1, is_enough=lambda state: state.status is FAIL.status)

    assert statuses(snapshot) == {"first": "pass", "fails": "fail"}


def test_a_result_does_not_go_stale_while_others_run():
    """The quick check would be stale after a second, and the slow one takes longer."""
    quick = check("quick", timeout=PATIENCE, stale_after=0.001)
    slow = check("slow", lambda deadline: time.sleep(0.05) or PASS, timeout=PATIENCE)

    assert statuses(run_all([quick, slow])) == {"quick": "pass", "slow": "pass"}
