"""`validate` and `schema`: help with the configuration file."""

import json
import os
import sys
from pathlib import Path

import click

from exporter.cli.parts import Refused, Seconds, load_config, option, take_config_file
from exporter.console import echo


@click.command(short_help="Find every error in a configuration file, and give advice.")
@take_config_file
@option(
    "--scrape-interval",
    command="validate",
    type=Seconds(min=0),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Your Prometheus' scrape interval; some advice depends on it.",
)
def validate(config_file: Path | None, scrape_interval: float) -> int:
    """Find every error in a configuration file, and give advice on probable mistakes. `-` is standard input.

    \b
    health-exporter validate health.yml
    health.yml:3: checks[0].httpGet.port: is required

    \b
    Exit codes:
      0   valid, with or without advice
      2   invalid configuration or command line
    """
    from exporter.config.advice import give_advice
    from exporter.probe.reference import AssumedEnvironment

    if config_file is None:
        raise click.UsageError("Missing argument 'FILE'.")
    config = load_config(config_file, AssumedEnvironment(os.environ))
    lines = [f"{complaint} (advice)" for complaint in give_advice(config, scrape_interval)]
    count = len(config.checks)
    echo(
        "\n".join([*lines, f"{config.document.source}: valid, {count} {'check' if count == 1 else 'checks'}"]),
        sys.stdout,
    )
    return 0


@click.command(short_help="Print the JSON Schema of the configuration file, for editors.")
def schema() -> int:
    """Print the JSON Schema of the configuration file, for editors.

    \b
    health-exporter schema > health.schema.json

    With the YAML language server, the first line of health.yml is then:

    \b
    # yaml-language-server: $schema=health.schema.json
    """
    from exporter.config.schema import build_schema
    from exporter.kinds import KindError

    try:
        echo(json.dumps(build_schema(), indent=2), sys.stdout)
    except KindError as error:
        raise Refused(str(error)) from None
    return 0
