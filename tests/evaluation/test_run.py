"""One run of one check: whatever a probe does, it returns a Result and raises nothing."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import Clock

from exporter.evaluation.run import MAX_ATTEMPTS, MAX_SUMMARY, run
from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason, Result, Spec, Status
from exporter.probe.check import Check, Probe
from exporter.probe.secret import BasicAuth, Secret

PASSED = Outcome.passed("healthy")


class Scripted(Probe):
    """Performs one act per call, and then repeats the last one. An act is an Outcome, or a function to call."""

    acts: tuple[Any, ...]
    deadlines: list[Deadline] = []  # noqa: RUF012  # pydantic copies it

    def probe(self, deadline: Deadline) -> Outcome:
        self.deadlines.append(deadline)
        act = self.acts[min(len(self.deadlines), len(self.acts)) - 1]
        return act() if callable(act) else act


def raising(error: Any) -> Callable[[], Outcome]:
    def act() -> Outcome:
        raise error

    return act


def once(*acts: Any, timeout: float = 1.0, clock: Callable[[], float] = time.monotonic) -> tuple[Result, Scripted]:
    probe = Scripted(acts=acts)
    return run(Check(Spec("it", "scripted", timeout=timeout), probe), clock), probe


def outcome_of(act: Any) -> Outcome:
    return once(act)[0].outcome


class SpeechlessError(Exception):
    """An exception that cannot be converted to a string."""

    def __str__(self) -> str:
        raise RuntimeError("no message")


def deep() -> Outcome:
    return deep()


@pytest.mark.parametrize(
    "outcome",
    [
        PASSED,
        Outcome(Status.WARN, Reason.THRESHOLD, "high", (Measurement("x", 1.0),)),
        Outcome.failed(Reason.CONNECT, "refused"),
    ],
    ids=lambda outcome: outcome.status,
)
def test_a_definitive_outcome_is_returned_unchanged_after_one_attempt(outcome):
    result, probe = once(outcome)

    assert result.outcome == outcome
    assert len(probe.deadlines) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("bad"), Reason.ERROR),
        (KeyError("missing"), Reason.ERROR),
        (OSError(5, "Input/output error"), Reason.ERROR),
        (PermissionError(13, "Permission denied"), Reason.PERMISSION),
        (FileNotFoundError(2, "No such file"), Reason.MISSING),
        (TimeoutError("late"), Reason.TIMEOUT),
        (ConnectionResetError(104, "reset"), Reason.ERROR),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), Reason.ERROR),
        (StopIteration(), Reason.ERROR),
        (StopAsyncIteration(), Reason.ERROR),
        (GeneratorExit(), Reason.ERROR),
        (MemoryError(), Reason.ERROR),
        (RecursionError("deep"), Reason.ERROR),
        (AssertionError(), Reason.ERROR),
        (NotImplementedError(), Reason.ERROR),
        (SystemExit(0), Reason.ERROR),
        (SystemExit("bye"), Reason.ERROR),
        (KeyboardInterrupt(), Reason.ERROR),
        (BaseException("bare"), Reason.ERROR),
        (ExceptionGroup("several", [ValueError(1), TypeError(2)]), Reason.ERROR),
        (SpeechlessError(), Reason.ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_any_exception_of_a_probe_is_unknown(error, reason):
    outcome = outcome_of(raising(error))

    assert (outcome.status, outcome.reason) == (Status.UNKNOWN, reason)
    assert type(error).__name__ in outcome.summary
    assert outcome.measurements == ()


@pytest.mark.parametrize("reason", Reason)
def test_a_probe_error_keeps_its_reason_and_its_message(reason):
    outcome = outcome_of(raising(ProbeError(reason, "the file may not be read")))

    assert outcome == Outcome(Status.UNKNOWN, reason, "the file may not be read")


def test_the_summary_of_an_exception_names_the_line_that_raised_it():
    summary = outcome_of(raising(ValueError("bad"))).summary

    assert summary.startswith("ValueError: bad (test_run.py:")


def test_an_endless_recursion_is_unknown():
    outcome = outcome_of(deep)

    assert outcome.status is Status.UNKNOWN
    assert outcome.summary.startswith("RecursionError: maximum recursion depth exceeded")


@pytest.mark.parametrize(
    "nonsense", [None, True, "healthy", 0, (Status.PASS,), SimpleNamespace(summary="healthy")], ids=repr
)
def test_a_probe_that_does_not_return_an_outcome_is_unknown(nonsense):
    outcome = outcome_of(lambda: nonsense)

    assert (outcome.status, outcome.reason) == (Status.UNKNOWN, Reason.ERROR)
    assert type(nonsense).__name__ in outcome.summary


def test_the_traceback_is_logged_at_the_debug_level(caplog):
    with caplog.at_level(logging.DEBUG, "exporter.evaluation.run"):
        outcome_of(raising(ValueError("bad")))

    assert "check it: the probe raised an exception" in caplog.text
    assert caplog.records[0].fields["exception"].startswith("Traceback")
    assert caplog.records[0].fields["exception"].endswith("ValueError: bad")


def test_no_exception_is_logged_at_the_info_level(caplog):
    with caplog.at_level(logging.INFO):
        outcome_of(raising(ValueError("bad")))

    assert caplog.text == ""


class Endpoint(Probe):
    """A probe whose code repeats its options and the secret that it reads, as a driver may."""

    host: str = "db.example"
    port: int = 12345
    file: Path = Path("/etc/canary-file")
    users: tuple[BasicAuth, ...] = (BasicAuth(username="probe-acct", password=Secret(env="PASSWORD")),)
    says: Callable[..., str]  # not a text, so that it is no option to hide
    how: Callable[[], str]

    def probe(self, deadline: Deadline) -> Outcome:
        (user,) = self.users
        text = self.says(password=user.password.read(), user=user.username, **vars(self))
        if self.how() == "return":
            return Outcome.failed(Reason.BODY, text)
        if self.how() == "refuse":
            raise ProbeError(Reason.BODY, text)
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ConnectionError(f"no {text}") from error


def endpoint(text: str, how: str) -> Check:
    return Check(Spec("it", "endpoint", target="db.example"), Endpoint(says=text.format, how=lambda: how))


@pytest.mark.parametrize(
    ("text", "how", "summary"),
    [
        ("db.example said: {password}", "return", "db.example said: ***"),
        ("db.example said: {password}", "refuse", "db.example said: ***"),
        ("/x at {host} {port}", "refuse", "/x at db.example 12345"),
        ("route to {host}", "raise", "ConnectionError: no route to db.example"),
        ("route for {user} to {port}", "raise", "ConnectionError: no route for *** to ***"),
        ("username for {user}", "raise", "ConnectionError: no username for ***"),
        ("/it {password}", "raise", "ConnectionError: no /it ***"),
        ("path: {file}", "raise", "ConnectionError: no path: ***"),
        ("http://a:b/c@x.example:80/p?token=s", "raise", "ConnectionError: no ***@x.example:80/p?***"),
        ("a:b@x.example", "raise", "ConnectionError: no ***@x.example"),
    ],
)
def test_a_summary_shows_no_secret_and_an_exception_no_option(monkeypatch, caplog, text, how, summary):
    monkeypatch.setenv("PASSWORD", "hunter2")
    with caplog.at_level(logging.DEBUG):
        outcome = run(endpoint(text, how)).outcome

    assert outcome.summary.partition(" (test_run.py:")[0] == summary
    logged = "".join(record.fields["exception"] for record in caplog.records)
    assert (how == "raise") == ("KeyError: " in logged) == ("ConnectionError: no " in logged)
    assert [word for word in ("hunter2", "probe-acct", "12345", "canary-file", "token=s") if word in logged] == []


def test_a_short_secret_hides_nothing_else(monkeypatch):
    monkeypatch.setenv("PASSWORD", "1")
    outcome = run(endpoint("127.0.0.1", "return")).outcome

    assert outcome.summary == "127.0.0.1"


def test_a_secret_hides_nothing_in_the_next_run(monkeypatch):
    monkeypatch.setenv("PASSWORD", "hunter2")
    run(endpoint("{password}", "return"))

    assert outcome_of(lambda: Outcome.passed("hunter2")).summary == "hunter2"


def test_a_cycle_of_exceptions_is_logged(caplog):
    error = ValueError("first")
    error.__cause__ = KeyError("second")
    error.__cause__.__cause__ = error
    with caplog.at_level(logging.DEBUG):
        outcome_of(raising(error))

    assert caplog.records[0].fields["exception"].endswith("ValueError: first")
    assert caplog.records[0].fields["exception"].count("Traceback") == 10


UNKNOWN = raising(ProbeError(Reason.BODY, "broken"))


@pytest.mark.parametrize(
    ("acts", "status", "attempts"),
    [
        ((UNKNOWN,), "unknown", 3),
        ((UNKNOWN, PASSED), "pass", 2),
        ((UNKNOWN, UNKNOWN, PASSED), "pass", 3),
        ((UNKNOWN, UNKNOWN, UNKNOWN, PASSED), "unknown", 3),
        ((UNKNOWN, Outcome.failed(Reason.STATUS, "500"), PASSED), "fail", 2),
        ((Outcome.failed(Reason.STATUS, "500"), PASSED), "fail", 1),
        ((raising(SystemExit()), PASSED), "pass", 2),
        ((Outcome(Status.UNKNOWN, Reason.MISSING, "nobody"), PASSED), "pass", 2),
    ],
)
def test_an_unknown_attempt_is_repeated_up_to_three_attempts(acts, status, attempts):
    """As maxProbeRetries in pkg/kubelet/prober/prober.go; the first definitive attempt is final."""
    result, probe = once(*acts)

    assert result.outcome.status == status
    assert len(probe.deadlines) == attempts <= MAX_ATTEMPTS


def test_all_attempts_share_one_deadline(clock):
    def slow() -> Outcome:
        clock.advance(0.4)
        raise ProbeError(Reason.BODY, "broken")

    result, probe = once(slow, timeout=1.0, clock=clock)

    assert {deadline.at for deadline in probe.deadlines} == {1001.0}
    assert len(probe.deadlines) == 3
    assert result.duration == pytest.approx(1.2)


def test_no_attempt_starts_after_the_deadline(clock):
    def slow() -> Outcome:
        clock.advance(1.0)
        raise ProbeError(Reason.BODY, "broken")

    _, probe = once(slow, timeout=1.0, clock=clock)

    assert len(probe.deadlines) == 1


def test_a_result_starts_on_the_wall_clock_and_ends_on_the_monotonic_clock():
    monotonic, wall = Clock(50.0), Clock(1_700_000_000.0)

    def two_seconds() -> Outcome:
        monotonic.advance(2)
        wall.advance(3600)
        return PASSED

    probe = Scripted(acts=(two_seconds,))
    result = run(Check(Spec("it", "scripted", timeout=9), probe), monotonic, wall)

    assert result == Result(PASSED, started=1_700_000_000.0, ended=52.0, duration=2.0)
    assert probe.deadlines[0].at == 59.0


def test_the_duration_is_never_negative(clock):
    def backwards() -> Outcome:
        clock.advance(-5)
        return PASSED

    assert once(backwards, clock=clock)[0].duration == 0.0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("healthy", "healthy"),
        ("grün ✓", "grün ✓"),
        ("two\nlines", "two lines"),
        ("tabs\tand\r\nends\n", "tabs and ends"),
        ("\x1b[31mred\x1b[0m", " [31mred [0m"),
        ("bell\a nul\0", "bell  nul "),
        ("right\u202eleft", "right left"),
        ("line\u2028separator", "line separator"),
        ("half a \ud800 pair", "half a   pair"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 249 + "…" + "x" * 250),
        ("\n" * 10_000 + "end", "… end"),
        (
            "a\n" * 10_000,
            "a " * 124 + "a… a" + " a" * 123 + " " if False else "a " * 124 + "a…" + ("a " * 125).rstrip(),
        ),
    ],
    ids=repr,
)
def test_a_summary_is_one_printable_line_of_bounded_length(text, shown):
    failing = outcome_of(Outcome.failed(Reason.EXIT, text))
    erring = outcome_of(raising(ProbeError(Reason.EXIT, text)))

    assert failing.summary == erring.summary == shown
    assert len(shown) <= MAX_SUMMARY


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31m", "x" * 10_000])
def test_the_message_of_an_exception_becomes_one_printable_line_too(text):
    summary = outcome_of(raising(ValueError(text))).summary

    assert summary.isprintable()
    assert len(summary) <= MAX_SUMMARY
