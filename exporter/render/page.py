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
from exporter.judge import judge
from exporter.model import Group, Snapshot, State, Status, Verdict
from exporter.words import duration, headline, limits, quantity, worst_first

_HERE = Path(__file__).parent
_STYLE = (_HERE / "page.css").read_text(encoding="utf-8")
_TEMPLATE = Environment(loader=FileSystemLoader(_HERE), autoescape=True, auto_reload=False).get_template("page.html")
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(snapshot: Snapshot, paths: Mapping[str, Group], now: float) -> str:
    """The page of one Snapshot, with the groups' endpoints; ages are as of `now`, on the wall clock."""
    return _TEMPLATE.render(
        headline=headline(snapshot),
        well=all(state.status.healthy for state in snapshot.states.values()),
        draining=snapshot.draining,
        version=__version__,
        style=Markup(_STYLE),  # noqa: S704  # our own file
        verdicts=[_verdict(judge(snapshot, group), path) for path, group in paths.items()],
        checks=[_check(state, now) for state in worst_first(snapshot)],
        generation=snapshot.generation,
        time=datetime.fromtimestamp(snapshot.timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    )


def _verdict(verdict: Verdict, path: str) -> dict[str, Any]:
    return {
        "path": path,
        "group": verdict.group,
        "up": verdict.up,
        "members": len(verdict.members),
        "culprits": [state.spec.name for state in verdict.culprits],
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
        "unsettled": _unsettled(state),
        "numbers": [
            {"name": each.name, "value": quantity(each.name, each.value), "limits": limits(each)}
            for each in (last.outcome.measurements if last else ())
        ],
        "age": f"{duration(max(0.0, now - last.started))} ago" if last else "never",
        "took": f"took {duration(last.duration)}" if last else "",
        "since": f"{duration(max(0.0, now - state.since))} ago" if state.since else "the start",
        "counts": f"{state.runs} runs, {sum(state.failures.values())} not healthy",
    }


def _unsettled(state: State) -> str:
    """How the latest run differs from the settled status, and how far it is from changing it."""
    if state.last is None or state.last.outcome.status is state.status:
        return ""
    latest = state.last.outcome.status
    if latest is Status.UNKNOWN:
        return f"latest run: {latest}, which does not count"
    what, threshold = (
        ("successes", state.spec.success_threshold) if latest.healthy else ("failures", state.spec.failure_threshold)
    )
    return f"latest run: {latest}, {state.streak} of {threshold} {what} in a row"
