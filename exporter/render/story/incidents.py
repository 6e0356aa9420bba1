"""What is known about the past -> incidents: what happened at the same time, together.

Theory of operation:

An Episode is the time in which a check was not `pass`, with the transitions in it. Episodes, responses of 503 and the
events of the exporter itself are pieces, each with a begin and an end. Pieces that overlap make one Incident. A check
that changed often is one piece, from the first episode to the last.

A long piece without a change does not join everything that happens meanwhile: a disk that has been
filling up for days is one incident, and an outage in this time is another one.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from exporter.evaluation.history import Event, Milestone
from exporter.model import Status
from exporter.render.events import concerns
from exporter.render.story.chronicle import Chronicle
from exporter.render.story.episodes import RESETS, find_episodes, join_flapping
from exporter.render.story.pieces import Episode, Life, Piece, Refusals

REACH = 600.0
"""Seconds without a change after which a piece joins no others any more."""
RELEASES = (Event.HELD, Event.RELEASED, Event.STARTED)
"""The events that end a hold, or take its place."""
SLACK = 1.0
"""Seconds between pieces of one incident."""


@dataclass(frozen=True, slots=True)
class Incident:
    """What happened at the same time."""

    begin: float
    end: float | None
    """None if it is not over."""
    pieces: tuple[Piece, ...]

    def lasts_until(self, moment: float) -> bool:
        """Return whether a part of it ended at this time or later."""
        return any(piece.end is None or piece.end >= moment for piece in self.pieces)


def find_incidents(chronicle: Chronicle) -> list[Incident]:
    """Return all incidents, in order."""
    episodes = find_episodes(chronicle)
    pieces: list[Piece] = [*join_flapping(episodes), *_find_lives(chronicle, episodes)]
    pieces += [Refusals(entry) for entry in chronicle.answers]
    joined: list[list[Piece]] = []
    reach = -1.0
    for piece in sorted(pieces, key=lambda piece: piece.begin):
        if joined and piece.begin <= reach + SLACK:
            joined[-1].append(piece)
        else:
            joined.append([piece])
            reach = -1.0
        end = chronicle.until if piece.end is None else piece.end
        reach = max(reach, min(end, max(piece.begin, piece.latest) + REACH))
    return [_make_incident(parts) for parts in joined]


def select_incidents(incidents: Iterable[Incident], check: str) -> list[Incident]:
    """Return what concerns this check and the exporter itself.

    Of the responses of 503, these are all to the same request: they show when the kubelet has asked.
    """
    selected = []
    for incident in incidents:
        refusals = [piece for piece in incident.pieces if isinstance(piece, Refusals)]
        requests = {piece.request for piece in refusals if concerns(piece.entry, check)}
        pieces = [found for piece in incident.pieces if (found := _select_piece(piece, check, requests))]
        if pieces:
            selected.append(_make_incident(pieces))
    return selected


def _select_piece(piece: Piece, check: str, requests: Container[tuple[str, bool]]) -> Piece | None:
    match piece:
        case Life(first_passes=passes):
            return replace(piece, first_passes=tuple(entry for entry in passes if entry.check == check))
        case Refusals():
            return piece if piece.request in requests else None
    return piece if piece.check == check else None


def _make_incident(pieces: list[Piece]) -> Incident:
    """Return an incident. It lasts as long as its causes, which responses of 503 can outlast."""
    causes = [piece for piece in pieces if not isinstance(piece, Refusals)] or pieces
    ends = [piece.end for piece in causes]
    end = None if None in ends else max(filter(None, ends))
    return Incident(min(piece.begin for piece in pieces), end, tuple(pieces))


def _find_lives(chronicle: Chronicle, episodes: Iterable[Episode]) -> list[Life]:
    shown = {transition for episode in episodes for transition in episode.transitions}
    firsts = [
        transition
        for transition in chronicle.transitions
        if transition.before is Status.UNKNOWN and transition.after is Status.PASS and transition not in shown
    ]
    lives: list[Life] = []
    running, configured = False, False
    for number, milestone in enumerate(chronicle.milestones):
        later = chronicle.milestones[number + 1 :]
        moment = milestone.time
        match milestone.event:
            case Event.STARTED:
                # Without an earlier event of the exporter, earlier entries are from a wall clock that was set back.
                down = chronicle.find_last_before(moment) if number else None
                begin = moment if down is None else down
                end = _find(later[:1], Event.LOADED, Event.REJECTED, default=moment)
                lives.append(Life(milestone, begin, end, down, stopped=not running))
                running, configured = True, False
            case Event.LOADED:
                until = next((event.time for event in later if event.event in RESETS), chronicle.until)
                passes = tuple(transition for transition in firsts if moment <= transition.time <= until)
                end = max((moment, *(transition.time for transition in passes)))
                lives.append(Life(milestone, moment, end, first_passes=passes))
                configured = True
            case Event.REJECTED:
                end = moment if configured else _find(later, Event.LOADED, Event.STARTED, default=chronicle.until)
                lives.append(Life(milestone, moment, end, configured=configured))
            case Event.DRAINING:
                end = _find(later, Event.STOPPED, Event.STARTED, default=chronicle.until)
                lives.append(Life(milestone, moment, end))
            case Event.HELD:
                end = _find(later, *RELEASES, default=chronicle.until)
                lives.append(Life(milestone, moment, end))
            case Event.RELEASED:
                lives.append(Life(milestone, moment, moment))
            case Event.STOPPED:
                lives.append(Life(milestone, moment, moment))
                running = False
            case Event.LOST:
                lives.append(Life(milestone, moment, moment))
    return lives


def _find(milestones: Iterable[Milestone], *events: Event, default: float) -> float:
    return next((milestone.time for milestone in milestones if milestone.event in events), default)
