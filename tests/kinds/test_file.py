"""The kind `file` against real files, folders and a mount that hangs."""

import os
import socket
import time
from pathlib import Path

import pytest
from faults.fuse import mounted
from pydantic import ValidationError
from support import within

from exporter.kinds.file import File
from exporter.model import Deadline, Reason, Status

NOW = 1_700_000_000.0


def run_check(path, age=0.0, timeout=10.0, **options):
    """Check a file at a moment when it is this old."""
    if os.path.lexists(path) and path.is_file():
        os.utime(path, (NOW, NOW))
    return File(path=str(path), **options).probe(Deadline(time.monotonic() + timeout), wall=lambda: NOW + age)


@pytest.fixture
def heartbeat(tmp_path):
    path = tmp_path / "heartbeat"
    path.write_text("alive")
    return path


def test_a_file_that_exists_passes_with_its_numbers(heartbeat):
    outcome = run_check(heartbeat, age=12.5)

    assert outcome.status is Status.PASS
    assert [(measurement.name, measurement.value) for measurement in outcome.measurements] == [
        ("file_age_seconds", 12.5),
        ("file_size_bytes", 5),
    ]
    assert outcome.summary == f"{heartbeat} was last written 12.5 s ago; its size is 5 bytes"


def test_a_missing_file_fails_as_missing(tmp_path):
    outcome = run_check(tmp_path / "absent")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert outcome.measurements == ()


@pytest.mark.parametrize(
    ("age", "status"), [(0, "pass"), (59.9, "pass"), (60, "fail"), (1e6, "fail")], ids=["new", "young", "at", "old"]
)
def test_a_file_that_is_too_old_fails(heartbeat, age, status):
    outcome = run_check(heartbeat, age=age, max_age_seconds=60)

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)
    assert outcome.measurements[0].limits == {"fail": 60}


def test_a_file_from_the_future_is_new(heartbeat):
    outcome = run_check(heartbeat, age=-3600, max_age_seconds=1)

    assert outcome.status is Status.PASS
    assert outcome.measurements[0].value == 0


@pytest.mark.parametrize(
    ("size", "options", "status", "words"),
    [
        (0, {}, "pass", "its size is 0 bytes"),
        (0, {"min_bytes": 1}, "fail", "its size is 0 bytes, expected at least 1"),
        (1, {"min_bytes": 1}, "pass", "its size is 1 bytes"),
        (9, {"max_bytes": 9}, "pass", "its size is 9 bytes"),
        (10, {"max_bytes": 9}, "fail", "its size is 10 bytes, expected at most 9"),
        (5, {"min_bytes": 5, "max_bytes": 5}, "pass", "its size is 5 bytes"),
    ],
)
def test_the_size_must_be_between_its_limits(tmp_path, size, options, status, words):
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    outcome = run_check(path, **options)

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)
    assert outcome.summary.endswith(words)


def test_a_link_is_followed(heartbeat, tmp_path):
    (tmp_path / "link").symlink_to(heartbeat)
    (tmp_path / "dangling").symlink_to("nowhere")

    assert run_check(tmp_path / "link").status is Status.PASS
    assert run_check(tmp_path / "dangling").reason is Reason.MISSING


def test_a_directory_fails(tmp_path):
    """Docker creates one if the file to mount does not exist."""
    outcome = run_check(tmp_path)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert "is a directory" in outcome.summary


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "a FIFO"), (make_socket, "a socket")])
def test_what_is_not_a_regular_file_fails_like_a_directory(tmp_path, monkeypatch, make, kind):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make("special")
    outcome = run_check(tmp_path / "special")

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert outcome.summary == f"{tmp_path / 'special'} is {kind}, not a regular file"


def test_a_device_fails():
    assert run_check(Path("/dev/null")).summary == "/dev/null is a device, not a regular file"


def test_a_file_on_a_mount_that_hangs_fails_at_the_deadline(tmp_path):
    with mounted(tmp_path) as mount:
        (mount.files / "heartbeat").touch()
        probe = File(path=str(mount.path / "heartbeat"))
        assert probe.probe(within(10)).status is Status.PASS
        mount.hang("stat")
        outcome = probe.probe(within(0.5))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    probe._query._blocked.child.wait(60)


def test_the_age_is_computed_with_the_wall_clock(heartbeat):
    outcome = File(path=str(heartbeat)).probe(Deadline(time.monotonic() + 10))

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
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValidationError):
        File(**options)


def test_the_path_is_the_target_and_a_restart_may_fix_it():
    probe = File(path="/run/heartbeat")

    assert probe.target == "/run/heartbeat"
    assert probe.liveness_risk() is None
    assert probe == File(path="/run/heartbeat")
