"""The file of --history.file as a source of the story."""

import json

import pytest
from make import FAIL, PASS, check, result
from support import Clock

from exporter.evaluation.entries import encode
from exporter.evaluation.history import Event
from exporter.evaluation.store import Store
from exporter.render.story.chronicle import parse
from exporter.server.recorded import MAX_SPANS, MAX_TRANSITIONS, read_document


class Past:
    """A Store whose entries become the lines of a file."""

    def __init__(self, path):
        self.path, self.lines, self.clock = path, [], Clock()
        self.store = Store(self.clock, lambda: 1_000_000 + self.clock.now)
        self.store.history.sink = lambda entry: self.lines.append(encode(entry))
        self.store.note(Event.STARTED, "version 1 on web-0")
        (self.check,) = self.store.configure([check(failure_threshold=1)])

    def run(self, *outcomes):
        for outcome in outcomes:
            self.store.record(self.check, result(outcome, at=self.clock.advance(10)))

    def read(self):
        self.path.write_text("\n".join(self.lines))
        return read_document(self.path)


@pytest.fixture
def past(tmp_path):
    return Past(tmp_path / "history.jsonl")


def test_the_document_is_the_one_of_the_end(past):
    past.run(PASS, FAIL)
    document = past.read()

    assert document["host"] == "web-0"
    assert document["until"] == "1970-01-12T14:03:40.000Z"
    assert document["checks"]["api"]["status"] == "fail"
    assert document["checks"]["api"]["since"] == "1970-01-12T14:03:40.000Z"
    assert [event["type"] for event in document["events"] if event["type"] != "runs"] == [
        "started",
        "loaded",
        "transition",
        "transition",
    ]


def test_the_owner_is_the_one_of_the_latest_configuration(past):
    past.store.configure([check(owner="shop", runbook_url="https://wiki.example/api")])
    past.store.configure([check(owner="platform")])
    fields = past.read()["checks"]["api"]

    assert fields["owner"] == "platform"
    assert "runbookUrl" not in fields


def test_a_check_that_is_stale_at_the_end_is_unknown(past):
    past.run(PASS)
    past.clock.advance(100)
    past.store.snapshot()
    checks = past.read()["checks"]

    assert (checks["api"]["status"], checks["api"]["reason"]) == ("unknown", "stale")


def test_all_segments_are_read_in_order(past):
    past.run(PASS, FAIL)
    past.path.with_name("history.jsonl.1").write_text("\n".join(past.lines))
    first = len(past.lines)
    past.run(PASS)
    past.lines = past.lines[first:]
    events = past.read()["events"]

    assert [event["after"] for event in events if event["type"] == "transition"] == ["pass", "fail", "pass"]


def test_a_file_without_a_history_has_no_document(tmp_path):
    for content in ("", "checks: []\n", "{}\n", json.dumps({"type": "checks", "schema": 99})):
        (tmp_path / "file").write_text(content)
        assert read_document(tmp_path / "file") is None


def test_a_limited_number_of_entries_is_kept(past):
    past.run(PASS)
    begin = len(past.lines)
    past.run(PASS, FAIL)
    run, failed_run, transition = map(json.loads, past.lines[begin:])
    for number in range(MAX_TRANSITIONS):
        past.lines.append(json.dumps({**transition, "time": transition["time"] + number}))
        if number < MAX_SPANS:
            past.lines.append(json.dumps({**(failed_run, run)[number % 2], "started": run["started"] + number}))
    chronicle = parse(past.read())

    assert len(chronicle.transitions) == MAX_TRANSITIONS
    assert len(chronicle.spans["api"]) == MAX_SPANS
    assert chronicle.complete_since == transition["time"]
