"""The sections below the overview's first screen."""

from dashboards.source.drill import CHECK_OF_SERIES
from dashboards.source.panels import (
    BAD,
    BUDGET,
    GOOD,
    REASONS_TEXT,
    STACKED,
    STATUSES,
    UNKNOWN,
    WARN,
    Json,
    bars,
    by_reason,
    colored,
    dashed,
    from_query,
    limits,
    lines,
    override,
    query,
    runbook,
    timeline,
)
from dashboards.source.promql import (
    BUILD,
    BY_CHECK,
    WORKLOAD,
    budget,
    equals,
    identified,
    recorded,
    replica,
    select,
    status,
)


def troubled_checks() -> Json:
    """The checks that were not healthy at some time."""
    codes = {"fail": 3, "unknown": 2, "warn": 1}
    worst = [f"{code} * group by ({BY_CHECK}) ({status(value)})" for value, code in codes.items()]
    ever = f"max_over_time({select('health_check_status', equals('status', 'pass', '!='))}[$__range] @ end()) == 1"
    healthy = f"0 * group by ({BY_CHECK}) ({ever}) and on ({WORKLOAD}) group by ({WORKLOAD}) ({BUILD})"
    expr = f" or on ({BY_CHECK}) ".join([*worst, healthy])
    return timeline(
        "Checks that were not healthy",
        "The settled status over time, the worst of all replicas, of each check that was not healthy at some time in "
        "the time range. Green: pass. Yellow: warn. Purple: unknown. Red: fail.",
        query(identified(expr), "{{check}} ({{workload}})"),
        noValue="Every check was healthy.",
        data_links=CHECK_OF_SERIES,
        thresholds=limits((GOOD, None), (WARN, 1), (UNKNOWN, 2), (BAD, 3)),
        mappings=colored({str(code): value for value, code in {"pass": 0, **codes}.items()}, STATUSES),
    )


def instability() -> list[Json]:
    """Failures, flapping and times."""
    latency = select("health_endpoint_latency_seconds")
    by = f"{BY_CHECK}, pod, instance"
    over_range = f"topk(5, max by ({by}) (avg_over_time({latency}[$__range] @ end())))"
    used = f"{select('health_check_duration_seconds')} / {select('health_check_timeout_seconds')}"
    load = select("health_load_ratio")
    load_over_range = f"topk(5, max by ({by}) (avg_over_time({load}[$__range] @ end())))"
    changes = f"increase({select('health_check_transitions_total')}[30m])"
    return [
        lines(
            "Failed runs per minute, by reason",
            "Runs that were not healthy. A failed run does not change the status before failureThreshold is reached. "
            + REASONS_TEXT,
            query(
                f"60 * sum by (reason) (rate({select('health_check_failures_total')}[$__rate_interval]))", "{{reason}}"
            ),
            unit="short",
            noValue="no run failed",
            min=0,
            custom=STACKED,
            overrides=by_reason(),
        ),
        lines(
            "Status changes in 30 minutes",
            "Changes of the settled status in the last 30 minutes, for the ten checks with the most; the worst "
            "replica of each. Dashed yellow: with 6 changes or more a check is flapping, as in the alert.",
            query(identified(f"topk(10, max by ({BY_CHECK}) ({changes}) > 0)"), "{{check}} ({{workload}})"),
            data_links=CHECK_OF_SERIES,
            unit="short",
            noValue="no check changed",
            min=0,
            decimals=0,
            thresholds=limits(("transparent", None), (WARN, 6)),
            custom={"thresholdsStyle": {"mode": "dashed"}},
            links=[runbook("HealthCheckFlapping")],
        ),
        lines(
            "Slowest endpoints",
            "Seconds until the endpoint responded in the latest run, including name resolution, for the five with "
            "the highest average over the time range.",
            query(replica(identified(f"max by ({by}) ({latency}) and {over_range}")), "{{check}} ({{replica}})"),
            data_links=CHECK_OF_SERIES,
            unit="s",
            noValue="no endpoint is checked",
            min=0,
            links=[runbook("HealthCheckSlow")],
        ),
        bars(
            "Closest to their timeout",
            "The eight checks that used the largest share of their timeoutSeconds in the latest run, on the worst "
            "replica. Green: below 80 %. Yellow: 80 % and more, which is slow. Red: 100 %, timed out.",
            query(identified(f"topk(8, max by ({BY_CHECK}) ({used}))"), "{{check}} ({{workload}})", instant=True),
            data_links=CHECK_OF_SERIES,
            decimals=0,
            noValue="no check has run",
            thresholds=limits((GOOD, None), (WARN, 0.8), (BAD, 1)),
            links=[runbook("HealthCheckSlow")],
        ),
        lines(
            "Load per CPU",
            "Load average over the check's window divided by the number of CPUs, for the five checks of kind "
            "loadAverage with the highest average over the time range. Dashed: the lowest thresholds at which these "
            "checks warn (yellow) and fail (red).",
            query(replica(identified(f"max by ({by}) ({load}) and {load_over_range}")), "{{check}} ({{replica}})"),
            query(f"min by (level) ({select('health_load_ratio_limit')})", "{{level}}"),
            unit="percentunit",
            noValue="no check of the kind loadAverage",
            min=0,
            links=[runbook("HealthLoadHigh")],
            overrides=[
                from_query("A", links=CHECK_OF_SERIES),
                override("fail", **dashed(BAD)),
                override("warn", **dashed(WARN)),
            ],
        ),
    ]


def objectives() -> list[Json]:
    """The error budgets in detail."""
    ratio1h = recorded("job:health_sli:ratio1h")
    worst = f"bottomk(5, {ratio1h} @ end())"
    burn = f"(1 - {ratio1h} and {worst}) / (1 - {recorded('job:health_sli:objective')})"
    named = f'label_replace({identified(burn)}, "name", "$1", "sli", "(.+)")'
    named = f'label_replace({named}, "name", "$1", "check", "(.+)")'
    about = (
        "Covers all replicas of a workload, regardless of the selected pod. Green: 25 % and more. Yellow: below 25 %. "
        "Red: 0 %, used up."
    )
    rules = "no data: load alerts/health-slo.rules.yml"
    budgets: Json = {
        "decimals": 0,
        "noValue": rules,
        "thresholds": BUDGET,
        "links": [runbook("HealthErrorBudgetBurn")],
    }
    return [
        bars(
            "Remaining error budget: checks",
            f"Share of the error budget of the last 30 days that remains, for the eight checks with the least. {about}",
            query(
                identified(f"bottomk(8, {budget(equals('sli', 'check'))})"), "{{check}} ({{workload}})", instant=True
            ),
            data_links=CHECK_OF_SERIES,
            **budgets,
        ),
        bars(
            "Remaining error budget: services and replicas",
            "Share of the error budget of the last 30 days that remains, of each workload: `service` while enough "
            f"replicas are ready, `replicas` for the share of ready replicas. {about}",
            query(
                identified(f"bottomk(8, {budget(equals('sli', 'check', '!='))})"),
                "{{sli}} ({{workload}})",
                instant=True,
            ),
            **budgets,
        ),
        lines(
            "Burn rate over 1 hour",
            "How many times faster than allowed the last hour used up the error budget, for the five highest rates "
            "at the end of the time range. At 1, the budget lasts exactly 30 days. Lines: yellow at 1, red at 14.4, "
            "at which an alert pages.",
            query(named, "{{name}} ({{workload}})"),
            unit="short",
            noValue=rules,
            min=0,
            thresholds=limits(("transparent", None), (WARN, 1), (BAD, 14.4)),
            custom={"thresholdsStyle": {"mode": "line"}},
            links=[runbook("HealthErrorBudgetBurn")],
        ),
    ]
