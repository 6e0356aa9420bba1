"""`kinds`: the manual of the kinds of checks."""

import sys

import click

from exporter.cli.parts import Refused
from exporter.console import echo

MAX_WIDTH = 100  # columns of the manual, also on a wider terminal and in a pipe


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from exporter.cli.manual import list_topics

    return [topic for topic in list_topics(incomplete) if topic.startswith(incomplete)]


@click.command("kinds", short_help="Print the manual of the kinds of checks.")
@click.argument("topic", metavar="[KIND[.OPTION]]", default="", shell_complete=_complete)
def print_kinds(topic: str) -> int:
    """Print the kinds of checks, the manual of one of them, or the description of an option.

    \b
    health-exporter kinds                        every kind, and what it checks
    health-exporter kinds httpGet                its options, metrics and examples
    health-exporter kinds httpGet.expectStatus   one option
    health-exporter kinds check                  the options that every check has
    health-exporter kinds check.periodSeconds    one of them

    \b
    Exit codes:
      0   the manual is on standard output
      2   unknown kind or option, or invalid command line
    """
    from exporter.cli.manual import UnknownTopicError, write
    from exporter.cli.screen import find_width
    from exporter.kinds import KindError

    try:
        echo("\n".join(write(topic, min(MAX_WIDTH, find_width() or MAX_WIDTH))), sys.stdout)
    except (KindError, UnknownTopicError) as error:
        raise Refused(str(error)) from None
    return 0
