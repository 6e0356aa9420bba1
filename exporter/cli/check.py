"""`check`: run every check once, now."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from exporter.cli.parts import Refused, load_config, option, take_config_file, use_color
from exporter.console import echo
from exporter.model import Group

_option = partial(option, command="check")


@click.command(short_help="Run every check once, now, and report.")
@take_config_file
@_option(
    "--group",
    type=click.Choice([group.value for group in Group]),
    default=Group.ALL.value,
    show_default=True,
    help="Run only the checks of this group, and report its verdict.",
)
@_option("--name", "names", multiple=True, metavar="NAME", help="Run only the check with this name. Can be repeated.")
@_option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the report: text for people, or a JSON object.",
)
def check(config_file: Path | None, group: str, names: Sequence[str], form: str) -> int:
    """Run every check once, now, and report the results.

    A single run decides; failureThreshold and successThreshold do not apply. No exporter needs to be running.

    \b
    health-exporter check health.yml --group liveness
    health-exporter check health.yml --name api --name mysql --format json

    Without a configuration file, the checks are of this machine's load average, memory and disk. `-` is standard input.

    \b
    Exit codes:
      0   healthy
      1   not healthy
      2   invalid configuration or command line
    """
    from exporter.evaluation.judge import judge
    from exporter.evaluation.once import run_all
    from exporter.evaluation.schedule import PoolError
    from exporter.render import report

    if config_file is None and form == "text":
        echo("no configuration file: the checks are the built-in default, for this machine", sys.stderr)
    checks = [check for check in load_config(config_file).checks if check.spec.belongs_to(Group(group))]
    known = [check.spec.name for check in checks]
    if unknown := sorted(set(names) - set(known)):
        of_group = "" if group == Group.ALL else f" in the group {group}"
        raise Refused(f"no such check{of_group}: {', '.join(unknown)}; the checks are: {', '.join(known) or '(none)'}")
    try:
        snapshot = run_all([check for check in checks if not names or check.spec.name in names])
    except PoolError as error:
        raise Refused(str(error)) from None
    verdict = judge(snapshot, Group(group))
    text = (
        report.render_json(snapshot, verdict)
        if form == "json"
        else report.render_text(snapshot, verdict, color=use_color())
    )
    echo(text, sys.stdout)
    return 0 if verdict.up else 1
