"""`validate` and `schema`: help with the configuration file."""

import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.parts import Refused, Seconds, option, read_config, take_config_file
from exporter.console import echo
from exporter.exitcodes import USAGE
from exporter.text import format_count

if TYPE_CHECKING:
    from exporter.config.checks import Config
    from exporter.config.complaint import Complaint

FORMATS = ("text", "github")
_option = partial(option, command="validate")


@click.command(short_help="Find every error in a configuration file, and give advice.")
@take_config_file
@_option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Format of the errors and the advice: text for people, or annotations for GitHub Actions.",
)
@_option(
    "--scrape-interval",
    type=Seconds(min=0),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Your Prometheus' scrape interval; some advice depends on it.",
)
def validate(config_files: Sequence[Path], form: str, scrape_interval: float) -> int:
    """Find every error in a configuration, and give advice on probable mistakes.

    A folder stands for its *.yml and *.yaml files. Several files are one configuration. `-` is standard input.

    \b
    health-exporter validate health.yml
    health.yml:3: checks[0].httpGet.port: is required

    \b
    Exit codes:
      0   valid, with or without advice
      2   invalid configuration or command line
    """
    from exporter.config.advice import give_advice
    from exporter.config.complaint import ConfigError
    from exporter.probe.reference import AssumedEnvironment

    if not config_files:
        raise click.UsageError("Missing argument 'FILE'.")
    try:
        config = read_config(config_files, AssumedEnvironment(os.environ))
    except ConfigError as error:
        if form == "text":
            raise Refused(str(error)) from None
        echo("\n".join(_annotate("error", complaint) for complaint in error.complaints), sys.stdout)
        return USAGE
    advice = give_advice(config, scrape_interval)
    lines = [_annotate("warning", found) if form == "github" else f"{found} (advice)" for found in advice]
    lines.append(_summarize(config, config_files))
    echo("\n".join(lines), sys.stdout)
    return 0


def _summarize(config: "Config", paths: Sequence[Path]) -> str:
    sources = [part.document.source for part in config.parts]
    count = format_count(len(config.checks), "check")
    if len(sources) == 1:
        return f"{sources[0]}: valid, {count}"
    return f"{', '.join(map(str, paths))}: valid, {count} in {len(sources)} files"


def _annotate(level: str, complaint: "Complaint") -> str:
    """Return the workflow command of GitHub Actions that marks a line of a file."""
    places = {"file": complaint.source, "line": complaint.line}
    properties = ",".join(f"{key}={_escape(str(value), ':,')}" for key, value in places.items() if value is not None)
    return f"::{level} {properties}::{_escape(complaint.text)}"


def _escape(text: str, others: str = "") -> str:
    """Replace the characters that end a message or, with `others`, a property."""
    for character in f"%\r\n{others}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text


@click.command(short_help="Print the JSON Schema of the configuration file, for editors.")
def schema() -> int:
    """Print the JSON Schema of the configuration file, for editors.

    \b
    health-exporter schema > health.schema.json

    With the YAML language server, the first line of health.yml is then:

    \b
    # yaml-language-server: $schema=health.schema.json

    \b
    Exit codes:
      0   the schema is on standard output
      2   invalid command line, or a kind that cannot be loaded
    """
    from exporter.config.schema import build_schema
    from exporter.kinds import KindError

    try:
        echo(json.dumps(build_schema(), indent=2), sys.stdout)
    except KindError as error:
        raise Refused(str(error)) from None
    return 0
