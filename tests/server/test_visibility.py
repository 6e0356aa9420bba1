"""The table in SECURITY.md of who can see what is true: every cell is compared with a running exporter."""

import os
import re
import socket
from pathlib import Path

import pytest
from kinds.pages import response
from kinds.servers import serving
from support import Exporter, ended, eventually, free_port, get

ROOT = Path(__file__).parents[2]
COLUMNS = ("web listener", "probe listener", "log")
PATHS = [
    *("/livez", "/readyz", "/startupz", "/healthz"),
    *(f"/healthz{suffix}" for suffix in ("?verbose", "?format=json", "/command", "/canary-name", "/absent")),
    *(
        "/metrics",
        "/",
        "/events?runs",
        "/check/canary-name",
        "/-/healthy",
        "/-/healthy?format=json",
        "/-/ready",
        "/-/reload",
    ),
]
CANARIES = {  # texts that show what a row of the table is about; {port} is the target's
    "Names, kinds and verdicts of checks": ["canary-name", "exec", "fail"],
    "Reasons, from a closed list": ["exit"],
    "Numbers that checks measure": ["file_size_bytes"],
    "Targets: host, port, path, program": ["127.0.0.1:{port}/canary-path"],
    "Messages: what a target or a command responded, up to 500 characters": ["canary-output"],
    "Owners, descriptions and runbook links of checks": ["canary-owner", "canary-description", "canary-runbook"],
    "Host name of the exporter, path of its configuration file": ["{host}", "{folder}/health.yml"],
    "Errors of an invalid configuration": ["canary-key: unknown key"],
    "Query strings, header values, arguments of commands": ["canary-query", "canary-header", "canary-argument"],
    "History: earlier results and responses of 503": ["answered"],
    "Passwords and tokens": ["canary-password", "canary-token"],
}
CONFIG = """
checks:
  - name: canary-name
    httpGet:
      port: {port}
      path: /canary-path?canary-query
      httpHeaders: [{{name: X-Canary, value: canary-header}}]
      basicAuth: {{username: probe, password: {{env: CANARY}}}}
    failureThreshold: 1
    groups: [liveness, readiness, startup]
    owner: canary-owner
    description: canary-description
    runbookUrl: https://runbooks.example/canary-runbook
  - name: token
    httpGet: {{port: {port}, bearerToken: {{file: {folder}/token}}}}
    failureThreshold: 1
  - name: command
    exec: {{command: [sh, -c, "echo canary-output; exit 1", canary-argument]}}
    failureThreshold: 1
  - name: file
    file: {{path: {folder}/token}}
"""


def read_table() -> dict[str, dict[str, str]]:
    """The cells of the table by row and column."""
    text = (ROOT / "SECURITY.md").read_text().partition("## Who can see what")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)
    ]
    assert tuple(rows[0][1:]) == COLUMNS
    return {row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in rows[2:]}


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, str]:
    """Everything that a running exporter shows on each listener and in its log, and the target's port."""
    folder = tmp_path_factory.mktemp("seen")
    (folder / "token").write_text("canary-token\n")
    with serving((response("500 Word"),)) as server:
        (folder / "health.yml").write_text(CONFIG.format(port=server.port, folder=folder))
        probe_port = free_port()
        options = ["--probe.listen-address", f"127.0.0.1:{probe_port}", "--web.enable-lifecycle"]
        environment = {**os.environ, "CANARY": "canary-password"}
        with ended(Exporter(*options, config=folder / "health.yml", env=environment)) as exporter:
            eventually(lambda: "pending" not in exporter.get("/healthz?format=json").text)
            urls = {"web listener": exporter.url, "probe listener": f"http://127.0.0.1:{probe_port}"}
            seen = {name: "\n".join(get(url + path).text for path in PATHS) for name, url in urls.items()}
            seen["web listener"] += exporter.get("/-/reload", method="POST").text
            eventually(  # again and again, because the lines are limited
                lambda: (
                    get(f"{exporter.url}/healthz/command")
                    and any("path=/healthz/command" in line for line in exporter.lines)
                )
            )
            with (folder / "health.yml").open("a") as config:
                config.write("    canary-key: 1\n")
            exporter.line("configuration not loaded")
            for name, url in urls.items():
                seen[name] += "\n".join(get(url + path).text for path in PATHS)
            return {**seen, "log": "\n".join(exporter.lines), "port": str(server.port), "folder": str(folder)}


def test_every_row_has_its_canaries():
    assert read_table().keys() == CANARIES.keys()


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", CANARIES)
def test_a_cell_is_true(seen, row, column):
    cell = read_table()[row][column]
    texts = {"port": seen["port"], "folder": seen["folder"], "host": socket.gethostname()}
    shown = [canary for canary in CANARIES[row] if canary.format(**texts) in seen[column]]

    assert cell in ("yes", "no", "in messages")
    if cell != "in messages":  # a message may name a target or a number, and need not
        assert shown == (CANARIES[row] if cell == "yes" else [])
