"""One check on the status page: a line, and the details below it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from exporter.evaluation.history import History
from exporter.evaluation.judge import find_causes
from exporter.model import NO_FILE, Group, Measurement, Reason, Result, Snapshot, Spec, State, Status
from exporter.probe.check import FUNCTION
from exporter.quantities import format_duration
from exporter.render.html import NOTHING, Html, fill, fill_if, join, show_time
from exporter.render.strip import CELLS, draw_strip, find_cells, find_failure
from exporter.render.words import format_label, format_limits
from exporter.text import format_count, replace_surrogates

MEMORABLE = 86400
"""Seconds for which the line of a check shows a failure that is over."""

_CHECK = """<li id="check-%s" class="%s"><details%s><summary>%s
<span class="name"><b>%s</b> <small>%s</small></span>
<span class="said">%s%s</span>
%s<span class="took">%s</span></summary>%s<dl>%s%s%s<div><dt>%s since</dt><dd>%s, %s</dd></div>%s%s
%s</dl></details></li>
"""
_RUN = "<div><dt>last run</dt><dd>%s, took %s</dd></div>"
_NEXT = "<div><dt>next run</dt><dd>%s</dd></div>"
_SPEC = """<div><dt>thresholds</dt><dd>fail after %s, pass after %s</dd></div>\
<div><dt>timing</dt><dd>every %s, timeout %s</dd></div><div><dt>groups</dt><dd>%s</dd></div>\
<div><dt>severity</dt><dd>%s</dd></div>%s%s\
<div class="wide"><dt>more</dt><dd><a href="%s/check/%s">all runs and changes</a></dd></div>"""
_STATUS = '<span class="status">%s%s</span>'
_OPEN = Html(" open data-open")
_NUMBER = "<div><dt>%s</dt><dd>%s%s</dd></div>"
_FAILURE = '<div class="wide"><dt>latest failure</dt><dd>%s</dd></div>'


@dataclass(frozen=True, slots=True)
class Scene:
    """What the checks of a page have in common."""

    snapshot: Snapshot
    history: History
    next_runs: Mapping[str, float]
    now: float
    root: str = ""
    files: tuple[str, ...] = ()


def render_card(scene: Scene, state: State, *, opened: bool) -> Html:
    """Render one check, with its details closed unless `opened`."""
    spec, last, now = state.spec, state.last, scene.now
    failure, status = find_failure(scene.history, scene.snapshot, state), Html(state.status)
    over = failure and state.status is Status.PASS and now - failure.started < MEMORABLE
    name, subject, meaning, configuration = _render_spec(spec, scene.root, scene.files)
    took = Html(format_duration(last.duration)) if last else NOTHING
    return fill(
        _CHECK,
        name,
        status,
        _OPEN if opened else NOTHING,
        render_status(state.status, state.reason),
        name,
        subject,
        last.outcome.summary if last else "has not run yet",
        fill(' <span class="over">%s</span>', describe_failure(failure, now)) if failure and over else NOTHING,
        draw_strip(find_cells(scene.history, scene.snapshot, state, CELLS), CELLS),
        took,
        describe_condition(scene.snapshot, state),
        meaning,
        render_numbers(last.outcome.measurements) if last else NOTHING,
        fill(_RUN, show_time(last.started, now), took) if last else NOTHING,
        status,
        show_time(state.since, now) if state.since else Html("the start"),
        Html(format_counts(state)),
        fill_if(_NEXT, describe_next(scene, spec.name)),
        render_failure(failure, now) if failure and failure is not last else NOTHING,
        configuration,
    )


@lru_cache(maxsize=64)
def render_status(status: Status, reason: Reason | None) -> Html:
    """Render a status with its reason."""
    return fill(_STATUS, status, fill_if(" <small>%s</small>", reason))


def describe_condition(snapshot: Snapshot, state: State) -> Html:
    """Return how the latest run differs from the status, and which other checks make this one fail."""
    causes = find_causes(snapshot, state)
    caveat = describe_caveat(state)
    if not (causes or caveat):  # almost always
        return NOTHING
    suppressed = f"suppressed: depends on {', '.join(causes)}" if causes else ""
    return fill_if("<em>%s</em>", caveat) + fill_if("<em>%s</em>", suppressed)


def describe_caveat(state: State) -> str:
    """Return how the latest run differs from the status, and how many such runs would change the status."""
    if state.last is None:
        return ""
    latest = state.last.outcome
    if state.reason is Reason.STALE:
        return f"stale: a result counts for {format_duration(state.spec.stale_after)}"
    if latest.status is state.status is Status.UNKNOWN:
        return "could not run"
    if latest.status is Status.UNKNOWN:
        return f"latest run: unknown ({latest.reason}), not counted"
    if latest.status is state.status:
        return ""
    what, threshold = (
        ("successes", state.spec.success_threshold)
        if latest.status.healthy
        else ("failures", state.spec.failure_threshold)
    )
    reason = f" ({latest.reason})" if latest.reason else ""
    return f"latest run: {latest.status}{reason}, {state.streak} of {threshold} {what} in a row"


def render_meaning(spec: Spec) -> Html:
    """Render what a failure of a check means, with a link to what to do."""
    runbook = fill_if('<a href="%s" rel="noreferrer">runbook</a>', spec.runbook_url)
    return join([part for part in (fill_if("%s", spec.description), runbook) if part], " ")


def render_numbers(measurements: tuple[Measurement, ...]) -> Html:
    """Render the measurements of a run, with their limits."""
    return join(
        fill(
            _NUMBER,
            format_label(number),
            number.quantity,
            fill_if(" <small>%s</small>", format_limits(number)),
        )
        for number in measurements
    )


def describe_next(scene: Scene, name: str) -> Html:
    """Return when the next run of a check is due."""
    seconds = scene.next_runs.get(name)
    if seconds is None:
        return NOTHING
    return show_time(scene.now + seconds, scene.now) if seconds else Html("running now")


def render_failure(failure: Result, now: float) -> Html:
    """Render the latest run that was not healthy as one of the details."""
    return fill(_FAILURE, describe_failure(failure, now))


def describe_failure(failure: Result, now: float) -> Html:
    """Return when and how a run was not healthy."""
    outcome = failure.outcome
    return fill("%s: %s (%s): %s", show_time(failure.started, now), outcome.status, outcome.reason, outcome.summary)


def format_counts(state: State) -> str:
    """Return the number of runs, and of those that were not healthy."""
    runs = format_count(state.runs, "run")
    failures = sum(state.failures.values())
    return f"{runs}, {failures} unhealthy" if failures else runs


def format_groups(spec: Spec) -> str:
    """Return the groups of a check apart from `all`, which every check belongs to."""
    return ", ".join(sorted(group for group in spec.groups if group is not Group.ALL)) or "no group"


def quote_name(name: str) -> str:
    """Return the name of a check as a part of a URL."""
    return quote(replace_surrogates(name), safe="")


def link_check(name: str, root: str) -> Html:
    """Return a link to the page of a check."""
    return fill('<a href="%s/check/%s">%s</a>', root, quote_name(name), name)


def make_command(spec: Spec, files: Sequence[str]) -> str:
    """Return the command that runs this check once more; empty for a function of an application."""
    if spec.kind == FUNCTION:
        return ""
    source = "".join(f" --config.file {shlex.quote(file)}" for file in files if file != NO_FILE)
    return f"health-exporter check --name {shlex.quote(spec.name)}{source}"


@lru_cache(maxsize=1024)
def _render_spec(spec: Spec, root: str, files: tuple[str, ...]) -> tuple[Html, Html, Html, Html]:
    """Render what a reload alone changes: the name, the target, what a failure means, and how the check runs."""
    meaning = fill_if('<div class="wide"><dt>meaning</dt><dd>%s</dd></div>', render_meaning(spec))
    configuration = fill(
        _SPEC,
        _count(spec.failure_threshold, "failure"),
        _count(spec.success_threshold, "success"),
        format_duration(spec.period),
        format_duration(spec.timeout),
        format_groups(spec),
        spec.severity,
        fill_if("<div><dt>owner</dt><dd>%s</dd></div>", spec.owner),
        fill_if('<div class="wide"><dt>run it now</dt><dd><code>%s</code></dd></div>', make_command(spec, files)),
        root,
        quote_name(spec.name),
    )
    return fill("%s", spec.name), fill("%s %s", spec.kind, spec.target), meaning, configuration


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('s') else 's'} in a row"
