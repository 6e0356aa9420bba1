"""Files that the exporter itself reads: regular ones, by a deadline, up to a maximum."""

import os
import socket
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
from faults.fuse import mounted
from support import Clock, eventually, within

from exporter.host import reader
from exporter.host.reader import MAX_KEPT, MAX_PEM, MAX_WAIT, explained, read, read_end, read_pem, sign
from exporter.model import Deadline, ProbeError, Reason


def test_the_beginning_of_a_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 2**20)

    assert read(tmp_path / "file", 4) == b"abca"
    assert read(tmp_path / "file", 2**30) == b"abc" * 2**20
    assert read("/proc/self/status", 4) == b"Name"  # its size is 0


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (make_fifo, "it is a FIFO, not a regular file"),
        (make_socket, "it is a socket, not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a regular file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
    ids=["FIFO", "socket", "device", "directory", "loop"],
)
@pytest.mark.parametrize("function", [lambda path: read(path, 10), read_pem], ids=["read", "read_pem"])
def test_only_regular_files_are_read(tmp_path, make, why, function):
    make(tmp_path / "path")
    with pytest.raises(OSError, match=why) as raised:
        function(tmp_path / "path")

    assert raised.value.filename == str(tmp_path / "path")


def test_a_file_that_becomes_a_fifo_in_the_meantime_does_not_block(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "path")
    (tmp_path / "file").write_text("")
    regular = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda _: regular)
    with pytest.raises(OSError, match="it is a FIFO"):
        read(tmp_path / "path", 10)


def test_a_signature_changes_with_the_file(tmp_path):
    (tmp_path / "file").write_text("one")
    (tmp_path / "link").symlink_to("file")
    before = sign(tmp_path / "link")
    assert sign(tmp_path / "file") == before

    (tmp_path / "new").write_text("two")
    os.utime(tmp_path / "new", ns=((tmp_path / "file").stat().st_atime_ns, (tmp_path / "file").stat().st_mtime_ns))
    (tmp_path / "new").replace(tmp_path / "file")
    assert sign(tmp_path / "link") != before


def test_the_content_of_certificates_is_the_same_object_until_it_changes(tmp_path):
    (tmp_path / "file").write_text("one")
    first = read_pem(tmp_path / "file")
    assert first == b"one"
    assert read_pem(tmp_path / "file") is first

    (tmp_path / "file").write_text("another")
    assert read_pem(tmp_path / "file") == b"another"


def test_a_file_of_certificates_has_a_maximum_size(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * MAX_PEM)
    assert len(read_pem(tmp_path / "file")) == MAX_PEM

    (tmp_path / "file").write_bytes(b"x" * (MAX_PEM + 1))
    with pytest.raises(OSError, match="larger than 4 MiB"):
        read_pem(tmp_path / "file")


def test_the_content_of_a_limited_number_of_files_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "_kept", OrderedDict())
    paths = [tmp_path / str(number) for number in range(MAX_KEPT + 1)]
    for path in paths:
        path.write_text("content")
    first, second, *_ = [read_pem(path) for path in paths]

    assert read_pem(paths[1]) is second
    assert read_pem(paths[0]) is not first
    assert len(reader._kept) == MAX_KEPT


def test_a_read_that_belongs_to_no_check_has_a_time_limit(monkeypatch):
    deadlines: list[Deadline] = []
    clock = Clock()
    monkeypatch.setattr(reader, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(reader._THREADS, "run", lambda *arguments: deadlines.append(arguments[-1]))
    read("/dev/null", 1)

    assert [deadline.at for deadline in deadlines] == [clock() + MAX_WAIT]


@pytest.mark.parametrize("operation", ["stat", "open", "read"])
def test_a_mount_that_hangs_is_given_up_at_the_deadline(tmp_path, operation):
    with mounted(tmp_path) as mount:
        path = mount.path / "file"
        (mount.files / "file").write_text("one")
        mount.hang(operation)
        with pytest.raises(TimeoutError, match="no response in time"):
            read(path, 10, within(0.2))
        with pytest.raises(TimeoutError, match="still no response"):
            read(path, 10)
        mount.release()
        eventually(lambda: recovers(path))


def recovers(path: Path) -> bool:
    try:
        return read(path, 10) == b"one"
    except TimeoutError:
        return False


def test_a_check_learns_the_reason(tmp_path):
    (tmp_path / "folder").mkdir()
    for error, reason, message in (
        (FileNotFoundError(2, "No such file", "a"), Reason.MISSING, "the file a does not exist"),
        (PermissionError(13, "Permission denied", "a"), Reason.PERMISSION, "the file a: permission denied"),
        (TimeoutError(110, "no response in time", "a"), Reason.TIMEOUT, "the file a: no response in time"),
        (OSError(22, "it is a FIFO", "a"), Reason.ERROR, "the file a cannot be read: it is a FIFO"),
    ):
        with pytest.raises(ProbeError) as raised, explained():
            raise error
        assert (raised.value.reason, str(raised.value)) == (reason, message)


def test_the_end_of_a_file_has_a_maximum_size(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")

    assert read_end(tmp_path / "file", 4) == b"6789"
    assert read_end(tmp_path / "file", 40) == b"0123456789"
    with pytest.raises(FileNotFoundError):
        read_end(tmp_path / "missing", 4)
