"""The Reloader over real files, with a clock that stands still."""

import os
from pathlib import Path

import pytest
from support import Clock

from exporter.server.reload import Reloader


@pytest.fixture
def config(tmp_path):
    return tmp_path / "health.yml"


class Reloads:
    """A Reloader for a file, and the contents that it has loaded."""

    def __init__(self, path: Path | None) -> None:
        self.loaded: list[str] = []
        self.clock = Clock()
        self.path = path
        self.reloader = Reloader(path, self.apply, self.clock)

    def apply(self) -> int:
        text = self.path.read_text() if self.path else ""
        if text == "bad":
            raise ValueError("line one\nline two")
        if text == "large":
            raise RuntimeError("can't start new thread")
        self.loaded.append(text)
        return 1


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
    assert reloads.reloader.reload() == "line one\nline two"
    assert reloads.reloader.time == first

    config.write_text("good")
    assert reloads.reloader.reload() is None
    assert (reloads.reloader.ok, reloads.reloader.time) == (True, first + 60)


def test_a_failure_to_start_threads_is_reported(config):
    config.write_text("large")
    reloads = Reloads(config)

    assert reloads.reloader.reload() == "can't start new thread"
    assert reloads.reloader.ok is False


def test_without_a_file_nothing_is_reloaded():
    reloads = Reloads(None)
    reloads.reloader.poll()
    reloads.reloader.poll()

    assert reloads.loaded == []


def test_an_exception_in_a_plugin_is_a_failed_reload(config, caplog):
    """The code of a plugin's kind runs while the file is loaded, and must not end the exporter."""

    def apply() -> int:
        raise KeyError("dya")

    reloader = Reloader(config, apply)

    assert reloader.reload() == "KeyError: 'dya'"
    assert reloader.ok is False
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.fields == {"error": "KeyError: 'dya'"}
