"""The kind `heartbeat`: what a job reports, how long ago, and what the exporter knows without it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Clock

from exporter.kinds.heartbeat import Heartbeat
from exporter.model import Beat, Deadline, ProbeError, Reason, Status

TOKEN = "a-token-of-the-backup"


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv("BACKUP_TOKEN", TOKEN)


def make_probe(beat=None, now=1000.0, max_age=60.0):
    probe = Heartbeat(max_age_seconds=max_age, token={"env": "BACKUP_TOKEN"})
    probe.attach(lambda: beat or Beat("backup", 1_000_000 + now, now, 1, None))
    return probe


def run_check(beat=None, age=0.0, now=1000.0):
    return make_probe(beat, now).probe(Deadline(now + age + 1, Clock(now + age)))


def beat_at(clock=1000.0, exit_code=0):
    return Beat("backup", 1_000_000 + clock, clock, 1, exit_code)


@pytest.mark.parametrize(
    ("age", "status"), [(0, "pass"), (59.5, "pass"), (60, "fail"), (1e6, "fail")], ids=["new", "young", "at", "old"]
)
def test_the_age_of_the_latest_heartbeat_decides(age, status):
    outcome = run_check(beat_at(), age)

    assert (outcome.status, outcome.reason) == (status, None if status == "pass" else Reason.THRESHOLD)
    (measurement,) = outcome.measurements
    assert (measurement.name, measurement.value, measurement.limits) == ("heartbeat_age_seconds", age, {"fail": 60})


def test_a_job_that_reports_its_failure_fails_the_check():
    outcome = run_check(beat_at(exit_code=3), age=30)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.EXIT)
    assert outcome.summary == (
        "the job exited with code 3; the latest heartbeat was received 30.0 s ago (fail at 1 min)"
    )
    assert [measurement.value for measurement in outcome.measurements] == [30]


def test_before_the_first_heartbeat_nothing_is_known():
    with pytest.raises(ProbeError, match=r"no heartbeat has been received for 59.0 s, since the check began") as raised:
        run_check(age=59)

    assert raised.value.reason is Reason.MISSING


def test_a_job_that_never_sends_a_heartbeat_fails():
    outcome = run_check(age=60)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert outcome.summary == "no heartbeat has been received for 1 min, expected one every 60 s"


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9), st.integers(0, 255))
def test_a_check_passes_only_with_a_recent_heartbeat_of_a_job_that_succeeded(since, age, exit_code):
    probe, now = make_probe(beat_at(since, exit_code)), since + age
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKUP_TOKEN", TOKEN)
        outcome = probe.probe(Deadline(now + 1, Clock(now)))

    assert (outcome.status is Status.PASS) == (exit_code == 0 and now - since < 60)


def test_only_the_token_is_accepted_once_a_run_has_read_it():
    probe = make_probe(beat_at())
    assert probe.accepts(TOKEN.encode()) is None

    probe.probe(Deadline(time.monotonic() + 60))

    assert probe.accepts(TOKEN.encode()) is True
    for other in (b"", TOKEN[:-1].encode(), TOKEN.upper().encode(), f"{TOKEN} ".encode()):
        assert probe.accepts(other) is False


def test_a_changed_token_is_accepted_after_the_next_run(monkeypatch):
    probe = make_probe(beat_at())
    for value in ("the-first-of-two-tokens", "the-second-of-two-tokens"):
        monkeypatch.setenv("BACKUP_TOKEN", value)
        probe.probe(Deadline(time.monotonic() + 60))

        assert probe.accepts(value.encode()) is True
    assert probe.accepts(b"the-first-of-two-tokens") is False


def test_a_short_token_is_refused(monkeypatch):
    monkeypatch.setenv("BACKUP_TOKEN", "short")

    with pytest.raises(ProbeError, match="the token has fewer than 16 characters"):
        run_check(beat_at())


def test_without_its_token_a_check_is_unknown(monkeypatch):
    monkeypatch.delenv("BACKUP_TOKEN")

    with pytest.raises(ProbeError, match="BACKUP_TOKEN"):
        run_check(beat_at())


def test_a_token_that_is_no_longer_there_is_no_longer_accepted(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN)
    probe = Heartbeat(max_age_seconds=60.0, token={"file": str(file)})
    probe.recall(Deadline(time.monotonic() + 60))
    assert probe.accepts(TOKEN.encode()) is True
    for change in (file.unlink, lambda: file.write_text("short")):
        change()
        with pytest.raises(ProbeError):
            probe.recall(Deadline(time.monotonic() + 60))

        assert probe.accepts(TOKEN.encode()) is None
