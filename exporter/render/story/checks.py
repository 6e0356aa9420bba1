"""What happened to checks and to the exporter itself -> sentences, each with its time."""

from collections.abc import Iterator, Sequence

from exporter.evaluation.history import Event, Transition
from exporter.model import Group, Reason, Status
from exporter.render.story.chronicle import Chronicle, Known
from exporter.render.story.episodes import find_first_failure
from exporter.render.story.pieces import Episode, Flapping, Life
from exporter.render.story.prose import Line, Moments, end_sentence, enumerate_names, write_duration
from exporter.text import format_count


def describe_episode(chronicle: Chronicle, episode: Episode, moments: Moments) -> Iterator[Line]:
    """Yield what happened to a check."""
    unhealthy, since = None, None
    for transition in episode.transitions:
        moment = transition.time
        if transition.after is Status.FAIL:
            since = find_first_failure(chronicle, transition)
            held = chronicle.is_held(transition)
            yield moment, f"{_name_change(transition)} {_describe_threshold(transition, since, moments, held=held)}"
        elif transition.after is Status.UNKNOWN:
            yield moment, f"{_name_change(transition)} {_describe_unknown(transition)}".rstrip()
        else:
            after = "" if unhealthy is None else f" after {write_duration(unhealthy, moment)}"
            failures = _describe_failures(chronicle, episode.check, since, moment, recovered=True)
            yield moment, " ".join([_name_change(transition, after), *_describe_successes(transition), *failures])
            unhealthy, since = None, None
        if not transition.after.healthy and unhealthy is None:
            unhealthy = moment
    if episode.reset is not None:
        started = episode.reset.event is Event.STARTED
        cause = "the exporter had started again" if started else "the configuration had changed"
        latest = [entry for entry in chronicle.transitions if entry.check == episode.check][-1]
        removed = episode.check not in chronicle.checks and latest is episode.transitions[-1]
        status = "no longer configured" if removed else "unknown again"
        yield episode.reset.time, f"By then, {episode.check} was {status}, because {cause}."
    elif episode.end is None and unhealthy is not None:
        status = "failing" if episode.transitions[-1].after is Status.FAIL else "unknown"
        duration = write_duration(unhealthy, chronicle.until)
        failures = _describe_failures(chronicle, episode.check, since, chronicle.until, recovered=False)
        yield chronicle.until, " ".join([f"{episode.check} was still {status} after {duration}.", *failures])


def describe_flapping(chronicle: Chronicle, flapping: Flapping, moments: Moments) -> Iterator[Line]:
    """Yield a summary of what happened to a check, and its latest episode."""
    episodes = flapping.episodes
    durations = [int(episode.end) - int(episode.transitions[0].time) for episode in episodes if episode.end is not None]
    longest, shortest = (write_duration(0, select(durations)) for select in (max, min))
    worst = "failed" if any(_has_failed(episode) for episode in episodes) else "was not pass"
    reasons = dict.fromkeys(
        str(transition.reason) for episode in episodes for transition in episode.transitions if transition.reason
    )
    last = moments.write(episodes[-1].transitions[0].time)
    times = f"{len(episodes)} times until {last} ({enumerate_names([*reasons])})"
    yield episodes[0].begin, f"{flapping.check} {worst} {times}, for {_range(shortest, longest)}. The latest time:"
    yield from describe_episode(chronicle, episodes[-1], moments)


def describe_others(episodes: Sequence[Episode], moments: Moments) -> Iterator[Line]:
    """Yield a summary of what happened to many checks."""
    names = enumerate_names([*dict.fromkeys(episode.check for episode in episodes)])
    begins = [episode.transitions[0].time for episode in episodes]
    yield min(begins), f"Until {moments.write(max(begins))}, other checks changed as well: {names}."
    ends = [episode.end for episode in episodes if episode.end is not None and episode.reset is None]
    if len(ends) == len(episodes):
        yield max(ends), "By then, all of them had passed again."


def describe_guidance(check: str, known: Known) -> Iterator[str]:
    """Yield what a failure of a check means, whom to call and what to read, if that is configured."""
    description = [end_sentence(known.description)] if known.description else []
    owner = [end_sentence(f"Owner: {known.owner}")] if known.owner else []
    runbook = [f"Runbook: {known.runbook_url}"] if known.runbook_url else []  # a full stop would be part of the link
    if parts := [*description, *owner, *runbook]:
        yield f"{check}: {' '.join(parts)}"


def describe_life(life: Life, moments: Moments) -> Iterator[Line]:
    """Yield what happened to the exporter itself."""
    moment, detail = life.milestone.time, life.milestone.detail
    match life.milestone.event:
        case Event.STARTED:
            yield moment, f"The exporter started: {detail}.{_describe_down(life, moments)}"
        case Event.LOADED:
            yield moment, f"The exporter loaded its configuration: {detail}."
            if life.first_passes:
                names = enumerate_names([transition.check for transition in life.first_passes])
                yield life.first_passes[-1].time, f"By then, {names} had passed."
        case Event.REJECTED:
            use = "The previous one stayed in use." if life.configured else "The exporter had no other one to use."
            yield moment, f"The exporter rejected its configuration: {end_sentence(detail)} {use}"
        case Event.HELD:
            yield moment, f"Restarts were suspended {end_sentence(detail)} From then on, /livez returned 200."
        case Event.RELEASED:
            yield moment, f"Restarts were no longer suspended, because {detail}. /livez depended on its checks again."
        case Event.DRAINING:
            yield moment, "The exporter began to shut down. As a result, readiness failed."
        case Event.STOPPED:
            yield moment, "The exporter stopped."
        case Event.LOST:
            yield moment, f"{detail} of the history were lost, because its file could not be written."


def _name_change(transition: Transition, after: str = "") -> str:
    reason = f" ({transition.reason})" if transition.reason else ""
    text = f": {transition.summary}" if transition.summary and transition.after is not Status.PASS else ""
    verb = {
        Status.FAIL: "failed",
        Status.UNKNOWN: "became unknown",
        Status.WARN: "changed to warn" if transition.before is not Status.FAIL else "recovered to warn",
        Status.PASS: "passed again",
    }[transition.after]
    return end_sentence(f"{transition.check} {verb}{after}{reason}{text}")


def _describe_threshold(transition: Transition, since: float | None, moments: Moments, *, held: bool) -> str:
    threshold = f"failureThreshold {transition.threshold}"
    if transition.streak == 1:
        runs = f"One failed run was enough ({threshold})."
    else:
        begin = "" if since is None else f" since {moments.write(since)}"
        runs = f"{transition.streak} runs in a row had failed{begin} ({threshold})."
    failed = [group for group in transition.groups if not (held and group is Group.LIVENESS)]
    alive = ["Liveness did not fail, because restarts were suspended."] * (len(failed) < len(transition.groups))
    return " ".join([runs, *_describe_groups(failed), *alive])


def _describe_groups(groups: Sequence[Group]) -> Iterator[str]:
    if groups:
        yield f"As a result, {enumerate_names(groups)} failed."


def _describe_unknown(transition: Transition) -> str:
    late = ["No run had a result in time."] if transition.reason is Reason.STALE else []
    failed = _describe_groups([group for group in transition.groups if group is not Group.LIVENESS])
    alive = ["For liveness, unknown counts as alive."] if Group.LIVENESS in transition.groups else []
    return " ".join([*late, *failed, *alive])


def _describe_successes(transition: Transition) -> Iterator[str]:
    if transition.threshold > 1:
        yield f"{transition.streak} runs in a row had passed (successThreshold {transition.threshold})."


def _describe_failures(
    chronicle: Chronicle, check: str, since: float | None, until: float, *, recovered: bool
) -> Iterator[str]:
    """Yield how many runs have failed since the first one, if that is known."""
    if since is not None:
        spans = [span for span in chronicle.list_spans(check) if since <= span.first <= until]
        while recovered and spans and not spans[-1].status.healthy:  # runs that began when the recovery had ended
            spans.pop()
        yield f"{format_count(sum(span.count for span in spans if span.status is Status.FAIL), 'run')} failed in total."


def _describe_down(life: Life, moments: Moments) -> str:
    if life.down_since is None:
        return ""
    since = moments.write(life.down_since)
    if life.stopped:
        return f" It had not been running since {since}."
    return f" The one before ended without a shutdown. Its last entry is from {since}."


def _has_failed(episode: Episode) -> bool:
    return any(transition.after is Status.FAIL for transition in episode.transitions)


def _range(shortest: str, longest: str) -> str:
    return f"{shortest} each" if shortest == longest else f"{shortest} to {longest} each"
