"""Results in, Snapshot out: generations, reloads, staleness, and readers that never wait."""

import logging
import threading

import pytest
from make import FAIL, PASS, UNKNOWN, check, result
from support import Clock

from exporter.evaluation.store import Store
from exporter.model import Group, Status


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


def test_time_passing_is_a_new_generation_noticed_by_whoever_looks(store, clock):
    (api,) = store.configure([check(stale_after=31.0)])
    store.record(api, result(at=clock()))
    fresh = store.snapshot()
    clock.advance(30.999)
    assert store.snapshot() is fresh
    clock.advance(0.001)
    stale = store.snapshot()

    assert stale.generation == fresh.generation + 1
    assert stale.states["api"].status is Status.UNKNOWN
    assert stale.timestamp == clock() + 1_000_000
    assert store.snapshot() is stale


def test_a_reader_never_waits_for_a_writer(store, clock):
    """The lock is held by another thread for good; a reader that finds a stale State answers all the same."""
    (api,) = store.configure([check()])
    store.record(api, result(at=clock()))
    before = store.snapshot()
    clock.advance(1000)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with store._lock:
            held.set()
            release.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    try:
        assert store.snapshot() is before
    finally:
        release.set()
        holder.join()
    assert store.snapshot().generation == before.generation + 1


def test_a_reload_keeps_what_has_not_changed(store, clock):
    same, changed, gone = store.configure([check("same"), check("changed"), check("gone")])
    for each in (same, changed, gone):
        store.record(each, result(at=clock()))
    kept, new, _ = store.configure([check("same"), check("changed", period=20.0), check("added")])

    states = store.snapshot().states
    assert kept is same
    assert new is not changed
    assert [*states] == ["same", "changed", "added"]
    assert [state.runs for state in states.values()] == [1, 0, 0]
    assert states["changed"].spec.period == 20.0


def test_a_result_of_a_check_that_is_gone_or_changed_is_dropped(store, clock):
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


def test_each_transition_is_one_log_line(store, clock, caplog):
    caplog.set_level(logging.INFO)
    (api,) = store.configure([check(failure_threshold=2)])
    for outcome in (PASS, PASS, FAIL, FAIL, FAIL, PASS):
        store.record(api, result(outcome, at=clock()))

    assert [record.message for record in caplog.records] == [
        "check api: unknown -> pass",
        "check api: pass -> fail",
        "check api: fail -> pass",
    ]
    assert caplog.records[1].fields == {
        "check": "api",
        "kind": "scripted",
        "status": Status.FAIL,
        "reason": "connect",
        "summary": "refused",
        "generation": 5,
    }


def test_going_stale_is_logged(store, clock, caplog):
    (api,) = store.configure([check()])
    store.record(api, result(at=clock()))
    clock.advance(100)
    store.snapshot()

    assert [(r.message, r.fields["reason"]) for r in caplog.records] == [("check api: pass -> unknown", "stale")]


def test_a_check_that_can_no_longer_look_is_logged_once(store, clock, caplog):
    (api,) = store.configure([check()])
    for outcome in (PASS, UNKNOWN, UNKNOWN, PASS, UNKNOWN):
        store.record(api, result(outcome, at=clock()))

    assert [record.message for record in caplog.records] == ["check api: could not look"] * 2


def test_many_writers_lose_nothing(store, clock):
    checks = store.configure([check(f"c{number}") for number in range(8)])

    def write(each) -> None:
        for _ in range(500):
            store.record(each, result(at=clock()))

    threads = [threading.Thread(target=write, args=(each,)) for each in checks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    snapshot = store.snapshot()
    assert [state.runs for state in snapshot.states.values()] == [500] * 8
    assert snapshot.generation == 1 + 8 * 500
    assert Group.ALL
