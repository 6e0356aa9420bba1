"""`serve`: run the checks on their schedule and serve their results."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.addresses import DEFAULT_ADDRESS
from exporter.cli.parts import STDIN, File, Refused, Seconds, Size, option, take_config_file
from exporter.keeper.arguments import FORMS, LEVELS

if TYPE_CHECKING:
    from exporter.evaluation.shard import Shard
    from exporter.keeper.link import Link

MAX_SHARDS = 1000  # at the start, the exporter computes a hash for every check and shard


@click.command(short_help="Run the checks and serve their results.")
@take_config_file
@option(
    "--web.listen-address",
    "web_addresses",
    multiple=True,
    default=[DEFAULT_ADDRESS],
    show_default=True,
    metavar="HOST:PORT",
    help="Address for metrics, probes and the status page. Can be repeated.",
)
@option(
    "--probe.listen-address",
    "probe_addresses",
    multiple=True,
    metavar="HOST:PORT",
    help="Additional address for probes and /-/healthy only, without TLS and passwords. Can be repeated.",
)
@option(
    "--web.config.file",
    "web_config_file",
    type=File(),
    metavar="FILE",
    help="TLS, passwords and client certificates, in the format of the Prometheus exporter-toolkit.",
)
@option(
    "--history.file",
    "history_file",
    type=File(),
    metavar="FILE",
    help="File for the history of runs and responses, which then survives a restart of the exporter.",
)
@option(
    "--history.size",
    "history_size",
    type=Size(),
    default="64MB",
    show_default=True,
    metavar="SIZE",
    help="Maximum size of the history on disk, in MB or GB.",
)
@option(
    "--shard",
    metavar="NUMBER|POD",
    help="This exporter's shard: a number from 0, or the name of a StatefulSet's pod.",
)
@option(
    "--shards",
    type=click.IntRange(min=1, max=MAX_SHARDS),
    metavar="COUNT",
    help="Number of exporters that share the configuration. Each runs only its shard of the checks.",
)
@option("--web.enable-lifecycle", "lifecycle", is_flag=True, help="Allow reloads by POST /-/reload.")
@option(
    "--web.enable-hold",
    "holds",
    is_flag=True,
    help="Allow everyone who can use the web listeners to suspend restarts: see `hold`.",
)
@option("--config.strict", "strict", is_flag=True, help="Exit with code 2 if the configuration is invalid at start.")
@option(
    "--shutdown-delay",
    type=Seconds(min=0),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="Time to keep serving after SIGTERM, while /readyz returns 503.",
)
@option(
    "--log.level",
    "level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    help="Lowest level to log.",
)
@option(
    "--log.format",
    "form",
    type=click.Choice(FORMS),
    default="logfmt",
    show_default=True,
    help="Format of the log on standard output.",
)
@click.pass_obj
def serve(
    link: "Link | None",
    config_files: Sequence[Path],
    web_addresses: Sequence[str],
    probe_addresses: Sequence[str],
    web_config_file: Path | None,
    history_file: Path | None,
    history_size: int,
    shard: str | None,
    shards: int | None,
    lifecycle: bool,
    holds: bool,
    strict: bool,
    shutdown_delay: float,
    level: str,
    form: str,
) -> int:
    """Run the checks on their schedule and serve their results until SIGTERM.

    \b
    health-exporter serve
    health-exporter serve health.yml --web.listen-address 127.0.0.1:4584
    health-exporter serve --config.file health.yml --config.file conf.d
    health-exporter serve health.yml --shard "$HOSTNAME" --shards 3

    Without a configuration file, the checks watch this machine's load average, memory and disk.

    \b
    /livez /readyz /startupz /healthz   200 or 503, for Kubernetes probes
    /metrics                            for Prometheus
    /                                   a page for people, and /check/NAME with the history of a check
    /events                             what has happened: transitions, responses of 503, reloads

    Several files are one configuration. A folder stands for its *.yml and *.yaml files. SIGHUP, or a change of a file,
    reloads the configuration. If a file is invalid, all are rejected, and the running configuration stays. If a file is
    invalid at the start, /livez and /-/healthy return 200, and /readyz, /startupz, /healthz and /-/ready return 503,
    until all are valid. After SIGTERM, /readyz returns 503, and the exporter keeps serving for the shutdown delay. An
    option takes precedence over its environment variable.

    \b
    Exit codes:
      0   after SIGTERM or SIGINT
      2   invalid address, option or web configuration, or an internal error at the start;
          with --config.strict, also an invalid configuration
      130 after SIGINT before the exporter serves
    """
    from exporter import log
    from exporter.addresses import ListenError
    from exporter.assembly import Exporter
    from exporter.config.complaint import ConfigError
    from exporter.evaluation.schedule import PoolError

    if STDIN in config_files:
        raise click.UsageError("the configuration cannot be standard input, because it is read again at each reload")
    writer = log.start(level, form)
    try:
        share = _parse_shard(shard, shards)
        exporter = Exporter(
            socket.gethostname(),
            config_files,
            share,
            web_config_file,
            link,
            lifecycle=lifecycle,
            holds=holds,
            strict=strict,
            history_file=history_file,
            history_size=history_size,
        )
        exporter.serve(web_addresses or [DEFAULT_ADDRESS], probe_addresses, shutdown_delay)
    except (ConfigError, ListenError, PoolError) as error:
        raise Refused(str(error)) from None
    writer.close()
    return 0


def _parse_shard(name: str | None, count: int | None) -> "Shard":
    from exporter.evaluation.shard import Shard

    if (name is None) != (count is None):
        raise click.UsageError("give both --shard and --shards, or neither")
    try:
        return Shard.parse(name, count) if name is not None and count is not None else Shard()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--shard' (env var: 'HEALTH_EXPORTER_SHARD')") from None
