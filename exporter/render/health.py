"""Snapshot -> the bodies of the health endpoints: plain text in the Kubernetes apiserver's grammar, and health+json.

The grammar is that of k8s.io/apiserver, pkg/server/healthz, which withholds the reasons. The JSON has the reasons,
from their closed list. Neither contains free text.
"""

import json
from collections.abc import Collection
from typing import Any

from exporter import __version__
from exporter.evaluation.judge import find_causes, satisfies
from exporter.lines import format_time
from exporter.model import Group, Snapshot, State, Verdict
from exporter.text import replace_unprintable

SHUTDOWN = "shutdown"  # the apiserver's name for the same condition
NOT_LOADED = "the configuration is not loaded"
"""Why every group but liveness fails while there is no valid configuration. The page and the log have the errors."""


def render_text(verdict: Verdict, path: str, *, verbose: bool, exclude: Collection[str] = ()) -> str:
    """Return the plain body for a group: `ok`, or the list of its checks if `verbose` or if the group fails."""
    if verdict.up and not verbose:
        return "ok"
    lines = [_render_line(state, verdict.group, exclude) for state in verdict.members]
    if verdict.draining:
        lines.append(f"[-]{SHUTDOWN} failed: reason withheld")
    if verdict.degraded:
        lines.append("[-]configuration failed: not loaded")
    unknown = sorted(set(exclude) - {state.spec.name for state in verdict.members})
    if unknown:
        names = ",".join(json.dumps(name, ensure_ascii=False) for name in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
    lines.append(f"{path} check {'passed' if verdict.up else 'failed'}")
    return "".join(f"{replace_unprintable(line)}\n" for line in lines)


def list_conditions(verdict: Verdict) -> list[str]:
    """Return the conditions of the exporter itself for which the group fails, whatever its checks say."""
    return ["shutting down"] * verdict.draining + [NOT_LOADED] * verdict.degraded


def render_check(state: State, group: Group) -> str:
    """Return the plain body for one check."""
    return "ok" if satisfies(state, group) else f"{replace_unprintable(state.spec.name)} failed: {state.reason}\n"


def render_json(snapshot: Snapshot, verdict: Verdict) -> str:
    """Return the body of the IETF draft (draft-inadarei-api-health-check-06), with the generation."""
    return json.dumps(
        {
            "status": verdict.status,
            "releaseId": __version__,
            "serviceId": "health-exporter",
            "description": f"verdict for the group {verdict.group}",
            "generation": snapshot.generation,
            "group": verdict.group,
            "time": format_time(snapshot.timestamp),
            **({"notes": notes} if (notes := list_conditions(verdict)) else {}),
            "checks": {state.spec.name: [_describe_check(snapshot, state)] for state in verdict.members},
        }
    )


def _describe_check(snapshot: Snapshot, state: State) -> dict[str, Any]:
    """Return one check as a component object of the draft.

    `status` is after thresholds, `lastStatus` is the latest run's.
    """
    last = state.last
    fields: dict[str, Any] = {
        "componentType": state.spec.kind,
        "status": state.status,
        "reason": state.reason,
        "time": format_time(last.started) if last else None,
        "lastStatus": last.outcome.status if last else None,
        "lastReason": last.outcome.reason if last else None,
        "durationSeconds": last.duration if last else None,
        "since": format_time(state.since) if state.since else None,
        "runs": state.runs,
        "failures": sum(state.failures.values()),
        "consecutiveFailures": state.consecutive_failures,
        "groups": sorted(group for group in Group if state.spec.belongs_to(group)),
        "severity": state.spec.severity,
        "suppressedBy": list(find_causes(snapshot, state)) or None,
        "measurements": {number.key: number.value for number in last.outcome.measurements} if last else {},
    }
    return {key: value for key, value in fields.items() if value is not None}


def _render_line(state: State, group: Group, exclude: Collection[str]) -> str:
    if state.spec.name in exclude:
        return f"[+]{state.spec.name} excluded: ok"
    return f"[+]{state.spec.name} ok" if satisfies(state, group) else f"[-]{state.spec.name} failed: reason withheld"
