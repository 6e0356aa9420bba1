"""From a broken web server to the message that calls somebody, through a real Prometheus and a real Alertmanager."""

import re
import signal
from contextlib import ExitStack
from string import Template

import pytest
from alerting import ALERTS, Stage
from support import eventually


@pytest.fixture
def stage(tmp_path, nginx):
    with ExitStack() as stack:
        yield Stage(stack, tmp_path, nginx)


def broken(stage):
    """Break nginx, and wait for the message."""
    stage.nginx.stop()
    eventually(lambda: stage.receiver.alerts("firing", alertname="HealthCheckFailing"), within=30, what="a message")


def test_a_broken_server_calls_once_by_its_checks_name_and_reason_and_its_end_is_told(stage):
    broken(stage)

    livez, metrics = stage.exporter.get("/livez"), stage.exporter.metrics()
    [called] = stage.receiver.alerts("firing", alertname="HealthCheckFailing")
    assert called["labels"]["check"] == "api"
    assert called["labels"]["severity"] == "critical"
    for word in ("api", "connect", f"http://127.0.0.1:{stage.nginx.port}/health"):
        assert word in called["annotations"]["description"]
    assert metrics['health_check_up{check="api",kind="httpGet"}'] == 0
    assert metrics['health_check_reason{check="api",kind="httpGet",reason="connect"}'] == 1
    assert metrics['health_group_up{group="liveness"}'] == 0
    assert (livez.status, "[-]api failed" in livez.text) == (503, True)

    stage.nginx.start()
    eventually(lambda: stage.receiver.alerts("resolved", alertname="HealthCheckFailing"), within=40, what="its end")

    assert len(stage.receiver.alerts("resolved", alertname="HealthCheckFailing")) == 1
    # Of what was silenced only the end may be told. Error budgets have no instance, and theirs are hours.
    called = [(path, alert) for path, message in stage.receiver.messages for alert in message["alerts"]]
    assert [
        (path, alert["labels"]["alertname"])
        for path, alert in called
        if alert["status"] == "firing" and "instance" in alert["labels"]
    ] == [("/page", "HealthCheckFailing")]
    assert stage.exporter.get("/livez").status == 200


def test_an_exporter_that_is_killed_calls_for_itself_and_silences_its_checks(stage):
    broken(stage)

    stage.exporter.signal(signal.SIGKILL)

    def silenced():
        known = stage.alertmanager.alerts(alertname="HealthCheckFailing", check="api")
        return any(alert["status"]["inhibitedBy"] for alert in known)

    eventually(silenced, within=30, what="the check's alert is silenced")
    eventually(lambda: stage.receiver.alerts("firing", alertname="HealthExporterDown"), within=30, what="a message")
    instance = stage.exporter.url.removeprefix("http://")
    [down] = stage.receiver.alerts("firing", alertname="HealthExporterDown")
    assert down["labels"]["instance"] == instance
    assert instance in down["annotations"]["description"]
    assert len(stage.receiver.alerts("firing", alertname="HealthCheckFailing")) == 1


def test_prometheus_answers_every_query_of_the_runbooks(stage):
    labels = {
        "job": "health",
        "instance": stage.exporter.url.removeprefix("http://"),
        "check": "api",
        "group": "liveness",
    }
    pages = [page.read_text() for page in ALERTS.glob("runbooks/*.md")]
    queries = {
        query for text in pages for query in re.findall(r"^```promql\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    }
    assert len(queries) > 20
    eventually(lambda: stage.prometheus.query('health_check_up{check="api"}')["data"]["result"], what="a scrape")

    answers = {query: stage.prometheus.query(Template(query).substitute(labels)) for query in queries}

    assert {query: answer for query, answer in answers.items() if answer["status"] != "success"} == {}
    found = [query for query, answer in answers.items() if answer["data"]["result"]]
    assert any("health_check_timeout_seconds" in query for query in found)
