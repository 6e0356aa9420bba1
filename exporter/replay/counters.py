"""Samples of the metrics of checks -> a Recording.

Theory of operation:

A scrape shows the latest run of a check, and counts of all runs before it. If at most one run ended since the scrape
before, that run is known exactly. If several did, the counts tell which of them failed, in many cases:

- none failed;
- none was healthy: `health_check_consecutive_failures` has grown by those that failed, the others were unknown;
- one streak of failures ended that the scrape before had begun: the failed runs come first.

In all cases the last runs are known, because they are the consecutive failures, after a healthy run. What remains are
runs of which it is only known that some were healthy and some were not. They all pass in the best case, and all fail in
the worst. If some may have been unknown, all being unknown is another bad case, because then the status goes stale.
Runs between scrapes have no times, so they are assumed to be regular. If the time from run to run does not
fit the period, or if a count has fallen, the time between the scrapes is a gap.

The start of an exporter is a gap too. What is not a metric is assumed to have its default: successThreshold and
staleAfterSeconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from exporter.model import Outcome, Reason, Result, Spec, State, Status
from exporter.replay.recording import Life, Recording
from exporter.replay.windows import Windows, unite

_PASS = Outcome.passed("")
_FAIL = Outcome.failed(Reason.ERROR, "")
_UNKNOWN = Outcome(Status.UNKNOWN, Reason.ERROR)
_ASSUMED = "successThreshold is assumed to be 1, and staleAfterSeconds to have its default; change them with --set."
_TOLERANCE = 0.25
"""Share of a period by which runs may be irregular."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """What a scrape shows of a check. Times are wall clock."""

    time: float
    spec: Spec
    runs: int
    failures: int
    """Runs that failed or were unknown."""
    streak: int
    """Consecutive failures."""
    ended: int
    """Streaks of failures that have ended."""
    ended_runs: int
    """Failures in them."""
    started: float
    """Start of the latest run."""
    duration: float
    """Duration of the latest run."""
    healthy: bool
    """Whether the latest run was."""


def rebuild(scrapes: Sequence[Sequence[Scrape]]) -> Recording:
    """Return the recording that the scrapes of each check show."""
    lives: list[Life] = []
    gaps: list[tuple[float, float]] = []
    for check in scrapes:
        lives += _list_lives(check, gaps)
    begin = min((check[0].time for check in scrapes), default=0.0)
    end = max((check[-1].time for check in scrapes), default=0.0)
    return Recording(
        _subtract((begin, end), unite(tuple(gaps))), tuple(lives), remarks=(*_write_remarks(lives), _ASSUMED)
    )


def _write_remarks(lives: Sequence[Life]) -> Iterator[str]:
    runs = sum(len(life.readings[0]) for life in lives)
    cases = (cases for life in lives for cases in zip(*life.readings, strict=True))
    uncertain = sum(len({case.outcome.status for case in same}) > 1 for same in cases)
    if uncertain:
        yield (
            f"The results of {uncertain} of {runs} runs are not known, because several runs ended between two scrapes. "
            "The bounds include both cases: that they passed, and that they failed."
        )


def _list_lives(scrapes: Sequence[Scrape], gaps: list[tuple[float, float]]) -> Iterator[Life]:
    """Yield the lives of a check, and note the gaps between them."""
    life = _begin(scrapes[0])
    for before, after in pairwise(scrapes):
        outcomes = find_outcomes(before, after) if before.spec == after.spec else None
        if outcomes is None:
            gaps.append((before.time, after.time))
            yield life
            life = _begin(after)
            continue
        for runs, case in zip(life.readings, outcomes, strict=True):
            runs.extend(_time_runs(before, after, case))
        life.end = after.time
    yield life


def _begin(scrape: Scrape) -> Life:
    """Return the life that begins here. Its State is known if the latest run was healthy."""
    fresh_until = scrape.started + scrape.duration + scrape.spec.fresh_for
    state = State(
        scrape.spec, Status.PASS, None, streak=1, streak_healthy=True, runs=scrape.runs, fresh_until=fresh_until
    )
    return Life(scrape.spec, scrape.time, 0.0, state if scrape.healthy else None, ([], [], []), scrape.time)


def _time_runs(before: Scrape, after: Scrape, outcomes: Sequence[Outcome]) -> Iterator[Result]:
    """Yield the runs between two scrapes: regular, and as long as the last one."""
    for number, outcome in enumerate(outcomes, 1):
        started = before.started + (after.started - before.started) * number / len(outcomes)
        yield Result(outcome, started, started + after.duration, after.duration)


def find_outcomes(before: Scrape, after: Scrape) -> tuple[list[Outcome], ...] | None:
    """Return the runs between two scrapes: the best case and two bad ones; None if they are not known at all."""
    count, bad = after.runs - before.runs, after.failures - before.failures
    ended, ended_runs = after.ended - before.ended, after.ended_runs - before.ended_runs
    if min(count, bad, ended, ended_runs) < 0 or bad > count or not _is_regular(before, after, count):
        return None
    if bad == count:
        return _find_unhealthy(count, after.streak - before.streak)
    known = [_PASS, *[_FAIL] * after.streak]
    rest, failed = count - len(known), ended_runs - before.streak
    bad -= after.streak
    if rest < 0 or bad < 0 or failed < 0:
        return None
    best = [_PASS] * rest + known
    if failed != bad:  # some were unknown, maybe among the last runs, so that these have failed earlier
        return best, [_FAIL] * count, [_UNKNOWN] * count
    if bad in (0, rest) or (before.streak and ended == 1):
        best = [_FAIL] * bad + [_PASS] * (rest - bad) + known
        return best, best, best
    worst = [_FAIL] * rest + known
    return best, worst, worst


def _find_unhealthy(count: int, failed: int) -> tuple[list[Outcome], ...] | None:
    """Return runs of which none was healthy. Those that failed may be the last or the first ones.

    In any other order, the status goes stale at another time, but not earlier than if all were unknown.
    """
    if not 0 <= failed <= count:
        return None
    unknown, fail = [_UNKNOWN] * (count - failed), [_FAIL] * failed
    return [*unknown, *fail], [*fail, *unknown], [_UNKNOWN if unknown else _FAIL] * count


def _is_regular(before: Scrape, after: Scrape, count: int) -> bool:
    """Return whether no run is left out, so that those between the scrapes can be given times."""
    period = before.spec.period
    return count <= 1 or abs(after.started - before.started - count * period) <= _TOLERANCE * period


def _subtract(window: tuple[float, float], gaps: Windows) -> Windows:
    """Return the window without the gaps."""
    begin, found = window[0], []
    for gap in gaps:
        found.append((begin, gap[0]))
        begin = gap[1]
    found.append((begin, window[1]))
    return tuple(window for window in found if window[0] < window[1])
