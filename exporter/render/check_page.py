"""Snapshot and history -> the page of one check at `/check/NAME`."""

import shlex
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TypeAlias

from exporter.evaluation.answered import Answered
from exporter.evaluation.history import Span, Transition
from exporter.model import Snapshot, Spec, State, Status, Vitals
from exporter.quantities import format_duration
from exporter.render.card import (
    Scene,
    describe_condition,
    describe_next,
    format_counts,
    format_groups,
    make_command,
    quote_name,
    render_failure,
    render_meaning,
    render_numbers,
    render_status,
)
from exporter.render.events import concerns
from exporter.render.html import NOTHING, Html, fill, fill_if, join, show_time
from exporter.render.page import Past
from exporter.render.shell import render as render_shell
from exporter.render.shell import render_conditions, render_identity
from exporter.render.strip import draw_strip, find_cells, find_failure, find_latest_start

CELLS = 90
"""Runs of the strip on the page of a check."""

_HEADER = """<p><a href="%s/">All checks</a></p>
<h1 class="%s">%s: %s%s</h1>
<p>%s</p>
%s"""
_FACT = "<div><dt>%s</dt><dd>%s</dd></div>"
_COMMAND = "<div><dt>%s</dt><dd><code>%s</code></dd></div>"
_TABLE = """<table><caption>%s</caption>
<thead><tr>%s</tr></thead>
<tbody>
%s</tbody></table>
"""
_CELL = '<td data-label="%s">%s</td>'

Row: TypeAlias = tuple[str, tuple[object, ...]]
"""A row of a table: its style, and its cells."""


def render(
    snapshot: Snapshot,
    state: State,
    past: Past,
    answers: Iterable[Answered],
    now: float,
    *,
    root: str = "",
    live: bool = True,
    vitals: Vitals,
) -> str:
    """Render one check. Links start with `root`; ages are relative to `now`, as Unix time."""
    scene = Scene(snapshot, past.history, past.next_runs, now, root, vitals.identity.files)
    spec, history = state.spec, past.history.of(state.spec.name)
    named = [entry for entry in answers if concerns(entry, spec.name)]
    transitions = [change for change in history.transitions if change.generation <= snapshot.generation]
    return render_shell(
        snapshot,
        now,
        title=f"{spec.name}: {state.status}",
        status=state.status,
        identity=vitals.identity,
        live=live,
        header=_render_header(scene, state) + render_conditions(snapshot, vitals, now),
        main=_render_facts(scene, state)
        + _render_runs(scene, state, history.spans)
        + _render_transitions(scene, transitions)
        + _render_answers(scene, named),
        footer=render_identity(snapshot, vitals, now) + _render_links(spec, root, live=live),
    )


def _render_header(scene: Scene, state: State) -> Html:
    last = state.last
    summary = last.outcome.summary if last else "has not run yet"
    spec = state.spec
    meaning = fill_if("<p>%s</p>\n", render_meaning(spec))
    reason = fill_if(" (%s)", state.reason)
    condition = describe_condition(scene.snapshot, state)
    return fill(_HEADER, scene.root, state.status, spec.name, state.status, reason, summary, condition + meaning)


def _render_facts(scene: Scene, state: State) -> Html:
    spec, last, now = state.spec, state.last, scene.now
    failure = find_failure(scene.history, scene.snapshot, state)
    facts: list[tuple[str, object]] = [
        ("last run", fill("%s, took %s", show_time(last.started, now), format_duration(last.duration)) if last else ""),
        ("next run", describe_next(scene, spec.name)),
        (f"{state.status} since", show_time(state.since, now) if state.since else "the start"),
        ("runs", format_counts(state)),
        ("kind", spec.kind),
        ("target", spec.target),
        ("period", format_duration(spec.period)),
        ("timeout", format_duration(spec.timeout)),
        ("failures until fail", spec.failure_threshold),
        ("successes until pass", spec.success_threshold),
        ("stale after", format_duration(spec.stale_after)),
        ("groups", format_groups(spec)),
        ("severity", spec.severity),
        ("owner", spec.owner),
        ("depends on", ", ".join(spec.depends_on)),
    ]
    return fill(
        '<section class="card">%s<dl>%s%s%s</dl></section>\n%s',
        draw_strip(find_cells(scene.history, scene.snapshot, state, CELLS), CELLS),
        render_numbers(last.outcome.measurements if last else ()),
        join(fill(_FACT, name, value) for name, value in facts if value),
        render_failure(failure, now) if failure and failure is not last else NOTHING,
        _render_commands(spec, scene),
    )


def _render_commands(spec: Spec, scene: Scene) -> Html:
    path = f"{scene.root}/healthz/{quote_name(spec.name)}"
    commands = [
        ("run it now", make_command(spec, scene.files)),
        ("ask for its status", f"curl -s {shlex.quote(f'http://127.0.0.1:4584{path}')}"),
    ]
    rows = (fill(_COMMAND, name, command) for name, command in commands if command)
    return fill('<section class="card"><dl class="commands">%s</dl></section>\n', join(rows))


def _render_runs(scene: Scene, state: State, spans: Iterable[Span]) -> Html:
    until = find_latest_start(scene.snapshot, state)
    rows = [_make_span_row(span, scene.now) for span in spans if span.first <= until]
    caption = "Runs, the latest first. Consecutive runs with the same result are one line."
    return _render_table(caption, ("Result", "Runs", "First", "Last", "Longest"), rows)


def _make_span_row(span: Span, now: float) -> Row:
    status, longest = render_status(span.status, span.reason), format_duration(span.longest)
    return span.status, (status, span.count, show_time(span.first, now), show_time(span.last, now), longest)


def _render_transitions(scene: Scene, transitions: Iterable[Transition]) -> Html:
    rows = [_make_transition_row(transition, scene.now) for transition in transitions]
    caption = "Changes of the status after thresholds, the latest first"
    return _render_table(caption, ("Status", "Time", "Before", "Runs", "Message"), rows)


def _make_transition_row(change: Transition, now: float) -> Row:
    runs = f"{change.streak} of {change.threshold} in a row" if change.threshold else ""
    status = render_status(change.after, change.reason)
    return change.after, (status, show_time(change.time, now), change.before, runs, change.summary)


def _render_answers(scene: Scene, answers: Iterable[Answered]) -> Html:
    rows = [_make_answer_row(entry, scene.now) for entry in answers]
    caption = "Responses of 503 because of it, the latest first"
    return _render_table(caption, ("Path", "Client", "Responses", "First", "Last"), rows)


def _make_answer_row(entry: Answered, now: float) -> Row:
    client = "the kubelet" if entry.kubelet else "another"
    return Status.FAIL, (entry.path, client, entry.count, show_time(entry.first, now), show_time(entry.last, now))


def _render_table(caption: str, columns: Sequence[str], rows: Sequence[Row]) -> Html:
    """Render the rows, the last one first. The labels are for a narrow window, where each row is a list."""
    if not rows:
        return NOTHING
    head = join(fill('<th scope="col">%s</th>', column) for column in columns)
    lines = (
        fill('<tr class="%s">%s</tr>\n', style, join(map(partial(fill, _CELL), columns, cells)))
        for style, cells in reversed(rows)
    )
    return fill(_TABLE, caption, head, join(lines))


def _render_links(spec: Spec, root: str, *, live: bool) -> Html:
    name = quote_name(spec.name)
    return fill(
        '<p><a href="%s/events?check=%s">events as text</a> · <a href="%s/check/%s%s">Turn auto-refresh %s</a></p>\n',
        root,
        name,
        root,
        name,
        "?still=1" if live else "",
        "off" if live else "on",
    )
