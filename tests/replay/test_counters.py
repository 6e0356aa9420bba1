"""Runs that are known from scrapes: exactly, or between a best and a worst case, or not at all."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import spec
from replay.test_exactness import changed, specs, worlds

from exporter.model import Group
from exporter.replay.compare import find_group_down
from exporter.replay.counters import Scrape, find_outcomes, rebuild
from exporter.replay.trace import trace_all
from exporter.replay.windows import intersect

API = spec()


def scraped(runs=100, failures=0, streak=0, ended=0, ended_runs=0, *, at=None):
    started = 10.0 * runs if at is None else at
    return Scrape(started + 3, API, runs, failures, streak, ended, ended_runs, started, 0.5, not streak)


def letters(before, after):
    """The different cases, the best one first: p for a run that passed, f for one that failed, u for unknown."""
    cases = find_outcomes(before, after)
    return cases and " ".join(dict.fromkeys("".join(outcome.status[0] for outcome in case) for case in cases))


@pytest.mark.parametrize(
    ("before", "after", "cases"),
    [
        (scraped(), scraped(), ""),
        (scraped(), scraped(101), "p"),
        (scraped(), scraped(101, 1, 1), "f"),
        (scraped(), scraped(101, 1, 0), "u"),
        (scraped(), scraped(103), "ppp"),
        (scraped(), scraped(103, 3, 3), "fff"),
        (scraped(), scraped(103, 3, 2), "uff ffu uuu"),
        (scraped(), scraped(103, 2, 2), "pff"),
        (scraped(), scraped(103, 1, 1), "ppf"),
        (scraped(), scraped(103, 2, 0, 1, 2), "ffp"),
        (scraped(), scraped(103, 1, 0, 1, 1), "ppp ffp"),  # the first or the second failed
        (scraped(failures=2, streak=2), scraped(103, 3, 0, 1, 3), "fpp"),  # its streak has ended with 3 runs
        (scraped(failures=2, streak=2), scraped(103, 3, 0, 2, 3), "ppp ffp"),  # two streaks have ended
        (scraped(failures=2, streak=2), scraped(103, 2, 0, 1, 2), "ppp"),
        (scraped(), scraped(103, 2, 1, 0, 0), "ppf fff uuu"),  # one was unknown, so all may have been
        (scraped(), scraped(101, at=1017.0), "p"),  # late, but known
    ],
)
def test_runs_between_two_scrapes_are_known_or_have_a_best_and_bad_cases(before, after, cases):
    assert letters(before, after) == cases


@pytest.mark.parametrize(
    "after",
    [
        scraped(7),  # another process
        scraped(103, at=1060.0),  # runs were left out
        scraped(101, 2),  # nonsense
        scraped(102, 1, 1, ended_runs=-1),
    ],
)
def test_runs_that_do_not_fit_are_not_known(after):
    assert letters(scraped(), after) is None


def test_the_time_in_which_nothing_is_known_is_not_covered():
    recording = rebuild([[scraped(100), scraped(101), scraped(3, at=1030.0), scraped(4, at=1040.0)]])

    assert recording.covered == ((1003.0, 1013.0), (1033.0, 1043.0))
    assert [(life.begin, life.end) for life in recording.lives] == [(1003.0, 1013.0), (1033.0, 1043.0)]


def find_spans(world, other):
    """For each group, when it is down: certainly, in a simulation, possibly; from when the States are known."""
    wanted = changed(other, world)
    truth = world.but(specs=wanted)
    recording = rebuild([*world.scrapes.values()])
    traced = [(life, wanted[life.spec.name], trace_all(life, wanted[life.spec.name])) for life in recording.lives]
    begin = max((find_healthy(life) for life in recording.lives), default=math.inf)
    covered = intersect(recording.covered, ((begin, math.inf),))
    for group in (Group.LIVENESS, Group.READINESS):
        span = find_group_down(recording, traced, group)
        windows = (span.certain, tuple(truth.down[group]), span.possible)
        yield tuple(intersect(found, covered) for found in windows)


def find_healthy(life):
    """From when on the State is known: from the end of the first run that is healthy in the worst case too."""
    if life.start is not None:
        return life.begin
    runs = (result for result in life.readings[1] if result.outcome.status.healthy)
    return next((result.started + result.duration for result in runs), math.inf)


def shrink(windows, seconds):
    return tuple((begin + seconds, end - seconds) for begin, end in windows if end - begin > 2 * seconds)


@given(worlds(), specs())
@settings(max_examples=20)
def test_scrapes_that_show_every_run_are_exact_once_a_run_was_healthy(world, other):
    world.scrape_every = 1.75
    world.run()
    for certain, truth, possible in find_spans(world, other):
        assert certain == truth == possible


@given(worlds(), specs(), st.sampled_from([7.0, 15.0, 30.0]))
@settings(max_examples=20)
def test_the_bounds_of_sparse_scrapes_contain_the_truth(world, other, interval):
    world.scrape_every = interval
    world.run()
    for certain, truth, possible in find_spans(world, other):
        inner, middle = shrink(certain, 0.1), shrink(truth, 0.1)  # runs are not exactly regular
        assert intersect(inner, truth) == inner
        assert intersect(middle, possible) == middle
