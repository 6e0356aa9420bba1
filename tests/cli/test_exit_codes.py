"""Every exit code that `--help` documents: a run that ends with it."""

import ast
import re
from pathlib import Path

import commands
import pytest
from support import free_port

from exporter.cli.main import cli

TESTS = Path(__file__).parent.parent
CHECKS = """\
checks:
  - {name: fine, memory: {failRatio: 2}, groups: [liveness], timeoutSeconds: 10}
  - {name: warns, memory: {warnRatio: 0.000001, failRatio: 2}, groups: [startup], timeoutSeconds: 10}
  - {name: fails, memory: {failRatio: 0.000001}, groups: [readiness], timeoutSeconds: 10}
  - {name: blind, exec: {command: [/nonexistent]}, groups: [], timeoutSeconds: 10}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
    - {name: web, image: web, livenessProbe: {httpGet: {path: /, port: 80}}}
"""
NAGIOS = "check health.yml --format nagios"
RUNS = {
    ("check", 0): ["check health.yml --group liveness", "check health.yml --group startup"],
    ("check", 1): ["check health.yml", "check health.yml --name blind"],
    ("check", 2): ["check bad.yml", "check none.yml", "check --nonsense", "check health.yml --name nope"],
    ("check nagios", 0): [f"{NAGIOS} --group liveness"],
    ("check nagios", 1): [f"{NAGIOS} --group startup"],
    ("check nagios", 2): [NAGIOS],
    ("check nagios", 3): [f"{NAGIOS} --name blind", f"{NAGIOS} --nonsense", "check bad.yml --format=nagios"],
    ("ask", 3): ["ask livez --url http://127.0.0.1:{port}", "ask", "ask livez --timeout 0"],
    ("validate", 0): ["validate health.yml"],
    ("validate", 2): ["validate bad.yml", "validate bad.yml --format github", "validate"],
    ("inject", 0): ["inject pod.yml"],
    ("inject", 2): ["inject health.yml"],
    ("uninject", 0): [],  # below
    ("uninject", 2): ["uninject pod.yml"],
    ("convert", 0): ["convert pod.yml"],
    ("convert", 2): ["convert none.yml"],
    ("schema", 0): ["schema"],
    ("schema", 2): ["schema --nonsense"],
    ("kinds", 0): ["kinds", "kinds exec"],
    ("kinds", 2): ["kinds nope"],
    ("completion", 0): ["completion fish"],
    ("completion", 2): ["completion"],
}
"""Command lines for each command and exit code, in a folder with the files above."""
ELSEWHERE = {
    ("serve", 0): "test_cli.py::test_serve_ends_with_0_after_sigterm_even_before_it_serves",
    ("serve", 2): "cli/test_config_file.py::test_serve_refuses_standard_input",
    ("serve", 130): "faults/test_keeper.py::test_a_signal_before_the_worker_serves_ends_both_at_once",
    ("check", 130): "cli/test_watch.py::test_ctrl_c_ends_it_quietly",
    ("ask", 0): "test_ask.py::test_the_process_asks_about_the_exporter_itself_regardless_of_its_checks",
    ("ask", 1): "test_ask.py::test_the_process_asks_about_the_exporter_itself_regardless_of_its_checks",
}
"""Tests of codes that need a process or a server."""
OTHERS = ("explain", "hold", "replay")  # have tests of their own


def list_documented() -> set[tuple[str, int]]:
    """Every command with its exit codes, from --help."""
    documented = set()
    for name in commands.load_commands(cli):
        text = commands.run(name, "--help").stdout
        for title, codes in re.findall(r"^  Exit codes(.*):\n((?: {4}.*\n)+)", text, re.MULTILINE):
            command = f"{name} nagios" if "nagios" in title else name
            documented |= {(command, int(code)) for code in re.findall(r"^ {4}(\d+) +\S", codes, re.MULTILINE)}
    return documented


def test_every_documented_code_has_a_test():
    documented = {(name, code) for name, code in list_documented() if name not in OTHERS}

    assert documented == RUNS.keys() | ELSEWHERE.keys()
    for place in ELSEWHERE.values():
        path, _, test = place.partition("::")
        assert test in {getattr(node, "name", "") for node in ast.parse((TESTS / path).read_text()).body}, place


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codes")
    for name, content in {"health.yml": CHECKS, "bad.yml": "checks: 1\n", "pod.yml": POD}.items():
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("code", "line"), [(code, line) for (_, code), lines in RUNS.items() for line in lines], ids=str
)
def test_a_command_ends_with_its_documented_code(folder, code, line):
    done = commands.run(*line.format(port=free_port()).split(), cwd=folder)

    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_uninject_ends_with_0(folder):
    injected = commands.run("inject", "pod.yml", cwd=folder).stdout

    assert commands.run("uninject", content=injected.encode()).returncode == 0
