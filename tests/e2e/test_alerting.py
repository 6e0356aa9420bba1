"""From a broken web server to the message of a pager, through a real Prometheus and a real Alertmanager."""

import signal
from contextlib import ExitStack

import pytest
from alerts.pages import PAGES, fill, find_queries
from e2e.alerting import Stage
from support import eventually


@pytest.fixture
def stage(tmp_path, nginx):
    with ExitStack() as stack:
        yield Stage(stack, tmp_path, nginx)


def break_server(stage):
    """Stop nginx, and wait for the message."""
    stage.nginx.stop()
    eventually(lambda: stage.receiver.alerts("firing", alertname="HealthCheckFailing"), what="a message")


def test_a_broken_server_pages_once_with_check_and_reason_and_then_resolves(stage):
    break_server(stage)

    livez, metrics = stage.exporter.get("/livez"), stage.exporter.metrics()
    [page] = stage.receiver.alerts("firing", alertname="HealthCheckFailing")
    assert page["labels"]["check"] == "api"
    assert page["labels"]["severity"] == "critical"
    for word in ("api", "connect", f"http://127.0.0.1:{stage.nginx.port}/health"):
        assert word in page["annotations"]["description"]
    assert metrics['health_check_up{check="api",kind="httpGet"}'] == 0
    assert metrics['health_check_reason{check="api",kind="httpGet",reason="connect"}'] == 1
    assert metrics['health_group_up{group="liveness"}'] == 0
    assert (livez.status, "[-]api failed" in livez.text) == (503, True)

    stage.nginx.start()
    eventually(
        lambda: stage.receiver.alerts("resolved", alertname="HealthCheckFailing"),
        what="the resolved message",
    )

    assert len(stage.receiver.alerts("resolved", alertname="HealthCheckFailing")) == 1
    # Of inhibited alerts, only resolved messages may arrive.
    sent = [(path, alert) for path, message in stage.receiver.messages for alert in message["alerts"]]
    assert [(path, alert["labels"]["alertname"]) for path, alert in sent if alert["status"] == "firing"] == [
        ("/page", "HealthCheckFailing")
    ]
    assert stage.exporter.get("/livez").status == 200


def test_a_killed_exporter_inhibits_nothing_and_the_page_goes_on_about_the_replica(stage):
    break_server(stage)

    stage.exporter.signal(signal.SIGKILL)
    eventually(lambda: stage.receiver.alerts("firing", alertname="HealthReadinessDown"), what="a message")

    [down] = stage.receiver.alerts("firing", alertname="HealthReadinessDown")
    instance = stage.exporter.url.removeprefix("http://")
    assert down["labels"]["severity"] == "critical"
    assert f"1 of 1 replicas of health are not ready, for example {instance}" in down["annotations"]["description"]
    assert len(stage.receiver.alerts("firing", alertname="HealthCheckFailing")) == 1


def test_prometheus_evaluates_every_query_of_the_runbooks(stage):
    """Its targets have no namespace, which is the same as an empty one."""
    values = {"NAMESPACE": "", "JOB": "health", "CHECK": "api", "NODE": "node-1"}
    queries = {query for text in PAGES.values() for query in find_queries(text)}
    assert len(queries) > 10
    eventually(lambda: stage.prometheus.query('health_check_up{check="api"}')["data"]["result"], what="a scrape")

    responses = {query: stage.prometheus.query(fill(query, **values)) for query in queries}

    assert {query: response for query, response in responses.items() if response["status"] != "success"} == {}
    found = [query for query, response in responses.items() if response["data"]["result"]]
    assert any("health_exporter_workers_busy" in query for query in found)
