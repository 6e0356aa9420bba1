"""The charts of the exporters: their schedule, responses and resources."""

from typing import Any

from dashboards.source.panels import BAD, NEUTRAL, PALEST, STACKED, Json, dashed, fixed, lines, override, query, runbook
from dashboards.source.promql import highest, of_exporters, select

ALL = select("health_exporter_workers")
STUCK = f"({select('health_exporter_workers_stuck')} or 0 * {ALL})"  # absent without any


def worst(title: str, description: str, expr: str, at_end: str, *more: Json, own: bool = False, **details: Any) -> Json:
    """The three highest exporters, and the median of all; `own` is a metric that only exporters have."""
    overrides = [override("median", **fixed(PALEST)), *details.pop("overrides", [])]
    return lines(
        title,
        f"{description} The three exporters that are highest at the end of the time range, and the median of all.",
        query(highest(expr, at_end), "{{replica}}"),
        query(f"quantile(0.5, {expr if own else of_exporters(expr)})", "median"),
        *more,
        **{"min": 0, "noValue": "no exporter", "overrides": overrides} | details,
    )


def gauge(title: str, description: str, name: str, *more: Json, **details: Any) -> Json:
    """The same for a gauge."""
    return worst(title, description, select(name), f"{select(name)} @ end()", *more, **details)


def charts() -> dict[str, Json]:
    """The charts by what they show."""
    cpu = select("process_cpu_seconds_total")
    answers = f"rate({select('health_answers_total')}[$__rate_interval])"
    workers = {"all": ALL, "busy": select("health_exporter_workers_busy"), "stuck": STUCK}
    age = f"time() - {select('health_snapshot_timestamp_seconds')}"
    return {
        "lag": gauge(
            "Scheduler lag",
            "Largest delay between the due time and the start of a run in the last 30 to 60 "
            "seconds. Dashed red: the shortest periodSeconds of all checks.",
            "health_exporter_scheduler_lag_seconds",
            query(f"min({select('health_check_period_seconds')})", "shortest periodSeconds"),
            own=True,
            unit="s",
            overrides=[override("shortest periodSeconds", **dashed(BAD))],
            links=[runbook("HealthSchedulerLagging")],
        ),
        "workers": lines(
            "Workers",
            "Threads that run checks, in all selected exporters together: all threads, those "
            "that are running a check, and those whose check is past its deadline (red).",
            *(query(f"sum({expr})", name) for name, expr in workers.items()),
            unit="short",
            min=0,
            noValue="no exporter",
            overrides=[override("stuck", **fixed(BAD))],
        ),
        "runs": lines(
            "Runs of checks",
            "Runs per second by kind, in all selected exporters together.",
            query(f"sum by (kind) (rate({select('health_check_runs_total')}[$__rate_interval]))", "{{kind}}"),
            unit="ops",
            min=0,
            noValue="no exporter",
            custom=STACKED,
        ),
        "age": lines(
            "Age of the snapshot",
            "Time since the latest evaluation, at each scrape: the oldest snapshot, and "
            "the median of all exporters. With frequent checks it stays close to the shortest period.",
            query(f"max({age})", "oldest"),
            query(f"quantile(0.5, {age})", "median"),
            unit="s",
            min=0,
            noValue="no exporter",
            overrides=[override("oldest", **fixed(NEUTRAL)), override("median", **fixed(PALEST))],
        ),
        "answers": lines(
            "Responses by group and code",
            "Responses per second on the paths of the groups, in all "
            "selected exporters together: red if the status code is 503, otherwise blue.",
            query(f"sum by (group, code) ({answers})", "{{group}} {{code}}"),
            unit="reqps",
            min=0,
            noValue="no path was requested",
            overrides=[override(".* 503", **fixed(BAD))],
        ),
        "scrapes": gauge(
            "Scrape duration",
            "How long Prometheus takes to scrape the exporter.",
            "scrape_duration_seconds",
            unit="s",
        ),
        "samples": gauge(
            "Samples per scrape",
            "Samples that the exporter exposes. The number grows only with the number of checks.",
            "scrape_samples_scraped",
            unit="short",
        ),
        "cpu": worst(
            "CPU",
            "CPU time used per second, user and system. 100 % is one CPU. Commands started by exec "
            "checks are not included.",
            f"rate({cpu}[$__rate_interval])",
            f"rate({cpu}[$__rate_interval] @ end())",
            unit="percentunit",
        ),
        "memory": gauge("Memory", "Resident memory of the process.", "process_resident_memory_bytes", unit="bytes"),
        "files": gauge("File descriptors", "Open file descriptors.", "process_open_fds", unit="short"),
    }
