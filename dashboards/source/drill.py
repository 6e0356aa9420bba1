"""Links from a row or a line to the dashboard with its details. They set every variable, or keep its selection."""

from dashboards.source.panels import Json

_KEPT = "${pod:queryparam}&${instance:queryparam}"
_TIME = "${__url_time_range}"


def _link(title: str, uid: str, form: str, labels: dict[str, str], kept: str = _KEPT) -> list[Json]:
    selected = [f"var-{name}={form.format(value)}" for name, value in labels.items()]
    return [{"title": title, "url": f"/d/{uid}?{'&'.join(['var-datasource=${datasource}', *selected, kept, _TIME])}"}]


_ROW, _SERIES = "${{__data.fields.{}}}", "${{__field.labels.{}}}"
_OF_ROW = {"cluster": "Cluster", "namespace": "Namespace", "job": "Job"}
_OF_SERIES = {"cluster": "link_cluster", "namespace": "link_namespace", "job": "job"}

CHECK_OF_ROW = _link("Show this check", "health-check", _ROW, {**_OF_ROW, "check": "Check"})
CHECK_OF_SERIES = _link("Show this check", "health-check", _SERIES, {**_OF_SERIES, "check": "check"})
WORKLOAD_OF_ROW = _link("Show this workload", "health-overview", _ROW, _OF_ROW)
EXPORTERS_OF_ROW = _link("Show the exporters of this workload", "health-exporter", _ROW, _OF_ROW)
EXPORTER_OF_ROW = _link(
    "Show this exporter", "health-exporter", _ROW, {**_OF_ROW, "instance": "Instance"}, "var-pod=All"
)
REPLICA_OF_ROW = _link(
    "Show only this replica", "health-check", _ROW, {**_OF_ROW, "instance": "Instance", "check": "Check"}, "var-pod=All"
)
