"""Checks that depend on each other, in every output."""

import json

import pytest
from support import eventually, free_port

CONFIG = """
checks:
  - name: app
    tcpSocket: {{port: {closed}}}
    periodSeconds: 1
    failureThreshold: 1
    severity: warning
    dependsOn: [database]
  - name: database
    tcpSocket: {{port: {port}}}
    periodSeconds: 1
    failureThreshold: 1
"""


@pytest.mark.parametrize("parent_is_well", [True, False])
def test_a_child_is_suppressed_while_its_parent_fails(start, nginx, parent_is_well):
    port = nginx.port if parent_is_well else free_port()
    exporter = start(CONFIG.format(closed=free_port(), port=port))
    eventually(lambda: exporter.metrics()['health_check_runs_total{check="app",kind="tcpSocket"}'] >= 1)
    eventually(lambda: exporter.metrics()['health_check_runs_total{check="database",kind="tcpSocket"}'] >= 1)

    suppressed = not parent_is_well
    assert exporter.metrics()['health_check_suppressed{check="app",kind="tcpSocket"}'] == suppressed
    document = json.loads(exporter.get("/healthz?format=json").body)["checks"]
    assert document["app"][0].get("suppressedBy") == (["database"] if suppressed else None)
    assert document["app"][0]["status"] == "fail"
    assert ("suppressed: depends on database" in exporter.get("/").text) is suppressed
    body = exporter.get("/readyz").text
    if suppressed:
        assert body.index("[-]database") < body.index("[-]app")
        exporter.line(r'because="database \(connect\), app \(connect\)"')
