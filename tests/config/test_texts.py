"""Advice on texts that cannot have been meant: hidden characters, shell syntax, references, files that are missing."""

import os
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner
from kinds.pages import OK
from kinds.servers import serving

from exporter.cli.main import cli
from exporter.config.advice import give_advice
from exporter.config.checks import load
from exporter.config.complaint import ConfigError
from exporter.config.texts import _find_shell_syntax
from exporter.evaluation.run import run
from exporter.kinds.http_get import HttpGet
from exporter.model import Status
from exporter.probe.flaws import find_flaw
from exporter.probe.options import find_host_risk
from exporter.probe.reference import AssumedEnvironment, expand
from exporter.probe.secret import Secret

ADVISED = Path(__file__).parents[1] / "advised"

# Each file is valid. The advice is all that `validate` gives, without the file's name.
ADVICE = {
    "block_of_a_text": """
    :5: checks[0].httpGet.path: ends with a line break: write it on the line of its key, or with |- instead of |
    :7: checks[0].httpGet.bodyContains: ends with a line break: write it on the line of its key, or with |- instead of \
|
    :9: checks[0].httpGet.bodyMatches: ends with a line break: write it on the line of its key, or with |- instead of \
|
    :13: checks[0].httpGet.httpHeaders[0].value: ends with a line break: write it on the line of its key, or with |- \
instead of |
    :18: checks[1].tcpSocket.expect: ends with a line break: write it on the line of its key, or with |- instead of |
    :22: checks[2].postgresql.username: ends with a line break: write it on the line of its key, or with |- instead of \
|
    :24: checks[2].postgresql.database: ends with a line break: write it on the line of its key, or with |- instead of \
|
    :30: checks[3].process.name: ends with a line break: write it on the line of its key, or with |- instead of |
    """,
    "command_of_a_shell": """
    :2: checks[0].exec.command[0]: is a whole command in one entry: write [PROGRAM, ARGUMENT, ...], or [sh, -c, \
COMMAND] for a shell
    :3: checks[1].exec.command[2]: | is passed to the program, because no shell reads the command: write [sh, -c, \
COMMAND]
    :4: checks[2].exec.command[2]: > is passed to the program, because no shell reads the command: write [sh, -c, \
COMMAND]
    :4: checks[2].exec.command[4]: 2>&1 is passed to the program, because no shell reads the command: write [sh, -c, \
COMMAND]
    :4: checks[2].exec.command[5]: 2>/dev/null is passed to the program, because no shell reads the command: write \
[sh, -c, COMMAND]
    :5: checks[3].exec.command[2]: && is passed to the program, because no shell reads the command: write [sh, -c, \
COMMAND]
    :5: checks[3].exec.command[5]: || is passed to the program, because no shell reads the command: write [sh, -c, \
COMMAND]
    :6: checks[4].exec.command[1]: only a shell replaces * by the names of files: write [sh, -c, COMMAND]
    :7: checks[5].exec.command[1]: only a shell replaces ~ by a home directory: write the absolute path
    :8: checks[6].exec.command[1]: only a shell replaces $NAME and ${NAME}: write $(NAME), or [sh, -c, COMMAND]
    :8: checks[6].exec.command[2]: only a shell replaces $NAME and ${NAME}: write $(NAME), or [sh, -c, COMMAND]
    :9: checks[7].exec.command[3]: is not part of the command that sh runs: write all of it as one text after -c
    :10: checks[8].exec.command[1]: “ is part of the value: YAML's quotation marks are " and '
    :10: checks[8].exec.command[2]: contains the invisible character U+200B (zero width space): delete it
    """,
    "file_missing": """
    :2: checks[0].redis.password.file: the file cannot be read on this machine: No such file or directory
    :8: checks[1].httpGet.caFile: the file cannot be read on this machine: No such file or directory
    :9: checks[1].httpGet.clientCertificate.certFile: the file cannot be read on this machine: No such file or \
directory
    :9: checks[1].httpGet.clientCertificate.keyFile: the file cannot be read on this machine: No such file or \
directory
    :10: checks[1].httpGet.basicAuth.password.file: the file cannot be read on this machine: No such file or directory
    :11: checks[2].exec.command[0]: the program is not found on this machine
    """,
    "hidden_characters": """
    :2: checks[0].file.path: contains the invisible character U+200B (zero width space): delete it
    :3: checks[1].file.path: “ is part of the value: YAML's quotation marks are " and '
    :4: checks[2].httpGet.path: contains U+00A0 (no-break space) instead of a plain space
    :4: checks[2].httpGet.httpHeaders[0].value: “ is part of the value: YAML's quotation marks are " and '
    :4: checks[2].httpGet.bodyContains: contains the invisible character U+202E (right-to-left override): delete it
    :5: checks[3].redis.username: contains the invisible character U+FEFF (zero width no-break space): delete it
    :6: checks[4].mysql.query: contains U+00A0 (no-break space) instead of a plain space
    :7: checks[5].grpc.service: contains the invisible character U+200E (left-to-right mark): delete it
    """,
    "path_is_a_url": """
    :2: checks[0].httpGet.path: is a URL, of which only path and query are used: write host, port and scheme in \
options of their own
    """,
    "path_of_a_shell": """
    :2: checks[0].file.path: ~ is not replaced by a home directory: write the absolute path
    :3: checks[1].file.path: wildcards are not replaced by the names of files: write the path of one file
    :4: checks[2].disk.path: is relative to the directory in which the exporter is started: write an absolute path
    :5: checks[3].process.pidFile: is relative to the directory in which the exporter is started: write an absolute \
path
    :6: checks[4].httpGet.unixSocket: is a URL: write the path alone
    :7: checks[5].certificate.caFile: ~ is not replaced by a home directory: write the absolute path
    """,
    "variable_not_set": """
    :2: checks[0].httpGet.path: the environment variable HEALTH_TEST_PATH is not set on this machine
    :2: checks[0].httpGet.host: the environment variable HEALTH_TEST_HOST is not set on this machine
    :3: checks[1].promql.url: the environment variables HEALTH_TEST_HOST, HEALTH_TEST_PORT are not set on this machine
    :4: checks[2].redis.password.env: the environment variable HEALTH_TEST_PASSWORD is not set on this machine
    :5: checks[3].redis.password.env: the environment variable (text of 7 characters) is not set on this machine
    :6: checks[4].exec.command[1]: the environment variable HEALTH_TEST_HOST is not set on this machine
    :7: checks[5].redis.password.file: the environment variable HEALTH_TEST_PATH is not set on this machine
    """,
    "variable_of_a_shell": """
    :2: checks[0].httpGet.path: an environment variable is written $(NAME), not $NAME or ${NAME}
    :3: checks[1].file.path: an environment variable is written $(NAME), not $NAME or ${NAME}
    :4: checks[2].mysql.username: is used as it is written: a variable is written $(NAME), and only in a host, a path, \
a URL or a command
    :4: checks[2].mysql.database: is used as it is written: a variable is written $(NAME), and only in a host, a path, \
a URL or a command
    :4: checks[2].mysql.query: is used as it is written: a variable is written $(NAME), and only in a host, a path, a \
URL or a command
    :5: checks[3].dns.name: is used as it is written: a variable is written $(NAME), and only in a host, a path, a URL \
or a command
    :6: checks[4].exec.env[0].value: is used as it is written: a variable is written $(NAME), and only in a host, a \
path, a URL or a command
    """,
}


def list_advice(path: Path) -> list[str]:
    config = load(path, environment=AssumedEnvironment(os.environ))
    return [str(complaint) for complaint in give_advice(config, 30)]


def test_the_table_has_every_file():
    assert {path.stem for path in ADVISED.iterdir()} == set(ADVICE)


@pytest.mark.parametrize("name", ADVICE)
def test_a_file_has_exactly_this_advice(name, monkeypatch):
    monkeypatch.chdir(ADVISED)
    expected = dedent(ADVICE[name]).strip().splitlines()

    assert list_advice(Path(f"{name}.yml")) == [f"{name}.yml{line}" for line in expected]


@pytest.mark.parametrize("name", ADVICE)
def test_no_advice_shows_a_value(name):
    result = CliRunner().invoke(cli, ["validate", str(ADVISED / f"{name}.yml")])

    assert result.exit_code == 0
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    "check",
    [
        "exec: {command: [sh, -c, 'cat ~/a* | grep $HOME > /dev/null && exit 0']}",
        "exec: {command: [sh, -c, 'test -f \"$1\"', sh, /tmp/healthy]}",
        "exec: {command: [sh, -c, $0, ls]}",
        "exec: {command: [timeout, '5', sh, -c, ls | wc]}",
        "exec: {command: [sh, -ec, ls, a]}",
        "exec: {command: [grep, -E, 'a|b', /etc/passwd]}",
        "exec: {command: [grep, /health.* 200, /etc/passwd]}",
        "exec: {command: [find, /tmp, -name, '*.x']}",
        "exec: {command: [expr, '2', '*', '3']}",
        "exec: {command: [awk, '/a.*/ {print $NF}', /etc/passwd]}",
        "exec: {command: [echo, $(PATH), $$(UNSET)], env: [{name: A, value: $(PATH)}]}",
        "httpGet: {path: '/odata?$filter=a', port: 80}",
        "httpGet: {path: '/?next=http://a.example/', port: 80}",
        "httpGet: {path: 'health', port: 80, bodyContains: 'It”s “fine” today'}",
        "httpGet: {path: /, port: 80, bodyContains: «Готово»}",
        "httpGet: {path: /, port: 80, bodyContains: 'می‌خواهم'}",
        "httpGet: {path: /, port: 80, bodyMatches: '^(a|b)$'}",
        "httpGet: {path: /, port: 80, unixSocket: '/run/app.sock'}",
        "httpGet: {path: /, port: 80, host: bücher.example}",
        'tcpSocket: {port: 80, send: "PING\\n", expect: PONG}',
        "tcpSocket: {port: 80, host: 'fe80::1%eth0.100'}",
        "tcpSocket: {port: 80, host: '::ffff:127.0.0.1'}",
        "file: {path: /var/lib/größe/beat}",
        "promql: {query: \"sum(a)\\n\", url: 'http://prometheus:9090/'}",
    ],
)
def test_a_text_that_may_be_meant_has_no_advice(tmp_path, check):
    path = tmp_path / "x.yml"
    path.write_text(f"checks:\n  - name: a\n    {check}\n")

    assert list_advice(path) == []


@pytest.mark.parametrize(
    "text", ["a\u200b", "\ufeffa", "a\u200cb", "a\u200d", "a\u2066b", "a\xa0b", "a\u3000b", "a\xadb"]
)
def test_a_character_that_cannot_be_seen_is_found(text):
    flaw = find_flaw(text)

    assert flaw
    assert flaw.isascii()


@pytest.mark.parametrize(
    "text", ["", "a", "a b", "é", "\u0645\u06cc\u200c\u062e", "\U0001f468\u200d\U0001f469", "a\nb\n"]
)
def test_a_character_that_belongs_to_a_text_is_no_flaw(text):
    assert find_flaw(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "x"),
        ("/$(A)/$(B_2)$(A)", "/x/yx"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$$(A)"),
        ("$A ${A} $ $$ $() $(a b) $(1)", "$A ${A} $ $$ $() $(a b) $(1)"),
        ("$(C)", "$(A)"),
    ],
)
def test_a_reference_is_replaced_as_in_a_manifest(text, expected):
    assert expand(text, {"A": "x", "B_2": "y", "C": "$(A)"}) == expected


CHECKS = """\
checks:
  - name: api
    httpGet:
      host: $(HEALTH_TEST_HOST)
      port: 8443
      path: /$(HEALTH_TEST_NAME)?a=$$(b)
      scheme: HTTPS
      verifyTLS: true
      caFile: $(HEALTH_TEST_FOLDER)/ca.pem
      bearerToken: {file: $(HEALTH_TEST_FOLDER)/token}
    groups: [liveness]
  - name: errors
    promql: {url: 'http://$(HEALTH_TEST_HOST):$(HEALTH_TEST_PORT)', query: up}
  - name: disk
    disk: {path: $(HEALTH_TEST_FOLDER)}
"""
VARIABLES = {
    "HEALTH_TEST_HOST": "127.0.0.2",
    "HEALTH_TEST_NAME": "health",
    "HEALTH_TEST_PORT": "9090",
    "HEALTH_TEST_FOLDER": "/etc/health",
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "health.yml"
    path.write_text(CHECKS)
    return path


def test_a_host_a_path_and_a_url_take_variables_of_the_environment(file, monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    api, errors, disk = (check.probe for check in load(file).checks)

    assert api.target == "https://127.0.0.2:8443/health"
    assert isinstance(api, HttpGet)
    assert api.path == "/health?a=$(b)"
    assert api.ca_file == Path("/etc/health/ca.pem")
    assert api.bearer_token == Secret(file="/etc/health/token")
    assert errors.target == "http://127.0.0.2:9090"
    assert disk.target == "/etc/health"


def test_a_check_runs_against_the_host_of_a_variable(tmp_path, monkeypatch):
    with serving((OK,)) as server:
        monkeypatch.setenv("HEALTH_TEST_HOST", "127.0.0.1")
        monkeypatch.setenv("HEALTH_TEST_NAME", "a b")
        path = tmp_path / "health.yml"
        options = f"{{host: $(HEALTH_TEST_HOST), path: /$(HEALTH_TEST_NAME), port: {server.port}}}"
        path.write_text(f"checks: [{{name: a, httpGet: {options}, timeoutSeconds: 30}}]\n")
        (check,) = load(path).checks

        assert run(check).outcome.status is Status.PASS
        assert server.requests[0].startswith(b"GET /a%20b HTTP/1.1\r\nHost: 127.0.0.1:")


def test_a_variable_that_is_not_set_is_an_error_for_a_run_and_advice_in_a_validation(file, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    checked = CliRunner().invoke(cli, ["check", "--config.file", str(file)])
    validated = CliRunner().invoke(cli, ["validate", str(file)])
    message = f"{file}:4: checks[0].httpGet.host: the environment variable HEALTH_TEST_HOST is not set"

    assert checked.exit_code != 0
    assert checked.output.splitlines()[0] == message
    assert len(checked.output.splitlines()) == 6
    assert validated.exit_code == 0
    assert f"{message} on this machine (advice)" in validated.output
    assert "different host" not in validated.output


def test_a_value_of_a_variable_must_be_valid_too(file, monkeypatch):
    for name, value in {**VARIABLES, "HEALTH_TEST_HOST": "tcp://10.0.0.1:6379"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        load(file)

    assert [complaint.line for complaint in error.value.complaints] == [4]
    assert "10.0.0.1" not in str(error.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "0.0.0.0"])
def test_an_address_of_this_pod_is_no_risk_for_liveness(host):
    assert find_host_risk(host) is None


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "db.example", "localhost.example"])
def test_another_host_is_a_risk_for_liveness(host):
    assert find_host_risk(host)


def test_a_program_that_may_not_be_executed_is_not_reported_as_missing(tmp_path):
    program, path = tmp_path / "program", tmp_path / "x.yml"
    program.write_text("#!/bin/sh\n")
    path.write_text(f"checks:\n  - name: a\n    exec: {{command: [{program}]}}\n")

    assert list_advice(path)[0].endswith("exec.command[0]: the program is not executable on this machine")


def test_a_long_word_takes_time_in_proportion_to_its_length():
    """If it grew with the square, this would take about an hour."""
    assert _find_shell_syntax("/" + "*" * 2**20) is not None
    assert _find_shell_syntax("/" + "*" * 2**20 + " ") is None
