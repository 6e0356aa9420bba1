"""The numbers in the first row of the overview."""

from dashboards.source.panels import (
    BAD,
    BUDGET,
    GOOD,
    NONE,
    UNKNOWN,
    WARN,
    Json,
    colored,
    limits,
    override,
    query,
    runbook,
    tile,
)
from dashboards.source.promql import (
    BY_CHECK,
    FIRING,
    NO_EXPORTER,
    READY,
    SILENT,
    WORKLOAD,
    alerts,
    budget,
    equals,
    out_of,
    recorded,
    status,
)

_NONE = colored({"0": "none"})
_TITLE = {"fail": (BAD, 1), "unknown": (UNKNOWN, 1), "warn": (WARN, 1), "critical": (BAD, 1), "warning": (WARN, 1)}


def _several(names: list[str]) -> list[Json]:
    """Each number with its name, and in its color from 1 on."""
    return [override(name, unit=f"suffix: {name}", thresholds=limits((GOOD, None), _TITLE[name])) for name in names]


def tiles() -> list[Json]:
    """From the most to the least urgent."""
    return [_workloads(), _replicas(), _checks(), _exporters(), _alerts(), _budget()]


def _workloads() -> Json:
    return tile(
        "Workloads down",
        "Workloads of which less than half of the replicas are ready. A replica is ready while its readiness returns "
        "200; one that Prometheus cannot scrape is not. Green: none. Red: 1 or more.",
        query(f"count(avg by ({WORKLOAD}) ({READY}) < 0.5) or {NO_EXPORTER}", instant=True),
        mappings=_NONE,
        thresholds=NONE,
        links=[runbook("HealthReadinessDown")],
    )


def _replicas() -> Json:
    bad = f"sum(1 - {READY})"
    text = out_of(bad, "", f"count({READY})", "", "text")
    return tile(
        "Not ready",
        "Replicas whose readiness returns 503 or that Prometheus cannot scrape, and the number of all replicas. Green: "
        "0. Yellow: 1 or more.",
        query(text, "{{text}}", instant=True),
        named=True,
        thresholds=limits((GOOD, None), (WARN, 1)),
        links=[runbook("HealthReadinessDown")],
    )


def _checks() -> Json:
    def count(value: str) -> Json:
        return query(f"count(group by ({BY_CHECK}) ({status(value)})) or {NO_EXPORTER}", value, instant=True)

    names = ["fail", "unknown", "warn"]
    return tile(
        "Checks not healthy",
        "Checks whose settled status is fail, unknown or warn on at least one replica. A check counts once for each "
        "workload. Unknown checks have no current result: liveness treats them as alive, readiness and startup as not "
        "ready. Green: none. Red: 1 or more fail. Purple: 1 or more unknown. Yellow: 1 or more warn.",
        *map(count, names),
        mappings=_NONE,
        overrides=_several(names),
        links=[runbook("HealthCheckFailing")],
    )


def _exporters() -> Json:
    return tile(
        "Exporters not scraped",
        "Exporters that Prometheus cannot scrape. The state of their checks is unknown. Green: none. Red: 1 or more.",
        query(f"count({SILENT}) or {NO_EXPORTER}", instant=True),
        mappings=_NONE,
        thresholds=NONE,
        links=[runbook("HealthExporterDown")],
    )


def _alerts() -> Json:
    loaded = f"0 * count({recorded('job:health_exporters:known')})"

    def count(severity: str) -> Json:
        found = alerts("ALERTS", FIRING, equals("severity", severity))
        return query(f"count({found}) or {loaded}", severity, instant=True)

    names = ["critical", "warning"]
    return tile(
        "Alerts",
        "Firing alerts. Requires alerts/health-exporter.rules.yml. Green: none. Red: 1 or more critical. "
        "Yellow: 1 or more with the severity warning.",
        *map(count, names),
        mappings=_NONE,
        overrides=_several(names),
        noValue="no rules",
    )


def _budget() -> Json:
    return tile(
        "Error budget",
        "The share of the error budget of 30 days that remains, of the workload with the least. Requires "
        "alerts/health-slo.rules.yml. Green: 25 % and more. Yellow: below 25 %. Red: 0 %, used up.",
        query(f"min({budget(equals('sli', 'service'))})", instant=True),
        unit="percentunit",
        decimals=0,
        noValue="no rules",
        thresholds=BUDGET,
        links=[runbook("HealthErrorBudgetBurn")],
    )
