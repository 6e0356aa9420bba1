"""One check on all its replicas: status, reasons, measurements, and what depends on it."""

from typing import Any

from dashboards.source.drill import REPLICA_OF_ROW
from dashboards.source.frame import annotations, arrange, dashboard, section, variable, variables
from dashboards.source.measured import FAILED, THIS, details, failures, measurement, of, schedule
from dashboards.source.panels import (
    BAD,
    BUDGET,
    GOOD,
    NOTHING,
    STACKED,
    STATUSES,
    UNKNOWN,
    WARN,
    YES_NO,
    Json,
    cells,
    colored,
    fixed,
    limits,
    lines,
    override,
    query,
    runbook,
    table,
    tile,
    timeline,
)
from dashboards.source.promql import (
    OF_REPLICA,
    REPLICA,
    WORKLOAD,
    budget,
    equals,
    identified,
    out_of,
    replica,
    status,
)

DESCRIPTION = (
    "Details of one check of Health Exporter: status, reasons, times, measurements and the resulting responses."
)
CODES = {"pass": 0, "warn": 1, "unknown": 2, "fail": 3}
LIMITS = limits((GOOD, None), (WARN, 1), (UNKNOWN, 2), (BAD, 3))
NAMES = colored({str(code): value for value, code in CODES.items()}, STATUSES)
CODE = " or ".join(f"{code} * {status(value, THIS)}" for value, code in CODES.items())
BY_REPLICA = f"{WORKLOAD}, pod, instance"


def tiles() -> list[Json]:
    """The numbers in the first row."""
    every = f"count({of('health_check_up')})"
    bad = f"count({status('pass', THIS, sign='!=')}) or 0 * {every}"
    reasons = f"topk(1, count by (reason) ({of('health_check_reason')}))"
    no_reason = f'label_replace(0 * {every}, "reason", "none", "", "")'
    kind = f"group by (kind, severity) ({of('health_check_info')})"
    groups = f"group by (group) ({of('health_check_group', equals('group', 'all', '!='))})"

    def number(title: str, description: str, expr: str, legend: str = "", **details: Any) -> Json:
        return tile(title, description, query(expr, legend, instant=True), named=bool(legend), **details)

    return [
        number(
            "Status",
            "The settled status, after failureThreshold and successThreshold; the worst of all replicas. Green: pass. "
            "Yellow: warn. Purple: unknown, which means no current result. Red: fail.",
            f"max({CODE})",
            mappings=NAMES,
            thresholds=LIMITS,
            noValue="no such check",
        ),
        number(
            "Not pass",
            "Replicas whose settled status is not pass, and the number of all replicas. Green: 0. Yellow: 1 or more.",
            out_of(bad, "", every, "", "text"),
            "{{text}}",
            thresholds=limits((GOOD, None), (WARN, 1)),
            noValue="no such check",
        ),
        number(
            "Reason",
            "Why the latest run did not pass: the most frequent reason. Green: none. Yellow: 1 or more replicas.",
            f"{reasons} or on () {no_reason}",
            "{{reason}}",
            thresholds=limits((GOOD, None), (WARN, 1)),
            noValue="none",
        ),
        number(
            "Unchanged",
            "Time since the settled status last changed on any replica. No color.",
            f"min(time() - {of('health_check_last_transition_timestamp_seconds')})",
            unit="dtdurations",
            decimals=0,
            solid=False,
            noValue="no result yet",
        ),
        number(
            "Time healthy",
            "Share of the time range in which the settled status was pass or warn, on the worst replica. Green: 99.9 % "
            "and more. Yellow: 99 % and more. Red: below 99 %.",
            f"min(avg_over_time({of('health_check_up')}[$__range]))",
            unit="percentunit",
            decimals=2,
            thresholds=limits((BAD, None), (WARN, 0.99), (GOOD, 0.999)),
            noValue="no such check",
        ),
        number(
            "Error budget",
            "The share of the error budget of 30 days that remains, of the workload with the least. Requires "
            "alerts/health-slo.rules.yml. Green: 25 % and more. Yellow: below 25 %. Red: 0 %, used up.",
            f"min({budget(equals('sli', 'check'), THIS)})",
            unit="percentunit",
            decimals=0,
            noValue="no rules",
            thresholds=BUDGET,
        ),
        number(
            "Kind",
            "The kind of the check, and its severity. No color.",
            kind,
            "{{kind}}, {{severity}}",
            solid=False,
            noValue="no such check",
        ),
        number(
            "Groups",
            "The groups that the check belongs to: the endpoints whose response it affects. No color.",
            groups,
            "{{group}}",
            solid=False,
            noValue="none",
        ),
    ]


def replicas() -> Json:
    """One row for each replica, the worst first."""

    def latest(name: str) -> str:
        return f"max by ({BY_REPLICA}) ({of(name)})"

    def age(name: str) -> str:
        return f"max by ({BY_REPLICA}) (time() - {of(name)})"

    failed, allowed = f"max by ({BY_REPLICA}) ({FAILED})", latest("health_check_failure_threshold")
    queries = [
        identified(f"max by ({BY_REPLICA}, check) ({CODE})"),
        f"max by ({BY_REPLICA}, reason) ({of('health_check_reason')})",
        age("health_check_last_transition_timestamp_seconds"),
        age("health_check_last_run_timestamp_seconds"),
        out_of(failed, BY_REPLICA, allowed, BY_REPLICA, "failures"),
        latest("health_check_duration_seconds"),
        latest("health_check_suppressed"),
        f"max by ({BY_REPLICA}, target) ({of('health_check_info')})",
    ]
    columns = {
        "Value #A": "Status",
        "pod": "Pod",
        "instance": "Instance",
        "reason": "Reason",
        "Value #C": "For",
        "failures": "Failures",
        "Value #D": "Last run ago",
        "Value #F": "Duration",
        "Value #G": "Suppressed",
        "target": "Target",
        "workload": "Workload",
        "check": "Check",
    }
    return table(
        "Replicas",
        "The check on each selected replica, the worst first: its settled status, the reason of the latest run, "
        "consecutive failures and the failureThreshold, times, and the target. A suppressed check depends on a check "
        "that fails: fix the dependency first. Green: pass. Yellow: warn. Purple: unknown. Red: fail. The name shows "
        "only this replica.",
        queries,
        columns,
        noValue="no such check",
        hidden=["Check"],
        excluded=["part", "whole", "Value #B", "Value #E", "Value #H"],
        sortBy=[{"displayName": "Status", "desc": True}, {"displayName": "For", "desc": False}],
        links=[runbook("HealthCheckFailing"), runbook("HealthCheckStale")],
        overrides=[
            override("Status", **cells(NOTHING, mappings=NAMES), custom__width=85),
            override("Pod|Instance", links=REPLICA_OF_ROW),
            override("Reason", noValue="none", custom__width=90),
            override("For", unit="dtdurations", decimals=0, noValue="no result yet", custom__width=100),
            override("Failures", noValue="-", custom__width=80),
            override("Last run ago", unit="s", decimals=0, noValue="never ran", custom__width=105),
            override("Duration", unit="s", noValue="-", custom__width=85),
            override("Suppressed", unit="none", noValue="no", mappings=YES_NO, custom__width=100),
        ],
    )


def history() -> list[Json]:
    """The replicas over time."""
    over_range = f"avg_over_time({of('health_check_up')}[$__range] @ end())"
    shown = f"and on ({REPLICA}) bottomk(8, {over_range})"
    worst = " or ".join(f"{code} * ({status(value, THIS)} {shown})" for value, code in CODES.items())
    worst = f"max by ({BY_REPLICA}) ({worst})"
    colors = [override(value, **fixed(color)) for value, color in STATUSES.items()]
    counts = [query(f"count({status(value, THIS)})", value) for value in ("fail", "unknown", "warn", "pass")]
    return [
        lines(
            "Replicas by status",
            "The number of replicas with each settled status. Green: pass. Yellow: warn. Purple: unknown. Red: fail.",
            *counts,
            unit="short",
            decimals=0,
            min=0,
            noValue="no such check",
            overrides=colors,
            custom=STACKED | {"fillOpacity": 70, "lineWidth": 0, "showPoints": "never"},
        ),
        timeline(
            "Worst replicas",
            "The settled status over time of the eight replicas that were healthy for the shortest time. Green: "
            "pass. Yellow: warn. Purple: unknown. Red: fail.",
            query(replica(worst), "{{replica}}"),
            noValue="no such check",
            thresholds=LIMITS,
            mappings=NAMES,
        ),
    ]


def board() -> Json:
    """The dashboard."""
    by_status, worst = history()
    failed, reasons, changes = failures()
    age, runs, answers = schedule()
    phases, quantiles = details()
    first = arrange(
        (3, [(3, number) for number in tiles()]),
        (8, [(24, replicas())]),
        (7, [(12, by_status), (12, worst)]),
        (7, [(24, measurement())]),
    )
    sections = [
        section("Failures", (8, [(8, failed), (8, reasons), (8, changes)]), collapsed=False),
        section("Schedule and responses", (8, [(8, age), (8, runs), (8, answers)])),
        section("Latency in detail (phases, latencyBuckets)", (8, [(12, phases), (12, quantiles)])),
    ]
    names = f"label_values(health_check_up{{{OF_REPLICA}}}, check)"
    kept = "health_check_[^d].*|health_endpoint_phase_seconds|.+_(limit|bucket|count|sum|created|timestamp_seconds)"
    measured = f'{{__name__=~"health_.+", __name__!~"{kept}", {OF_REPLICA}, {THIS}}}'
    measurements = variable("measurement", f"label_values({measured}, __name__)", hide=2)
    del measurements["allValue"]  # each value has a panel
    return dashboard(
        "health-check",
        DESCRIPTION,
        first,
        sections,
        annotations=annotations(),
        templating={"list": variables(variable("check", names, many=False), measurements)},
    )
