"""The kind `disk` on real filesystems, and with numbers that a scripted process responds with."""

import shutil
import subprocess
import time
from contextlib import closing

import pytest
from faults.fuse import mounted
from faults.namespaces import namespaces
from host.scripted import script_paths
from pydantic import ValidationError
from support import command, within

from exporter.host.path import PathQuery
from exporter.kinds.disk import Disk
from exporter.model import Deadline, ProbeError, Reason, Status

FULL = (0, 100, 0, 0, 4096, 50, 25)  # an errno, then blocks, free, available, size, inodes, free inodes


def run_check(numbers=None, timeout=10.0, **options):
    """Check a real path, or one for which the process responds with these numbers."""
    probe = Disk(**options)
    if numbers is not None:
        words = " ".join(map(str, (*numbers, 0, 0)))  # of an unknown mount
        probe._query = PathQuery("statvfs", processes=script_paths(f"os.write(0, b'{words}\\n')"))
    with closing(probe):
        return probe.probe(Deadline(time.monotonic() + timeout))


def values(outcome):
    return {measurement.name: measurement.value for measurement in outcome.measurements}


def test_the_numbers_are_those_of_df(tmp_path):
    outcome = run_check(path=str(tmp_path), fail_ratio=2)
    form = "--output=itotal,iused,size,avail,used"
    output = subprocess.run([command("df"), "-B1", form, tmp_path], capture_output=True, text=True, check=True)
    inodes, inodes_used, size, available, used = map(int, output.stdout.splitlines()[1].replace("-", "0").split())

    assert values(outcome)["disk_size_bytes"] == size
    assert values(outcome)["disk_available_bytes"] == pytest.approx(available, rel=0.05)  # others write too
    assert values(outcome)["disk_used_ratio"] == pytest.approx(used / (used + available), abs=0.02)
    if inodes:
        assert values(outcome)["disk_inodes_used_ratio"] == pytest.approx(inodes_used / inodes, abs=0.02)


def test_the_size_is_the_one_that_python_returns(tmp_path):
    assert values(run_check(path=str(tmp_path), fail_ratio=2))["disk_size_bytes"] == shutil.disk_usage(tmp_path).total


@pytest.mark.parametrize(
    ("numbers", "ratio"),
    [
        (FULL, 1.0),
        ((0, 100, 100, 100, 4096, 50, 50), 0.0),
        ((0, 100, 50, 50, 4096, 50, 50), 0.5),
        ((0, 100, 20, 10, 4096, 50, 50), 80 / 90),  # blocks reserved for root count as neither used nor free
        ((0, 100, 100, 0, 4096, 50, 50), 1.0),
        ((0, 100, 0, -3, 4096, 50, 50), 100 / 97),  # as df: part of the reserved blocks is in use
    ],
    ids=["full", "empty", "half", "reserved", "all reserved", "negative"],
)
def test_the_used_share_is_of_the_space_that_users_may_use(numbers, ratio):
    assert values(run_check(numbers, fail_ratio=2))["disk_used_ratio"] == pytest.approx(ratio)


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
def test_space_and_inodes_are_compared_with_their_limits(options, status):
    outcome = run_check((0, 100, 50, 50, 4096, 50, 10), **options)

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)
    assert values(outcome)["disk_inodes_used_ratio"] == pytest.approx(0.8)


def test_a_filesystem_without_inodes_is_checked_by_its_space_alone():
    outcome = run_check((0, 100, 50, 50, 4096, 0, 0))

    assert outcome.status is Status.PASS
    assert "disk_inodes_used_ratio" not in values(outcome)


@pytest.mark.parametrize(("fail_ratio", "status"), [(0.9, "unknown"), (0.4, "fail")])
def test_a_limit_for_inodes_without_inodes_is_never_a_pass(fail_ratio, status):
    outcome = run_check((0, 100, 50, 50, 4096, 0, 0), fail_inodes_ratio=0.1, fail_ratio=fail_ratio)

    assert outcome.status == status
    assert "it counts no inodes: remove failInodesRatio" in outcome.summary


@pytest.mark.parametrize("path", ["/proc", "/sys"])
def test_a_filesystem_that_reports_no_size_is_not_measured(path):
    with pytest.raises(ProbeError, match=f"the filesystem of {path}.* reports no size") as caught:
        run_check(path=path)

    assert caught.value.reason is Reason.MISSING


@pytest.fixture
def volume(tmp_path):
    """A folder on which a small filesystem can be mounted, in a mount namespace; `inside(...)` runs a check there."""
    with namespaces("mounts") as inside:
        (tmp_path / "a volume").mkdir()
        (tmp_path / "link").symlink_to("a volume")
        yield inside, tmp_path / "a volume"


def test_a_volume_that_is_not_mounted_fails_and_the_filesystem_is_named(volume):
    inside, path = volume
    inside.run("mount", "-t", "tmpfs", "-o", "size=1m", "canary", str(path))
    for name in (path, path.parent / "link"):
        outcome = inside(run_check, path=str(name), mount_point=True)
        assert outcome.status is Status.PASS
        assert f"% of {name} (tmpfs canary on {path}) is in use" in outcome.summary

    inside.run("umount", str(path))
    outcome = inside(run_check, path=str(path), mount_point=True)
    plain = inside(run_check, path=str(path), fail_ratio=2)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)
    assert outcome.summary.startswith(f"nothing is mounted at {path}: it is a folder of the filesystem ")
    assert outcome.measurements == ()
    assert plain.status is Status.PASS
    assert str(path) not in plain.summary.partition("(")[2]  # the filesystem is another one


def test_a_bind_mount_of_the_same_filesystem_is_a_mount_point(volume):
    inside, path = volume
    (path / "below").mkdir()
    inside.run("mount", "--bind", str(path), str(path))

    assert inside(run_check, path=str(path), mount_point=True, fail_ratio=2).status is Status.PASS
    assert inside(run_check, path=str(path / "below"), mount_point=True).reason is Reason.MISSING


def test_a_mounted_file_and_the_root_are_mount_points(volume):
    inside, path = volume
    (path / "file").touch()
    inside.run("mount", "--bind", str(path / "file"), str(path / "file"))
    for name in (str(path / "file"), "/"):
        assert inside(run_check, path=name, mount_point=True, fail_ratio=2).status is Status.PASS


def test_a_mount_that_is_not_known_is_no_evidence():
    with pytest.raises(ProbeError, match="is not known"):
        run_check((0, 100, 50, 50, 4096, 0, 0), mount_point=True)


def test_a_path_that_does_not_exist_is_missing(tmp_path):
    outcome = run_check(path=str(tmp_path / "absent"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)


def test_without_permission_the_check_cannot_run():
    with pytest.raises(ProbeError) as caught:
        run_check((13,))

    assert caught.value.reason is Reason.PERMISSION


def test_a_filesystem_with_an_error_fails():
    outcome = run_check((5,))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.ERROR)
    assert "Input/output error" in outcome.summary


def test_a_mount_that_hangs_fails_at_the_deadline(tmp_path):
    with mounted(tmp_path) as mount:
        probe = Disk(path=str(mount.path))
        assert probe.probe(within(10)).status is Status.PASS
        mount.hang("stat")
        outcome = probe.probe(within(0.5))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    probe._query._blocked.child.wait(60)


@pytest.mark.parametrize("options", [{"path": ""}, {"fail_ratio": 0}, {"fail_inodes_ratio": 0}], ids=str)
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValidationError):
        Disk(**options)


def test_the_path_is_the_target_and_a_restart_does_not_fix_it():
    assert Disk(path="/var").target == "/var"
    assert Disk().liveness_risk()
