"""The charts of one check: its measurements, failures and schedule."""

from dashboards.source.panels import (
    BAD,
    NEUTRAL,
    PALE,
    PALEST,
    REASONS_TEXT,
    STACKED,
    WARN,
    Json,
    by_reason,
    dashed,
    fixed,
    limits,
    lines,
    override,
    query,
    runbook,
)
from dashboards.source.promql import OF_REPLICA, REPLICA, equals, select

THIS = equals("check", "$check")


def of(name: str, *matchers: str) -> str:
    """The series of this check."""
    return select(name, THIS, *matchers)


FAILED = f"({of('health_check_consecutive_failures')} or 0 * {of('health_check_up')})"  # absent without failures


def spread(expr: str, name: str = "") -> list[Json]:
    """The highest, the median and the lowest replica. The last two are missing if they would say the same."""
    prefix = f"{name}: " if name else ""
    median = f"quantile(0.5, {expr}) and on () count({expr}) > 2"
    lowest = f"min({expr}) and on () count({expr}) > 1"
    return [
        query(f"max({expr})", f"{prefix}highest"),
        query(median, f"{prefix}median"),
        query(lowest, f"{prefix}lowest"),
    ]


SHADES = [
    override(".*highest", **fixed(NEUTRAL)),
    override(".*median", **fixed(PALE)),
    override(".*lowest", **fixed(PALEST)),
]


def measurement() -> Json:
    """A panel for each measurement of the check, whatever its kind: panels of other kinds do not exist."""
    value = f'{{__name__="$measurement", {OF_REPLICA}, {THIS}}}'
    limit = f'min by (level) ({{__name__="${{measurement}}_limit", {OF_REPLICA}, {THIS}}})'
    run = f'{{__name__="$measurement", __name__="health_check_duration_seconds", {OF_REPLICA}, {THIS}}}'
    timeout = f"min({of('health_check_timeout_seconds')} and on ({REPLICA}) {run})"
    return lines(
        "$measurement",
        "A measurement of the latest run: the highest, the median and the lowest replica. Dashed: the thresholds, red "
        "for fail and timeoutSeconds, yellow for warn. Select a pod above to see only its values.",
        *spread(value, "$measurement"),
        query(limit, "$measurement: {{level}}"),
        query(timeout, "$measurement: timeoutSeconds"),
        unit="short",
        noValue="no data",
        repeat="measurement",
        repeatDirection="h",
        maxPerRow=4,
        links=[runbook("HealthLoadHigh"), runbook("HealthDiskFilling"), runbook("HealthCertificateExpiring")],
        overrides=[
            *SHADES,
            override(".*_ratio.*", unit="percentunit"),
            override(".*_bytes.*", unit="bytes"),
            override(".*_seconds.*", unit="s"),
            override(".*: fail", **dashed(BAD)),
            override(".*: timeoutSeconds", **dashed(BAD)),
            override(".*: warn", **dashed(WARN)),
        ],
    )


def failures() -> list[Json]:
    """How often it fails."""
    changes = f"increase({of('health_check_transitions_total')}[30m])"
    return [
        lines(
            "Consecutive failures",
            "Consecutive failed runs on the worst replica. Dashed red: failureThreshold, at which the check fails. A "
            "run that is unknown neither counts nor resets the count.",
            query(f"max({of('health_check_consecutive_failures')}) or 0 * max({of('health_check_up')})", "highest"),
            query(f"min({of('health_check_failure_threshold')})", "failureThreshold"),
            unit="short",
            min=0,
            noValue="no such check",
            overrides=[*SHADES, override("failureThreshold", **dashed(BAD))],
            links=[runbook("HealthCheckFailing")],
        ),
        lines(
            "Failed runs per minute, by reason",
            f"Runs that were not healthy, on all replicas together. {REASONS_TEXT}",
            query(f"60 * sum by (reason) (rate({of('health_check_failures_total')}[$__rate_interval]))", "{{reason}}"),
            unit="short",
            noValue="no run failed",
            min=0,
            custom=STACKED,
            overrides=by_reason(),
        ),
        lines(
            "Status changes in 30 minutes",
            "Changes of the settled status in the last 30 minutes on the worst replica. Dashed yellow: with 6 "
            "changes or more the check is flapping, as in the alert.",
            query(f"max({changes})", "highest"),
            unit="short",
            noValue="no such check",
            min=0,
            decimals=0,
            thresholds=limits(("transparent", None), (WARN, 6)),
            custom={"thresholdsStyle": {"mode": "dashed"}},
            overrides=SHADES,
            links=[runbook("HealthCheckFlapping")],
        ),
    ]


def schedule() -> list[Json]:
    """When it runs, and what depends on it."""
    groups = f"max by ({REPLICA}, group) ({of('health_check_group')})"
    answers = f"rate({select('health_answers_total')}[$__rate_interval])"
    age = f"max(time() - {of('health_check_last_run_timestamp_seconds')})"
    return [
        lines(
            "Age of the latest run",
            "Time since the latest run started, at each scrape, on the worst replica. Dashed yellow: periodSeconds, "
            "after which the next run is due.",
            query(age, "highest"),
            query(f"max({of('health_check_period_seconds')})", "periodSeconds"),
            unit="s",
            min=0,
            noValue="never ran",
            links=[runbook("HealthCheckStale")],
            overrides=[*SHADES, override("periodSeconds", **dashed(WARN))],
        ),
        lines(
            "Runs",
            "Runs per second of a replica. The expected rate is 1 / periodSeconds. The exporter never runs a "
            "check twice at the same time.",
            *spread(f"rate({of('health_check_runs_total')}[$__rate_interval])"),
            unit="ops",
            min=0,
            noValue="no such check",
            overrides=SHADES,
        ),
        lines(
            "Responses of its groups",
            "Responses per second on the paths of the groups this check belongs to, on all replicas together: red if "
            "the status code is 503, otherwise blue. The kubelet probes the liveness and readiness of a pod.",
            query(
                f"sum by (group, code) ({answers} * on ({REPLICA}, group) group_left () {groups})", "{{group}} {{code}}"
            ),
            unit="reqps",
            min=0,
            noValue="no path was requested",
            overrides=[override(".* 503", **fixed(BAD))],
        ),
    ]


def details() -> list[Json]:
    """What only some checks have."""
    buckets = f"sum by (le) (rate({of('health_endpoint_latency_distribution_seconds_bucket')}[$__rate_interval]))"
    return [
        lines(
            "Phases of the request",
            "Time that each phase of the latest run took, on average over the replicas: resolve, connect, tls, "
            "processing, transfer. Only for httpGet with phases: true.",
            query(f"avg by (phase) ({of('health_endpoint_phase_seconds')})", "{{phase}}"),
            unit="s",
            min=0,
            noValue="phases is not true",
            custom=STACKED,
        ),
        lines(
            "Quantiles of the latency",
            "The latency that 50 %, 95 % and 99 % of the runs did not exceed, on all replicas. Requires "
            "latencyBuckets.",
            *(
                query(f"histogram_quantile({share}, {buckets}) >= 0", f"{share * 100:g} %")
                for share in (0.99, 0.95, 0.5)
            ),
            unit="s",
            min=0,
            noValue="latencyBuckets is not set",
        ),
    ]
