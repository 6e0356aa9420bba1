"""The mount that stops responding, which other tests rely on."""

import subprocess
import threading
from pathlib import Path

import pytest
from faults.fuse import mounted
from support import PATIENCE, eventually


def test_a_mount_serves_its_files(tmp_path):
    with mounted(tmp_path) as mount:
        (mount.files / "folder").mkdir()
        (mount.files / "folder" / "file").write_text("one")
        (mount.files / "link").symlink_to("folder/file")
        assert {entry.name for entry in mount.path.iterdir()} == {"folder", "link"}
        assert (mount.path / "link").read_text() == "one"
        (mount.files / "folder" / "file").write_text("another")
        assert (mount.path / "link").read_text() == "another"
        assert (mount.path / "link").stat().st_mtime_ns == (mount.files / "link").stat().st_mtime_ns
        with pytest.raises(FileNotFoundError):
            (mount.path / "missing").read_text()


@pytest.mark.parametrize("operation", ["stat", "open", "read"])
def test_a_process_that_waits_for_a_mount_cannot_be_killed(tmp_path, operation):
    with mounted(tmp_path) as mount:
        (mount.files / "file").write_text("one")
        mount.hang(operation)
        child = subprocess.Popen(["cat", mount.path / "file"], stdout=subprocess.DEVNULL)
        eventually(mount.waiting)
        child.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)
        assert (mount.path.parent / "files" / "file").read_text() == "one"
        mount.release()
        child.wait(PATIENCE)


def test_the_end_of_a_mount_frees_whoever_waits(tmp_path):
    errors: list[OSError] = []

    def read(path: Path) -> None:
        try:
            path.read_text()
        except OSError as error:
            errors.append(error)

    with mounted(tmp_path) as mount:
        (mount.files / "file").write_text("one")
        mount.hang()
        reader = threading.Thread(target=read, args=(mount.path / "file",), daemon=True)
        reader.start()
        eventually(mount.waiting)
    reader.join(PATIENCE)
    assert errors
