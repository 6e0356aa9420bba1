"""What a reader of the table has to know: the time that it covers, the numbers of the probes, and the assumptions."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from exporter.replay.compare import Row
from exporter.replay.recording import Recording
from exporter.replay.stretches import Timing
from exporter.replay.table import format_seconds
from exporter.replay.windows import Windows, measure


def write_notes(recording: Recording, covered: Windows, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the notes, each a line."""
    kubelet = rows[0].variant.kubelet
    yield f"Covers {_describe_windows(covered)}."
    yield from recording.remarks
    yield (
        f"The kubelet: livenessProbe {_describe_probe(kubelet.liveness)}, "
        f"readinessProbe {_describe_probe(kubelet.readiness)}. Change these numbers with --kubelet."
    )
    yield from _compare_answers(recording, covered, rows[0])
    if any(not bounds.exact for row in rows for bounds in (row.restarts, row.unready, row.livez, row.readyz)):
        yield (
            "A range is from the minimum to the maximum. The recording has the time of a probe only where the kubelet "
            "received 503. It does not show which of the recorded runs a longer period would have had."
        )
    yield (
        "Assumption: the checks would have had the same results. The recording does not show what a check would have "
        "found after a restart that did not happen, or how long an outage would have lasted without one that did."
    )
    yield "An outage counts as one restart, however often the kubelet restarts the container until /livez returns 200."


def _describe_windows(covered: Windows) -> str:
    if not covered:
        return "no time"
    begin, end = covered[0][0], covered[-1][1]
    text = f"{_format_time(begin)} to {_format_time(end)}, {format_seconds(end - begin)}"
    if gaps := len(covered) - 1:
        missing = format_seconds(end - begin - measure(covered))
        text += f", without {missing} in {gaps} {'gap' if gaps == 1 else 'gaps'} of the recording"
    return text


def _describe_probe(probe: Timing) -> str:
    success = f", successThreshold {probe.success_threshold}" if probe.success_threshold > 1 else ""
    return f"every {probe.period:g} s, failureThreshold {probe.failure_threshold}{success}"


def _compare_answers(recording: Recording, covered: Windows, row: Row) -> Iterator[str]:
    """Yield the responses of 503 that the kubelet really got, and a doubt about its period if there is one."""
    if not covered:
        return
    for path, probe in (("/livez", row.variant.kubelet.liveness), ("/readyz", row.variant.kubelet.readiness)):
        answers = [
            entry
            for entry in recording.answered
            if entry.path == path and entry.last >= covered[0][0] and entry.first <= covered[-1][1]
        ]
        if not answers:
            continue
        count = sum(entry.count for entry in answers)
        yield f"The kubelet received {count} {'response' if count == 1 else 'responses'} of 503 from {path}."
        longest = max(answers, key=lambda entry: entry.count)
        if longest.count > 2:
            seen = (longest.last - longest.first) / (longest.count - 1)
            if abs(seen - probe.period) > 0.1 * probe.period:
                option = f"--kubelet {path[1:-1].replace('live', 'liveness').replace('ready', 'readiness')}"
                yield f"They came every {seen:.1f} s, not every {probe.period:g} s: see {option}Probe.periodSeconds."


def _format_time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
