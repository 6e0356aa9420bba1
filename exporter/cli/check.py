"""`check`: run every check once, now."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from exporter.cli.parts import Refused, config_file_option, load_config, use_color
from exporter.console import echo
from exporter.model import Group


@click.command(short_help="Run every check once, now, and report.")
@config_file_option
@click.option(
    "--group",
    type=click.Choice([group.value for group in Group]),
    default=Group.ALL.value,
    show_default=True,
    help="Run only the checks of this group, and report its verdict.",
)
@click.option(
    "--name", "names", multiple=True, metavar="NAME", help="Run only the check with this name. Can be repeated."
)
@click.option(
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
    health-exporter check --config.file health.yml --group liveness
    health-exporter check --config.file health.yml --name api --name mysql --format json

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
