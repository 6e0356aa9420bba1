"""A hold suspends restarts: liveness is up for a limited time, and nothing else changes."""

import pytest
from make import FAIL, PASS, check, in_groups, result
from support import Clock

from exporter.evaluation.history import Event
from exporter.evaluation.hold import MAX_HOLD, MAX_WHY, HoldError, make_hold
from exporter.evaluation.judge import judge
from exporter.evaluation.store import Store
from exporter.model import Group, Status

WALL = 1_000_000.0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    """A Store whose only check has status fail and counts for every group."""
    made = Store(clock, lambda: WALL + clock())
    (api,) = made.configure([check("api", groups=in_groups(*Group), failure_threshold=1, stale_after=1e6)])
    made.record(api, result(FAIL, at=clock()))
    return made


def list_up(store):
    return {group for group in Group if judge(store.snapshot(), group).up}


def list_holds(store):
    kinds = (Event.HELD, Event.RELEASED)
    return [(entry.event, entry.detail) for entry in store.history.milestones if entry.event in kinds]


def test_liveness_is_up_while_it_is_held_and_no_state_changes(store, clock):
    before = store.snapshot()
    store.hold(900, "debugging")
    held = store.snapshot()

    assert list_up(store) == {Group.LIVENESS}
    assert held.generation == before.generation + 1
    assert held.states == before.states
    assert [state.status for state in judge(held, Group.LIVENESS).culprits] == [Status.FAIL]

    clock.advance(899.9)
    assert store.snapshot() is held
    clock.advance(0.1)
    assert list_up(store) == set()
    assert store.snapshot().generation == held.generation + 1
    assert store.snapshot().hold is None
    assert list_holds(store) == [
        (Event.HELD, "until 1970-01-12T14:18:20.000Z: debugging"),
        (Event.RELEASED, "the hold expired"),
    ]


def test_a_hold_is_ended_by_a_request(store):
    assert store.release() is None
    generation = store.snapshot().generation
    hold = store.hold(900, "debugging")

    assert store.release() is hold
    assert store.release() is None
    assert list_up(store) == set()
    assert store.snapshot().generation == generation + 2
    assert list_holds(store)[1:] == [(Event.RELEASED, "the hold was ended by a request")]


def test_a_hold_survives_everything_but_its_end(store, clock):
    hold = store.hold(900, "debugging")
    (api,) = store.configure([check("api", groups=in_groups(*Group), failure_threshold=1, stale_after=20.0)])
    store.record(api, result(FAIL, at=clock()))
    clock.advance(30)
    assert store.snapshot().states["api"].status is Status.UNKNOWN
    store.drain()
    assert store.snapshot().hold is hold
    store.degrade()
    clock.advance(900)

    assert (store.snapshot().hold, store.snapshot().degraded, store.snapshot().draining) == (None, True, True)


@pytest.mark.parametrize("degraded", [False, True])
def test_a_hold_does_not_change_the_other_conditions(store, degraded):
    if degraded:
        store.degrade()
    store.drain()
    for act in (lambda: store.hold(900, "x"), store.release):
        act()
        assert (store.snapshot().degraded, store.snapshot().draining) == (degraded, True)


def test_its_end_and_a_stale_state_are_one_generation(store, clock):
    (api,) = store.configure([check("api", groups=in_groups(*Group), stale_after=30.0)])
    store.record(api, result(PASS, at=clock()))
    store.hold(30, "x")
    before = store.snapshot().generation
    clock.advance(60)

    assert store.snapshot().generation == before + 1
    assert store.snapshot().states["api"].status is Status.UNKNOWN
    assert list_holds(store)[-1] == (Event.RELEASED, "the hold expired")


def test_extensions_do_not_exceed_the_maximum(store, clock):
    first = store.hold(MAX_HOLD, "x")
    clock.advance(MAX_HOLD / 2)
    with pytest.raises(HoldError, match=r"liveness is held already; .* beyond 1970-01-12T15:03:20\.000Z"):
        store.hold(MAX_HOLD / 2 + 1, "x")
    assert store.snapshot().hold is first

    store.hold(60, "shorter")
    clock.advance(30)
    extended = store.hold(MAX_HOLD / 2 - 30, "as long as possible")
    assert (extended.begun, extended.expires) == (first.begun, first.expires)

    clock.advance(MAX_HOLD)
    store.snapshot()
    assert store.hold(MAX_HOLD, "another one").begun == clock()


def test_an_expired_hold_that_nobody_has_noticed_does_not_limit_the_next_one(store, clock):
    store.hold(60, "x")
    clock.advance(2 * MAX_HOLD)

    assert store.hold(MAX_HOLD, "y").begun == clock()
    assert [event for event, _ in list_holds(store)] == [Event.HELD, Event.RELEASED, Event.HELD]


@pytest.mark.parametrize(
    ("seconds", "why"),
    [
        *((seconds, "x") for seconds in (0, -1, MAX_HOLD + 1, float("nan"), float("inf"))),
        *((60, why) for why in ("", " ", "\t", "x" * (MAX_WHY + 1))),
    ],
)
def test_what_is_no_hold_is_refused(seconds, why):
    with pytest.raises(HoldError):
        make_hold(None, seconds, why, 0.0, WALL)


def test_a_reason_is_one_printable_line():
    assert make_hold(None, 60, " a\nb\x1b[1m ", 0.0, WALL).why == "a?b?[1m"
    assert len(make_hold(None, 60, "x" * MAX_WHY, 0.0, WALL).why) == MAX_WHY


def test_the_log_has_the_begin_and_the_end(store, clock, caplog):
    store.hold(900, "debugging")
    store.release()
    store.hold(60, "again")
    clock.advance(60)
    store.snapshot()

    held = [(record.levelname, record.getMessage()) for record in caplog.records if "suspended" in record.getMessage()]
    assert held == [
        ("WARNING", "restarts are suspended: /livez returns 200 until 1970-01-12T14:18:20.000Z: debugging"),
        ("WARNING", "restarts are no longer suspended: the hold was ended by a request"),
        ("WARNING", "restarts are suspended: /livez returns 200 until 1970-01-12T14:04:20.000Z: again"),
        ("WARNING", "restarts are no longer suspended: the hold expired"),
    ]
