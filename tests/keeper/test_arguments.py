"""The keeper's view of the command line."""

import click
import pytest

from exporter.cli.serve import serve
from exporter.keeper.arguments import FLAGS, FORMS, LEVELS, OPTIONS, parse


def test_it_knows_every_option_of_serve():
    options = {option.opts[0]: option for option in serve.params}

    assert {*FLAGS, *OPTIONS} == {*options}
    assert {name for name, option in options.items() if isinstance(option, click.Option) and option.is_flag} == {*FLAGS}
    assert options["--log.level"].type.choices == LEVELS
    assert options["--log.format"].type.choices == FORMS
    assert (options["--log.level"].default, options["--log.format"].default) == (LEVELS[1], FORMS[0])


def test_the_defaults_are_those_of_serve():
    arguments, options = parse([]), {option.opts[0]: option for option in serve.params}

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
    arguments = parse(line.split())

    assert arguments is not None
    assert (arguments.web, arguments.probe) == ([":1", ":2"], [":3"])
    assert (arguments.web_config, arguments.delay, arguments.level, arguments.form) == (True, 0.5, "warn", "json")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["-h"],
        ["--unknown"],
        ["word"],
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
    assert parse(words) is None
