"""The configuration file: FILE, --config.file, `-` and the environment variable, alike for all commands."""

import json
import re
import sys
from pathlib import Path

import commands
import pytest
from support import Exporter, Process, ended, free_port

CHECKS = "checks:\n  - {name: fine, memory: {failRatio: 2}, timeoutSeconds: 10}\n"
VARIABLE = "HEALTH_EXPORTER_CONFIG_FILE"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "health.yml").write_text(CHECKS)
    (tmp_path / "other.yml").write_text(CHECKS.replace("fine", "other"))
    return tmp_path


@pytest.mark.parametrize("command", ["check", "validate"])
@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["health.yml"], {}),
        (["--config.file", "health.yml"], {}),
        (["health.yml", "--config.file", "health.yml"], {}),
        (["-"], {}),
        (["--config.file", "-"], {}),
        ([], {VARIABLE: "health.yml"}),
        (["health.yml"], {VARIABLE: "other.yml"}),
        (["--config.file", "health.yml"], {VARIABLE: "other.yml"}),
    ],
    ids=str,
)
def test_every_way_to_name_the_file_works(folder, command, arguments, env):
    done = commands.run(command, *arguments, cwd=folder, content=CHECKS.encode(), env=env)

    assert (done.returncode, done.stderr) == (0, "")
    assert re.search("^PASS  fine " if command == "check" else r"^(health\.yml|stdin): valid, 1 check$", done.stdout)


@pytest.mark.parametrize("command", ["check", "validate"])
def test_two_files_are_refused(folder, command):
    refused = commands.run(command, "health.yml", "--config.file", "other.yml", cwd=folder)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert (
        "FILE and --config.file name two files, health.yml and other.yml: repeat --config.file for several"
        in refused.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "env", "shown"),
    [
        (["."], {}, "."),
        (["--config.file", "health.yml", "--config.file=other.yml"], {}, "health.yml, other.yml"),
        ([], {VARIABLE: " health.yml  other.yml"}, "health.yml, other.yml"),
    ],
)
def test_several_files_are_one_configuration(folder, arguments, env, shown):
    checked = commands.run("check", *arguments, "--name", "other", cwd=folder, env=env)
    validated = commands.run("validate", *arguments, cwd=folder, env=env)

    assert (checked.returncode, validated.returncode) == (0, 0)
    assert re.search("^PASS  other ", checked.stdout)
    assert validated.stdout == f"{shown}: valid, 2 checks in 2 files\n"


def test_an_annotation_names_the_file_with_the_error(folder):
    (folder / "third.yml").write_text("checks:\n  - {name: fine, memory: {}}\n")
    refused = commands.run("validate", "--format", "github", "--config.file", folder)

    assert refused.returncode == 2
    assert refused.stdout == (
        f"::error file={folder}/third.yml,line=2::checks[0].name: the name is already used by the check at "
        f"{folder}/health.yml:2\n"
    )


@pytest.mark.parametrize("command", ["check", "validate"])
def test_standard_input_cannot_be_one_of_several_files(folder, command):
    refused = commands.run(command, "--config.file", "health.yml", "--config.file", "-", cwd=folder)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "standard input cannot be one of several configuration files" in refused.stderr


def test_an_error_in_standard_input_has_its_line():
    refused = commands.run("check", "-", content=b"checks:\n  - {name: fine, memory: {failRatio: high}}\n")

    assert refused.returncode == 2
    assert refused.stderr == "stdin:2: checks[0].memory.failRatio: must be a number, not text of 4 characters\n"


def test_check_without_a_file_says_what_it_checks():
    looked = commands.run("check")

    assert looked.returncode in (0, 1)
    assert looked.stderr == "no configuration file: the checks are the built-in default, for this machine\n"


def test_inject_cannot_read_two_files_from_standard_input():
    refused = commands.run("inject", "-", "--config.file", "-")

    assert refused.returncode == 2
    assert "the manifest and the configuration cannot both be standard input" in refused.stderr


def test_serve_refuses_standard_input():
    """Before it serves, although the keeper listens already."""
    with ended(
        Process([sys.executable, "-m", "exporter", "serve", "--web.listen-address=127.0.0.1:0", "-"])
    ) as refused:
        assert refused.wait() == 2
    assert "Error: the configuration cannot be standard input, because it is read again at each reload" in refused.lines


def test_serve_takes_a_file_and_environment_variables(folder):
    port = free_port()
    env = {"HEALTH_EXPORTER_PROBE_LISTEN_ADDRESS": f"127.0.0.1:{port}", "HEALTH_EXPORTER_LOG_FORMAT": "json"}
    with ended(Exporter(str(folder / "health.yml"), env=env)) as exporter:
        line = json.loads(exporter.line(rf"127\.0\.0\.1:{port}/").string)

    assert (line["msg"], line["file"]) == ("listening", f"{folder}/health.yml")


@pytest.mark.parametrize(
    ("command", "variable", "value", "code"),
    [
        ("check", "HEALTH_EXPORTER_CHECK_GROUP", "live", 2),
        ("validate", "HEALTH_EXPORTER_VALIDATE_SCRAPE_INTERVAL", "soon", 2),
        ("ask", "HEALTH_EXPORTER_ASK_TIMEOUT", "soon", 3),
    ],
)
def test_an_invalid_variable_is_named(folder, command, variable, value, code):
    word = "livez" if command == "ask" else "health.yml"
    refused = commands.run(command, word, env={variable: value}, cwd=folder)

    assert (refused.returncode, refused.stdout) == (code, "")
    assert f"(env var: '{variable}')" in refused.stderr


@pytest.mark.parametrize("command", ["serve", "check", "ask", "validate"])
def test_the_help_names_the_variables(command):
    from exporter.cli.main import cli

    helped = re.sub(r"\s+", " ", commands.run(command, "--help").stdout)
    for option in commands.load_commands(cli)[command].params:
        if option.param_type_name == "option" and option.name != "help":
            assert f"env var: {option.envvar}" in helped
