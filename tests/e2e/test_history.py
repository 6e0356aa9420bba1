"""The history of a real exporter, with a file that survives its end and the crash of its worker."""

import json
import os
import signal

from support import Exporter, ended, eventually

from exporter.evaluation.entries import decode
from exporter.evaluation.history import Checkpoint, Event, Milestone, Recorded
from exporter.server.segments import read_lines

CONFIG = """
checks:
  - name: flag
    exec: {{command: [test, -e, "{folder}/flag"]}}
    periodSeconds: 1
    failureThreshold: 2
    groups: [liveness, readiness]
"""


def events(exporter, query=""):
    """The events; none while the keeper answers."""
    answer = exporter.get(f"/events?format=json{query}")
    return json.loads(answer.body)["events"] if answer.status == 200 else []


def changes(exporter):
    return [event["after"] for event in events(exporter) if event["type"] == "transition"]


def test_the_history_survives_a_restart_and_a_crash(tmp_path):
    flag, file, config = tmp_path / "flag", tmp_path / "history.jsonl", tmp_path / "health.yml"
    flag.touch()
    config.write_text(CONFIG.format(folder=tmp_path))
    options = ("--history.file", str(file), "--history.size", "1MB")
    with ended(Exporter(*options, config=config)) as first:
        eventually(lambda: first.get("/livez/flag").status == 200 and changes(first) == ["pass"])
        flag.unlink()
        eventually(lambda: first.get("/livez", headers={"User-Agent": "kube-probe/1.31"}).status == 503)
        flag.touch()
        eventually(lambda: first.get("/livez", headers={"User-Agent": "kube-probe/1.31"}).status == 200)
        assert changes(first) == ["pass", "fail", "pass"]

        eventually(lambda: file.read_text().count('"type":"transition"') == 3, what="the file has them")
        os.kill(first.worker, signal.SIGKILL)
        first.line("the worker has ended")
        eventually(lambda: changes(first)[:3] == ["pass", "fail", "pass"] and len(changes(first)) > 3)
        assert "worker restart 1" in first.get("/events").text
        first.signal(signal.SIGTERM)
        assert first.wait() == 0

    with ended(Exporter(*options, config=config)) as second:
        eventually(lambda: changes(second)[:3] == ["pass", "fail", "pass"])
        (told,) = [event for event in events(second) if event["type"] == "answered" and event["kubelet"]]
        assert (told["path"], told["because"]) == ("/livez", ["flag (exit)"])
        assert told["count"] >= 1
        assert [event["type"] for event in events(second) if event["type"] in ("started", "stopped", "draining")] == [
            *("started", "started", "draining", "stopped", "started")
        ]
        assert [event["status"] for event in events(second, "&check=flag") if event["type"] == "runs"][:3] == [
            *("pass", "fail", "pass")
        ]
        assert "latest failure" in second.get("/check/flag").text

    entries = [*decode(read_lines(file, 2**20))]
    assert isinstance(entries[0], Checkpoint)
    assert {
        state.spec.failure_threshold for entry in entries if isinstance(entry, Checkpoint) for state in entry.states
    } == {2}
    assert sum(isinstance(entry, Recorded) for entry in entries) >= 3  # a crash loses up to a second of runs
    assert [entry.event for entry in entries if isinstance(entry, Milestone)][-1] is Event.STOPPED


def test_reloads_and_rejections_are_events(tmp_path):
    config = tmp_path / "health.yml"
    config.write_text(CONFIG.format(folder=tmp_path))
    with ended(Exporter(config=config)) as exporter:
        exporter.line("msg=listening")
        config.write_text("checks: [{name: wrong}]\n")
        exporter.line("configuration not loaded")
        config.write_text("checks: []\n")
        exporter.line("configuration loaded")

        lines = [
            line.partition(" ")[2] for line in exporter.get("/events").text.splitlines() if "configuration" in line
        ]
        assert lines[0] == "configuration loaded: 1 check"
        assert lines[1].startswith(f"configuration rejected: {config}:1: ")
        assert lines[2:] == ["configuration loaded: 0 checks"]
