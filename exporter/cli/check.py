"""`check`: run every check once, now."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.output import write_file
from exporter.cli.parts import File, Refused, complete_checks, load_config, option, take_config_file
from exporter.console import echo
from exporter.exitcodes import HEALTHY, UNHEALTHY
from exporter.model import Group

if TYPE_CHECKING:
    from exporter.model import Snapshot, Verdict
    from exporter.probe.check import Check

FORMATS = ("text", "json", "junit", "nagios", "prometheus", "tap")
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
@_option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_checks,
    help="Run only the check with this name. Can be repeated.",
)
@_option("--fail-fast", is_flag=True, help="Report as soon as a check is not healthy, without waiting for the others.")
@_option("--watch", "-w", is_flag=True, help="Run each check every periodSeconds, and show what changes, until Ctrl-C.")
@_option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Format of the report.",
)
@_option(
    "--output",
    type=File(),
    metavar="FILE",
    help="Write the report to this file, which changes as a whole. Default: standard output.",
)
def check(
    config_files: Sequence[Path],
    group: str,
    names: Sequence[str],
    fail_fast: bool,
    watch: bool,
    form: str,
    output: Path | None,
) -> int:
    """Run every check once, now, and report the results.

    A single run decides; failureThreshold and successThreshold do not apply. No exporter needs to be running. Without a
    configuration file, the checks watch this machine's load average, memory and disk. `-` is standard input.

    \b
    health-exporter check health.yml --group liveness
    health-exporter check health.yml --name api --name mysql --format json
    health-exporter check health.yml --watch
    health-exporter check health.yml --format prometheus --output /var/lib/node_exporter/health.prom

    \b
    Formats:
      text         columns for people
      json         an object with all checks, for scripts
      junit        XML, for CI servers
      nagios       a plugin's line with performance data, for Nagios and Icinga
      prometheus   metrics, for node_exporter's textfile collector
      tap          Test Anything Protocol 13

    \b
    Exit codes:
      0   healthy
      1   not healthy
      2   invalid configuration or command line
      130 after Ctrl-C
    Exit codes with --format nagios:
      0   OK: healthy
      1   WARNING: healthy, but a check warns
      2   CRITICAL: a check fails
      3   UNKNOWN: a check could not run; or invalid configuration or command line
    """
    from exporter.evaluation.judge import judge
    from exporter.evaluation.schedule import PoolError

    if not config_files and form == "text":
        echo("no configuration file: the checks are the built-in default, for this machine", sys.stderr)
    if watch and (form != "text" or output is not None):
        raise click.UsageError("--watch shows text on standard output: leave out --format and --output")
    checks = _select(load_config(config_files).checks, Group(group), names)
    try:
        if watch:
            from exporter.cli.watch import watch as watch_checks

            return watch_checks(checks, Group(group), fail_fast=fail_fast)
        snapshot = _run(checks, Group(group), fail_fast=fail_fast)
    except PoolError as error:
        raise Refused(str(error)) from None
    left = len(checks) - len(snapshot.states)
    if left and form == "text":
        echo(f"--fail-fast: {'1 more check has' if left == 1 else f'{left} more checks have'} not ended", sys.stderr)
    verdict = judge(snapshot, Group(group))
    complete = not names and not left
    text, code = _render(snapshot, verdict, form, complete=complete, to_file=output is not None)
    if output is None:
        echo(text, sys.stdout)
    else:
        write_file(output, f"{text}\n")
    return code


def _select(configured: "Sequence[Check]", group: Group, names: Sequence[str]) -> "list[Check]":
    checks = [check for check in configured if check.spec.belongs_to(group)]
    known = [check.spec.name for check in checks]
    if unknown := sorted(set(names) - set(known)):
        of_group = "" if group == Group.ALL else f" in the group {group}"
        raise Refused(f"no such check{of_group}: {', '.join(unknown)}; the checks are: {', '.join(known) or '(none)'}")
    return [check for check in checks if not names or check.spec.name in names]


def _run(checks: "Sequence[Check]", group: Group, *, fail_fast: bool) -> "Snapshot":
    from exporter.cli.screen import ProgressLine, is_terminal
    from exporter.evaluation.judge import satisfies
    from exporter.evaluation.once import run_all

    line = ProgressLine(len(checks))
    try:
        return run_all(
            checks,
            progress=line.show if is_terminal(sys.stderr) else None,
            is_enough=lambda state: fail_fast and not satisfies(state, group),
        )
    finally:
        line.clear()


def _render(snapshot: "Snapshot", verdict: "Verdict", form: str, *, complete: bool, to_file: bool) -> tuple[str, int]:
    """Return the report and the exit code. `complete` means that the snapshot has all checks of the group."""
    code = HEALTHY if verdict.up else UNHEALTHY
    match form:
        case "junit":
            from exporter.render import junit

            return junit.render(snapshot, verdict), code
        case "nagios":
            from exporter.render import nagios

            return nagios.render(snapshot, verdict), nagios.find_state(verdict)
        case "prometheus":
            from exporter.render.metrics import render_textfile

            groups = [group for group in Group if complete and verdict.group in (group, Group.ALL)]
            return render_textfile(snapshot, groups).decode().rstrip("\n"), code
        case "tap":
            from exporter.render import tap

            return tap.render(snapshot, verdict), code
    from exporter.cli.screen import find_width, use_color
    from exporter.render import report

    if form == "json":
        return report.render_json(snapshot, verdict), code
    color, width = (False, None) if to_file else (use_color(), find_width())
    return report.render_text(snapshot, verdict, color=color, width=width), code
