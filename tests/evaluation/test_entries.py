"""The lines of the history file: nothing is lost on the way, and a replay comes to the same States and Verdicts."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import FAIL, LETTERS, PASS, UNKNOWN, check, in_groups, result
from support import Clock

from exporter.evaluation.entries import SCHEMA, decode, encode
from exporter.evaluation.history import Checkpoint, Event, Milestone, Recorded, Transition
from exporter.evaluation.hold import HoldError
from exporter.evaluation.judge import judge
from exporter.evaluation.settle import expire, settle
from exporter.evaluation.store import Store
from exporter.model import Group, Hold, Outcome, Reason, Result, Snapshot, State, Status

GROUPS = (in_groups(Group.LIVENESS), in_groups(Group.READINESS), in_groups(Group.STARTUP, Group.READINESS))


def recorded():
    """The entries of a Store with a bit of everything."""
    clock, entries = Clock(), []
    store = Store(clock, lambda: 1_000_000 + clock.now)
    store.history.sink = entries.append
    store.note(Event.STARTED, "version 1")
    store.hold(60, "debugging")
    store.degrade()
    guidance = {"owner": "shop", "description": "The API.", "runbook_url": "https://wiki.example/api"}
    api, _ = store.configure([check(failure_threshold=1, depends_on=("web",), **guidance), check("web")])
    for outcome in (PASS, FAIL, FAIL, UNKNOWN):
        store.record(api, result(outcome, at=clock.advance(10)))
    clock.advance(100)
    store.snapshot()
    store.drain()
    return entries


def round_trip(entries):
    return [*decode([encode(entry) for entry in entries])]


def test_every_entry_comes_back():
    entries = recorded()
    restored = round_trip(entries)

    assert [type(entry) for entry in restored] == [type(entry) for entry in entries]
    for entry, back in zip(entries, restored, strict=True):
        if isinstance(entry, (Milestone, Transition)):
            assert back == entry
    checkpoint = next(entry for entry in restored if isinstance(entry, Checkpoint) and entry.states)
    assert checkpoint == next(entry for entry in entries if isinstance(entry, Checkpoint) and entry.states)
    failed = [entry for entry in restored if isinstance(entry, Recorded)][1]
    assert failed.result == Result(FAIL, 1_001_019.99, 1020.0, 0.01)


def test_a_file_of_an_earlier_version_has_no_owner_description_and_runbook():
    line = next(line for line in map(encode, recorded()) if "runbookUrl" in line)
    fields = json.loads(line)
    for name in ("owner", "description", "runbookUrl"):
        del fields["checks"][0][name]
        assert name not in fields["checks"][1]
    (checkpoint,) = decode([json.dumps(fields)])

    assert [state.spec.guidance for state in checkpoint.states] == [{}, {}]


def test_a_summary_that_is_left_out_is_the_one_before():
    runs = [entry for entry in recorded() if isinstance(entry, Recorded)]
    lines = [encode(entry, summary=number == 1) for number, entry in enumerate(runs)]

    assert [entry.result.outcome.summary for entry in decode(lines)] == ["", "refused", "refused", "refused"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "null",
        "[1]",
        '"run"',
        '{"type":"run"}',
        '{"type":"lost","count":3}',
        '{"type":"other"}',
        '{"type":"run","check":"a","started":"x","clock":1,"duration":1,"generation":1}',
        '{"type":"run","check":"a","started":1e999,"clock":1,"duration":1,"generation":1}',
        '{"type":"run","check":"a","started":1,"clock":1,"duration":1,"generation":1,"status":"fail","reason":"no"}',
        '{"type":"run","check":"a","started":1,"clock":1,"duration":1,"generation":1,"status":"fail"}',
        '{"type":"checks","schema":1,"time":1,"clock":1,"generation":1,"checks":[{}]}',
        '{"type":"loaded","time":1e300,"generation":1}',
        '{"type":"loaded","time":-1,"generation":1}',
        '{"type":"loaded","time":1,"generation":1e999}',
        '{"type":"loaded","time":' + "9" * 400 + ',"generation":1}',
        '{"type":"run","check":"a","started":253402300799,"clock":1,"duration":1,"generation":1}',
        "[" * 100_000,
    ],
)
def test_a_damaged_line_is_left_out(line):
    good = [encode(entry) for entry in recorded()]

    assert len([*decode([*good[:3], line, *good[3:]])]) == len(good)


@pytest.mark.parametrize("name", ["periodSeconds", "failureThreshold", "successThreshold"])
def test_a_check_with_a_number_that_no_configuration_has_is_damage(name):
    fields = next(json.loads(line) for line in map(encode, recorded()) if '"periodSeconds"' in line)
    fields["checks"][0][name] = 0

    assert [*decode([json.dumps(fields)])] == []


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything(content):
    assert [*decode(content.decode("utf-8", "replace").splitlines())] == []


def test_a_later_schema_is_ignored_up_to_the_next_known_one():
    lines = [encode(entry) for entry in recorded()]
    start = next(number for number, line in enumerate(lines) if '"checks"' in line)
    later = [lines[start].replace(f'"schema":{SCHEMA}', f'"schema":{SCHEMA + 1}'), *lines[start + 1 :]]
    later = [line for line in later if '"schema":1' not in line]

    assert [*decode(later)] == []
    assert len([*decode([*later, *lines[start:]])]) == len(lines[start:])


def test_a_line_of_a_run_is_short():
    passed = encode(Recorded("api", Result(PASS, 1795749652.0607097, 50540.920341196, 0.0327), 9), summary=False)

    assert json.loads(passed) == {
        "type": "run",
        "check": "api",
        "started": 1795749652.06071,
        "duration": 0.0327,
        "clock": 50540.920341,
        "generation": 9,
    }


# Replay


def replay(lines):
    """The States and Verdicts of each generation, from the lines alone."""
    shown: dict[int, tuple[dict[str, tuple[Status, Reason | None, int]], dict[Group, bool]]] = {}
    states: dict[str, State] = {}
    draining = degraded = held = False
    for entry in decode(lines):
        match entry:
            case Checkpoint():
                states = {state.spec.name: state for state in entry.states}
                draining, degraded, held = entry.draining, entry.degraded, entry.held
            case Recorded():
                states[entry.check] = settle(states[entry.check], entry.result)
            case Transition(threshold=0):
                states[entry.check] = expire(states[entry.check], entry.clock, entry.time)
            case Milestone(event=Event.DRAINING):
                draining = True
            case Milestone(event=Event.HELD | Event.RELEASED):
                held = entry.event is Event.HELD
            case _:
                continue
        facts = {name: (state.status, state.reason, state.streak) for name, state in states.items()}
        hold = Hold("x", 0.0, 0.0, 0.0) if held else None
        snapshot = Snapshot(entry.generation, 0.0, states, draining, degraded, hold=hold)
        shown[entry.generation] = facts, {group: judge(snapshot, group).up for group in Group}
    return shown


STEPS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from("abc"), st.sampled_from("PWFU"), st.sampled_from([*Reason][:11])),
    st.tuples(st.just("pass time"), st.sampled_from([0.5, 5.0, 40.0])),
    st.tuples(st.just("reload"), st.integers(1, 3)),
    st.tuples(st.just("degrade")),
    st.tuples(st.just("drain")),
    st.tuples(st.just("hold")),
    st.tuples(st.just("release")),
)


@given(st.lists(STEPS, max_size=40))
def test_a_replay_comes_to_the_same_states_and_verdicts(steps):
    clock, entries, shown = Clock(), [], {}
    store = Store(clock, lambda: 1_000_000 + clock.now)
    store.history.sink = entries.append

    def load(failure_threshold):
        options = {"failure_threshold": failure_threshold, "stale_after": 31.0}
        wanted = [check(name, groups=where, **options) for name, where in zip("abc", GROUPS, strict=True)]
        return {one.spec.name: one for one in store.configure(wanted)}

    checks = load(2)
    for act, *arguments in steps:
        match act:
            case "run" if arguments[0] in checks:
                status = LETTERS[arguments[1]].status
                outcome = Outcome(status, None if status is Status.PASS else arguments[2], "it")
                store.record(checks[arguments[0]], result(outcome, at=clock()))
            case "pass time":
                clock.advance(arguments[0])
            case "reload":
                checks = load(arguments[0])
            case "degrade":
                store.degrade()
                checks = {}
            case "drain":
                store.drain()
            case "hold":
                with suppress(HoldError):
                    store.hold(20, "x")
            case "release":
                store.release()
        snapshot = store.snapshot()
        facts = {name: (state.status, state.reason, state.streak) for name, state in snapshot.states.items()}
        shown[snapshot.generation] = facts, {group: judge(snapshot, group).up for group in Group}

    replayed = replay(encode(entry) for entry in entries)
    assert {generation: replayed[generation] for generation in shown} == shown
