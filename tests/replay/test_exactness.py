"""A replay with other numbers comes to what a simulation with these numbers comes to."""

from hypothesis import given, settings
from hypothesis import strategies as st
from make import in_groups, spec
from replay.simulation import Simulation, Target

from exporter.model import Group
from exporter.replay.compare import compare, find_group_down
from exporter.replay.kubelet import find_restarts, find_unready
from exporter.replay.recording import read
from exporter.replay.stretches import Timing, list_stretches
from exporter.replay.trace import trace_all
from exporter.replay.variant import Kubelet, Variant
from exporter.replay.windows import intersect, measure

LENGTH = 200.0
NAMES = ("api", "db")
GROUPS = st.sampled_from(
    [in_groups(Group.LIVENESS), in_groups(Group.READINESS), in_groups(Group.LIVENESS, Group.READINESS), in_groups()]
)
SIXTYFOURTHS = st.integers(0, 64 * 10 - 1).map(lambda number: number / 64)
LENGTHS = st.sampled_from([1, 3, 6, 15, 40])
WINDOW = st.tuples(st.integers(0, 180), LENGTHS).map(lambda pair: (pair[0], sum(pair)))
TIMINGS = st.builds(Timing, st.sampled_from([2, 5, 10]), st.integers(1, 4), st.just(1))
READINESS = st.builds(Timing, st.sampled_from([2, 5, 10]), st.integers(1, 3), st.integers(1, 2))


@st.composite
def specs(draw, period=None):
    return {
        name: make_spec(name, draw(GROUPS), period or draw(st.sampled_from([2, 5, 10])), draw(st.integers(1, 4)))
        for name in NAMES
    }


def make_spec(name, groups, period, failures):
    return spec(name, groups=groups, period=period, failure_threshold=failures, stale_after=failures * period + 1)


@st.composite
def worlds(draw, durations=(1 / 64,)):
    targets = {
        name: Target(
            outages=draw(st.lists(WINDOW, max_size=4)),
            blind=draw(st.lists(WINDOW, max_size=2)),
            duration=draw(st.sampled_from(durations)),
        )
        for name in NAMES
    }
    numbers = draw(TIMINGS), draw(READINESS), (draw(SIXTYFOURTHS), draw(SIXTYFOURTHS))
    return Simulation(targets, draw(specs()), *numbers, LENGTH)


def changed(draw_specs, world):
    """The thresholds and groups of `draw_specs` with the periods of the world."""
    return {
        name: make_spec(name, other.groups, world.specs[name].period, other.failure_threshold)
        for name, other in draw_specs.items()
    }


def replayed(world, wanted):
    recording = read(world.entries)
    traced = [(life, wanted[life.spec.name], trace_all(life, wanted[life.spec.name])) for life in recording.lives]
    return recording, traced


@given(worlds(durations=(1 / 64, 0.75, 3.0)), specs(), TIMINGS, READINESS)
@settings(max_examples=25)
def test_a_replay_equals_a_simulation_with_the_other_numbers(world, other, liveness, readiness):
    world.run()
    wanted = changed(other, world)
    truth = world.but(specs=wanted, liveness=liveness, readiness=readiness)
    recording, traced = replayed(world, wanted)

    changes = {(time, life.spec.name, state.status) for life, _, (trace,) in traced for time, state in trace[1:]}
    assert changes == set(truth.statuses)
    down = {group: find_group_down(recording, traced, group) for group in Group}
    for group, span in down.items():
        assert list(span.certain) == list(span.possible) == truth.down[group]
    start = recording.covered[0][0]
    live, ready = (list_stretches(recording.covered, down[group])[0] for group in (Group.LIVENESS, Group.READINESS))
    restarts = find_restarts(live, start + truth.phases[0], liveness)
    assert [restart.time for restart in restarts] == truth.restarts
    assert all(restart.certain and restart.most == 1 for restart in restarts)
    assert list(find_unready(ready, start + truth.phases[1], readiness)) == truth.unready

    # And if the phase is not known, the bounds contain this one.
    assert_bounds(compare_with(world, wanted, liveness, readiness), truth)


@given(worlds(), specs(), st.lists(st.tuples(st.integers(1, 4), st.integers(0, 7)), min_size=2, max_size=2))
@settings(max_examples=25)
def test_the_bounds_of_a_longer_period_contain_every_choice_of_runs(world, other, choices):
    world.run()
    kept = {name: (every, 1 + begin % (2 * every - 1)) for name, (every, begin) in zip(NAMES, choices, strict=True)}
    wanted = {
        name: make_spec(name, spec.groups, spec.period * kept[name][0], spec.failure_threshold)
        for name, spec in changed(other, world).items()
    }
    truth = world.but(specs=wanted, kept=kept, scheduled=world.specs)
    recording, traced = replayed(world, wanted)

    for group in (Group.LIVENESS, Group.READINESS):
        span, windows = find_group_down(recording, traced, group), tuple(truth.down[group])
        assert intersect(span.certain, windows) == span.certain
        assert intersect(span.possible, windows) == windows
    assert_bounds(compare_with(world, wanted, world.liveness, world.readiness), truth)


def compare_with(world, wanted, liveness, readiness):
    recording = read(world.entries)
    recorded = Variant("as recorded", Kubelet(world.liveness, world.readiness))
    other = Variant("other", Kubelet(liveness, readiness), configured=wanted)
    return [*compare(recording, [recorded, other], recording.covered)][1]


def assert_bounds(row, truth):
    assert row.restarts.least <= len(truth.restarts) <= row.restarts.most
    unready = measure(truth.unready)
    assert row.unready.least - 1e-6 <= unready <= row.unready.most + 1e-6
