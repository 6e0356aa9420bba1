"""The rows of a comparison: which outages are noticed, and when."""

import pytest
from make import FAIL, PASS, UNKNOWN
from replay.test_recording import Past, reread

from exporter.replay.compare import compare
from exporter.replay.kubelet import Bounds
from exporter.replay.variant import MANIFESTS, make_variants


def rows(recording, *sets):
    return [*compare(recording, make_variants(sets, [], MANIFESTS, ["api", "db"]), recording.covered)]


@pytest.mark.parametrize(
    ("threshold", "noticed", "delay"),
    [(1, Bounds(2, 2), Bounds(0.01, 0.01)), (2, Bounds(2, 2), Bounds(10.01, 20.01)), (3, Bounds(0, 0), None)],
)
def test_an_outage_is_noticed_when_the_status_is_fail(threshold, noticed, delay):
    past = Past()
    past.start()
    past.run(PASS, FAIL, FAIL, PASS, FAIL, UNKNOWN, FAIL, PASS)
    _, row = rows(reread(past.entries), f"failureThreshold={threshold}")

    assert (row.outages, row.noticed) == (2, noticed)
    if delay is None:
        assert row.delay is None
    else:
        assert (row.delay.least, row.delay.most) == pytest.approx((delay.least, delay.most))


def test_an_outage_that_has_been_noticed_before_has_no_delay():
    """The history begins within it."""
    past = Past()
    past.start()
    past.run(PASS, FAIL, FAIL)
    begin = len(past.entries)
    checkpoint = past.store.make_checkpoint()
    past.run(FAIL, PASS)
    (row,) = rows(reread([checkpoint, *past.entries[begin:]]))

    assert (row.outages, row.noticed, row.delay) == (1, Bounds(1, 1), None)


def test_an_outage_that_goes_on_at_the_end_is_noticed():
    past = Past()
    past.start()
    past.run(PASS, FAIL, FAIL)
    (row,) = rows(reread(past.entries))

    assert (row.outages, row.noticed) == (1, Bounds(1, 1))


def test_only_the_outages_of_checks_that_a_variant_changes_count():
    past, other = Past(), Past()
    past.start()
    past.run(PASS, FAIL, FAIL, PASS)
    recording = reread(past.entries)
    other.start(name="db")
    other.run(PASS, FAIL, PASS, FAIL, PASS)
    both = type(recording)(recording.covered, (*recording.lives, *reread(other.entries).lives))

    assert [row.outages for row in rows(both)] == [2 + 1]
    assert [row.outages for row in rows(both, "db.failureThreshold=5")] == [2, 2]
