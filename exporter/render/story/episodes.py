"""Transitions and runs of checks -> episodes: the times in which a check was not `pass`."""

from collections.abc import Iterable

from exporter.evaluation.history import MAX_SPANS, Event, Milestone, Transition
from exporter.model import Status
from exporter.render.story.chronicle import Chronicle
from exporter.render.story.pieces import Episode, Flapping

MAX_CALM = 600.0
"""Seconds of `pass` between two episodes that belong together, if there are many."""
MIN_FLAPS = 4
"""Episodes that belong together from which on they are summarized."""

RESETS = (Event.STARTED, Event.LOADED)
"""After these events of the exporter, a check may begin again."""


def find_episodes(chronicle: Chronicle) -> list[Episode]:
    """Return the episodes of all checks, those of each check in order."""
    transitions: dict[str, list[Transition]] = {}
    for transition in chronicle.transitions:
        transitions.setdefault(transition.check, []).append(transition)
    return [episode for check in transitions for episode in _find_episodes(chronicle, check, transitions[check])]


def join_flapping(episodes: Iterable[Episode]) -> list[Episode | Flapping]:
    """Return the episodes, those of a check that changed often as one."""
    clusters: list[list[Episode]] = []
    for episode in episodes:
        latest = clusters[-1][-1] if clusters else None
        if latest and latest.check == episode.check and latest.end and episode.begin - latest.end <= MAX_CALM:
            clusters[-1].append(episode)
        else:
            clusters.append([episode])
    joined: list[Episode | Flapping] = []
    for cluster in clusters:
        joined += [Flapping(cluster[0].check, tuple(cluster))] if len(cluster) >= MIN_FLAPS else cluster
    return joined


def find_first_failure(chronicle: Chronicle, transition: Transition) -> float | None:
    """Return the start of the first of the runs in a row that made a check fail; None if it is not known."""
    if transition.after is not Status.FAIL:
        return None
    spans = chronicle.list_spans(transition.check)
    found = None
    for number, span in reversed([*enumerate(spans)]):
        if span.status is Status.FAIL and span.first <= transition.time:
            found = span.first
        elif found is not None and span.status.healthy:
            break
        if number == 0 and len(spans) >= MAX_SPANS:  # there may have been others before
            return None
    return None if found is None or _find_reset(chronicle, found, transition.time) else found


def _find_episodes(chronicle: Chronicle, check: str, transitions: Iterable[Transition]) -> list[Episode]:
    """Return the episodes of a check, in order."""
    episodes: list[Episode] = []
    current: list[Transition] = []

    def close(end: float | None, reset: Milestone | None = None) -> None:
        if current:
            episodes.append(_make_episode(chronicle, check, tuple(current), end, reset))
            current.clear()

    for transition in transitions:
        if current and transition.before is not current[-1].after:  # no transition says so: its State began again
            reset = _find_reset(chronicle, current[-1].time, transition.time)
            close(reset.time if reset else current[-1].time, reset)
        first = transition.before is Status.UNKNOWN and not current
        if transition.after is not Status.PASS or not (first or transition.before is Status.PASS):
            current.append(transition)
        if transition.after is Status.PASS:
            close(transition.time)
    if current:
        known = chronicle.checks.get(check)
        same = known is not None and (known.status, known.since) == (current[-1].after, current[-1].time)
        reset = None if same else _find_reset(chronicle, current[-1].time, chronicle.until)
        close(None if reset is None else reset.time, reset)
    return episodes


def _make_episode(
    chronicle: Chronicle, check: str, transitions: tuple[Transition, ...], end: float | None, reset: Milestone | None
) -> Episode:
    since = find_first_failure(chronicle, transitions[0])
    return Episode(check, transitions, since, end, reset)


def _find_reset(chronicle: Chronicle, after: float, until: float) -> Milestone | None:
    """Return the event of the exporter in this time by which a check has begun again, if it has.

    That is the first start. Without a start, it is the latest load of the configuration: which one has changed the
    check is not recorded.
    """
    events = [entry for entry in chronicle.milestones if entry.event in RESETS and after < entry.time <= until]
    starts = [entry for entry in events if entry.event is Event.STARTED]
    return starts[0] if starts else events[-1] if events else None
