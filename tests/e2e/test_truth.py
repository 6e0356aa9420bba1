"""The same truth from a real exporter: every audience shows the same status and reason of each check."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse
from support import Exporter, ended, eventually, free_port

CONFIG = """
checks:
  - {{name: well, exec: {{command: ["true"]}}, groups: [liveness, readiness, startup], periodSeconds: 1}}
  - {{name: high, disk: {{path: /, warnRatio: 0.000001, failRatio: 1000}}, periodSeconds: 1}}
  - name: down
    tcpSocket: {{port: {port}}}
    periodSeconds: 1
    failureThreshold: 1
    owner: shop
    description: Orders wait.
    runbookUrl: https://runbooks.example/down
  - {{name: dependent, exec: {{command: ["false"]}}, dependsOn: [down], periodSeconds: 1, failureThreshold: 1}}
  - {{name: failing, exec: {{command: ["false"]}}, periodSeconds: 1, failureThreshold: 100000}}
  - name: shaky
    exec: {{command: [sh, -c, "test ! -e {folder}/seen || exit 1; touch {folder}/seen"]}}
    periodSeconds: 1
    failureThreshold: 100000
  - {{name: nothing, exec: {{command: [/not/there]}}, groups: [liveness, readiness], periodSeconds: 1}}
  - {{name: secret, httpGet: {{port: {port}, bearerToken: {{env: TRUTH_NOT_SET}}}}, periodSeconds: 1}}
  - {{name: late, exec: {{command: [sleep, "600"]}}, periodSeconds: 1, failureThreshold: 1}}
  - name: old
    exec: {{command: [sh, -c, "test ! -e {folder}/old || sleep 600; touch {folder}/old"]}}
    periodSeconds: 1
    timeoutSeconds: 600
    staleAfterSeconds: 1
  - {{name: new, exec: {{command: ["true"]}}, initialDelaySeconds: 36000}}
"""
EXPECTED = {  # status, reason, and those of the latest run
    "well": ("pass", None, "pass", None),
    "high": ("warn", "threshold", "warn", "threshold"),
    "down": ("fail", "connect", "fail", "connect"),
    "dependent": ("fail", "exit", "fail", "exit"),
    "failing": ("unknown", "exit", "fail", "exit"),
    "shaky": ("pass", None, "fail", "exit"),
    "nothing": ("unknown", "missing", "unknown", "missing"),
    "secret": ("unknown", "missing", "unknown", "missing"),
    "late": ("fail", "timeout", "fail", "timeout"),
    "old": ("unknown", "stale", "pass", None),
    "new": ("unknown", "pending", None, None),
}
NOT_READY = ("down", "dependent", "failing", "nothing", "secret", "late", "old", "new")


def read_json(exporter):
    document = json.loads(exporter.get("/healthz?format=json").body)
    fields = ("status", "reason", "lastStatus", "lastReason")
    return {name: tuple(check.get(field) for field in fields) for name, (check,) in document["checks"].items()}


def ask(exporter, *arguments):
    command = [sys.executable, "-m", "exporter", "ask", *arguments, "--url", exporter.url, "--timeout", "60"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    (folder / "health.yml").write_text(CONFIG.format(port=free_port(), folder=folder))
    with ended(Exporter("--shutdown-delay", "600", config=folder / "health.yml")) as process:
        eventually(lambda: read_json(process) == EXPECTED, what="every check has its state")
        yield process


def test_the_plain_list(exporter):
    listed = exporter.get("/readyz").text.splitlines()
    alive = exporter.get("/livez?verbose").text

    assert set(listed) == {
        "[+]well ok",
        "[+]high ok: warn, threshold",
        "[+]shaky ok",
        *(f"[-]{name} failed: {EXPECTED[name][1]}" for name in NOT_READY),
        "readyz check failed",
    }
    assert alive == "[+]well ok\n[+]nothing ok: unknown, missing\nlivez check passed\n"
    assert [exporter.get(f"/readyz/{name}").text for name in NOT_READY] == [
        f"{name} failed: {EXPECTED[name][1]}\n" for name in NOT_READY
    ]


def test_the_metrics(exporter):
    found: dict[str, dict[str, str]] = {}
    for family in parse(exporter.get("/metrics").text):
        for sample in family.samples:
            if sample.value == 1 and "check" in sample.labels:
                label = sample.labels.get("status") or sample.labels.get("reason") or ""
                found.setdefault(family.name, {})[sample.labels["check"]] = label

    assert found["health_check_status"] == {name: status for name, (status, *_) in EXPECTED.items()}
    assert found["health_check_reason"] == {name: reason for name, (*_, reason) in EXPECTED.items() if reason}
    assert found["health_check_up"].keys() == {"well", "high", "shaky"}
    assert found["health_check_suppressed"].keys() == {"dependent"}
    assert re.search(r'health_check_info\{[^}]*check="down"[^}]*owner="shop"', exporter.get("/metrics").text)


def test_the_page(exporter):
    page = exporter.get("/").text
    line = r'<li id="check-(\w+)" class="(\w+)">.*?<span class="status">(.*?)</span>'
    rows = {
        name: (status, re.sub(r"<[^>]*>", " ", cell).split()[1:])
        for name, status, cell in re.findall(line, page, re.DOTALL)
    }

    assert rows == {name: (status, [reason] if reason else []) for name, (status, reason, *_) in EXPECTED.items()}
    assert "Orders wait." in page
    assert 'href="https://runbooks.example/down"' in page


def test_ask(exporter):
    printed = ask(exporter, "healthz", "-v")
    found = re.findall(r"^(\w+) \(\w+\): (\w+)(?: since \S+)?(?:, reason (\w+))?$", printed, re.MULTILINE)

    assert {name: (status, reason or None) for name, status, reason in found} == {
        name: facts[:2] for name, facts in EXPECTED.items()
    }
    assert re.search(r"^down .*\n  message: 127.0.0.1:\d+: Connection refused\n", printed, re.MULTILINE)
    assert "  description: Orders wait.\n  owner: shop\n  runbookUrl: https://runbooks.example/down\n" in printed
    assert re.search(r"^shaky .*\n  latest run: fail, reason exit\n", printed, re.MULTILINE)
    assert re.search(r"^dependent .*\n  suppressed: depends on down\n", printed, re.MULTILINE)
    assert "the environment variable TRUTH_NOT_SET is not set" in printed


def test_the_log(exporter):
    def log_of(name, change):
        return exporter.line(rf'level=(\w+) msg="check {name}: {change}').group(1)

    assert log_of("well", "unknown -> pass: true exited with 0") == "info"
    assert log_of("high", r"unknown -> warn \(threshold\): ") == "warn"
    assert log_of("down", r'unknown -> fail \(connect\): [^"]*refused" .* owner=shop .*runbook_url=') == "warn"
    assert log_of("nothing", r'could not run \(missing\): [^"]*no such command" .*reason=missing') == "warn"
    assert log_of("secret", r'could not run \(missing\): [^"]*TRUTH_NOT_SET is not set" ') == "warn"
    assert log_of("old", r"pass -> unknown \(stale\): no result within 1 s") == "warn"
    expected = {f"{name} ({EXPECTED[name][1]})" for name in NOT_READY}
    answered = re.compile(r'msg="answered 503: GET /readyz: ([^"]*)" .*because="\1"')
    eventually(  # again and again, because the lines are limited
        lambda: (
            exporter.get("/readyz")
            and any(
                (found := answered.search(line)) and set(found[1].split(", ")) == expected for line in exporter.lines
            )
        )
    )


def test_which_exporter_it_is(exporter):
    line = exporter.line(r"msg=listening address=\S+ host=(\S+) file=(\S+) checks=(\d+) pid=")
    host, file, count = line.groups()
    page, asked = exporter.get("/").text, ask(exporter, "exporter")

    assert count == str(len(EXPECTED))
    assert f"· {host} · Health Exporter</title>" in page
    assert f"<b>{host}</b>: {file}, {count} checks, loaded at " in page
    assert asked.startswith(f"exporter: pass, {host}, version ")
    assert f"\nconfiguration: {file}, {count} checks, loaded at " in asked


def test_a_404_lists_the_checks(exporter):
    assert exporter.get("/livez/nope").text == (
        "404 Not Found\nno check has this name; the checks of liveness are: well, nothing\n"
    )
    assert "the check down is only in all, readiness; " in exporter.get("/livez/down").text


def test_a_rejected_configuration_is_reported_everywhere(exporter, tmp_path):
    """Until the end of the file, so these two are the last tests."""
    file = exporter.line(r"file=(\S+)").group(1)
    with Path(file).open("a") as config:
        config.write("  - {name: wrong}\n")
    exporter.line(r'msg="configuration not loaded; keeping the previous one" error="[^"]*has no kind')
    page, asked = exporter.get("/").text, ask(exporter, "exporter")

    assert re.search(r"Rejected at <time [^>]*>[\d:]+ UTC <small>[^<]*</small></time>:", page)
    assert "has no kind" in page
    assert re.search(r"^rejected at \S+Z:\n  .*has no kind", asked, re.MULTILINE)
    assert exporter.metrics()["health_exporter_config_last_reload_successful"] == 0
    assert read_json(exporter) == EXPECTED


def test_the_shutdown_is_reported_everywhere(exporter):
    exporter.signal(signal.SIGTERM)
    exporter.line("shutting down")

    assert "[-]shutdown failed: shutting down\n" in exporter.get("/readyz").text
    assert json.loads(exporter.get("/readyz?format=json").body)["notes"] == ["shutting down"]
    assert "Shutting down: /readyz returns 503." in exporter.get("/").text
    assert "\nshutting down\n" in ask(exporter, "readyz")
    assert exporter.metrics()["health_exporter_draining"] == 1
    assert exporter.get("/livez").status == 200


def test_a_start_with_an_invalid_configuration_is_reported_everywhere(tmp_path):
    config = tmp_path / "health.yml"
    config.write_text("checks: [{name: wrong}]\n")
    with ended(Exporter(config=config)) as exporter:
        exporter.line(rf'msg=listening .* file={config} checks=0 rejected="{config}:1: [^"]*has no kind')
        page, asked = exporter.get("/").text, ask(exporter, "exporter")

        assert exporter.get("/readyz").text == "[-]configuration failed: not loaded\nreadyz check failed\n"
        assert re.search(r"until it is valid\. Rejected at <time ", page)
        assert "has no kind" in page
        assert f"\nconfiguration: {config}, 0 checks, never loaded\nrejected at " in asked
        assert "has no kind" in asked
        assert "the configuration is not loaded" in ask(exporter, "readyz")
        assert exporter.metrics()["health_exporter_config_last_reload_successful"] == 0
