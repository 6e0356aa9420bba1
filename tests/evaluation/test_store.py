"""Results in, Snapshot out: generations, reloads, staleness, and readers that never wait."""

import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import FAIL, PASS, UNKNOWN, check, in_groups, result
from support import PATIENCE, Clock

from exporter.evaluation.judge import judge
from exporter.evaluation.store import Store
from exporter.model import SLACK, Group, Status
from exporter.probe.check import Check


@pytest.fixture
def store(clock: Clock) -> Store:
    return Store(clock, lambda: clock() + 1_000_000)


def test_every_change_is_a_new_generation(store, clock):
    generations = [store.snapshot().generation]
    (api,) = store.configure([check()])
    generations.append(store.snapshot().generation)
    store.record(api, result(at=clock()))
    generations.append(store.snapshot().generation)
    store.drain()
    generations.append(store.snapshot().generation)

    assert generations == [0, 1, 2, 3]
    assert store.snapshot().generation == 3


def test_a_snapshot_never_changes(store, clock):
    (api,) = store.configure([check()])
    before = store.snapshot()
    store.record(api, result(at=clock()))

    assert before.states["api"].runs == 0
    assert store.snapshot().states["api"].runs == 1


def test_a_reader_that_finds_a_stale_state_publishes_a_new_generation(store, clock):
    (api,) = store.configure([check(stale_after=31.0)])
    store.record(api, result(at=clock()))
    fresh = store.snapshot()
    clock.advance(30.999 + SLACK)
    assert store.snapshot() is fresh
    clock.advance(0.001)
    stale = store.snapshot()

    assert stale.generation == fresh.generation + 1
    assert stale.states["api"].status is Status.UNKNOWN
    assert stale.timestamp == clock() + 1_000_000
    assert store.snapshot() is stale


def test_a_reader_never_waits_for_a_writer(store, clock):
    """Another thread holds the lock. A reader that finds a stale State returns the current Snapshot nevertheless."""
    (api,) = store.configure([check()])
    store.record(api, result(at=clock()))
    before = store.snapshot()
    clock.advance(1000)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with store._lock:
            held.set()
            release.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(PATIENCE)
    try:
        assert store.snapshot() is before
    finally:
        release.set()
        holder.join()
    assert store.snapshot().generation == before.generation + 1


def test_a_reload_keeps_the_state_of_unchanged_checks(store, clock):
    same, changed, gone = store.configure([check("same"), check("changed"), check("gone")])
    for known in (same, changed, gone):
        store.record(known, result(at=clock()))
    kept, new, _ = store.configure([check("same"), check("changed", period=20.0), check("added")])

    states = store.snapshot().states
    assert kept is same
    assert new is not changed
    assert [*states] == ["same", "changed", "added"]
    assert [state.runs for state in states.values()] == [1, 0, 0]
    assert states["changed"].spec.period == 20.0


def test_a_result_of_a_removed_or_changed_check_is_dropped(store, clock):
    (old,) = store.configure([check()])
    store.configure([check(period=20.0)])
    generation = store.snapshot().generation
    store.record(old, result(at=clock()))
    store.configure([])
    store.record(old, result(at=clock()))

    assert store.snapshot().generation == generation + 1
    assert store.snapshot().states == {}


def test_a_late_result_does_not_end_the_draining(store, clock):
    (api,) = store.configure([check()])
    store.drain()
    store.record(api, result(at=clock()))
    store.configure([check()])

    assert store.snapshot().draining


def test_a_configuration_ends_the_time_without_one_and_draining_does_not(store):
    store.degrade()
    store.drain()
    drained = store.snapshot()
    store.configure([check("api")])

    assert (drained.degraded, drained.draining, drained.states) == (True, True, {})
    assert not store.snapshot().degraded
    assert store.snapshot().draining
    assert store.snapshot().generation == drained.generation + 1


def test_each_transition_is_one_log_line(store, clock, caplog):
    caplog.set_level(logging.INFO)
    (api,) = store.configure([check(failure_threshold=2)])
    for outcome in (PASS, PASS, FAIL, FAIL, FAIL, PASS):
        store.record(api, result(outcome, at=clock()))

    assert [record.message for record in caplog.records] == [
        "check api: unknown -> pass: well",
        "check api: pass -> fail (connect): refused",
        "check api: fail -> pass: well",
    ]
    assert caplog.records[1].fields == {
        "check": "api",
        "kind": "scripted",
        "status": Status.FAIL,
        "reason": "connect",
        "summary": "refused",
        "owner": None,
        "description": None,
        "runbook_url": None,
        "generation": 5,
    }


def test_going_stale_is_logged(store, clock, caplog):
    (api,) = store.configure([check()])
    store.record(api, result(at=clock()))
    clock.advance(100)
    store.snapshot()

    assert [(r.message, r.fields["reason"]) for r in caplog.records] == [
        ("check api: pass -> unknown (stale): no result within 31 s", "stale")
    ]


def test_what_people_need_is_logged_while_a_check_is_not_well(store, clock, caplog):
    caplog.set_level(logging.INFO)
    texts = {"owner": "shop", "description": "orders wait", "runbook_url": "https://runbooks.example/db"}
    (api,) = store.configure([check(failure_threshold=1, **texts)])
    for outcome in (FAIL, PASS):
        store.record(api, result(outcome, at=clock()))

    assert [{name: record.fields[name] for name in texts} for record in caplog.records] == [
        texts,
        {"owner": "shop", "description": None, "runbook_url": None},
    ]


def test_an_application_s_own_formatter_gets_the_reason_in_one_printable_line(store, clock, caplog):
    (api,) = store.configure([check("a\nlevel=error", failure_threshold=1)])
    store.record(api, result(FAIL, at=clock()))

    assert caplog.messages == ["check a?level=error: unknown -> fail (connect): refused"]


def test_a_check_whose_runs_become_unknown_is_logged_once(store, clock, caplog):
    (api,) = store.configure([check()])
    for outcome in (PASS, UNKNOWN, UNKNOWN, PASS, UNKNOWN):
        store.record(api, result(outcome, at=clock()))

    assert [record.message for record in caplog.records] == ["check api: could not run (error): broke"] * 2


def test_concurrent_writers_lose_no_result(store, clock):
    checks = store.configure([check(f"c{number}") for number in range(8)])

    def write(check) -> None:
        for _ in range(500):
            store.record(check, result(at=clock()))

    threads = [threading.Thread(target=write, args=(check,)) for check in checks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    snapshot = store.snapshot()
    assert [state.runs for state in snapshot.states.values()] == [500] * 8
    assert snapshot.generation == 1 + 8 * 500


def test_the_start_ends_when_startup_and_readiness_are_up_together_and_never_begins_again(store, clock):
    warm, api = store.configure([check("warm", groups=in_groups(Group.STARTUP)), check("api", failure_threshold=1)])
    started = [store.snapshot().started]
    for subject, outcome in ((api, PASS), (warm, PASS), (api, FAIL), (warm, FAIL)):
        store.record(subject, result(outcome, at=clock()))
        started.append(store.snapshot().started)
    store.configure([check("new")])

    assert started == [False, False, True, True, True]
    assert store.snapshot().started


CHECKS = {
    "warm": in_groups(Group.STARTUP),
    "alive": in_groups(Group.LIVENESS),
    "api": in_groups(Group.READINESS, Group.STARTUP),
    "db": in_groups(Group.READINESS),
}
STEPS = st.one_of(
    st.tuples(st.just("record"), st.sampled_from([*CHECKS]), st.sampled_from([PASS, PASS, PASS, FAIL, UNKNOWN])),
    st.tuples(st.just("configure"), st.sets(st.sampled_from([*CHECKS]), min_size=1)),
    st.tuples(st.sampled_from(["degrade", "advance"])),
)


@given(st.lists(STEPS, max_size=30), st.integers(0, 30))
def test_the_start_has_ended_if_both_verdicts_have_been_up_in_one_snapshot(steps, drain_at):
    clock = Clock()
    store = Store(clock, lambda: clock() + 1_000_000)
    watched: dict[str, Check] = {}
    ended = False
    for number, (act, *arguments) in enumerate([("degrade",), ("configure", {*CHECKS}), *steps]):
        match act:
            case "record" if arguments[0] in watched:
                store.record(watched[arguments[0]], result(arguments[1], at=clock()))
            case "configure":
                names = sorted(arguments[0])
                wanted = [check(name, groups=CHECKS[name], failure_threshold=1, stale_after=50.0) for name in names]
                watched = dict(zip(names, store.configure(wanted), strict=True))
            case "degrade":
                store.degrade()
                watched = {}
            case "advance":
                clock.advance(20.0)
        snapshot = store.snapshot()
        ended = ended or all(judge(snapshot, group).up for group in (Group.STARTUP, Group.READINESS))
        if number == drain_at:
            store.drain()
        assert store.snapshot().started == ended


def test_a_start_that_is_interrupted_by_the_shutdown_has_not_ended(store, clock):
    (api,) = store.configure([check()])
    store.drain()
    store.record(api, result(at=clock()))

    assert not store.snapshot().started
