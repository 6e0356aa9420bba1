"""The file of --history.file, on real disks: whole lines, within its size, by one writer, and nobody waits for it."""

import fcntl
import json
import logging
import os
import stat
import threading
from pathlib import Path

import pytest
from faults.fuse import mounted
from faults.namespaces import namespaces
from make import FAIL, PASS, check, result
from support import Clock, eventually

from exporter.evaluation.answered import AnswerLog
from exporter.evaluation.entries import decode
from exporter.evaluation.history import Checkpoint, Event, Milestone, Recorded, rebuild
from exporter.evaluation.store import Store
from exporter.server import history_file
from exporter.server.history_file import MAX_BACKLOG, MAX_PAUSE, MAX_RESTORED, HistoryFile
from exporter.server.segments import SEGMENTS, read_lines

SIZE = 64 * 1024


class Past:
    """A Store whose history is written to a file. Its clock moves by a second with each run."""

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self.path = path
        self.clock = Clock()
        self.store = Store(self.clock, lambda: 1_000_000 + self.clock.now)
        self.answers = AnswerLog()
        self.file = HistoryFile(path, size, self.store, self.answers)
        (self.check,) = self.store.configure([check(period=1, failure_threshold=1)])

    def run(self, *outcomes) -> None:
        for outcome in outcomes:
            self.store.record(self.check, result(outcome, at=self.clock.advance(1)))

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def types(self) -> list[str]:
        return [line["type"] for line in self.lines()]

    def end(self) -> None:
        """End as a process does."""
        self.file._segments.close()


@pytest.fixture
def past(tmp_path):
    made = Past(tmp_path / "history.jsonl")
    yield made
    made.end()


def segments(path: Path) -> list[Path]:
    """The segments that exist, the latest first."""
    paths = [path, *(Path(f"{path}.{number}") for number in range(1, SEGMENTS + 2))]
    return [each for each in paths if each.exists()]


def runs(path: Path) -> list[float]:
    """The starts of all recorded runs."""
    return [entry.result.started for entry in decode(read_lines(path, 10 * SIZE)) if isinstance(entry, Recorded)]


def test_the_file_begins_with_the_state_of_every_check(past):
    past.run(PASS)
    past.file.poll()

    first, *rest = past.lines()
    assert first["checks"][0]["name"] == "api"
    assert first["checks"][0]["failureThreshold"] == 1
    assert [line["type"] for line in rest] == ["checks", "loaded", "run", "transition"]
    assert stat.S_IMODE(past.path.stat().st_mode) == 0o600


def test_an_unhealthy_run_has_its_message_if_it_is_a_new_one(past):
    past.file.poll()
    past.run(PASS, FAIL, FAIL)
    past.file.poll()

    assert [line.get("summary") for line in past.lines() if line["type"] == "run"] == [None, "refused", None]


def test_nothing_is_written_while_nothing_happens(past):
    past.file.poll()
    written = past.path.stat()
    past.file.poll()

    assert past.path.stat().st_mtime_ns == written.st_mtime_ns


def test_the_size_is_limited_and_the_latest_three_quarters_remain(past):
    for _ in range(60):
        past.run(*[PASS] * 50)
        past.file.poll()
        assert sum(path.stat().st_size for path in segments(past.path)) <= SIZE

    starts = runs(past.path)
    assert len(segments(past.path)) == SEGMENTS
    assert starts == [starts[0] + number for number in range(len(starts))], "no run is missing in between"
    assert starts[-1] == 1_000_000 + past.clock.now - 0.01
    assert sum(path.stat().st_size for path in segments(past.path)[1:]) > SIZE * 0.7
    assert {path.read_text().partition("\n")[0][:16] for path in segments(past.path)} == {'{"type":"checks"'}


def test_a_burst_that_is_larger_than_a_segment_is_divided(past):
    past.run(*[PASS] * 1000)
    past.file.poll()

    assert len(runs(past.path)) > 300
    assert sum(path.stat().st_size for path in segments(past.path)) <= SIZE


def test_a_smaller_size_deletes_what_is_too_large(tmp_path):
    large = Past(tmp_path / "history.jsonl", 8 * SIZE)
    large.run(*[PASS] * 3000)
    large.file.poll()
    large.end()
    small = Past(large.path)
    small.run(PASS)
    small.file.poll()
    small.end()

    assert sum(path.stat().st_size for path in segments(large.path)) <= SIZE


def test_checks_that_do_not_fit_into_the_size_are_an_error(tmp_path, caplog):
    past = Past(tmp_path / "history.jsonl", 1024)
    past.file.poll()

    assert caplog.messages == ["the history cannot be written: --history.size is too small for these checks"]
    assert sum(path.stat().st_size for path in segments(past.path)) <= 1024


def test_the_next_process_goes_on_and_knows_the_past(past):
    past.run(PASS, FAIL)
    past.answers.note("/readyz", 503, ["api (connect)"], 4, kubelet=True)
    past.store.note(Event.STOPPED)
    past.file.poll()
    past.end()
    size = past.path.stat().st_size
    later = Past(past.path)
    later.file.poll()
    history = later.store.history

    assert [span.status for span in history.of("api").spans] == ["pass", "fail"]
    assert history.of("api").failure.outcome.summary == "refused"
    assert [transition.after for transition in history.transitions] == ["pass", "fail"]
    assert [milestone.event for milestone in history.milestones] == ["loaded", "stopped", "loaded"]
    assert [entry.kubelet for entry in later.answers.entries()] == [True]
    assert past.path.stat().st_size > size
    assert later.types().count("answered") == 1
    later.end()


def test_answers_are_written_at_first_and_when_they_end(past, monkeypatch):
    for number in range(3):
        past.answers.note("/readyz", 503, ["api (connect)"], number, kubelet=False)
        past.file.poll()
    assert [line["count"] for line in past.lines() if line["type"] == "answered"] == [1]

    monkeypatch.setattr(history_file, "UPDATE", 0.0)
    past.file.poll()
    past.file.poll()
    past.answers.note("/readyz", 200, [], 3, kubelet=False)
    past.file.poll()
    written = [line for line in past.lines() if line["type"] == "answered"]
    assert [(line["count"], "recovered" in line) for line in written] == [(1, False), (3, False), (3, True)]
    past.end()
    later = Past(past.path)
    later.file.poll()
    later.end()
    assert [(entry.count, entry.recovered) for entry in later.answers.entries()] == [(3, written[-1]["recovered"])]


def test_only_the_end_of_the_past_is_read(tmp_path):
    path = tmp_path / "history.jsonl"
    Path(f"{path}.1").write_bytes(b"earlier\n" * 10)
    path.write_bytes(b"x" * (MAX_RESTORED - 20) + b"\n")

    assert [line[:7] for line in read_lines(path, MAX_RESTORED)] == ["er", "earlier", "earlier", "xxxxxxx"]


def test_the_end_of_the_past_is_enough_to_know_the_runs(tmp_path, monkeypatch):
    """However long the segment is, and whatever a run writes."""
    monkeypatch.setattr(history_file, "MAX_RESTORED", 16 * 1024)
    past = Past(tmp_path / "history.jsonl", 4 * 1024 * 1024)
    for _ in range(60):
        past.run(*[PASS, FAIL] * 10)
        past.file.poll()
    before = past.store.history.of("api").spans
    past.end()

    assert past.path.stat().st_size > 5 * 16 * 1024
    again = Past(past.path, 4 * 1024 * 1024)
    again.file.poll()
    again.end()
    restored = again.store.history.of("api").spans
    assert len(restored) > 10
    assert [*restored] == [*before][-len(restored) :]


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\0" * 5000, b"\xff\xfe", b"[" * 100_000, os.urandom(20_000), b'{"type":"checks","schema":99}\n'],
    ids=["empty", "half a line", "zeros", "not UTF-8", "nested", "random", "later schema"],
)
def test_a_damaged_file_is_continued_with_whole_lines(tmp_path, damage):
    path = tmp_path / "history.jsonl"
    path.write_bytes(damage)
    past = Past(path, 16 * SIZE)
    past.run(PASS)
    past.file.poll()
    past.end()

    history = rebuild(decode(read_lines(path, 16 * SIZE)))
    assert [span.count for span in history.of("api").spans] == [1]


def test_two_processes_do_not_write_the_same_file(past, caplog):
    caplog.set_level(logging.INFO, history_file.__name__)
    past.file.poll()
    other = Past(past.path)
    other.run(PASS)
    before = past.path.read_bytes()
    other.file.poll()

    assert past.path.read_bytes() == before
    assert caplog.messages == ["the history cannot be written: another process writes this file"]
    past.end()
    for _ in range(3):
        other.file.poll()
    assert caplog.messages[-1] == "the history is written again"
    (lost,) = [entry for entry in decode(read_lines(past.path, SIZE)) if isinstance(entry, Milestone)][-1:]
    assert (lost.event, lost.detail) == (Event.LOST, "4 entries")
    other.end()


@pytest.mark.parametrize("kind", ["FIFO", "device", "folder"])
def test_only_a_regular_file_is_opened(tmp_path, caplog, kind):
    path = tmp_path / "history.jsonl"
    match kind:
        case "FIFO":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/null")
        case "folder":
            path.mkdir()
    Past(path).file.poll()

    assert caplog.messages == ["the history cannot be written: it is not a regular file"]


def test_a_folder_that_is_missing_is_logged_once_and_tried_again(tmp_path, caplog):
    past = Past(tmp_path / "missing" / "history.jsonl")
    for _ in range(5):
        past.file.poll()
    assert caplog.messages == ["the history cannot be written: No such file or directory"]

    past.path.parent.mkdir()
    for _ in range(MAX_PAUSE + 1):
        past.file.poll()
    assert past.types()[0] == "checks"
    past.end()


def test_a_file_that_is_deleted_or_replaced_begins_again(past):
    past.file.poll()
    past.path.unlink()
    past.run(PASS)
    past.file.poll()

    assert past.types() == ["checks", "run", "transition"]


def test_a_full_disk_loses_entries_and_no_line_is_cut(tmp_path, caplog):
    caplog.set_level(logging.INFO, history_file.__name__)
    with namespaces("mounts") as inside:
        inside.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path))
        path = tmp_path / "history.jsonl"
        past = inside(Past, path, 64 * SIZE)

        def fill() -> None:
            for _ in range(20):
                past.run(*[PASS] * 50)
                past.file.poll()

        inside(fill)
        text = inside(path.read_text)
        assert text.endswith("\n")
        assert all(json.loads(line) for line in text.splitlines())
        assert caplog.messages == ["the history cannot be written: No space left on device"]

        inside(path.write_text, "")
        for _ in range(MAX_PAUSE + 1):
            inside(past.file.poll)
        last = json.loads(inside(path.read_text).splitlines()[-1])
        assert last["type"] == "lost"
        assert int(last["detail"].removesuffix(" entries")) > 0
        assert caplog.messages[-1] == "the history is written again"
        inside(past.end)


def test_a_disk_that_hangs_delays_nobody(tmp_path):
    """Entries wait up to a limit, and then they are lost and counted. The end of the exporter does not wait either."""
    with mounted(tmp_path) as mount:
        mount.hang()
        past = Past(mount.path / "history.jsonl")
        past.file.start()
        eventually(mount.waiting)
        past.run(*[PASS] * (MAX_BACKLOG + 100))

        assert len(past.file._queue) <= MAX_BACKLOG
        assert past.file._lost >= 100 - 3
        assert past.store.snapshot().states["api"].runs == MAX_BACKLOG + 100
        past.file.stop()


def test_the_end_waits_until_the_last_entries_are_written(past):
    past.file.start()
    past.run(PASS)
    past.store.note(Event.STOPPED)
    past.answers.note("/readyz", 503, ["api (connect)"], 4, kubelet=True)
    past.file.stop()

    eventually(lambda: past.types()[-2:] == ["stopped", "answered"])
    assert threading.active_count() >= 1


def test_the_lock_is_not_left_to_a_command_that_a_check_starts(past):
    past.file.poll()
    flags = fcntl.fcntl(past.file._segments._descriptor, fcntl.F_GETFD)

    assert flags & fcntl.FD_CLOEXEC


def test_a_checkpoint_of_the_first_segment_has_the_state_so_far(past):
    past.run(PASS, FAIL)
    past.file.poll()
    checkpoint = next(entry for entry in decode(read_lines(past.path, SIZE)) if isinstance(entry, Checkpoint))

    assert (checkpoint.states[0].status, checkpoint.states[0].streak) == ("fail", 1)
    assert checkpoint.generation == past.store.snapshot().generation
    assert not checkpoint.loaded
