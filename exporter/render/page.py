"""Snapshot -> the status page at `/`: what is wrong first, for a person, without JavaScript."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from exporter import __version__
from exporter.evaluation.judge import causes, judge
from exporter.model import Group, Reason, Snapshot, State, Status, Verdict
from exporter.render.words import duration, headline, limits, quantity, worst_first

_HERE = Path(__file__).parent
_STYLE = (_HERE / "page.css").read_text(encoding="utf-8")
_TEMPLATE = Environment(loader=FileSystemLoader(_HERE), autoescape=True, auto_reload=False).get_template("page.html")
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
RENEW = 10  # seconds
_NAMED = 5  # checks that a verdict names
_ICON = (
    "data:image/svg+xml,"
    "%3Csvg xmlns='http://www.w3.org/2000/svg'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23{}'/%3E%3C/svg%3E"
)
_COLOURS = {Status.PASS: "1f8a4c", Status.WARN: "d99a1c", Status.FAIL: "d0342c", Status.UNKNOWN: "7566d6"}


def page(snapshot: Snapshot, paths: Mapping[str, Group], now: float, *, root: str = "", renew: bool = True) -> str:
    """The page of one Snapshot, with the groups' endpoints below `root`; ages are as of `now`, on the wall clock."""
    states = worst_first(snapshot)
    worst = states[0].status if states else Status.UNKNOWN
    text = _TEMPLATE.render(
        headline=headline(snapshot),
        worst=worst,
        icon=Markup(_ICON.format(_COLOURS[worst])),  # noqa: S704  # our own text
        draining=snapshot.draining,
        version=__version__,
        style=Markup(_STYLE),  # noqa: S704  # our own file
        verdicts=[_verdict(judge(snapshot, group), path) for path, group in paths.items()],
        checks=[_check(state, now) | {"causes": causes(snapshot, state)} for state in states],
        generation=snapshot.generation,
        time=datetime.fromtimestamp(snapshot.timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        root=root,
        renew=RENEW if renew else None,
    )
    return text.encode("utf-8", "replace").decode()  # a lone surrogate loses the whole page


def _verdict(verdict: Verdict, path: str) -> dict[str, Any]:
    return {
        "path": path,
        "group": verdict.group,
        "up": verdict.up,
        "note": "shutting down" if verdict.draining else "" if verdict.members else "no checks",
        "culprits": [state.spec.name for state in verdict.culprits[:_NAMED]],
        "more": len(verdict.culprits[_NAMED:]),
    }


def _check(state: State, now: float) -> dict[str, Any]:
    spec, last = state.spec, state.last
    return {
        "name": spec.name,
        "kind": spec.kind,
        "target": spec.target,
        "groups": sorted(group for group in spec.groups if group is not Group.ALL) or [Group.ALL],
        "status": state.status,
        "reason": state.reason,
        "summary": last.outcome.summary if last else "has not run yet",
        "but": _but(state),
        "numbers": [
            {"name": each.key, "value": quantity(each.name, each.value), "limits": limits(each)}
            for each in (last.outcome.measurements if last else ())
        ],
        "age": f"{duration(max(0.0, now - last.started))} ago" if last else "never",
        "took": f"took {duration(last.duration)}" if last else "",
        "since": f"{duration(max(0.0, now - state.since))} ago" if state.since else "the start",
        "counts": _counts(state),
    }


def _counts(state: State) -> str:
    runs = "1 run" if state.runs == 1 else f"{state.runs} runs"
    failures = sum(state.failures.values())
    return f"{runs}, {failures} not healthy" if failures else runs


def _but(state: State) -> str:
    """Why the latest run is not what the status says, and how far it is from changing it."""
    if state.last is None:
        return ""
    latest = state.last.outcome
    if state.reason is Reason.STALE:
        return f"too old to count: it holds for {duration(state.spec.stale_after)}"
    if latest.status is Status.UNKNOWN:
        return f"latest run: could not look ({latest.reason}), which does not count"
    if latest.status is state.status:
        return ""
    what, threshold = (
        ("successes", state.spec.success_threshold)
        if latest.status.healthy
        else ("failures", state.spec.failure_threshold)
    )
    reason = f" ({latest.reason})" if latest.reason else ""
    return f"latest run: {latest.status}{reason}, {state.streak} of {threshold} {what} in a row"
