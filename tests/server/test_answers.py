"""Which answers are logged."""

from types import SimpleNamespace

import pytest
from support import Clock

from exporter.server import answers
from exporter.server.answers import (
    LOG_INTERVAL,
    MAX_LOGGED_ANSWERS,
    MAX_LOGGED_REASONS,
    MAX_REMEMBERED_LINES,
    Answer,
    log_answer,
)


@pytest.fixture
def clock(monkeypatch):
    """The clock of the log lines about refused requests, of which there have been none yet."""
    clock = Clock()
    monkeypatch.setattr(answers, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(answers, "_refusals", answers._Pace())
    monkeypatch.setattr(answers, "_verdicts", answers._Pace())
    return clock


@pytest.mark.parametrize("refused", [True, False])
def test_answers_cause_a_limited_number_of_lines_per_second(clock, caplog, refused):
    """The first line of the next second has the number of those left out. Refusals do not displace verdicts."""
    caplog.set_level("INFO")
    for number in range(MAX_LOGGED_ANSWERS + 5):
        log_answer("GET", f"/readyz/{number}", Answer(503, b"", 1, refused=refused))
    assert len(caplog.records) == MAX_LOGGED_ANSWERS
    log_answer("GET", "/readyz", Answer(503, b"", 1, refused=not refused))
    assert len(caplog.records) == MAX_LOGGED_ANSWERS + 1

    clock.advance(1)
    for path in ("/readyz", "/livez"):
        log_answer("GET", path, Answer(503, b"", 1, refused=refused))
    suppressed = [record.fields["suppressed"] for record in caplog.records]
    assert suppressed == [None] * (MAX_LOGGED_ANSWERS + 1) + [5, None]


@pytest.mark.parametrize("refused", [True, False])
def test_the_same_answer_is_logged_once_a_minute(clock, caplog, refused):
    """Nine load balancers that ask three times a second, while the exporter drains, and another client."""
    caplog.set_level("INFO")
    draining = Answer(503, b"", 1, because=("shutting down",), refused=refused)
    for _ in range(2 * LOG_INTERVAL + 1):
        for _ in range(27):
            log_answer("GET", "/readyz", draining, "192.0.2.1")
        log_answer("GET", "/healthz", draining, "192.0.2.1")
        clock.advance(1)

    fields = [record.fields for record in caplog.records]
    assert [line["path"] for line in fields] == ["/readyz", "/healthz"] * 3
    assert [line["suppressed"] for line in fields] == [None, 26, 59 * 28, 26, 59 * 28, 26]


def test_an_answer_that_changes_is_logged_at_once(clock, caplog):
    """Other reasons, and the same ones after a recovery. A path with excluded checks is another subject."""
    first, other = (Answer(503, b"", 1, because=(f"{name} (connect)",), subject="/readyz") for name in ("db", "web"))
    healthy = Answer(200, b"", 1, subject="/readyz")
    without = Answer(200, b"", 1, subject="/readyz?exclude=db")
    for answer in (first, without, first, other, first, healthy, first, first):
        log_answer("GET", "/readyz", answer)

    assert [record.fields["because"] for record in caplog.records] == [
        "db (connect)",
        "web (connect)",
        "db (connect)",
        "db (connect)",
    ]


def test_a_limited_number_of_lines_is_remembered(clock, caplog):
    """Of any number of clients, the oldest is forgotten and logged again."""
    caplog.set_level("INFO")
    refusal = Answer(401, b"", 1, refused=True)
    for client in [*range(MAX_REMEMBERED_LINES + 1), 0, MAX_REMEMBERED_LINES]:
        log_answer("GET", "/", refusal, str(client))
        clock.advance(0.2)

    assert [record.fields["client"] for record in caplog.records][-2:] == [str(MAX_REMEMBERED_LINES), "0"]


def test_a_verdict_names_some_failing_checks_and_counts_the_others(clock, caplog):
    names = [f"c{number} (connect)" for number in range(MAX_LOGGED_REASONS + 3)]
    log_answer("GET", "/readyz", Answer(503, b"", 1, because=tuple(names)), "192.0.2.1")

    fields = caplog.records[0].fields
    assert fields["because"] == ", ".join([*names[:MAX_LOGGED_REASONS], "3 more"])
    assert fields["client"] is None


def test_a_refusal_names_the_client(clock, caplog):
    caplog.set_level("INFO")
    log_answer("GET", "/metrics", Answer(401, b"", 1, because=("wrong credentials",), refused=True), "192.0.2.1")

    assert caplog.records[0].fields["client"] == "192.0.2.1"
    assert caplog.records[0].fields["because"] == "wrong credentials"
