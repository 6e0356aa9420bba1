"""The keeper's view of the command line."""

import re

import click
import commands
import pytest

from exporter.cli.serve import serve
from exporter.keeper.arguments import FLAGS, FORMS, LEVELS, OPTIONS, parse


def test_it_knows_every_option_of_serve():
    options = {option.opts[0]: option for option in serve.params if isinstance(option, click.Option)}

    assert {*FLAGS, *OPTIONS} == {*options}
    assert {name for name, option in options.items() if isinstance(option, click.Option) and option.is_flag} == {*FLAGS}
    assert options["--log.level"].type.choices == LEVELS
    assert options["--log.format"].type.choices == FORMS
    assert (options["--log.level"].default, options["--log.format"].default) == (LEVELS[1], FORMS[0])


def test_the_defaults_are_those_of_serve():
    arguments, options = parse([], {}), {option.opts[0]: option for option in serve.params}

    assert arguments is not None
    assert arguments.web == options["--web.listen-address"].default
    assert (arguments.probe, arguments.web_config) == ([], False)
    assert arguments.delay == options["--shutdown-delay"].default
    assert arguments.level == options["--log.level"].default
    assert arguments.form == options["--log.format"].default


def test_options_are_read_in_both_spellings():
    line = (
        "--web.listen-address :1 --web.listen-address=:2 --probe.listen-address=:3 --web.enable-lifecycle "
        "--web.config.file=w --shutdown-delay 0.5 --log.level=warn --log.format json "
        "--config.file --web.listen-address --shard=0 --shards 2"
    )
    arguments = parse(line.split(), {})

    assert arguments is not None
    assert (arguments.web, arguments.probe) == ([":1", ":2"], [":3"])
    assert (arguments.web_config, arguments.delay, arguments.level, arguments.form) == (True, 0.5, "warn", "json")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["-h"],
        ["--unknown"],
        ["file", "another"],
        ["file", "-"],
        ["--"],
        ["--config.file"],
        ["--web.enable-lifecycle=1"],
        ["--shutdown-delay", "soon"],
        ["--shutdown-delay=-1"],
        ["--shutdown-delay", "nan"],
        ["--shutdown-delay=inf"],
        ["--log.level=loud"],
        ["--log.format", "xml"],
    ],
)
def test_a_command_line_that_is_not_plain_is_left_to_click(words):
    assert parse(words, {}) is None


@pytest.mark.parametrize("words", [["health.yml"], ["-"], ["--log.level=warn", "health.yml", "--web.enable-lifecycle"]])
def test_a_file_may_stand_anywhere(words):
    assert parse(words, {}) is not None


ENVIRON = {
    "HEALTH_EXPORTER_WEB_LISTEN_ADDRESS": "127.0.0.1:1  [::1]:1",
    "HEALTH_EXPORTER_PROBE_LISTEN_ADDRESS": ":2",
    "HEALTH_EXPORTER_WEB_CONFIG_FILE": "web.yml",
    "HEALTH_EXPORTER_SHUTDOWN_DELAY": "500ms",
    "HEALTH_EXPORTER_LOG_LEVEL": "warn",
    "HEALTH_EXPORTER_LOG_FORMAT": "json",
}


def parse_by_click(words: list[str], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """What the worker makes of the same words and variables."""
    monkeypatch.setattr("os.environ", environ)
    with serve.make_context("serve", words) as context:
        options = context.params
    web_config = options["web_config_file"] is not None
    return (
        *([*options[name]] for name in ("web_addresses", "probe_addresses")),
        *(web_config, options["shutdown_delay"], options["level"], options["form"]),
    )


@pytest.mark.parametrize("environ", [{}, ENVIRON, dict.fromkeys(ENVIRON, "")], ids=["none", "all", "empty"])
@pytest.mark.parametrize(
    "line",
    [
        "",
        "health.yml",
        "--web.listen-address :3 --log.level error",
        "--probe.listen-address=:4 --shutdown-delay 1m --log.format logfmt --web.config.file w",
    ],
)
def test_keeper_and_worker_agree(monkeypatch, line, environ):
    arguments = parse(line.split(), environ)

    assert arguments is not None
    assert parse_by_click(line.split(), environ, monkeypatch) == (
        *(arguments.web, arguments.probe, arguments.web_config),
        *(arguments.delay, arguments.level, arguments.form),
    )


@pytest.mark.parametrize(
    ("variable", "value"), [("LOG_LEVEL", "loud"), ("SHUTDOWN_DELAY", "soon"), ("SHUTDOWN_DELAY", "nan")]
)
def test_an_invalid_variable_is_left_to_click_unless_an_option_takes_precedence(variable, value):
    environ = {f"HEALTH_EXPORTER_{variable}": value}

    assert parse([], environ) is None
    assert parse(["--log.level=info", "--shutdown-delay", "1"], environ) is not None


def test_no_variable_is_one_that_kubernetes_sets_for_a_service():
    """For a Service named health-exporter-log, it sets HEALTH_EXPORTER_LOG_PORT and others."""
    from exporter.cli.main import cli

    variables = {
        parameter.envvar
        for command in commands.load_commands(cli).values()
        for parameter in command.params
        if isinstance(parameter.envvar, str)
    }

    assert len(variables) > 20
    assert not [name for name in variables if re.search(r"_(PORT|SERVICE_HOST|SERVICE_PORT)(_|$)", name)]
