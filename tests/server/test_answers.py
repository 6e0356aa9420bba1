"""Which answers are logged."""

from types import SimpleNamespace

import pytest
from support import Clock

from exporter.server import answers
from exporter.server.answers import MAX_LOGGED_REFUSALS, Answer, log_answer


@pytest.fixture
def clock(monkeypatch):
    """The clock of the log lines about refused requests, of which there have been none yet."""
    clock = Clock()
    monkeypatch.setattr(answers, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(answers, "_refusals", answers._Refusals())
    return clock


def test_refused_requests_cause_a_limited_number_of_lines_per_second(clock, caplog):
    """The first line of the next second has the number of those that were left out. Verdicts are always logged."""
    caplog.set_level("INFO")
    for _ in range(MAX_LOGGED_REFUSALS + 5):
        log_answer("GET", "/admin", Answer(404, b"", 1))
    assert len(caplog.records) == MAX_LOGGED_REFUSALS
    log_answer("GET", "/livez", Answer(503, b"", 1, because=("web (timeout)",)))
    assert len(caplog.records) == MAX_LOGGED_REFUSALS + 1

    clock.advance(1)
    for _ in range(2):
        log_answer("GET", "/admin", Answer(404, b"", 1))
    suppressed = [record.fields["suppressed"] for record in caplog.records]
    assert suppressed == [None] * (MAX_LOGGED_REFUSALS + 1) + [5, None]
