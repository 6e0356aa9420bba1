"""What is known about the past -> the story of what happened, for somebody on call."""

import textwrap
from collections.abc import Iterable, Iterator

from exporter.model import BADNESS, Status
from exporter.render.story.chronicle import Chronicle
from exporter.render.story.incidents import Incident, find_incidents, select_incidents
from exporter.render.story.paragraphs import Text, describe_incident
from exporter.render.story.pieces import Episode, Flapping
from exporter.render.story.prose import enumerate_names, write_date
from exporter.text import format_count, replace_unprintable

MAX_INCIDENTS = 20
"""Incidents of a story; the latest ones."""
MAX_WIDTH = 100
_PERCENT = "\N{NO-BREAK SPACE}%"


def write(chronicle: Chronicle, since: float, width: int = MAX_WIDTH, check: str | None = None) -> str:
    """Return the story since a time, the earliest incident first, in lines of at most `width` characters.

    With a `check`, it is about this check and the exporter itself.
    """
    incidents = find_incidents(chronicle)
    if check is not None:
        incidents, chronicle = select_incidents(incidents, check), chronicle.select(check)
    recent = [incident for incident in incidents if incident.lasts_until(since)]
    host = chronicle.host or "this exporter"
    end = _describe_end(chronicle)
    if not recent:
        latest = max((incident.end for incident in incidents if incident.end is not None), default=chronicle.begin)
        end = f"Nothing has changed since {write_date(latest)} UTC: {end}"
    title = f"{host} from {write_date(since)} to {write_date(chronicle.until)} UTC"
    paragraphs: list[list[Text]] = [[("", title), ("", end)]]
    if missing := [*_list_missing(chronicle, since, len(recent) - MAX_INCIDENTS)]:
        paragraphs.append(missing)
    paragraphs += [[*describe_incident(chronicle, incident)] for incident in recent[-MAX_INCIDENTS:]]
    if blips := [*_list_blips(chronicle, incidents, since)]:
        paragraphs.append([("", "Without a change of the status:"), *blips])
    return "\n\n".join("\n".join(_wrap(line, width) for line in paragraph) for paragraph in paragraphs)


def _describe_end(chronicle: Chronicle) -> str:
    """Return the status of the checks at the end, the bad ones with their names."""
    total = format_count(len(chronicle.checks), "check")
    bad = [
        f"{name} is {known.status}{f' ({known.reason})' if known.reason else ''}"
        for status in BADNESS
        for name, known in chronicle.checks.items()
        if known.status is status and status is not Status.PASS
    ]
    if not chronicle.checks:
        return "no checks."
    return f"{total}. At the end, {enumerate_names(bad)}." if bad else f"{total}, all pass."


def _list_missing(chronicle: Chronicle, since: float, more: int) -> Iterator[Text]:
    if chronicle.complete_since > since:
        until = write_date(chronicle.complete_since)
        yield "", f"Some events up to {until} UTC are missing, because there were too many."
    elif chronicle.begin > since:
        yield "", f"The history begins at {write_date(chronicle.begin)} UTC. Nothing is known about the time before."
    if chronicle.cut:
        yield "", "Some runs are missing, because there are too many checks."
    if more > 0:
        yield "", f"The story has the latest {MAX_INCIDENTS} incidents. {more} earlier ones are left off."


def _list_blips(chronicle: Chronicle, incidents: Iterable[Incident], since: float) -> Iterator[Text]:
    times = [
        (piece.check, piece.begin, chronicle.until if piece.end is None else piece.end)
        for incident in incidents
        for piece in incident.pieces
        if isinstance(piece, Episode | Flapping)
    ]
    for check in chronicle.checks:
        spans = [
            span
            for span in chronicle.list_spans(check)
            if span.last >= since
            and not any(name == check and begin <= span.last and span.first <= end for name, begin, end in times)
        ]
        for status, verb in ((Status.FAIL, "failed"), (Status.UNKNOWN, "could not run")):
            if found := [span for span in spans if span.status is status]:
                number = sum(span.count for span in found)
                reasons = enumerate_names([*dict.fromkeys(str(span.reason) for span in found)])
                first, last = write_date(found[0].first), write_date(found[-1].last)
                when = f"at {first}" if number == 1 else f"between {first} and {last}"
                yield "  ", f"{format_count(number, 'run')} of {check} {verb} {when} ({reasons})."


def _wrap(line: Text, width: int) -> str:
    prefix, text = line
    indent = " " * len(prefix)
    text = replace_unprintable(text).replace(" %", _PERCENT)  # not on a line of its own
    wrapped = textwrap.fill(
        text,
        max(width, 40),
        initial_indent=prefix,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped.replace(_PERCENT, " %")
