"""An incident -> a paragraph: a title, and sentences in the order of their times."""

from collections.abc import Iterator
from itertools import islice

from exporter.evaluation.answered import Answered
from exporter.evaluation.history import Event
from exporter.model import Status
from exporter.render.story.checks import (
    describe_episode,
    describe_flapping,
    describe_guidance,
    describe_life,
    describe_others,
)
from exporter.render.story.chronicle import Chronicle
from exporter.render.story.clients import describe_answers, describe_restart, describe_silence
from exporter.render.story.incidents import Incident
from exporter.render.story.pieces import Episode, Flapping, Life, Refusals
from exporter.render.story.prose import Line, Moments, enumerate_names, write_date, write_duration

MAX_EPISODES = 8
"""Checks of an incident that have sentences of their own, if each has changed once; the first ones."""

_NAMES = {
    Event.STARTED: "the exporter started",
    Event.LOADED: "the configuration was loaded",
    Event.REJECTED: "the configuration was rejected",
    Event.HELD: "restarts were suspended",
    Event.RELEASED: "restarts were no longer suspended",
    Event.DRAINING: "the exporter shut down",
    Event.STOPPED: "the exporter shut down",
    Event.LOST: "entries of the history were lost",
}

Text = tuple[str, str]
"""The beginning of a line, which sets the indentation of those below it, and what follows."""


def describe_incident(chronicle: Chronicle, incident: Incident) -> Iterator[Text]:
    """Yield the lines of a paragraph."""
    moments = Moments(incident.begin)
    if incident.end is None:
        duration = f", not over after {write_duration(incident.begin, chronicle.until)}"
    elif int(incident.end) == int(incident.begin):
        duration = ""
    else:
        duration = f", for {write_duration(incident.begin, incident.end)}"
    yield "", f"{write_date(incident.begin)} UTC{duration}: {_name(incident)}"
    for moment, text in sorted(_list_lines(chronicle, incident, moments), key=lambda line: line[0]):
        yield f"  {moments.write(moment)}  ", text
    for text in (*_list_silences(chronicle, incident), *_list_guidance(chronicle, incident)):
        yield " " * 12, text


def _name(incident: Incident) -> str:
    """Return the title of an incident."""
    failed, other, events = dict[str, None](), dict[str, str](), dict[str, None]()
    for piece in incident.pieces:
        match piece:
            case Episode() | Flapping():
                statuses = _list_statuses(piece)
                if Status.FAIL in statuses:
                    failed[piece.check] = None
                else:
                    other[piece.check] = "unknown" if Status.UNKNOWN in statuses else "warn"
            case Life() if word := _name_life(piece):
                events[word] = None
    names = [f"{enumerate_names([*failed])} failed"] if failed else []
    names += [f"{name} was {status}" for name, status in other.items() if name not in failed]
    if any(word.startswith("the exporter started") for word in events):
        events.pop("the configuration was loaded", None)
    if _NAMES[Event.HELD] in events:
        events.pop(_NAMES[Event.RELEASED], None)
    names += events
    paths = dict.fromkeys(piece.entry.path for piece in incident.pieces if isinstance(piece, Refusals))
    return "; ".join(names or [f"503 from {enumerate_names([*paths])}"])


def _list_statuses(piece: Episode | Flapping) -> set[Status]:
    episodes = (piece,) if isinstance(piece, Episode) else piece.episodes
    return {transition.after for episode in episodes for transition in episode.transitions}


def _name_life(life: Life) -> str:
    again = life.milestone.event is Event.STARTED and life.down_since is not None
    return f"{_NAMES[life.milestone.event]}{' again' if again else ''}"


def _list_lines(chronicle: Chronicle, incident: Incident, moments: Moments) -> Iterator[Line]:
    episodes = [piece for piece in incident.pieces if isinstance(piece, Episode)]
    for episode in episodes[:MAX_EPISODES]:
        yield from describe_episode(chronicle, episode, moments)
    if others := episodes[MAX_EPISODES:]:
        yield from describe_others(others, moments)
    for piece in incident.pieces:
        match piece:
            case Flapping():
                yield from describe_flapping(chronicle, piece, moments)
            case Life():
                yield from describe_life(piece, moments)
    groups = _group_answers(incident)
    for (path, _), entries in groups.items():
        yield from describe_answers(path, entries, moments)
    if liveness := groups.get(("/livez", True)):
        yield from describe_restart(chronicle, liveness, moments)


def _group_answers(incident: Incident) -> dict[tuple[str, bool], list[Answered]]:
    groups: dict[tuple[str, bool], list[Answered]] = {}
    for piece in incident.pieces:
        if isinstance(piece, Refusals):
            groups.setdefault(piece.request, []).append(piece.entry)
    return groups


def _list_silences(chronicle: Chronicle, incident: Incident) -> Iterator[str]:
    """Yield for which checks nobody, or not the kubelet, has received 503."""
    if incident.begin > chronicle.complete_since:
        entries = [piece.entry for piece in incident.pieces if isinstance(piece, Refusals)]
        failed = (piece.check for piece in incident.pieces if isinstance(piece, Episode) and _takes_down(piece))
        yield from describe_silence(dict.fromkeys(failed), entries)


def _list_guidance(chronicle: Chronicle, incident: Incident) -> Iterator[str]:
    """Yield whom to call and what to read for each check that failed and is still configured; the first ones."""
    pieces = [piece for piece in incident.pieces if isinstance(piece, Episode | Flapping)]
    failed = dict.fromkeys(piece.check for piece in pieces if Status.FAIL in _list_statuses(piece))
    for check in islice(failed, MAX_EPISODES):
        if known := chronicle.checks.get(check):
            yield from describe_guidance(check, known)


def _takes_down(episode: Episode) -> bool:
    """Return whether a group failed with a check."""
    return any(transition.after is Status.FAIL and transition.groups for transition in episode.transitions)
