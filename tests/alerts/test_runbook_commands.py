"""The commands and queries of the runbooks work: against a real exporter, kubectl, openssl and promtool."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from alerts.pages import PAGES, fill, find_commands, find_queries
from certificates import issue
from kinds.servers import serving
from support import command, eventually, free_port

COMMANDS = sorted({line for text in PAGES.values() for line in find_commands(text)})
IN_EXPORTER = r"kubectl -n NAMESPACE exec POD -c health-exporter -- "
OF_EXPORTER = r"kubectl -n NAMESPACE logs POD -c health-exporter [-= \w]*\| "
MOUNTED = "/etc/health-exporter/health.yml"
VALUES = {"NAMESPACE": "prod", "JOB": "shop", "CHECK": "api", "POD": "shop-1", "CONTAINER": "shop", "NODE": "node-1"}
EXPECTED = {" validate ": "valid", " hold ": "restarts are not suspended"}
"""What other commands than those about the failing check print."""
CONFIG = """
checks:
  - name: api
    httpGet: {{port: {port}}}
    failureThreshold: 1
    groups: [liveness, readiness]
"""


def run(line, folder):
    """Run a command line; return its exit code and its output."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        env={"PATH": path, "HOME": str(folder), "KUBECONFIG": "/dev/null"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def incident(start, tmp_path):
    """Start an exporter to which all happens that the runbooks look for; return the values and the file of its log."""
    config = CONFIG.format(port=free_port())
    exporter = start(config, "--web.enable-hold")
    exporter.line("check api: unknown -> fail")
    exporter.get("/livez")
    (tmp_path / "health.yml").write_text("checks: [{name: api}]")
    exporter.line("configuration not loaded")
    (tmp_path / "health.yml").write_text(config)
    exporter.line("configuration loaded")
    os.kill(exporter.worker, signal.SIGSEGV)
    exporter.line("the worker has ended")
    eventually(lambda: "[-]api failed" in exporter.get("/livez?verbose").text, what="the next worker has a result")
    (tmp_path / "log").write_text("\n".join(exporter.lines))
    return {**VALUES, "FILE": tmp_path / "health.yml", "INSTANCE": exporter.url.removeprefix("http://")}


def test_every_command_to_the_exporter_works(incident, tmp_path):
    """What kubectl executes in the container runs here. The check fails, so `ask` exits with 1."""
    known = [line.replace(MOUNTED, "FILE") for line in COMMANDS]
    inside = {line for line in known if re.match(IN_EXPORTER, line)}
    lines = {re.sub(rf"^{IN_EXPORTER}", "", line) for line in inside | {*known}}
    lines = {line for line in lines if line.startswith("health-exporter ")}
    asks = {re.sub(r"(ask \w+(?: -v)?|explain|--end)$", r"\1 --url http://INSTANCE", line) for line in lines}
    tried = {line: run(fill(line, **incident), tmp_path) for line in asks}

    assert len(inside) >= 4
    for line, (code, output) in tried.items():
        expected = next((text for word, text in EXPECTED.items() if word in line), r"api.+connect")
        assert code == (1 if " ask " in line or " check " in line else 0), (line, output)
        assert re.search(expected, output), (line, output)


def test_every_search_of_the_log_finds_a_line(incident, tmp_path):
    searches = {re.sub(rf"^{OF_EXPORTER}", "", line) for line in COMMANDS if re.match(OF_EXPORTER, line)}
    found = {search: run(f"cat log | {fill(search, **incident)}", tmp_path) for search in searches}

    assert len(searches) >= 3
    assert {search: output for search, (code, output) in found.items() if code or not output} == {}


def test_kubectl_knows_every_command_and_option(tmp_path):
    """It checks the command line before it connects to the API server, of which there is none."""
    command("kubectl")
    lines = [line for line in COMMANDS if line.startswith("kubectl ")]
    server = f"kubectl --server=http://127.0.0.1:{free_port()} "

    assert len(lines) > 20
    for line in lines:
        code, output = run(server + fill(line, **VALUES).removeprefix("kubectl "), tmp_path)
        assert (code, "was refused" in output) == (1, True), (line, output)


def test_openssl_shows_the_certificate(tmp_path):
    [line] = [line for line in COMMANDS if line.startswith("openssl ")]
    with serving((), tls=issue("localhost", None, "localhost").tls()) as server:
        code, output = run(fill(line, HOST="localhost", PORT=server.port), tmp_path)

    assert code == 0, output
    assert re.search(r"^notAfter=", output, re.MULTILINE)


def test_the_commands_for_a_full_disk_list_and_count_files(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "large").write_bytes(bytes(1_000_000))
    [script] = [shlex.split(line)[-1] for line in COMMANDS if " du " in line]
    [count] = [line for line in COMMANDS if line.startswith("find ")]

    _, listed = run(fill(script, PATH=tmp_path), tmp_path)
    _, counted = run(fill(count, PATH=tmp_path), tmp_path)

    assert re.search(rf"[\d.]+[KM]\s+{tmp_path}/folder$", listed, re.MULTILINE)
    assert counted.strip() == "1"


def test_promtool_accepts_every_query(tmp_path):
    queries = [query for text in PAGES.values() for query in find_queries(text)]
    rules = [{"record": f"query:{place}", "expr": query} for place, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": rules}]}))

    code, output = run(f"{command('promtool')} check rules rules.yml", tmp_path)

    assert len(queries) > 10
    assert code == 0, output
