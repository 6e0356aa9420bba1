"""Workloads and their replicas in the overview: the verdicts of the groups."""

from dashboards.source.drill import EXPORTER_OF_ROW, WORKLOAD_OF_ROW
from dashboards.source.panels import (
    BAD,
    BUDGET,
    GOOD,
    NOTHING,
    POINTS,
    SHARE,
    Json,
    cells,
    colored,
    override,
    query,
    runbook,
    table,
    timeline,
)
from dashboards.source.promql import (
    BUILD,
    READY,
    READY_OVER_RANGE,
    REPLICA,
    SILENT,
    WORKLOAD,
    budget,
    equals,
    group,
    identified,
    out_of,
)

_RUNBOOKS = [runbook("HealthReadinessDown"), runbook("HealthLivenessDown")]


def workloads() -> Json:
    """One row for each workload: its verdicts and its error budget."""
    replicas = f"count by ({WORKLOAD}) ({BUILD} or on ({REPLICA}) {SILENT})"
    count, total, average = (f"{name} by ({WORKLOAD}) ({READY})" for name in ("sum", "count", "avg"))
    ready = out_of(count, WORKLOAD, total, WORKLOAD, "ready", average)
    alive = f"avg by ({WORKLOAD}) ({group('liveness')})"
    queries = [identified(replicas), ready, alive, budget(equals("sli", "service"))]
    columns = {
        "workload": "Workload",
        "ready": "Ready",
        "Value #B": "Readiness",
        "Value #C": "Liveness",
        "Value #D": "Error budget",
    }
    share = {"unit": "percentunit", "decimals": 0, "min": 0, "max": 1}
    bar = {"type": "gauge", "mode": "basic", "valueDisplayMode": "color"}
    return table(
        "Workloads",
        "The verdicts of each workload: the share of its replicas that return 200. Green: 100 %. Yellow: 50 % and "
        "more. Red: below 50 %. A replica that Prometheus cannot scrape is not ready; without checks it is. The error "
        "budget is the share that remains of 30 days, while enough replicas are ready. Green: 25 % and more. Yellow: "
        "below 25 %. Red: 0 %, used up. The column requires alerts/health-slo.rules.yml, otherwise it is missing. The "
        "name shows only this workload.",
        queries,
        columns,
        noValue="no exporter",
        excluded=["part", "whole", "sli", "Value #A"],
        sortBy=[{"displayName": name, "desc": False} for name in ("Readiness", "Liveness", "Error budget")],
        links=[*_RUNBOOKS, runbook("HealthErrorBudgetBurn")],
        overrides=[
            override("Workload", links=WORKLOAD_OF_ROW),
            override("Ready", noValue="-", custom__width=95),
            override("Readiness|Liveness", **cells(SHARE, **share), custom__width=105),
            override("Error budget", **cells(BUDGET, **share, style=bar), custom__width=160),
        ],
    )


def readiness() -> Json:
    """The workloads over time."""
    over_range = f"avg by ({WORKLOAD}) ({READY_OVER_RANGE})"
    least = f"avg by ({WORKLOAD}) ({READY}) and on ({WORKLOAD}) bottomk(10, {over_range})"
    return timeline(
        "Readiness of the workloads",
        "The share of replicas that are ready over time, for the ten workloads with the least. Green: 100 %. Yellow: "
        "50 % and more. Red: below 50 %.",
        query(identified(least), "{{workload}}"),
        unit="percentunit",
        decimals=0,
        noValue="no exporter",
        thresholds=SHARE,
        maxDataPoints=POINTS // 2,
    )


def replicas_down() -> Json:
    """The pods that do not get traffic or are restarted."""
    by = f"{WORKLOAD}, pod, instance"
    some = f"{group('all', '!=')} == 0 or on ({REPLICA}) {SILENT}"
    verdicts = [
        f"max by ({by}) ({group(name)}) and on ({REPLICA}) ({some})" for name in ("readiness", "liveness", "startup")
    ]
    columns = {
        "pod": "Pod",
        "instance": "Instance",
        "workload": "Workload",
        "Value #B": "Readiness",
        "Value #C": "Liveness",
        "Value #D": "Startup",
    }
    code = cells(NOTHING, mappings=colored({"0": "503", "1": "200"}, {"503": BAD, "200": GOOD}))
    return table(
        "Replicas not ready now",
        "Every replica of which a verdict is 503, or which Prometheus cannot scrape: its verdicts are not known. "
        "Green: 200. Red: 503. Liveness treats unknown checks as alive, the other groups as not ready.",
        [identified(f"max by ({by}) ({some})"), *verdicts],
        columns,
        noValue="Every replica is ready.",
        excluded=["Value #A"],
        links=_RUNBOOKS,
        sortBy=[{"displayName": name, "desc": False} for name in ("Liveness", "Workload")],
        overrides=[
            override("Pod|Instance", links=EXPORTER_OF_ROW),
            override("Readiness|Liveness|Startup", **code, custom__width=100),
        ],
    )
