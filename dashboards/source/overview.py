"""The overview: which workloads and checks are not healthy, and why. Its first screen fits a display of 1080 lines."""

from dashboards.source.drill import CHECK_OF_ROW
from dashboards.source.frame import annotations, arrange, dashboard, section, variables
from dashboards.source.history import instability, objectives, troubled_checks
from dashboards.source.numbers import tiles
from dashboards.source.panels import (
    NOTHING,
    SEVERITIES,
    STATUSES,
    STEM,
    YES_NO,
    Json,
    cells,
    named,
    override,
    runbook,
    table,
)
from dashboards.source.promql import (
    CHECK,
    FIRING,
    NOT_PASS,
    REPLICA,
    WORKLOAD,
    alerts,
    equals,
    identified,
    out_of,
    select,
    status,
)
from dashboards.source.workloads import readiness, replicas_down, workloads

DESCRIPTION = (
    "All workloads that Health Exporter checks: which are not ready, which checks are not healthy and why, the alerts "
    "that fire, and the remaining error budget."
)


NOT_HEALTHY = {name: color for name, color in STATUSES.items() if name != "pass"}


def problems() -> Json:
    """One row for each check that is not healthy, whatever the number of replicas."""
    by = f"{CHECK}, status"
    counts = [f"count by ({by}) ({status(value)})" for value in ("fail", "unknown", "warn")]
    worst = f" or on ({CHECK}) ".join(counts)
    replicas = out_of(f"({worst})", by, f"count by ({CHECK}) ({select('health_check_up')})", CHECK, "replicas")
    since = select("health_check_last_transition_timestamp_seconds")
    age = f"time() - {NOT_PASS} * on ({REPLICA}, check, kind) group_left () {since}"
    here = f"and on ({REPLICA}, check, kind) {NOT_PASS}"

    def commonest(label: str, metric: str) -> str:
        return f"topk by ({CHECK}) (1, count by ({CHECK}, {label}) ({select(metric)} {here}))"

    queries = [
        identified(replicas),
        f"max by ({by}) ({age}) and on ({by}) ({worst})",
        commonest("reason", "health_check_reason"),
        commonest("target", "health_check_info"),
        f"max by ({CHECK}) ({select('health_check_suppressed')} {here})",
    ]
    columns = {
        "status": "Status",
        "check": "Check",
        "replicas": "Replicas",
        "reason": "Reason",
        "Value #B": "For",
        "workload": "Workload",
        "target": "Target",
        "Value #E": "Suppressed",
        "Value #A": "Number",
    }
    return table(
        "Problems now",
        "Every check whose settled status is not pass, with its worst status and the number of replicas that have it. "
        "Red: fail. Purple: unknown. Yellow: warn. Failing checks come first, then checks that are not suppressed, "
        "then the largest number of replicas. The reason is the most frequent one of the latest runs, and the target "
        "is that of one replica. A suppressed check depends on a check that fails: fix the dependency first. The name "
        "shows the check and its replicas.",
        queries,
        columns,
        noValue="Every check passes.",
        hidden=["Number"],
        excluded=["kind", "part", "whole", "Value #C", "Value #D"],
        sort={"field": "Number", "desc": True},
        sortBy=[{"displayName": "Status", "desc": False}, {"displayName": "Suppressed", "desc": False}],
        links=[runbook("HealthCheckFailing"), runbook("HealthCheckStale")],
        overrides=[
            override("Status", **cells(NOTHING, unit="string", mappings=named(NOT_HEALTHY)), custom__width=85),
            override("Check", links=CHECK_OF_ROW),
            override("Replicas", custom__width=90),
            override("Reason", noValue="none", custom__width=90),
            override("For", unit="dtdurations", decimals=0, noValue="no result yet", custom__width=95),
            override("Suppressed", unit="none", noValue="no", mappings=YES_NO, custom__width=115),
        ],
    )


def alerts_firing() -> Json:
    """The alerts, the most urgent first."""
    by = f"alertname, severity, {WORKLOAD}, check, node"
    firing = {name: alerts("ALERTS", FIRING, equals("severity", name)) for name in SEVERITIES}
    order = " or ".join(f"{number} * {firing[name]}" for number, name in enumerate(SEVERITIES))
    active = alerts("ALERTS", FIRING)
    age = f"max by ({by}) (time() - {alerts('ALERTS_FOR_STATE')}) and on ({by}) {active}"
    columns = {
        "severity": "Severity",
        "alertname": "Alert",
        "check": "Check",
        "workload": "Workload",
        "node": "Node",
        "Value #B": "For",
        "Value #A": "Order",
    }
    return table(
        "Alerts firing",
        "Firing alerts of this project's rules. Red: critical. Yellow: warning. Blue: info. The name links to the "
        "alert's runbook. Empty when no alert is firing, or when alerts/health-exporter.rules.yml is not loaded.",
        [identified(f"min by ({by}) ({order})"), age],
        columns,
        noValue="No alert is firing.",
        hidden=["Order"],
        sort={"field": "Order", "desc": False},
        overrides=[
            override("Severity", **cells(NOTHING, unit="string", mappings=named(SEVERITIES)), custom__width=80),
            override(
                "Alert",
                custom__width=190,
                links=[
                    {
                        "title": "Runbook ${__value.raw}",
                        "url": f"{STEM}/runbooks/${{__value.raw}}.md",
                        "targetBlank": True,
                    },
                ],
            ),
            override("Check|Node|Workload", noValue="-"),
            override("For", unit="dtdurations", decimals=0, custom__width=85),
        ],
    )


def board() -> Json:
    """The dashboard."""
    first = arrange(
        (3, list(zip((4, 3, 6, 4, 4, 3), tiles(), strict=True))),
        (11, [(14, problems()), (10, alerts_firing())]),
        (11, [(12, workloads()), (12, readiness())]),
    )
    failed, changes, slow, close, load = instability()
    checks, services, burn = objectives()
    sections = [
        section(
            "History of checks, and replicas that are not ready", (10, [(12, troubled_checks()), (12, replicas_down())])
        ),
        section("Instability and speed", (8, [(8, failed), (8, changes), (8, slow)]), (8, [(12, close), (12, load)])),
        section(
            "30-day error budget (requires alerts/health-slo.rules.yml)", (8, [(8, checks), (8, services), (8, burn)])
        ),
    ]
    return dashboard(
        "health-overview",
        DESCRIPTION,
        first,
        sections,
        annotations=annotations(),
        templating={"list": variables()},
    )
