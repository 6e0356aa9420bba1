"""The kind `file` against real files, folders and processes that hang."""

import os
import sys
import time

import pytest
from pydantic import ValidationError

from exporter.host.path import PathQuery
from exporter.kinds.file import File
from exporter.model import Deadline, Reason, Status

NOW = 1_700_000_000.0


def look(path, age=0.0, timeout=10.0, **options):
    """Look at a file at a moment when it is this old."""
    if os.path.lexists(path) and path.is_file():
        os.utime(path, (NOW, NOW))
    return File(path=str(path), **options).probe(Deadline(time.monotonic() + timeout), wall=lambda: NOW + age)


@pytest.fixture
def beat(tmp_path):
    path = tmp_path / "heartbeat"
    path.write_text("alive")
    return path


def test_a_file_that_is_there_passes_with_its_numbers(beat):
    outcome = look(beat, age=12.5)

    assert outcome.status is Status.PASS
    assert {seen.name: seen.value for seen in outcome.measurements} == {"file_age_seconds": 12.5, "file_size_bytes": 5}
    assert outcome.summary == f"{beat} was written 12.5 s ago; it holds 5 bytes"


def test_a_missing_file_fails_as_missing(tmp_path):
    outcome = look(tmp_path / "absent")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert outcome.measurements == ()


@pytest.mark.parametrize(
    ("age", "status"), [(0, "pass"), (59.9, "pass"), (60, "fail"), (1e6, "fail")], ids=["new", "young", "at", "old"]
)
def test_a_file_that_is_too_old_fails_by_its_threshold(beat, age, status):
    outcome = look(beat, age=age, max_age_seconds=60)

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)
    assert outcome.measurements[0].limits == {"fail": 60}


def test_a_file_from_the_future_is_new(beat):
    outcome = look(beat, age=-3600, max_age_seconds=1)

    assert outcome.status is Status.PASS
    assert outcome.measurements[0].value == 0


@pytest.mark.parametrize(
    ("size", "options", "status", "words"),
    [
        (0, {}, "pass", "it holds 0 bytes"),
        (0, {"min_bytes": 1}, "fail", "it holds 0 bytes, expected at least 1"),
        (1, {"min_bytes": 1}, "pass", "it holds 1 bytes"),
        (9, {"max_bytes": 9}, "pass", "it holds 9 bytes"),
        (10, {"max_bytes": 9}, "fail", "it holds 10 bytes, expected at most 9"),
        (5, {"min_bytes": 5, "max_bytes": 5}, "pass", "it holds 5 bytes"),
    ],
)
def test_the_size_must_lie_between_its_limits(tmp_path, size, options, status, words):
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    outcome = look(path, **options)

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)
    assert outcome.summary.endswith(words)


def test_a_link_is_followed(beat, tmp_path):
    (tmp_path / "link").symlink_to(beat)
    (tmp_path / "dangling").symlink_to("nowhere")

    assert look(tmp_path / "link").status is Status.PASS
    assert look(tmp_path / "dangling").reason is Reason.MISSING


def test_a_directory_is_no_file(tmp_path):
    """Docker makes one where the file to mount does not exist."""
    outcome = look(tmp_path)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert "is a directory" in outcome.summary


def test_a_file_that_does_not_answer_fails_by_the_deadline(beat):
    probe = File(path=str(beat))
    probe._query = PathQuery("stat", command=(sys.executable, "-c", "import time; time.sleep(60)"))
    began = time.monotonic()
    outcome = probe.probe(Deadline(began + 0.2))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert time.monotonic() - began < 0.45
    probe.close()


def test_the_real_clock_is_the_one_that_the_filesystem_has(beat):
    outcome = File(path=str(beat)).probe(Deadline(time.monotonic() + 10))

    assert 0 <= outcome.measurements[0].value < 60


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"path": ""},
        {"path": "/x", "max_age_seconds": 0},
        {"path": "/x", "max_age_seconds": "60"},
        {"path": "/x", "min_bytes": -1},
        {"path": "/x", "min_bytes": 2, "max_bytes": 1},
    ],
    ids=str,
)
def test_nonsense_is_refused(options):
    with pytest.raises(ValidationError):
        File(**options)


def test_the_path_is_the_target_and_a_restart_may_cure_it():
    probe = File(path="/run/heartbeat")

    assert probe.target == "/run/heartbeat"
    assert probe.liveness_risk() is None
    assert probe == File(path="/run/heartbeat")
