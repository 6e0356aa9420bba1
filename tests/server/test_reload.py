"""The Reloader over real files, with a clock that stands still."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from faults.fuse import mounted
from support import PATIENCE, Clock, eventually

from exporter.config.complaint import Complaint, UnreadableError
from exporter.config.document import Document
from exporter.server.reload import MAX_ERRORS, MAX_PAUSE, ReloadBusyError, Reloader


@pytest.fixture
def config(tmp_path):
    return tmp_path / "health.yml"


class Reloads:
    """A Reloader for a file, and the contents that it has loaded."""

    def __init__(self, path: Path | None) -> None:
        self.loaded: list[str] = []
        self.clock = Clock()
        self.path = path
        self.lack: Exception | None = None
        self.attempts = 0
        self.reloader = Reloader([path] if path else [], self.apply, self.clock)

    def apply(self) -> int:
        self.attempts += 1
        text = self.path.read_text() if self.path else ""
        if text == "bad":
            raise ValueError("line one\nline two")
        if self.lack is not None:
            raise self.lack
        self.loaded.append(text)
        return 1

    @contextmanager
    def started(self) -> Iterator[Reloader]:
        """The Reloader with its thread, until the end of the block."""
        self.reloader.start()
        try:
            yield self.reloader
        finally:
            self.reloader.stop()


def test_a_file_is_loaded_once_it_stops_changing(config):
    """Not while it is being written: two polls in a row must see the same file."""
    config.write_text("one")
    reloads = Reloads(config)
    reloads.reloader.poll()

    for text in ("a", "ab", "abc"):
        config.write_text(text)
        reloads.reloader.poll()
    assert reloads.loaded == []

    reloads.reloader.poll()
    reloads.reloader.poll()
    assert reloads.loaded == ["abc"]


def test_another_file_of_the_same_size_and_time_is_another_file(config):
    """As in a ConfigMap, where the target of a link changes."""
    config.write_text("one")
    reloads = Reloads(config)
    (config.parent / "new").write_text("two")
    os.utime(config.parent / "new", ns=(config.stat().st_atime_ns, config.stat().st_mtime_ns))
    (config.parent / "new").replace(config)

    reloads.reloader.poll()
    reloads.reloader.poll()

    assert reloads.loaded == ["two"]


def test_an_invalid_file_is_logged_once(config, caplog):
    config.write_text("one")
    reloads = Reloads(config)
    config.write_text("bad")
    for _ in range(5):
        reloads.reloader.poll()

    assert [record.fields["error"] for record in caplog.records] == ["line one", "line two"]
    assert reloads.reloader.ok is False


def test_the_time_of_the_last_successful_load_stays(config):
    config.write_text("bad")
    reloads = Reloads(config)
    first = reloads.reloader.time
    reloads.clock.advance(60)
    with reloads.started() as reloader:
        assert reloader.reload() == "line one\nline two"
        assert reloader.time == first

        config.write_text("good")
        assert reloader.reload() is None
        assert (reloader.ok, reloader.time) == (True, first + 60)


@pytest.mark.parametrize(
    "lack",
    [
        RuntimeError("can't start new thread"),
        MemoryError(),
        OSError(24, "Too many open files"),
        UnreadableError([Complaint("health.yml", None, (), "cannot be read: no response in time")]),
    ],
    ids=lambda lack: type(lack).__name__,
)
def test_a_load_that_lacked_a_resource_is_repeated_until_it_succeeds(config, caplog, lack):
    """With a back-off, and with one log line."""
    config.write_text("one")
    reloads = Reloads(config)
    reloads.lack = lack
    config.write_text("two")
    attempts = [0]
    for _ in range(140):
        reloads.reloader.poll()
        attempts.append(reloads.attempts)
    assert reloads.reloader.ok is False
    assert len(caplog.records) == 1
    polls = [poll for poll in range(1, 141) if attempts[poll] > attempts[poll - 1]]
    pauses = [later - earlier for earlier, later in pairwise(polls)]
    assert pauses == [1, 2, 4, 8, 16, 32, MAX_PAUSE, MAX_PAUSE]

    reloads.lack = None
    for _ in range(MAX_PAUSE):
        reloads.reloader.poll()
    assert reloads.loaded == ["two"]
    assert reloads.reloader.ok is True


def test_an_invalid_file_is_not_loaded_again_until_it_changes(config):
    config.write_text("one")
    reloads = Reloads(config)
    config.write_text("bad")
    for _ in range(100):
        reloads.reloader.poll()
    assert reloads.attempts == 1


def test_a_request_is_logged_even_if_it_fails_like_the_attempt_before(config, caplog):
    config.write_text("one")
    reloads = Reloads(config)
    reloads.lack = RuntimeError("can't start new thread")
    with reloads.started() as reloader:
        assert reloader.reload() == "can't start new thread"
        assert reloader.reload() == "can't start new thread"

    assert len(caplog.records) == 2


class Hanging(Reloads):
    """A Reloader whose load waits for an event."""

    def __init__(self, path: Path | None) -> None:
        self.release = threading.Event()
        super().__init__(path)

    def apply(self) -> int:
        checks = super().apply()
        self.release.wait(PATIENCE)
        return checks


def test_a_second_request_is_refused_while_the_first_waits(config):
    config.write_text("one")
    reloads, results = Hanging(config), []
    with reloads.started() as reloader:
        first = threading.Thread(target=lambda: results.append(reloader.reload()))
        first.start()
        eventually(lambda: reloads.attempts)
        for _ in range(3):
            with pytest.raises(ReloadBusyError, match="another reload is in progress"):
                reloader.reload()
        assert results == []
        reloads.release.set()
        first.join(PATIENCE)
        assert results == [None]
        assert reloader.reload() is None


def test_a_request_that_takes_too_long_ends_and_keeps_others_out_until_it_is_over(config):
    config.write_text("one")
    reloads = Hanging(config)
    with reloads.started() as reloader:
        with pytest.raises(ReloadBusyError, match="still in progress"):
            reloader.reload(wait=0.05)
        with pytest.raises(ReloadBusyError, match="another reload is in progress"):
            reloader.reload()
        reloads.release.set()
        eventually(lambda: is_free(reloader))


def is_free(reloader: Reloader) -> bool:
    try:
        return reloader.reload() is None
    except ReloadBusyError:
        return False


def test_a_signal_during_a_load_causes_another(config):
    """The load under way may have read the file before it changed."""
    config.write_text("one")
    reloads = Hanging(config)
    with reloads.started() as reloader:
        reloader.request()
        eventually(lambda: reloads.attempts == 1)
        reloader.request()
        reloads.release.set()
        eventually(lambda: reloads.attempts == 2)


class Documents(Reloads):
    """A Reloader that reads its file as the exporter does."""

    def apply(self) -> int:
        assert self.path is not None
        Document.read(self.path)
        return super().apply()


def test_a_file_on_a_mount_that_hangs_is_a_failed_load_and_loaded_later(tmp_path, caplog):
    with mounted(tmp_path) as mount:
        (mount.files / "health.yml").write_text("one")
        reloads = Documents(mount.path / "health.yml")
        mount.hang()
        for _ in range(3):
            reloads.reloader.poll()
        assert reloads.reloader.ok is False
        assert [record.fields["error"] for record in caplog.records] == [
            f"{reloads.path}: cannot be read: still no response"
        ]

        (mount.files / "health.yml").write_text("two")
        mount.release()
        eventually(lambda: reloads.reloader.poll() or reloads.reloader.ok)
        assert reloads.loaded == ["two"]


def test_without_a_file_nothing_is_reloaded():
    reloads = Reloads(None)
    reloads.reloader.poll()
    reloads.reloader.poll()

    assert reloads.loaded == []


def test_the_log_shows_the_first_errors_of_a_file_and_how_many_more_there_are(config, caplog):
    errors = [f"health.yml:{number}: unknown key" for number in range(MAX_ERRORS + 2)]

    def apply() -> int:
        raise ValueError("\n".join(errors))

    reloader = Reloader([config], apply)
    reloader.start()
    shown = reloader.reload()
    reloader.stop()

    logged = [record.fields["error"] for record in caplog.records if record.levelname == "ERROR"]
    assert logged == [*errors[:MAX_ERRORS], "and 2 more: health-exporter validate lists all of them"]
    assert shown == "\n".join(logged)
    assert reloader.complaint == shown


def test_an_exception_in_a_plugin_is_a_failed_reload(config, caplog):
    """The code of a plugin's kind runs while the file is loaded, and must not end the exporter."""

    def apply() -> int:
        raise KeyError("dya")

    reloader = Reloader([config], apply)
    reloader.start()

    assert reloader.reload() == "KeyError: 'dya'"
    assert reloader.ok is False
    reloader.stop()
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.fields == {"error": "KeyError: 'dya'"}


def fail() -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("text", "previous", "loaded", "ok"),
    [
        ("good", None, True, True),
        ("bad", lambda: None, True, False),
        ("bad", fail, False, False),
        ("good", fail, True, True),
    ],
)
def test_the_first_load_uses_the_file_or_what_was_in_use_before(config, text, previous, loaded, ok, strict):
    config.write_text(text)
    reloader = Reloads(config).reloader

    reloader.load_first(previous, strict=strict)
    assert (reloader.ok, reloader.time is not None) == (ok, loaded)
    assert reloader.complaint == (None if ok else "line one\nline two")


def test_without_an_earlier_configuration_the_first_load_fails_and_a_later_one_succeeds(config, caplog):
    config.write_text("bad")
    reloads = Reloads(config)
    reloader = reloads.reloader

    reloader.load_first(None, strict=False)
    assert (reloader.ok, reloader.time) == (False, None)
    assert {record.message for record in caplog.records} == {
        "configuration not loaded; /readyz returns 503 until it is valid"
    }

    config.write_text("good!")
    reloader.poll()
    reloader.poll()
    assert (reloader.ok, reloader.time, reloader.complaint) == (True, reloads.clock.now, None)
    assert reloads.loaded == ["good!"]


def test_a_strict_first_load_raises_what_is_wrong(config):
    config.write_text("bad")
    with pytest.raises(ValueError, match="line one"):
        Reloads(config).reloader.load_first(None, strict=True)


def test_a_first_load_that_lacked_a_resource_is_repeated_although_the_file_stays_the_same(config):
    config.write_text("good")
    reloads = Reloads(config)
    reloads.lack = RuntimeError("can't start new thread")
    reloads.reloader.load_first(None, strict=False)

    reloads.lack = None
    reloads.reloader.poll()
    assert reloads.loaded == ["good"]
