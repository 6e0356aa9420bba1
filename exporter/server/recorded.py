"""The file of `--history.file` -> what `/events` returned at its end."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from exporter.evaluation.answered import Answered
from exporter.evaluation.entries import decode
from exporter.evaluation.history import Checkpoint, Entry, Event, History, Milestone, Recorded, Transition, rebuild
from exporter.evaluation.settle import settle
from exporter.model import Snapshot, State, Status
from exporter.render.events import Selection, describe, select
from exporter.server.segments import list_lines

MAX_SPANS = 1000
"""Spans of a check in a story. More than the exporter has in memory, because the file may be of many days."""
MAX_TRANSITIONS = 4000
"""Transitions of all checks in a story."""

_HOST = re.compile(r"version \S+ on ([^,]+)")


class _Recorded:
    """What the file says apart from the history: the State of every check, the answers, and the time of the end."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.answers: dict[tuple[str, bool, float], Answered] = {}
        self.generation = 0
        self.until = 0.0
        self.host = ""

    def follow(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """Yield these entries, and note what they say."""
        for entry in entries:
            self._note(entry)
            self.generation = entry.generation
            self.until = max(self.until, _find_time(entry))
            yield entry

    def _note(self, entry: Entry) -> None:
        match entry:
            case Checkpoint():
                self.states = {state.spec.name: state for state in entry.states}
            case Recorded() if entry.check in self.states:
                state = self.states[entry.check]
                if not (entry.result.outcome.status is state.status is Status.PASS and state.streak_healthy):
                    self.states[entry.check] = settle(state, entry.result)  # otherwise, only numbers would change
            case Transition() if entry.check in self.states:
                self.states[entry.check] = _change(self.states[entry.check], entry)
            case Answered():
                self.answers[entry.path, entry.kubelet, entry.first] = entry
            case Milestone(event=Event.STARTED) if match := _HOST.match(entry.detail):
                self.host = match[1]


def read_document(path: Path) -> dict[str, Any] | None:
    """Return the events of a file as `/events` did at its end, or None if it has none. Raises OSError."""
    recorded, history = _Recorded(), History(MAX_SPANS, MAX_TRANSITIONS)
    rebuild(recorded.follow(decode(list_lines(path))), history)
    if not recorded.until:
        return None
    snapshot = Snapshot(recorded.generation, recorded.until, recorded.states)
    selection = Selection(runs=True, limit=len(recorded.states) * MAX_SPANS + MAX_TRANSITIONS + 10**6)
    selected = select(snapshot, history, recorded.answers.values(), selection)
    return describe(snapshot, recorded.host, selected, until=recorded.until, complete_since=history.complete_since)


def _change(state: State, transition: Transition) -> State:
    """Return the State after a transition. If a run has caused it, the State has changed with the run."""
    if transition.threshold:
        return state
    return replace(state, status=transition.after, reason=transition.reason, since=transition.time)


def _find_time(entry: Entry) -> float:
    match entry:
        case Recorded():
            return entry.result.started + entry.result.duration
        case Answered():
            return entry.recovered or entry.last
    return entry.time
