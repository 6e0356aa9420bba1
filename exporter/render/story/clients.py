"""What clients have received -> sentences, each with its time.

The exporter sees only the kubelet's requests. What the kubelet has done is concluded from their times, so a sentence
about that has the word "probably".
"""

from collections.abc import Iterable, Iterator, Sequence

from exporter.evaluation.answered import Answered, is_pause
from exporter.render.events import concerns
from exporter.render.health import NOT_LOADED
from exporter.render.story.chronicle import Chronicle
from exporter.render.story.prose import Line, Moments, enumerate_names
from exporter.text import format_number

_CONDITIONS = {"shutting down": "the shutdown", NOT_LOADED: "the missing configuration"}


def describe_answers(path: str, entries: Sequence[Answered], moments: Moments) -> Iterator[Line]:
    """Yield which responses of 503 one kind of client has received from a path."""
    number = sum(entry.count for entry in entries)
    client = "The kubelet" if entries[0].kubelet else "Another client" if number == 1 else "Other clients"
    reasons = [*dict.fromkeys(_CONDITIONS.get(reason, reason) for entry in entries for reason in entry.because)]
    last = max(entry.last for entry in entries)
    times = "once" if number == 1 else f"{number} times until {moments.write(last)}"
    recovered = entries[-1].recovered
    between = ", with 200 in between" if any(entry.recovered is not None for entry in entries[:-1]) else ""
    again = between + ("" if recovered is None else f", and 200 again at {moments.write(recovered)}")
    causes = f"because of {enumerate_names(reasons)}" if entries[0].because else "for an unknown reason"
    yield entries[0].first, f"{client} received 503 from {path} {causes}: {times}{again}."


def describe_restart(chronicle: Chronicle, liveness: Sequence[Answered], moments: Moments) -> Iterator[Line]:
    """Yield whether the kubelet has probably restarted a container after 503 from /livez.

    It stops asking while it restarts a container. And it asks for /startupz only until that was successful once.
    """
    if starts := [(entry.last, entry.startup) for entry in liveness if entry.startup is not None]:
        why = "the kubelet requested /startupz, which it does only for a container that has just started."
        yield starts[0][1], f"{_describe_restarts(starts, moments)}: {why}"
        return
    pauses = _find_pauses(chronicle, liveness)
    if pauses:
        why = f"the kubelet did not request /livez in this time, {_describe_interval(pauses[0][0])}."
        times = [(entry.last, resumed) for entry, resumed in pauses]
        yield times[0][1], f"{_describe_restarts(times, moments)}: {why}"
    final = liveness[-1]
    if final.recovered is None and _is_pause(chronicle, final, chronicle.until):
        why = "It stops when it restarts a container or deletes the pod, so one of these has probably happened."
        yield final.last, f"The kubelet did not request /livez again, {_describe_interval(final)}. {why}"
    elif not pauses:
        text = "The times of the kubelet's requests do not show whether it restarted a container."
        yield final.recovered or final.last, text


def describe_silence(checks: Iterable[str], entries: Sequence[Answered]) -> Iterator[str]:
    """Yield because of which of these failed checks nobody, or not the kubelet, has received 503."""
    clients = {check: {entry.kubelet for entry in entries if concerns(entry, check)} for check in checks}
    nobody = [check for check, kinds in clients.items() if not kinds]
    if nobody:
        yield f"No client received 503 because of {enumerate_names(nobody)}."
    others = [check for check, kinds in clients.items() if kinds == {False}]
    if others:
        yield f"The kubelet received no 503 because of {enumerate_names(others)}."


def _describe_restarts(times: Sequence[tuple[float, float]], moments: Moments) -> str:
    number = "" if len(times) == 1 else f" {len(times)} times, for the first time"
    return f"A container was probably restarted{number} {moments.write_interval(*times[0])}"


def _find_pauses(chronicle: Chronicle, entries: Sequence[Answered]) -> list[tuple[Answered, float]]:
    """Return the entries after which the kubelet has paused, with the time at which it asked again."""
    following = [*(entry.first for entry in entries[1:]), None]
    resumptions = [entry.recovered or first for entry, first in zip(entries, following, strict=True)]
    return [
        (entry, resumed)
        for entry, resumed in zip(entries, resumptions, strict=True)
        if resumed is not None and _is_pause(chronicle, entry, resumed)
    ]


def _is_pause(chronicle: Chronicle, entry: Answered, until: float) -> bool:
    """Return whether the time after an entry is longer than usual, and the exporter was there to notice that."""
    interval = _find_interval(entry)
    seen = not chronicle.has_started_between(entry.last, until)
    return interval is not None and seen and is_pause(until - entry.last, interval)


def _find_interval(entry: Answered) -> float | None:
    if entry.count > 1:
        return (entry.last - entry.first) / (entry.count - 1)
    return None if entry.previous is None or entry.previous >= entry.first else entry.first - entry.previous


def _describe_interval(entry: Answered) -> str:
    return f"after it had done so every {format_number(round(_find_interval(entry) or 0, 1))} s"
