"""The kubelet's restarts and unready time: every possible phase of its probes, and uncertain responses."""

import pytest

from exporter.replay.kubelet import Bounds, Restart, count_restarts, find_restarts, find_unready, measure_unready
from exporter.replay.phases import MAX_PHASES
from exporter.replay.stretches import Response, Stretch, Timing, list_stretches
from exporter.replay.trace import Span

PROBE = Timing(10, 3, 1)
COVERED = ((0.0, 1000.0),)


def periods(*certain, possible=()):
    return list_stretches(COVERED, Span(tuple(certain), tuple(possible) or tuple(certain)))


@pytest.mark.parametrize(
    ("seconds", "restarts"),
    [
        (19.9, Bounds(0, 0)),  # at most 2 probes
        (20.0, Bounds(0, 0)),  # the third would be at the end
        (20.1, Bounds(0, 1)),
        (29.9, Bounds(0, 1)),
        (30.0, Bounds(1, 1)),
        (300.0, Bounds(1, 1)),  # again and again, but one outage
    ],
)
def test_a_restart_depends_on_the_phase_if_the_outage_is_short(seconds, restarts):
    assert count_restarts(periods((100.0, 100.0 + seconds)), PROBE) == restarts


def test_outages_are_one_incident_if_no_probe_may_be_between_them():
    outages = (100.0, 115.0), (120.0, 135.0)

    assert count_restarts(periods(*outages), PROBE) == Bounds(0, 1)
    assert find_restarts(periods(*outages)[0], 6.0, PROBE) == []  # 116 passes
    assert find_restarts(periods(*outages)[0], 1.0, PROBE) == [Restart(121.0, certain=True, most=1)]


def test_a_probe_that_passes_separates_restarts():
    assert count_restarts(periods((100.0, 140.0), (150.0, 190.0)), PROBE) == Bounds(2, 2)


def test_uncertain_responses_may_be_several_restarts_or_none():
    uncertain = periods(possible=((100.0, 190.0),))
    divided = periods((100.0, 140.0), (150.0, 190.0), possible=((100.0, 190.0),))

    assert count_restarts(uncertain, PROBE) == Bounds(0, 2)  # 9 probes: 3 fail, 1 passes, 3 fail, and 2 are left
    assert count_restarts(divided, PROBE) == Bounds(1, 2)


def test_the_pod_is_unready_from_probe_to_probe():
    probe = Timing(10, 2, 3)

    assert find_unready(periods((100.0, 140.0))[0], 5.0, probe) == ((115.0, 165.0),)
    assert measure_unready(periods((100.0, 140.0)), probe) == Bounds(50.0, 50.0)
    assert measure_unready(periods((100.0, 115.0)), probe) == Bounds(0.0, 30.0)


def test_a_pod_that_starts_unready_stays_so_until_it_passes():
    assert find_unready(periods((0.0, 8.0))[0], 5.0, Timing(10, 3, 1)) == ((0.0, 15.0),)
    assert measure_unready(periods((0.0, 8.0)), Timing(10, 3, 1)) == Bounds(8.0, 18.0)


def test_what_is_not_covered_is_not_counted():
    stretches = list_stretches(((0.0, 110.0), (130.0, 200.0)), Span(((100.0, 140.0),), ((100.0, 140.0),)))

    assert [(s.begin, s.end, s.response) for s in stretches[0]] == [
        (0.0, 100.0, Response.UP),
        (100.0, 110.0, Response.DOWN),
    ]
    assert stretches[1][0] == Stretch(130.0, 140.0, Response.DOWN)


def test_many_changes_are_replayed_in_ranges_of_phases():
    """The bounds are wider than with every phase, but never narrower than what one phase gives."""
    flapping = periods(*((100.0 + 4.03 * n, 102.0 + 4.03 * n) for n in range(2 * MAX_PHASES)))
    restarts, unready = count_restarts(flapping, PROBE), measure_unready(flapping, PROBE)

    for number in range(100):
        phase = number / 10
        assert restarts.least <= len(find_restarts(flapping[0], phase, PROBE)) <= restarts.most
        exact = sum(end - begin for begin, end in find_unready(flapping[0], phase, PROBE))
        assert unready.least <= exact <= unready.most
