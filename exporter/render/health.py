"""Snapshot -> the bodies of the health endpoints: plain text in the Kubernetes apiserver's grammar, and health+json.

The grammar is that of k8s.io/apiserver, pkg/server/healthz. The apiserver withholds its reasons, because they are free
text. The plain bodies have reasons from a closed list instead. Only the JSON has free text, and only if it is detailed:
what a run found, and what the configuration says about a check for people.
"""

import json
from collections.abc import Collection
from typing import Any

from exporter import __version__
from exporter.evaluation.judge import find_causes, satisfies
from exporter.lines import format_time
from exporter.model import Group, Hold, Snapshot, State, Verdict, Vitals
from exporter.text import replace_unprintable

SHUTDOWN = "shutdown"  # the apiserver's name for the same condition
NOT_LOADED = "the configuration is not loaded"
"""Why every group but liveness fails while there is no valid configuration. The page and the log have the errors."""
MAX_LISTED = 20
"""Checks that a 404 lists."""


def render_text(
    verdict: Verdict, path: str, *, verbose: bool, detailed: bool = False, exclude: Collection[str] = ()
) -> str:
    """Return the plain body for a group: `ok`, or the list of its checks if `verbose`, if it fails, or if it is held.

    If `detailed`, the list has the reason for a hold.
    """
    if verdict.up and not verbose and not verdict.hold:
        return "ok"
    lines = [_render_line(state, verdict.group, exclude) for state in verdict.members]
    if verdict.draining:
        lines.append(f"[-]{SHUTDOWN} failed: shutting down")
    if verdict.degraded:
        lines.append("[-]configuration failed: not loaded")
    if verdict.hold:
        lines.append(_render_hold(verdict.hold, detailed=detailed))
    unknown = sorted(set(exclude) - {state.spec.name for state in verdict.members})
    if unknown:
        names = ",".join(json.dumps(name, ensure_ascii=False) for name in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
    lines.append(f"{path} check {'passed' if verdict.up else 'failed'}")
    return "".join(f"{replace_unprintable(line)}\n" for line in lines)


def list_conditions(verdict: Verdict) -> list[str]:
    """Return the conditions of the exporter itself for which the group fails, whatever its checks say."""
    return ["shutting down"] * verdict.draining + [NOT_LOADED] * verdict.degraded


def describe_hold(hold: Hold, *, detailed: bool) -> str:
    """Return until when restarts are suspended and, if `detailed`, why."""
    return f"restarts are suspended until {format_time(hold.until)}" + (f": {hold.why}" if detailed else "")


def render_check(state: State, group: Group, hold: Hold | None = None, *, detailed: bool = False) -> str:
    """Return the plain body for one check. If `detailed`, it has the reason for a hold."""
    failure = f"{replace_unprintable(state.spec.name)} failed: {state.reason}\n"
    if hold is None:
        return "ok" if satisfies(state, group) else failure
    return f"{'' if satisfies(state, group) else failure}{_render_hold(hold, detailed=detailed)}\n"


def render_unknown(snapshot: Snapshot, verdict: Verdict, name: str) -> str:
    """Return the plain body of a 404 for a check: where a check of this name is, and which checks the group has."""
    state = snapshot.states.get(name)
    known = f"the check {name} is only in {_list_groups(state)}" if state else "no check has this name"
    names = [member.spec.name for member in verdict.members]
    more = [f"{len(names) - MAX_LISTED} more"] * (len(names) > MAX_LISTED)
    listed = ", ".join([*names[:MAX_LISTED], *more]) or "none"
    return f"404 Not Found\n{replace_unprintable(f'{known}; the checks of {verdict.group} are: {listed}')}\n"


def render_json(snapshot: Snapshot, verdict: Verdict, *, detailed: bool) -> str:
    """Return the body of the IETF draft (draft-inadarei-api-health-check-06), with the generation.

    If `detailed`, it has the messages of the latest runs, the owner, description and runbook of each check, and the
    reason for a hold.
    """
    return json.dumps(
        {
            "status": verdict.status,
            "releaseId": __version__,
            "serviceId": "health-exporter",
            "description": f"verdict for the group {verdict.group}",
            "generation": snapshot.generation,
            "group": verdict.group,
            "time": format_time(snapshot.timestamp),
            **({"notes": notes} if (notes := _list_notes(verdict, detailed=detailed)) else {}),
            **({"hold": _describe_hold(verdict.hold, detailed=detailed)} if verdict.hold else {}),
            "checks": {
                state.spec.name: [_describe_check(snapshot, state) | (_describe_details(state) if detailed else {})]
                for state in verdict.members
            },
        }
    )


def render_exporter(snapshot: Snapshot, vitals: Vitals, why_not: str | None) -> str:
    """Return the health of the exporter itself as a document of the same draft, and which exporter it is.

    `why_not` is why it is not healthy.
    """
    identity = vitals.identity
    configuration = {
        "file": identity.file,
        "checks": len(snapshot.states),
        "loaded": format_time(vitals.reload_time) if vitals.reload_time else None,
        "rejected": format_time(vitals.complaint_time) if vitals.complaint_time else None,
        "errors": vitals.complaint.splitlines() if vitals.complaint else None,
    }
    return json.dumps(
        {
            "status": "pass" if why_not is None else "fail",
            "releaseId": __version__,
            "serviceId": "health-exporter",
            "description": "health of the exporter itself",
            "generation": snapshot.generation,
            "time": format_time(snapshot.timestamp),
            **({"notes": [why_not]} if why_not else {}),
            "host": identity.host,
            "configuration": {key: value for key, value in configuration.items() if value is not None},
        }
    )


def _list_notes(verdict: Verdict, *, detailed: bool) -> list[str]:
    held = [describe_hold(verdict.hold, detailed=detailed)] if verdict.hold else []
    return [*list_conditions(verdict), *held]


def _describe_hold(hold: Hold, *, detailed: bool) -> dict[str, str]:
    return {"until": format_time(hold.until)} | ({"why": hold.why} if detailed else {})


def _render_hold(hold: Hold, *, detailed: bool) -> str:
    return f"[+]hold ok: {describe_hold(hold, detailed=detailed)}"


def _describe_details(state: State) -> dict[str, str]:
    output = state.last.outcome.summary if state.last else ""
    return ({"output": output} if output else {}) | state.spec.guidance


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
    name = state.spec.name
    if name in exclude:
        return f"[+]{name} excluded: ok"
    if not satisfies(state, group):
        return f"[-]{name} failed: {state.reason}"
    return f"[+]{name} ok" + (f": {state.status}, {state.reason}" if state.reason else "")


def _list_groups(state: State) -> str:
    return ", ".join(sorted(group for group in Group if state.spec.belongs_to(group)))
