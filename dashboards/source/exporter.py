"""The exporters themselves: whether they are scraped and on schedule, and the resources they use."""

from typing import Any

from dashboards.source.drill import EXPORTER_OF_ROW, EXPORTERS_OF_ROW
from dashboards.source.frame import annotations, arrange, dashboard, section, variables
from dashboards.source.panels import (
    BAD,
    GOOD,
    NONE,
    WARN,
    Json,
    cells,
    colored,
    limits,
    override,
    query,
    runbook,
    table,
    tile,
)
from dashboards.source.promql import (
    BUILD,
    NO_EXPORTER,
    REPLICA,
    SILENT,
    WORKLOAD,
    identified,
    of_exporters,
    out_of,
    select,
)
from dashboards.source.resources import STUCK, charts

DESCRIPTION = "Health Exporter itself: its scrapes, schedule, configuration and resource usage."
BY_REPLICA = f"{WORKLOAD}, pod, instance"
LOADED = select("health_exporter_config_last_reload_successful")
SHORTEST = f"min by ({REPLICA}) ({select('health_check_period_seconds')})"
LAG = f"{select('health_exporter_scheduler_lag_seconds')} / on ({REPLICA}) group_left () {SHORTEST}"
START = of_exporters(select("process_start_time_seconds"))
MEMORY = of_exporters(select("process_resident_memory_bytes"))
LAG_LIMITS = limits((GOOD, None), (WARN, 0.5), (BAD, 1))


def tiles() -> list[Json]:
    """The numbers in the first row."""
    none = {"mappings": colored({"0": "none"})}
    known = f"count({BUILD} or on ({REPLICA}) {SILENT})"
    restarts = f"increase({select('health_exporter_worker_restarts_total')}[30m])"

    def number(title: str, description: str, expr: str, legend: str = "", **details: Any) -> Json:
        return tile(title, description, query(expr, legend, instant=True), named=bool(legend), **details)

    return [
        number(
            "Exporters not scraped",
            "Exporters that Prometheus cannot scrape, and the number of all exporters. Green: 0. Red: 1 or more.",
            out_of(f"(count({SILENT}) or {NO_EXPORTER})", "", known, "", "text"),
            "{{text}}",
            thresholds=NONE,
            links=[runbook("HealthExporterDown")],
        ),
        number(
            "Rejected reloads",
            "Exporters whose latest load of the configuration failed. They keep the previous configuration, or have "
            "none. Green: none. Red: 1 or more.",
            f"sum(1 - {LOADED})",
            **none,
            thresholds=NONE,
            links=[runbook("HealthConfigReloadFailed")],
        ),
        number(
            "Stuck runs",
            "Threads that run a check past its deadline. Green: none. Red: 1 or more.",
            f"sum({STUCK})",
            **none,
            thresholds=NONE,
            links=[runbook("HealthWorkersStuck")],
        ),
        number(
            "Latest lag",
            "Largest delay between the due time and the start of a run in the last 30 to 60 seconds, as a share of the "
            "exporter's shortest periodSeconds; the worst exporter. Green: below 50 %. Yellow: 50 % and more. Red: "
            "100 % and more, as in the alert.",
            f"max({LAG})",
            unit="percentunit",
            decimals=0,
            thresholds=LAG_LIMITS,
            links=[runbook("HealthSchedulerLagging")],
        ),
        number(
            "Restarts, 30 minutes",
            "Worker processes that their keeper restarted, in all exporters together. Green: none. Yellow: 1 or more.",
            f"ceil(sum({restarts}) or {NO_EXPORTER})",
            **none,
            thresholds=limits((GOOD, None), (WARN, 1)),
        ),
        number(
            "Latest start",
            "Time since the most recent start of an exporter. No color.",
            f"min(time() - {START})",
            unit="dtdurations",
            decimals=0,
            solid=False,
        ),
        number(
            "Versions",
            "Versions of Health Exporter that are in use. No color.",
            f"count by (version) ({BUILD})",
            "{{version}}",
            solid=False,
        ),
    ]


def workloads() -> Json:
    """One row for each workload."""
    known = f"count by ({WORKLOAD}) ({BUILD} or on ({REPLICA}) {SILENT})"
    scraped = f"(count by ({WORKLOAD}) ({BUILD}) or 0 * {known})"
    queries = [
        identified(out_of(scraped, WORKLOAD, known, WORKLOAD, "scraped", f"{scraped} / {known}")),
        f"sum by ({WORKLOAD}) (1 - {LOADED})",
        f"sum by ({WORKLOAD}) ({STUCK})",
        f"max by ({WORKLOAD}) ({LAG})",
        f"min by ({WORKLOAD}) (time() - {START})",
        f"max by ({WORKLOAD}) ({MEMORY})",
        f"count by ({WORKLOAD}) (count by ({WORKLOAD}, version) ({BUILD}))",
    ]
    columns = {
        "workload": "Workload",
        "scraped": "Scraped",
        "Value #B": "Rejected",
        "Value #C": "Stuck",
        "Value #D": "Lag",
        "Value #E": "Latest start",
        "Value #F": "Memory",
        "Value #G": "Versions",
        "Value #A": "Share",
    }
    return table(
        "Exporters of each workload",
        "One row for each workload: its exporters that Prometheus scrapes, rejected configurations, stuck workers, the "
        "largest lag as a share of the shortest periodSeconds, the latest start, and the largest memory. Green: none, "
        "or below 50 % lag. Yellow: 50 % and more. Red: 1 or more, or a lag of 100 % and more.",
        queries,
        columns,
        noValue="no exporter",
        hidden=["Share"],
        excluded=["part", "whole"],
        sort={"field": "Share", "desc": False},
        overrides=[
            override("Workload", links=EXPORTERS_OF_ROW),
            override("Scraped", noValue="-", custom__width=90),
            override("Rejected|Stuck", **cells(NONE, mappings=colored({"0": "none"})), custom__width=80),
            override("Lag", **cells(LAG_LIMITS, unit="percentunit", decimals=0), custom__width=75),
            override("Latest start", unit="dtdurations", decimals=0, noValue="-", custom__width=105),
            override("Memory", unit="bytes", noValue="-", custom__width=90),
            override("Versions", unit="none", noValue="-", custom__width=80),
        ],
    )


def troubled() -> Json:
    """One row for each exporter with a problem."""
    problems = {
        "not scraped": SILENT,
        "configuration rejected": f"({LOADED} == 0)",
        "stuck worker": f"({STUCK} > 0)",
        "lag": f"({LAG} >= 1)",
    }
    found = " or ".join(
        f'label_replace(group by ({BY_REPLICA}) ({expr}), "problem", "{name}", "", "")'
        for name, expr in problems.items()
    )
    columns = {"problem": "Problem", "pod": "Pod", "instance": "Instance", "workload": "Workload"}
    return table(
        "Exporters with a problem",
        "Exporters that Prometheus cannot scrape, whose latest configuration was rejected, that have a stuck worker, "
        "or that start runs more than a period late. The name shows only this exporter.",
        [identified(found)],
        columns,
        noValue="No exporter has a problem.",
        excluded=["Value"],
        sortBy=[{"displayName": "Problem", "desc": False}, {"displayName": "Workload", "desc": False}],
        links=[runbook("HealthExporterDown"), runbook("HealthConfigReloadFailed"), runbook("HealthSchedulerLagging")],
        overrides=[override("Problem", custom__width=165), override("Pod|Instance", links=EXPORTER_OF_ROW)],
    )


def board() -> Json:
    """The dashboard."""
    chart = charts()
    first = arrange(
        (3, list(zip((4, 4, 3, 3, 4, 3, 3), tiles(), strict=True))),
        (8, [(13, workloads()), (11, troubled())]),
        (7, [(8, chart["lag"]), (8, chart["cpu"]), (8, chart["memory"])]),
        (7, [(8, chart["runs"]), (8, chart["answers"]), (8, chart["scrapes"])]),
    )
    sections = [
        section("Workers and resources", (8, [(6, chart[name]) for name in ("workers", "age", "samples", "files")])),
    ]
    return dashboard(
        "health-exporter",
        DESCRIPTION,
        first,
        sections,
        annotations=annotations(),
        templating={"list": variables()},
    )
