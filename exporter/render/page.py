"""Snapshot -> the status page at `/`: problems first, without JavaScript."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from exporter import __version__
from exporter.evaluation.judge import find_causes, judge
from exporter.model import Group, Reason, Snapshot, State, Status, Verdict, Vitals
from exporter.render.words import format_duration, format_headline, format_limits, format_quantity, sort_worst_first
from exporter.text import replace_surrogates

_HERE = Path(__file__).parent
STYLE = (_HERE / "page.css").read_text(encoding="utf-8")
TEMPLATES = Environment(loader=FileSystemLoader(_HERE), autoescape=True, auto_reload=False)
_TEMPLATE = TEMPLATES.get_template("page.html")
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REFRESH = 10  # seconds
MAX_NAMES = 5  # failing checks listed for a group
_ICON = (
    "data:image/svg+xml,"
    "%3Csvg xmlns='http://www.w3.org/2000/svg'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23{}'/%3E%3C/svg%3E"
)
_COLORS = {Status.PASS: "1f8a4c", Status.WARN: "d99a1c", Status.FAIL: "d0342c", Status.UNKNOWN: "7566d6"}


def render(
    snapshot: Snapshot,
    paths: Mapping[str, Group],
    now: float,
    *,
    root: str = "",
    refresh: bool = True,
    vitals: Vitals = Vitals(running=True),  # noqa: B008  # frozen
) -> str:
    """Render one Snapshot. The links to the endpoints start with `root`; ages are relative to `now`, as Unix time."""
    states = sort_worst_first(snapshot)
    worst = states[0].status if states else Status.UNKNOWN
    text = _TEMPLATE.render(
        headline=format_headline(snapshot),
        worst=worst,
        icon=Markup(make_icon(worst)),  # noqa: S704  # a constant
        draining=snapshot.draining,
        degraded=snapshot.degraded,
        complaints=(vitals.complaint or "").splitlines(),
        rejected=describe_moment(vitals.complaint_time, now),
        loaded=describe_moment(vitals.reload_time, now),
        identity=vitals.identity,
        version=__version__,
        style=Markup(STYLE),  # noqa: S704  # a file of this package
        verdicts=[_describe_verdict(judge(snapshot, group), path) for path, group in paths.items()],
        checks=[_describe_check(state, now) | {"causes": find_causes(snapshot, state)} for state in states],
        generation=snapshot.generation,
        time=_format_moment(snapshot.timestamp),
        root=root,
        refresh=REFRESH if refresh else None,
    )
    return replace_surrogates(text)  # a single lone surrogate would make the whole page fail


def make_icon(status: Status) -> str:
    """Return the URL of a dot in the color of a status."""
    return _ICON.format(_COLORS[status])


def _format_moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def describe_moment(moment: float | None, now: float) -> str:
    """Return a time with how long ago it was; empty for None."""
    return f"{_format_moment(moment)} ({format_duration(max(0.0, now - moment))} ago)" if moment else ""


def _describe_verdict(verdict: Verdict, path: str) -> dict[str, Any]:
    return {
        "path": path,
        "group": verdict.group,
        "up": verdict.up,
        "note": _note_on(verdict),
        "culprits": [state.spec.name for state in verdict.culprits[:MAX_NAMES]],
        "more": len(verdict.culprits[MAX_NAMES:]),
    }


def _note_on(verdict: Verdict) -> str:
    if verdict.draining:
        return "shutting down"
    if verdict.degraded:
        return "no configuration"
    return "" if verdict.members else "no checks"


def _describe_check(state: State, now: float) -> dict[str, Any]:
    spec, last = state.spec, state.last
    return {
        "name": spec.name,
        "link": quote_name(spec.name),
        "kind": spec.kind,
        "target": spec.target,
        "owner": spec.owner,
        "description": spec.description,
        "runbook": spec.runbook_url,
        "groups": sorted(group for group in spec.groups if group is not Group.ALL) or [Group.ALL],
        "status": state.status,
        "reason": state.reason,
        "summary": last.outcome.summary if last else "has not run yet",
        "caveat": describe_caveat(state),
        "numbers": [
            {"name": number.key, "value": format_quantity(number.name, number.value), "limits": format_limits(number)}
            for number in (last.outcome.measurements if last else ())
        ],
        "age": f"{format_duration(max(0.0, now - last.started))} ago" if last else "never",
        "took": f"took {format_duration(last.duration)}" if last else "",
        "since": f"for {format_duration(max(0.0, now - state.since))}" if state.since else "since start",
        "counts": _describe_counts(state),
    }


def quote_name(name: str) -> str:
    """Return the name of a check as a part of a URL."""
    return quote(replace_surrogates(name), safe="")


def _describe_counts(state: State) -> str:
    runs = "1 run" if state.runs == 1 else f"{state.runs} runs"
    failures = sum(state.failures.values())
    return f"{runs}, {failures} unhealthy" if failures else runs


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
