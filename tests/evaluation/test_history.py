"""The history in memory: run-length coded, bounded, and readable while the Store is locked."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from make import FAIL, LETTERS, PASS, UNKNOWN, check, result, spec
from support import Clock

from exporter.evaluation.history import (
    MAX_MILESTONES,
    MAX_SPANS,
    MAX_TRANSITIONS,
    CheckHistory,
    Event,
    History,
    Milestone,
)
from exporter.evaluation.store import Store
from exporter.model import Reason, Status


def noted(letters, *, every=10.0, **options):
    """A History with these runs of `api`, one per period."""
    history = History()
    for number, letter in enumerate(letters):
        history.note_run(spec(**options), result(LETTERS[letter], at=1000.0 + number * every), number)
    return history


def statuses(history, name="api"):
    return [(span.status, span.count) for span in history.of(name).spans]


def test_consecutive_runs_with_the_same_result_are_one_span():
    span, other, last = noted("PPPPFFP").of("api").spans

    assert (span.status, span.reason, span.count) == (Status.PASS, None, 4)
    assert (span.first, span.last) == (1_000_999.99, 1_001_029.99)
    assert (other.status, other.reason, other.count) == (Status.FAIL, Reason.CONNECT, 2)
    assert (last.status, last.count) == (Status.PASS, 1)


@given(st.text("PWFU", max_size=40))
def test_the_spans_are_the_groups_of_equal_runs(letters):
    expected = [(LETTERS[letter].status, len([*runs])) for letter, runs in itertools.groupby(letters)]

    assert statuses(noted(letters)) == expected


def test_a_span_has_the_start_of_each_run_and_the_longest_duration():
    history = History()
    for number, duration in enumerate((0.25, 0.5, 0.125)):
        history.note_run(spec(), result(at=1000.0 + number * 10 + duration, duration=duration), number)
    (span,) = history.of("api").spans

    assert span.list_starts() == [1_001_000.0, 1_001_010.0, 1_001_020.0]
    assert span.longest == 0.5


def test_a_gap_ends_a_span():
    """So the times between the first and the last run are regular."""
    assert statuses(noted("PP", every=20.0)) == [(Status.PASS, 2)]
    assert statuses(noted("PP", every=20.1)) == [(Status.PASS, 1), (Status.PASS, 1)]
    assert statuses(noted("PP", every=-1.0)) == [(Status.PASS, 1), (Status.PASS, 1)], "the wall clock was set back"


def test_a_start_of_the_exporter_ends_a_span():
    """So the latest run before a crash is known."""
    history = noted("PP")
    history.note(Milestone(1_001_011.0, 1, Event.STARTED))
    history.note_run(spec(), result(at=1020.0), 1)

    assert statuses(history) == [(Status.PASS, 2), (Status.PASS, 1)]


def test_another_reason_ends_a_span():
    history = noted("F")
    history.note_run(spec(), result(type(FAIL).failed(Reason.TIMEOUT, "late"), at=1010.0), 2)

    assert [span.reason for span in history.of("api").spans] == [Reason.CONNECT, Reason.TIMEOUT]


def test_a_check_that_flaps_keeps_a_limited_number_of_spans():
    history = noted("PF" * MAX_SPANS)

    assert len(history.of("api").spans) == MAX_SPANS
    assert history.of("api").spans[-1].first == 1_000_999.99 + (2 * MAX_SPANS - 1) * 10
    assert len(history.packed["api"]) <= 1600


def test_the_latest_failure_stays_with_its_message_after_the_recovery():
    assert noted("PFP").of("api").failure.outcome is FAIL
    assert noted("PFUP").of("api").failure.outcome is UNKNOWN
    assert noted("PP").of("api").failure is None


def test_a_check_without_runs_has_no_history():
    assert History().of("nope") == CheckHistory()


# What the Store notes


def test_it_is_known_up_to_when_transitions_are_missing():
    history = History(transitions=2)
    assert history.complete_since == 0.0
    for transition in filled().history.transitions:
        history.note_transition(transition)
    assert history.complete_since == history.transitions[0].time - 20
    later = History(transitions=2)
    later.restore(history, None)
    assert later.complete_since == history.complete_since


def filled(clock=None):
    clock = clock or Clock()
    store = Store(clock, lambda: 1_000_000 + clock.now)
    (api,) = store.configure([check(failure_threshold=2)])
    for outcome in (PASS, FAIL, FAIL, PASS):
        clock.advance(10)
        store.record(api, result(outcome, at=clock()))
    return store


def test_a_transition_has_its_cause():
    started, failed, passed = filled().history.transitions

    assert (failed.check, failed.before, failed.after) == ("api", Status.PASS, Status.FAIL)
    assert (failed.reason, failed.summary, failed.streak, failed.threshold) == (Reason.CONNECT, "refused", 2, 2)
    assert (failed.time, failed.clock, failed.generation) == (1_001_030.0, 1030.0, 4)
    assert (started.before, passed.after, passed.streak, passed.threshold) == (Status.UNKNOWN, Status.PASS, 1, 1)


def test_going_stale_is_a_transition():
    clock = Clock()
    store = filled(clock)
    clock.advance(100)
    store.snapshot()
    *_, stale = store.history.transitions

    assert (stale.after, stale.reason, stale.summary, stale.threshold) == (Status.UNKNOWN, Reason.STALE, "", 0)
    assert stale.time == 1_000_000 + clock.now


def test_the_life_of_the_exporter_is_noted():
    store = filled()
    store.note(Event.STARTED, "version 1")
    store.drain()

    assert [(milestone.event, milestone.detail) for milestone in store.history.milestones] == [
        (Event.LOADED, "1 check"),
        (Event.STARTED, "version 1"),
        (Event.DRAINING, ""),
    ]


def test_the_rings_are_bounded():
    store = filled()
    (api,) = store.configure([check(failure_threshold=1)])
    for number in range(MAX_TRANSITIONS):
        store.record(api, result((FAIL, PASS)[number % 2], at=2000.0 + number))
    for number in range(MAX_MILESTONES + 1):
        store.note(Event.REJECTED, str(number))

    assert len(store.history.transitions) == MAX_TRANSITIONS
    assert len(store.history.milestones) == MAX_MILESTONES
    assert store.history.milestones[-1].detail == str(MAX_MILESTONES)
    assert store.history.complete_since == 1_001_040.0, "the third of the transitions"


def test_a_removed_check_is_forgotten_and_the_others_are_not():
    store = filled()
    store.configure([check("web")])

    assert store.history.packed == {}
    assert store.history.failures == {}
    assert len(store.history.transitions) == 3


def test_a_start_without_a_configuration_keeps_what_was_restored():
    store = Store()
    store.restore(noted("PF"))
    store.degrade()
    assert statuses(store.history) == [(Status.PASS, 1), (Status.FAIL, 1)]

    store.configure([check()])
    assert statuses(store.history) == [(Status.PASS, 1), (Status.FAIL, 1)]
    store.configure([check("web")])
    assert store.history.packed == {}


def test_what_is_restored_comes_before_what_has_happened_since():
    store = filled()
    store.note(Event.STARTED)
    earlier = noted("UU")
    earlier.note(Milestone(1.0, 1, Event.STOPPED))
    earlier.note_run(spec("gone"), result(), 1)
    store.restore(earlier)

    assert statuses(store.history)[:2] == [(Status.UNKNOWN, 2), (Status.PASS, 1)]
    assert store.history.milestones[0].event is Event.STOPPED
    assert store.history.of("gone") == CheckHistory()
    assert store.history.of("api").failure.outcome is FAIL


def test_the_history_is_read_while_the_store_is_locked():
    """Whoever shows the history never waits for a check that holds the lock."""
    store = filled()
    with store._lock:
        assert statuses(store.history)[0] == (Status.PASS, 1)
        assert store.make_checkpoint().states


def test_the_sink_gets_everything_in_order():
    entries = []
    store = Store()
    store.history.sink = entries.append
    (api,) = store.configure([check()])
    store.record(api, result())
    store.drain()

    assert [type(entry).__name__ for entry in entries] == [
        "Checkpoint",
        "Milestone",
        "Recorded",
        "Transition",
        "Milestone",
    ]
