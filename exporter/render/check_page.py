"""Snapshot and history -> the page of one check at `/check/NAME`."""

from typing import Any

from markupsafe import Markup

from exporter import __version__
from exporter.evaluation.history import CheckHistory, Span, Transition
from exporter.evaluation.judge import find_causes
from exporter.model import Group, Identity, Result, Snapshot, State
from exporter.render.page import STYLE, TEMPLATES, describe_caveat, describe_moment, make_icon, quote_name
from exporter.render.words import format_duration, format_limits, format_quantity
from exporter.text import replace_surrogates

_TEMPLATE = TEMPLATES.get_template("check.html")


def render(
    snapshot: Snapshot, state: State, history: CheckHistory, now: float, *, root: str = "", identity: Identity
) -> str:
    """Render one check. Links start with `root`; ages are relative to `now`, as Unix time."""
    last = state.last
    text = _TEMPLATE.render(
        name=state.spec.name,
        link=quote_name(state.spec.name),
        status=state.status,
        reason=state.reason,
        caveat=describe_caveat(state),
        causes=find_causes(snapshot, state),
        icon=Markup(make_icon(state.status)),  # noqa: S704  # a constant
        style=Markup(STYLE),  # noqa: S704  # a file of this package
        facts=_list_facts(state),
        summary=last.outcome.summary if last else "has not run yet",
        numbers=[
            {"name": number.key, "value": format_quantity(number.name, number.value), "limits": format_limits(number)}
            for number in (last.outcome.measurements if last else ())
        ],
        latest=_describe_result(last, now),
        failure=_describe_result(history.failure, now),
        spans=[_describe_span(span, now) for span in reversed(history.spans)],
        transitions=[_describe_transition(transition, now) for transition in reversed(history.transitions)],
        runbook=state.spec.runbook_url,
        identity=identity,
        generation=snapshot.generation,
        version=__version__,
        root=root,
    )
    return replace_surrogates(text)


def _list_facts(state: State) -> list[tuple[str, str]]:
    """Return the configuration of a check, without what is empty."""
    spec = state.spec
    facts = [
        ("kind", spec.kind),
        ("target", spec.target),
        ("groups", ", ".join(sorted(group for group in spec.groups if group is not Group.ALL)) or Group.ALL),
        ("severity", spec.severity),
        ("owner", spec.owner),
        ("description", spec.description),
        ("depends on", ", ".join(spec.depends_on)),
        ("period", format_duration(spec.period)),
        ("timeout", format_duration(spec.timeout)),
        ("failures until fail", str(spec.failure_threshold)),
        ("successes until pass", str(spec.success_threshold)),
        ("stale after", format_duration(spec.stale_after)),
    ]
    return [(name, value) for name, value in facts if value]


def _describe_result(result: Result | None, now: float) -> dict[str, str]:
    if result is None:
        return {}
    outcome = result.outcome
    return {
        "status": outcome.status,
        "reason": outcome.reason or "",
        "summary": outcome.summary,
        "time": describe_moment(result.started, now),
        "took": format_duration(result.duration),
    }


def _describe_span(span: Span, now: float) -> dict[str, Any]:
    return {
        "status": span.status,
        "reason": span.reason or "",
        "count": span.count,
        "first": describe_moment(span.first, now),
        "last": describe_moment(span.last, now),
        "longest": format_duration(span.longest),
    }


def _describe_transition(transition: Transition, now: float) -> dict[str, Any]:
    return {
        "time": describe_moment(transition.time, now),
        "before": transition.before,
        "after": transition.after,
        "reason": transition.reason or "",
        "runs": f"{transition.streak} of {transition.threshold} in a row" if transition.threshold else "",
        "summary": transition.summary,
    }
