"""Common problems with Kubernetes probes, as scenarios with a real nginx and a real Apache."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import commands
import pytest
from support import PATIENCE, eventually, get

CLASSIC = """
checks:
  - name: load
    loadAverage: {{window: 1m, failRatio: {ratio}}}
    periodSeconds: 1
    timeoutSeconds: 10
    groups: [liveness]
  - name: web
    httpGet: {{path: {path}, port: {port}, expectStatus: [200]}}
    periodSeconds: 1
    timeoutSeconds: 10
    failureThreshold: 2
    groups: [liveness]
"""


@pytest.fixture(params=["nginx", "apache"])
def web(request):
    return request.getfixturevalue(request.param)


def check(config: Path, *arguments: str) -> tuple[int, dict]:
    """Exit code and report of `health-exporter check`."""
    done = commands.run("check", "--config.file", config, "--format", "json", *arguments)
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


@pytest.fixture
def classic(tmp_path):
    """The classic liveness script as a configuration, with a limit that even a busy machine does not reach."""

    def write(port: int, path: str = "/health", ratio: float = 1000) -> Path:
        config = tmp_path / "classic.yml"
        config.write_text(CLASSIC.format(port=port, path=path, ratio=ratio))
        return config

    return write


def test_the_classic_script_while_all_is_well(web, classic, start):
    """Scenario 1: exit code 0 and the measured numbers; a running exporter has the same numbers in its metrics."""
    config = classic(web.port)
    code, report = check(config)
    assert code == 0
    assert report["load"]["measurements"]["cpus"] == os.cpu_count()
    assert 0 < report["load"]["measurements"]["load_ratio"] + 1e-9 < 1000
    assert report["web"]["summary"] == f"{web.url}/health returned 200"
    assert report["web"]["measurements"]["endpoint_latency_seconds"] > 0

    exporter = start(config.read_text())
    eventually(lambda: exporter.get("/livez/web").status == 200)
    eventually(lambda: exporter.get("/healthz").status == 200)
    assert exporter.get("/livez").status == 200
    snapshot = exporter.get("/livez?format=json")
    metrics = exporter.metrics()
    if metrics["health_snapshot_generation"] == snapshot.generation:
        seen = json.loads(snapshot.body)["checks"]["load"][0]["measurements"]
        assert metrics['health_load1{check="load",kind="loadAverage"}'] == seen["load1"]
    assert metrics['health_cpus{check="load",kind="loadAverage"}'] == os.cpu_count()
    assert metrics['health_load_ratio_limit{check="load",kind="loadAverage",level="fail"}'] == 1000
    assert metrics['health_group_up{group="liveness"}'] == 1


def test_the_web_server_is_stopped(web, classic, start):
    """Scenario 2: exit code 1; the log, the probe, the gauge and the counter agree; and back again."""
    config = classic(web.port)
    exporter = start(config.read_text())
    eventually(
        lambda: (
            exporter.get("/livez/web").status == 200
            and exporter.metrics()['health_check_up{check="web",kind="httpGet"}']
        )
    )
    web.stop()

    code, report = check(config)
    assert code == 1
    assert (report["web"]["status"], report["web"]["reason"]) == ("fail", "connect")
    refused = r"127.0.0.1:\d+: Connection refused"
    exporter.line(rf'msg="check web: pass -> fail \(connect\): {refused}" .*reason=connect summary="{refused}"')
    answer = exporter.get("/livez")
    assert answer.status == 503
    assert "[-]web failed: connect" in answer.text
    metrics = exporter.metrics()
    assert metrics['health_check_up{check="web",kind="httpGet"}'] == 0
    assert metrics['health_check_reason{check="web",kind="httpGet",reason="connect"}'] == 1
    assert metrics['health_check_failures_total{check="web",kind="httpGet",reason="connect"}'] >= 2
    assert metrics['health_check_consecutive_failures{check="web",kind="httpGet"}'] >= 2
    assert metrics['health_group_up{group="liveness"}'] == 0

    web.start()
    exporter.line(r'level=info msg="check web: fail -> pass: ')
    assert exporter.get("/livez").status == 200
    assert exporter.metrics()['health_check_transitions_total{check="web",kind="httpGet"}'] == 3


def test_one_failure_is_seen_and_does_not_yet_decide(nginx, start):
    """The raw result changes at once, the settled one after failureThreshold."""
    exporter = start(f"""
        checks:
          - name: web
            httpGet: {{path: /health, port: {nginx.port}}}
            periodSeconds: 1
            timeoutSeconds: 10
            failureThreshold: 1000
            groups: [liveness, readiness]
        """)
    eventually(lambda: exporter.get("/readyz").status == 200)
    nginx.stop()
    eventually(lambda: exporter.metrics()['health_check_last_up{check="web",kind="httpGet"}'] == 0)

    assert exporter.metrics()['health_check_up{check="web",kind="httpGet"}'] == 1
    assert exporter.get("/readyz").status == 200


@pytest.mark.parametrize(("path", "code"), [("/nothing", 204), ("/broken", 500)])
def test_another_status_than_the_expected_one(apache, classic, path, code):
    """Scenario 3."""
    exit_code, report = check(classic(apache.port, path))

    assert exit_code == 1
    assert (report["web"]["status"], report["web"]["reason"]) == ("fail", "status")
    assert report["web"]["summary"].startswith(f"{apache.url}{path} returned {code}, expected 200")


def test_a_load_at_the_limit_fails(nginx, classic):
    """The classic script's other half: the load decides as well, and the report shows the value and the limit."""
    code, report = check(classic(nginx.port, ratio=1e-4))
    load = report["load"]

    if load["measurements"]["load1"] == 0.0:
        assert load["status"] == "pass"  # scenario 3: 0.0 is healthy
    else:
        assert (code, load["status"], load["reason"]) == (1, "fail", "threshold")
        assert load["summary"].endswith("fail limit 0.01 % reached")


def test_status_codes_as_the_kubelet_judges_them(nginx, tmp_path):
    """Scenario 6."""
    config = tmp_path / "codes.yml"
    codes = (200, 201, 204, 300, 304, 399, 400, 404, 500, 503)
    checks = (
        f"  - {{name: c{code}, httpGet: {{path: /status/{code}, port: {nginx.port}}}, timeoutSeconds: 10}}\n"
        for code in codes
    )
    config.write_text("checks:\n" + "".join(checks))
    exit_code, report = check(config)

    assert exit_code == 1
    for code in codes:
        assert report[f"c{code}"]["status"] == ("pass" if code < 400 else "fail")
        assert f"returned {code}" in report[f"c{code}"]["summary"]


def test_redirects_as_the_kubelet_follows_them(apache, tmp_path):
    """Scenario 6: on the same host it is followed."""
    config = tmp_path / "moved.yml"
    config.write_text(f"checks: [{{name: web, httpGet: {{path: /moved, port: {apache.port}}}, timeoutSeconds: 10}}]")
    code, report = check(config)

    assert code == 0
    assert "returned 200" in report["web"]["summary"]


def test_a_file_that_is_removed(start, tmp_path):
    """Scenario 8: output for people, a reason for machines."""
    healthy = tmp_path / "healthy"
    healthy.write_text("since breakfast\n")
    exporter = start(f"""
        checks:
          - name: warm
            exec: {{command: [cat, {healthy}]}}
            periodSeconds: 1
            timeoutSeconds: 10
            failureThreshold: 1
        """)
    exporter.line(r'check warm: unknown -> pass.*summary="cat exited with 0: since breakfast"')
    healthy.unlink()
    exporter.line(r'check warm: pass -> fail .*reason=exit summary="cat exited with 1: .*No such file')

    exposition = exporter.get("/metrics").text
    assert 'health_check_reason{check="warm",kind="exec",reason="exit"} 1.0' in exposition
    assert "No such file" not in exposition
    assert "No such file" in exporter.get("/").text


def test_a_slow_server_is_not_ready_and_recovers_by_itself(start):
    """Scenario 5 without the pod: reason timeout, while the server has not responded yet."""
    slow = threading.Event()
    over = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if slow.is_set():
                over.wait(PATIENCE)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        exporter = start(f"""
            checks:
              - name: app
                httpGet: {{port: {server.server_port}}}
                periodSeconds: 1
                timeoutSeconds: 1
                failureThreshold: 1
            """)
        eventually(lambda: exporter.get("/readyz").status == 200)
        slow.set()
        eventually(lambda: exporter.get("/readyz").status == 503)
        metrics = exporter.metrics()
        assert metrics['health_check_reason{check="app",kind="httpGet",reason="timeout"}'] == 1
        assert metrics['health_check_duration_seconds{check="app",kind="httpGet"}'] >= 1
        assert exporter.get("/livez").status == 200
        slow.clear()
        over.set()
        eventually(lambda: exporter.get("/readyz").status == 200)
    finally:
        over.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_the_log_is_quiet_and_complete(nginx, start, form):
    """Scenario 15: a line per transition and per answer that is not 200, none for an ordinary probe."""
    exporter = start(
        f"""
        checks:
          - name: web
            httpGet: {{path: /health, port: {nginx.port}}}
            periodSeconds: 1
            timeoutSeconds: 10
            failureThreshold: 1
        """,
        "--log.format",
        form,
    )
    address = exporter.line(r"listening.*(http://127.0.0.1:\d+)").group(1)  # not the URL in a line about the check

    eventually(lambda: get(f"{address}/readyz").status == 200)
    for _ in range(20):
        get(f"{address}/readyz")
        get(f"{address}/metrics")
    nginx.stop()
    eventually(lambda: get(f"{address}/healthz/web").status == 503)
    get(f"{address}/readyz")
    exporter.line(r"answered 503.*/readyz.*web \(connect\)")

    lines = [line for line in exporter.lines if "/healthz/web" not in line and "listening" not in line]
    transitions = [line for line in lines if "check web:" in line]
    answers = [line for line in lines if "answered 503" in line and "web (connect)" in line]
    assert len(transitions) == 2
    assert answers
    assert all("answered" in line for line in lines if line not in transitions)
    if form == "json":
        assert json.loads(transitions[1])["reason"] == "connect"
        assert json.loads(answers[0])["because"] == "web (connect)"
