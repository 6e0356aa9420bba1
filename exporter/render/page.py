"""Snapshot and history -> the status page at `/`: problems first."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.evaluation.history import History, Transition
from exporter.evaluation.judge import judge
from exporter.model import BADNESS, Group, Snapshot, State, Status, Verdict, Vitals
from exporter.render.card import Scene, link_check, render_card
from exporter.render.filters import Filter, divide, render_form
from exporter.render.html import NOTHING, Html, fill, fill_if, fill_names, join, show_time
from exporter.render.shell import render as render_shell
from exporter.render.shell import render_conditions, render_identity
from exporter.render.words import format_headline, sort_worst_first

MAX_NAMES = 5
"""Failing checks listed for a group."""
MAX_OPEN = 3
"""Problems whose details are open."""
_OPEN = (Status.FAIL, Status.UNKNOWN)
MAX_UNFOLDED = 30
"""Passing checks that are listed without a click."""
MAX_CHANGES = 10
"""Latest changes of a status that the page lists."""

_VERDICT = """<li class="%s"><a href="%s%s?verbose">%s</a> <strong>%s</strong>
<span>%s</span></li>
"""
_CHANGES = """<details id="changes"><summary>Latest change: %s</summary>
<ol>%s</ol></details>
"""
_CHANGE = '%s %s: %s → <b class="%s">%s</b>%s'
_SECTION = """<section id="section-%s"><h2>%s</h2>
%s%s</section>
"""
_FOLD = """<details class="fold" id="fold-%s"><summary>%s</summary>
%s</details>
"""
_FOOTER = """<p><a href="%(root)s/metrics">metrics</a> · <a href="%(root)s/healthz?verbose">healthz as text</a> · \
<a href="%(root)s/healthz?format=json">healthz as JSON</a> · <a href="%(root)s/events">events</a> · %(turn)s</p>
"""
_EMPTY = Html("<p>No checks are configured, so every endpoint returns 200.</p>\n")


@dataclass(frozen=True, slots=True)
class Past:
    """What a page shows apart from the Snapshot: the past of the checks, and in how many seconds each is due."""

    history: History
    next_runs: Mapping[str, float]


def render(
    snapshot: Snapshot,
    paths: Mapping[str, Group],
    now: float,
    *,
    past: Past | None = None,
    chosen: Filter = Filter(),  # noqa: B008  # frozen
    root: str = "",
    vitals: Vitals = Vitals(running=True),  # noqa: B008  # frozen
) -> str:
    """Render one Snapshot. The links start with `root`; ages are relative to `now`, as Unix time."""
    past = past or Past(History(), {})
    scene = Scene(snapshot, past.history, past.next_runs, now, root, vitals.identity.files)
    states = sort_worst_first(snapshot)
    headline, worst = format_headline(snapshot), states[0].status if states else Status.UNKNOWN
    verdicts = join(_render_verdict(judge(snapshot, group), path, root) for path, group in paths.items())
    lists = _render_lists(scene, states, chosen) if states else NOTHING if snapshot.degraded else _EMPTY
    turn = fill('<a href="%s/%s">Turn auto-refresh %s</a>', root, *_turn(chosen))
    return render_shell(
        snapshot,
        now,
        title=headline,
        status=worst,
        identity=vitals.identity,
        live=not chosen.still,
        header=fill('<h1 class="%s">%s</h1>\n', worst, headline)
        + render_conditions(snapshot, vitals, now)
        + render_identity(snapshot, vitals, now),
        main=fill('<ul class="verdicts" aria-label="Verdicts">\n%s</ul>\n', verdicts) + lists,
        footer=fill_names(_FOOTER, {"root": root, "turn": turn}),
    )


def _turn(chosen: Filter) -> tuple[str, str]:
    """Return the query that turns updates on or off, and which of the two it does."""
    return (chosen.encode(still=""), "on") if chosen.still else (chosen.encode(still="1"), "off")


def _render_verdict(verdict: Verdict, path: str, root: str) -> Html:
    state, answer = ("pass", "200 ok") if verdict.up else ("fail", "503")
    return fill(_VERDICT, state, root, path, path, answer, _describe_verdict(verdict, root))


def _describe_verdict(verdict: Verdict, root: str) -> Html:
    notes = [fill("%s", note) for note in (_note_on(verdict),) if note]
    notes += [link_check(state.spec.name, root) for state in verdict.culprits[:MAX_NAMES]]
    more = fill_if(" and %s more", len(verdict.culprits[MAX_NAMES:]))
    return fill("%s%s%s", verdict.group, fill_if(": %s", join(notes, ", ")), more)


def _note_on(verdict: Verdict) -> str:
    if verdict.hold:
        return "restarts are suspended"
    if verdict.draining:
        return "shutting down"
    if verdict.degraded:
        return "no configuration"
    return "" if verdict.members else "no checks"


def _render_lists(scene: Scene, states: Sequence[State], chosen: Filter) -> Html:
    """Render the latest changes, the form, and the checks that it selects."""
    shown = [state for state in states if chosen.admits(state)]
    return (
        _render_changes(scene)
        + render_form(states, chosen, scene.root)
        + fill_if("<p>%s</p>\n", f"{len(shown)} of {len(states)} checks" if chosen.active else "")
        + join(_render_sections(scene, shown, chosen))
    )


def _render_changes(scene: Scene) -> Html:
    """Render the latest transitions that are not after the Snapshot."""
    known = (change for change in reversed(scene.history.transitions) if change.generation <= scene.snapshot.generation)
    changes = [*itertools.islice(known, MAX_CHANGES)]
    if not changes:
        return NOTHING
    latest = _render_change(scene, changes[0], fill("%s", changes[0].check))
    listed = (_render_change(scene, change, link_check(change.check, scene.root)) for change in changes)
    return fill(_CHANGES, latest, join(fill("<li>%s</li>", change) for change in listed))


def _render_change(scene: Scene, change: Transition, name: Html) -> Html:
    reason = f" ({change.reason})" if change.reason else ""
    said = f"{reason}: {change.summary}" if change.summary and not change.after.healthy else reason
    return fill(_CHANGE, show_time(change.time, scene.now), name, change.before, change.after, change.after, said)


def _render_sections(scene: Scene, shown: Sequence[State], chosen: Filter) -> Iterator[Html]:
    problems = sum(state.status is not Status.PASS for state in shown)
    folded = len(shown) - problems > MAX_UNFOLDED and not chosen.active
    room = MAX_OPEN
    for name, states in divide(shown, chosen.by).items():
        bad = [state for state in states if state.status is not Status.PASS]
        cards = [render_card(scene, state, opened=at < room and state.status in _OPEN) for at, state in enumerate(bad)]
        room = max(0, room - len(bad))
        good = [render_card(scene, state, opened=False) for state in states if state.status is Status.PASS]
        passing = fill('<ul class="checks">\n%s</ul>\n', join(good)) if good else NOTHING
        yield fill(
            _SECTION,
            name,
            _title(name, states, chosen.by),
            fill('<ul class="checks">\n%s</ul>\n', join(cards)) if cards else NOTHING,
            fill(_FOLD, name, f"{len(good)} pass", passing) if good and folded else passing,
        )


def _title(name: str, states: Sequence[State], by: str) -> str:
    if not by:
        return f"{len(states)} {name}"
    counts = {status: sum(state.status is status for state in states) for status in BADNESS}
    return f"{name}: {', '.join(f'{counts[status]} {status}' for status in BADNESS if counts[status])}"
