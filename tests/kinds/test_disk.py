"""The kind `disk` against real filesystems, and against answers of processes that are real too."""

import shutil
import subprocess
import sys
import time

import pytest
from pydantic import ValidationError
from support import command

from exporter.host.path import PathQuery
from exporter.kinds.disk import Disk
from exporter.model import Deadline, ProbeError, Reason, Status

FULL = (0, 100, 0, 0, 4096, 50, 25)  # an errno, then blocks, free, available, size, inodes, free inodes


def look(answer=None, timeout=10.0, **options):
    """Look at a real path, or at one for which a process gives this answer."""
    probe = Disk(**options)
    if answer is not None:
        words = " ".join(map(str, answer))
        probe._query = PathQuery("statvfs", command=(sys.executable, "-c", f"print('{words}')"))
    return probe.probe(Deadline(time.monotonic() + timeout))


def numbers(outcome):
    return {seen.name: seen.value for seen in outcome.measurements}


def test_the_numbers_are_those_of_df(tmp_path):
    outcome = look(path=str(tmp_path), fail_ratio=2)
    form = "--output=itotal,iused,size,avail,used"
    said = subprocess.run([command("df"), "-B1", form, tmp_path], capture_output=True, text=True, check=True)
    inodes, inodes_used, size, available, used = map(int, said.stdout.splitlines()[1].replace("-", "0").split())

    assert numbers(outcome)["disk_size_bytes"] == size
    assert numbers(outcome)["disk_available_bytes"] == pytest.approx(available, rel=0.05)  # others write meanwhile
    assert numbers(outcome)["disk_used_ratio"] == pytest.approx(used / (used + available), abs=0.02)
    if inodes:
        assert numbers(outcome)["disk_inodes_used_ratio"] == pytest.approx(inodes_used / inodes, abs=0.02)


def test_the_size_is_the_one_that_python_is_told(tmp_path):
    assert numbers(look(path=str(tmp_path), fail_ratio=2))["disk_size_bytes"] == shutil.disk_usage(tmp_path).total


@pytest.mark.parametrize(
    ("answer", "ratio"),
    [
        (FULL, 1.0),
        ((0, 100, 100, 100, 4096, 50, 50), 0.0),
        ((0, 100, 50, 50, 4096, 50, 50), 0.5),
        ((0, 100, 20, 10, 4096, 50, 50), 80 / 90),  # what only root may use counts for nobody
        ((0, 0, 0, 0, 4096, 0, 0), 0.0),  # such as /proc
    ],
    ids=["full", "empty", "half", "reserved", "without blocks"],
)
def test_the_used_part_is_of_what_users_may_use(answer, ratio):
    assert numbers(look(answer, fail_ratio=2))["disk_used_ratio"] == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, "pass"),
        ({"fail_ratio": 0.5}, "fail"),
        ({"fail_ratio": 0.51}, "pass"),
        ({"warn_ratio": 0.5}, "warn"),
        ({"fail_inodes_ratio": 0.8}, "fail"),
        ({"fail_inodes_ratio": 0.81}, "pass"),
        ({"warn_inodes_ratio": 0.8}, "warn"),
        ({"warn_inodes_ratio": 0.8, "fail_ratio": 0.5}, "fail"),
        ({"warn_ratio": 0.5, "fail_inodes_ratio": 0.8}, "fail"),
    ],
    ids=str,
)
def test_space_and_inodes_are_judged_by_their_limits(options, status):
    outcome = look((0, 100, 50, 50, 4096, 50, 10), **options)

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)
    assert numbers(outcome)["disk_inodes_used_ratio"] == pytest.approx(0.8)


def test_a_filesystem_without_inodes_is_judged_by_its_space_alone():
    outcome = look((0, 100, 50, 50, 4096, 0, 0), fail_inodes_ratio=0.1)

    assert outcome.status is Status.PASS
    assert "disk_inodes_used_ratio" not in numbers(outcome)


def test_a_path_that_does_not_exist_is_missing(tmp_path):
    outcome = look(path=str(tmp_path / "absent"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)


def test_a_path_that_may_not_be_looked_at_is_no_evidence():
    with pytest.raises(ProbeError) as caught:
        look((13,))

    assert caught.value.reason is Reason.PERMISSION


def test_a_filesystem_with_an_error_fails():
    outcome = look((5,))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.ERROR)
    assert "Input/output error" in outcome.summary


def test_a_mount_that_does_not_answer_fails_by_the_deadline():
    probe = Disk()
    probe._query = PathQuery("statvfs", command=(sys.executable, "-c", "import time; time.sleep(60)"))
    began = time.monotonic()
    outcome = probe.probe(Deadline(began + 0.2))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert time.monotonic() - began < 0.45
    probe.close()


@pytest.mark.parametrize("options", [{"path": ""}, {"fail_ratio": 0}, {"fail_inodes_ratio": 0}], ids=str)
def test_nonsense_is_refused(options):
    with pytest.raises(ValidationError):
        Disk(**options)


def test_the_path_is_the_target_and_a_restart_cures_no_disk():
    assert Disk(path="/var").target == "/var"
    assert Disk().liveness_risk()
