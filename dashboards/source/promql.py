"""Queries that several panels share.

Every selector has the dashboard's variables. Where a label is missing, as `cluster` often is, `=~".*"` matches the
missing label, and grouping by it costs nothing. A selector of all values is `.*` and not `.+`, because Prometheus then
does not read the index of that label.
"""

WORKLOAD = "cluster, namespace, job"
REPLICA = f"{WORKLOAD}, instance"
CHECK = f"{WORKLOAD}, check, kind"
BY_CHECK = f"{WORKLOAD}, check"
OF_WORKLOAD = 'cluster=~"$cluster", namespace=~"$namespace", job=~"$job"'
OF_REPLICA = f'{OF_WORKLOAD}, pod=~"$pod", instance=~"$instance"'


def equals(label: str, value: str, sign: str = "=") -> str:
    """A matcher."""
    return f'{label}{sign}"{value}"'


def select(name: str, *matchers: str) -> str:
    """The series of the selected replicas."""
    return f"{name}{{{', '.join([OF_REPLICA, *matchers])}}}"


def recorded(name: str, *matchers: str) -> str:
    """The recorded series of the selected workloads; records do not have the labels of replicas."""
    return f"{name}{{{', '.join([OF_WORKLOAD, *matchers])}}}"


def alerts(name: str, *matchers: str) -> str:
    """The series of this project's alerts. An alert about a node or a cluster has no job."""
    labels = [f'{label}=~"${label}|"' for label in WORKLOAD.split(", ")]
    return f"{name}{{{', '.join([equals('alertname', 'Health.+', '=~'), *labels, *matchers])}}}"


def status(value: str, *matchers: str, sign: str = "=") -> str:
    """The checks with that status; version 0.1.0 also exposes a 0 for each other status."""
    return f"({select('health_check_status', *matchers, equals('status', value, sign))} == 1)"


def of_exporters(expr: str, at: str = "") -> str:
    """Only the series of exporters, of a metric that every process exposes."""
    return f"({expr} and on ({REPLICA}) {BUILD}{at})"


def out_of(part: str, part_by: str, whole: str, whole_by: str, label: str, value: str = "") -> str:
    """`value`, or `part`, with a text such as "28 of 30" as a label. `part` may have more labels than `whole`."""
    counted = f'count_values by ({whole_by}) ("whole", {whole})'
    text = f'count_values by ({part_by}) ("part", {part}) * on ({whole_by}) group_left (whole) {counted}'
    return f'label_join({text}, "{label}", " of ", "part", "whole") * on ({part_by}) group_left () ({value or part})'


def identified(expr: str) -> str:
    """With the labels that tables and legends show and that their links use.

    `workload` is cluster/namespace/job without the labels that are missing. In a link, a missing label has to be "All".
    """
    joined = f'label_join({expr}, "workload", "/", "cluster", "namespace", "job")'
    found = f'label_replace({joined}, "workload", "$1", "workload", "/*(.*)")'
    for label in ("cluster", "namespace"):
        found = f'label_replace({found}, "link_{label}", "$1", "{label}", "(.+)")'
        found = f'label_replace({found}, "link_{label}", "All", "{label}", "")'
    return found


def replica(expr: str) -> str:
    """With the label `replica`: the pod, otherwise the instance."""
    by_instance = f'label_replace({expr}, "replica", "$1", "instance", "(.+)")'
    return f'label_replace({by_instance}, "replica", "$1", "pod", "(.+)")'


def highest(expr: str, at_end: str) -> str:
    """The three exporters that are highest at the end of the time range. `at_end` is the expression at that time."""
    return replica(f"{expr} and topk(3, {of_exporters(at_end, ' @ end()')})")


BUILD = select("health_exporter_build_info")
# A target is known to be an exporter if a target of the same job, container and port is one, and for as long as the
# alerts know it. SILENT, the exporters that Prometheus cannot scrape, also knows it for ten minutes, but costs more.
_PORT = f"{WORKLOAD}, container, endpoint"
_OF_EXPORTERS = f"and on ({_PORT}) (group by ({_PORT}) (%s) or {recorded('job:health_exporters:known')} @ end())"
_EXPORTERS = recorded("health_exporter_build_info")
_NOW = _OF_EXPORTERS % f"{_EXPORTERS} @ end()"
SILENT = f"({select('up')} == 0 {_OF_EXPORTERS % f'present_over_time({_EXPORTERS}[10m])'})"
NO_EXPORTER = f"0 * count({BUILD} or on ({REPLICA}) {SILENT})"  # 0, or nothing if there is no exporter at all


def group(name: str, sign: str = "=") -> str:
    """The verdict of a group on each replica."""
    return select("health_group_up", equals("group", name, sign))


def budget(*matchers: str) -> str:
    """The share of the error budget of 30 days that remains, from 0 to 1."""
    bad, allowed = (f"(1 - {recorded('job:health_sli:' + name, *matchers)})" for name in ("ratio30d", "objective"))
    return f"clamp(1 - {bad} / {allowed}, 0, 1)"


NOT_PASS = status("pass", sign="!=")
# The readiness of each replica, 1 or 0. One that cannot be scraped is not ready; one without checks in the group is.
READY = f"({group('readiness')} == 0 or on ({REPLICA}) {select('up')} {_NOW})"
READY_OVER_RANGE = (
    f"(avg_over_time({group('readiness')}[$__range] @ end()) or on ({REPLICA}) {select('up')} @ end() {_NOW})"
)
FIRING = equals("alertstate", "firing")
