"""The command line: arguments in, exit code out.

Each command imports what it needs when it runs. A plain `ask`, which runs every few seconds in exec probes, does not
import this module at all (see `__main__`). Most of the file is the text of `--help`.
"""

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exporter import __version__
from exporter.ask import LONGEST, PATHS, TIMEOUT, URL, say
from exporter.model import Group

if TYPE_CHECKING:
    from exporter.config.checks import Config
    from exporter.evaluation.shard import Shard

MOST_SHARDS = 1000  # at the start each check draws a number for each of them
DEFAULT_ADDRESS = ":4584"  # H-L-T-H on a keypad

_config_file = click.option(
    "--config.file",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file. Without it: this machine's load average, memory and disk.",
)


class _InOrder(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The commands in the order of their use rather than of the alphabet."""
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="health-exporter")
def cli() -> None:
    """Run health checks and answer Kubernetes probes and Prometheus from one evaluation.

    \b
    health-exporter serve                             watch this machine, on port 4584
    health-exporter serve --config.file health.yml    watch what the file says
    health-exporter check --config.file health.yml    run every check once, now
    health-exporter ask livez                         ask the running exporter
    health-exporter validate health.yml               find what is wrong, and what is unwise

    A configuration is a list of Kubernetes probes with names:

    \b
    checks:
      - name: api
        httpGet: {path: /health, port: 8080}
        groups: [liveness, readiness]
    """


@cli.command(short_help="Run the checks and serve their results.")
@_config_file
@click.option(
    "--web.listen-address",
    "web_addresses",
    multiple=True,
    default=[DEFAULT_ADDRESS],
    show_default=True,
    metavar="HOST:PORT",
    help="Address of the metrics, the probes and the status page. May be repeated.",
)
@click.option(
    "--probe.listen-address",
    "probe_addresses",
    multiple=True,
    metavar="HOST:PORT",
    help="A further address for the probes only, without TLS and passwords. May be repeated.",
)
@click.option(
    "--web.config.file",
    "web_config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TLS and basic authentication, in the format of the Prometheus exporter-toolkit.",
)
@click.option(
    "--shard",
    metavar="NUMBER|POD",
    help="Which of the shards this exporter is: a number from 0, or the name of a StatefulSet's pod.",
)
@click.option(
    "--shards",
    type=click.IntRange(min=1, max=MOST_SHARDS),
    metavar="COUNT",
    help="Run only this shard's part of the checks: so many exporters share one configuration.",
)
@click.option("--web.enable-lifecycle", "lifecycle", is_flag=True, help="Allow reloading by POST /-/reload.")
@click.option(
    "--shutdown-delay",
    type=click.FloatRange(min=0),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="After SIGTERM, go on serving this long, with readiness false.",
)
@click.option(
    "--log.level",
    "level",
    type=click.Choice(["debug", "info", "warn", "error"]),
    default="info",
    show_default=True,
    help="The least important lines to write.",
)
@click.option(
    "--log.format",
    "form",
    type=click.Choice(["logfmt", "json"]),
    default="logfmt",
    show_default=True,
    help="How lines are written, to standard output.",
)
def serve(
    config_file: Path | None,
    web_addresses: Sequence[str],
    probe_addresses: Sequence[str],
    web_config_file: Path | None,
    shard: str | None,
    shards: int | None,
    lifecycle: bool,
    shutdown_delay: float,
    level: str,
    form: str,
) -> int:
    """Run the checks on their schedule and serve their results until SIGTERM.

    \b
    health-exporter serve
    health-exporter serve --config.file health.yml --web.listen-address 127.0.0.1:4584
    health-exporter serve --config.file health.yml --shard "$HOSTNAME" --shards 3

    \b
    /livez /readyz /startupz /healthz   200 or 503, for Kubernetes probes
    /metrics                            for Prometheus
    /                                   a page for people

    SIGHUP, or a change of the file, reloads the configuration; a bad one changes nothing. SIGTERM turns readiness off,
    and the exporter goes on serving for the shutdown delay.

    \b
    Exit codes:
      0   after SIGTERM
      2   a configuration, an address or an option cannot be used
    """
    from exporter import log
    from exporter.assembly import Exporter
    from exporter.config.document import ConfigError
    from exporter.config.web import WebConfig
    from exporter.server.sockets import ListenError

    writer = log.start(level, form)
    try:
        web = WebConfig.read(web_config_file) if web_config_file else WebConfig()
        exporter = Exporter(socket.gethostname(), config_file, _shard(shard, shards), web, lifecycle=lifecycle)
        exporter.serve(web_addresses, probe_addresses, shutdown_delay)
    except (ConfigError, ListenError) as error:
        raise _Refused(str(error)) from None
    writer.close()
    return 0


@cli.command(short_help="Run every check once, now, and report.")
@_config_file
@click.option(
    "--group",
    type=click.Choice([group.value for group in Group]),
    default=Group.ALL.value,
    show_default=True,
    help="Only this group's checks, and its verdict.",
)
@click.option("--name", "names", multiple=True, metavar="NAME", help="Only the check of this name. May be repeated.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="A report for people, or one JSON object.",
)
def check(config_file: Path | None, group: str, names: Sequence[str], form: str) -> int:
    """Run every check once, now, and report what each saw.

    One run decides: thresholds count runs, and here there is one. No exporter has to be running.

    \b
    health-exporter check --config.file health.yml --group liveness
    health-exporter check --config.file health.yml --name api --name mysql --format json

    \b
    Exit codes:
      0   healthy
      1   not healthy
      2   a fault of the configuration or of the command line
    """
    from exporter.evaluation.judge import judge
    from exporter.evaluation.once import look
    from exporter.render import report

    checks = [each for each in _loaded(config_file).checks if each.spec.belongs_to(Group(group))]
    there = [each.spec.name for each in checks]
    if unknown := sorted(set(names) - set(there)):
        of_group = "" if group == Group.ALL else f" in the group {group}"
        raise _Refused(f"no such check{of_group}: {', '.join(unknown)}; there are: {', '.join(there) or 'none'}")
    snapshot = look([each for each in checks if not names or each.spec.name in names])
    verdict = judge(snapshot, Group(group))
    text = report.as_json(snapshot, verdict) if form == "json" else report.text(snapshot, verdict, colour=_colour())
    say(text, sys.stdout)
    return 0 if verdict.up else 1


@cli.command(short_help="Ask the running exporter: the form for exec probes and scripts.")
@click.argument("path", metavar=f"{{{'|'.join(PATHS)}}}", type=click.Choice(list(PATHS)))
@click.option("--url", default=URL, show_default=True, metavar="URL", help="Where the exporter is.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=LONGEST),
    default=TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="For everything, from the name's resolution to the last byte.",
)
def ask(path: str, url: str, timeout: float) -> int:
    """Ask the running exporter, as an exec probe, a script or a Docker HEALTHCHECK does.

    Prints the verdict and the checks that made it so. `exporter` asks whether the exporter itself is well, whatever its
    checks say.

    \b
    health-exporter ask livez
    health-exporter ask readyz --url http://10.1.2.3:4584 --timeout 3
    health-exporter ask exporter

    \b
    Exit codes:
      0   yes
      1   no
      3   could not ask: nobody there, no answer in time, or none of a health exporter
    """
    from exporter.ask import run

    return run(path, url, timeout)


@cli.command(short_help="Find every fault of a configuration file, and give advice.")
@click.argument("config_file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--scrape-interval",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How often your Prometheus scrapes; the advice depends on it.",
)
def validate(config_file: Path, scrape_interval: float) -> int:
    """Find every fault of a configuration file, and give advice on what is allowed in it but rarely meant.

    \b
    health-exporter validate health.yml
    health.yml:3: checks[0].httpGet.port: is required

    \b
    Exit codes:
      0   valid, with or without advice
      2   a fault of the configuration or of the command line
    """
    from exporter.config.advice import advice

    config = _loaded(config_file)
    lines = [f"{each} (advice)" for each in advice(config, scrape_interval)]
    count = len(config.checks)
    say("\n".join([*lines, f"{config_file}: valid, {count} {'check' if count == 1 else 'checks'}"]), sys.stdout)
    return 0


@cli.command(short_help="Print the JSON Schema of the configuration file, for editors.")
def schema() -> int:
    """Print the JSON Schema of the configuration file, for editors.

    \b
    health-exporter schema > health.schema.json

    With the YAML language server, the first line of health.yml is then:

    \b
    # yaml-language-server: $schema=health.schema.json
    """
    from exporter.config.checks import schema as described

    say(json.dumps(described(), indent=2), sys.stdout)
    return 0


class _Refused(click.ClickException):
    """What the user has to know, without a word before it."""

    def show(self, file: Any = None) -> None:
        click.echo(self.message, file=file or sys.stderr)


def _loaded(path: Path | None) -> "Config":
    from exporter.config.checks import load
    from exporter.config.document import ConfigError

    try:
        return load(path)
    except ConfigError as error:
        raise _Refused(str(error)) from None


def _shard(name: str | None, count: int | None) -> "Shard":
    from exporter.evaluation.shard import Shard

    if (name is None) != (count is None):
        raise click.UsageError("--shard and --shards belong together: which one this is, and how many there are")
    try:
        return Shard.named(name, count) if name is not None and count is not None else Shard()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--shard'") from None


def _colour() -> bool:
    """Colour on a terminal that has it, unless NO_COLOR says otherwise (no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stdout is not None and sys.stdout.isatty()
