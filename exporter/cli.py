"""The command line: arguments in, exit code out.

Each command imports what it needs when it runs. A plain `ask`, which runs every few seconds in exec probes, does not
import this module at all (see `__main__`). The file is long because most of it is the text of `--help`; what the
commands do is elsewhere.
"""

import json
import math
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from exporter import __version__
from exporter.addresses import DEFAULT_ADDRESS
from exporter.ask import ENDPOINTS, ENVIRONMENT, MAX_TIMEOUT, TIMEOUT, URL
from exporter.console import echo
from exporter.keeper.arguments import FORMS, LEVELS
from exporter.model import Group

if TYPE_CHECKING:
    from exporter.config.checks import Config
    from exporter.evaluation.shard import Shard
    from exporter.keeper.link import Link
    from exporter.manifests.conversion import Conversion

_F = TypeVar("_F", bound=Callable[..., Any])

MAX_SHARDS = 1000  # at the start, the exporter computes a hash for every check and shard


class _File(click.Path):
    """The path of a file. click.Path itself calls the system on it, which blocks forever if the mount is dead."""

    def convert(self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None) -> Path:
        return Path(value)


class _Seconds(click.FloatRange):
    """A finite number. click's ranges accept `nan`, and `inf` if they have no maximum."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number of seconds.", param, ctx)
        return number


class _Size(click.ParamType[int]):
    """A number of bytes in the units of Prometheus: powers of 1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"([1-9][0-9]{0,5})(MB|GB)", str(value))
        if match is None:
            self.fail(f"{value} is not a size, such as 32MB or 1GB.", param, ctx)
        return int(match[1]) * {"MB": 2**20, "GB": 2**30}[match[2]]


_config_file = click.option(
    "--config.file",
    "config_file",
    type=_File(),
    metavar="FILE",
    help="Configuration file. Default: checks of this machine's load average, memory and disk.",
)


def _ask_option(name: str, *names: str, **options: Any) -> Callable[[_F], _F]:
    """Return an option of `ask`, with its environment variable."""
    return click.option(name, *names, envvar=f"{ENVIRONMENT}_{name[2:].replace('-', '_').upper()}", **options)


class _InOrder(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        """List the commands in the order in which people use them, not alphabetically."""
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="health-exporter")
def cli() -> None:
    """Run health checks and serve the results to Kubernetes probes and Prometheus.

    \b
    health-exporter serve                             watch this machine, on port 4584
    health-exporter serve --config.file health.yml    run the checks in the file
    health-exporter check --config.file health.yml    run every check once, now
    health-exporter ask livez                         query the running exporter
    health-exporter validate health.yml               find errors and probable mistakes
    health-exporter inject web.yaml                   add the exporter to a Kubernetes manifest

    A configuration is a list of Kubernetes probes with names:

    \b
    checks:
      - name: api
        httpGet: {path: /health, port: 8080}
        groups: [liveness, readiness, startup]
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
    help="Address for metrics, probes and the status page. Can be repeated.",
)
@click.option(
    "--probe.listen-address",
    "probe_addresses",
    multiple=True,
    metavar="HOST:PORT",
    help="Additional address for probes and /-/healthy only, without TLS and passwords. Can be repeated.",
)
@click.option(
    "--web.config.file",
    "web_config_file",
    type=_File(),
    metavar="FILE",
    help="TLS, passwords and client certificates, in the format of the Prometheus exporter-toolkit.",
)
@click.option(
    "--history.file",
    "history_file",
    type=_File(),
    metavar="FILE",
    help="File for the history of runs and responses, which then survives a restart of the exporter.",
)
@click.option(
    "--history.size",
    "history_size",
    type=_Size(),
    default="64MB",
    show_default=True,
    metavar="SIZE",
    help="Maximum size of the history on disk, in MB or GB.",
)
@click.option(
    "--shard",
    metavar="NUMBER|POD",
    help="This exporter's shard: a number from 0, or the name of a StatefulSet's pod.",
)
@click.option(
    "--shards",
    type=click.IntRange(min=1, max=MAX_SHARDS),
    metavar="COUNT",
    help="Number of exporters that share the configuration. Each runs only its shard of the checks.",
)
@click.option("--web.enable-lifecycle", "lifecycle", is_flag=True, help="Allow reloads by POST /-/reload.")
@click.option(
    "--config.strict", "strict", is_flag=True, help="Exit with code 2 if the configuration is invalid at start."
)
@click.option(
    "--shutdown-delay",
    type=_Seconds(min=0),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="Time to keep serving after SIGTERM, while /readyz returns 503.",
)
@click.option(
    "--log.level",
    "level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    help="Lowest level to log.",
)
@click.option(
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
    config_file: Path | None,
    web_addresses: Sequence[str],
    probe_addresses: Sequence[str],
    web_config_file: Path | None,
    history_file: Path | None,
    history_size: int,
    shard: str | None,
    shards: int | None,
    lifecycle: bool,
    strict: bool,
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
    /                                   a page for people, and /check/NAME with the history of a check
    /events                             what has happened: transitions, responses of 503, reloads

    SIGHUP, or a change of the file, reloads the configuration. An invalid file is rejected, and the running
    configuration stays. If the file is invalid at the start, /livez and /-/healthy return 200, and /readyz, /startupz,
    /healthz and /-/ready return 503, until the file is valid. After SIGTERM, /readyz returns 503, and the exporter
    keeps serving for the shutdown delay.

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

    writer = log.start(level, form)
    try:
        share = _parse_shard(shard, shards)
        exporter = Exporter(
            socket.gethostname(),
            config_file,
            share,
            web_config_file,
            link,
            lifecycle=lifecycle,
            strict=strict,
            history_file=history_file,
            history_size=history_size,
        )
        exporter.serve(web_addresses, probe_addresses, shutdown_delay)
    except (ConfigError, ListenError, PoolError) as error:
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

    checks = [check for check in _load(config_file).checks if check.spec.belongs_to(Group(group))]
    known = [check.spec.name for check in checks]
    if unknown := sorted(set(names) - set(known)):
        of_group = "" if group == Group.ALL else f" in the group {group}"
        raise _Refused(f"no such check{of_group}: {', '.join(unknown)}; the checks are: {', '.join(known) or '(none)'}")
    try:
        snapshot = run_all([check for check in checks if not names or check.spec.name in names])
    except PoolError as error:
        raise _Refused(str(error)) from None
    verdict = judge(snapshot, Group(group))
    text = (
        report.render_json(snapshot, verdict)
        if form == "json"
        else report.render_text(snapshot, verdict, color=_use_color())
    )
    echo(text, sys.stdout)
    return 0 if verdict.up else 1


@cli.command(short_help="Query the running exporter, for exec probes and scripts.")
@click.argument("path", metavar=f"{{{'|'.join(ENDPOINTS)}}}", type=click.Choice(list(ENDPOINTS)))
@_ask_option("--url", default=URL, show_default=True, metavar="URL", help="URL of the exporter.")
@_ask_option(
    "--timeout",
    type=_Seconds(min=0, min_open=True, max=MAX_TIMEOUT),
    default=TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="Time limit for the whole request, name resolution included.",
)
@_ask_option(
    "--wait",
    type=_Seconds(min=0, max=MAX_TIMEOUT),
    default=0,
    metavar="SECONDS",
    help="Time limit for repeating the request until the verdict is healthy. Default: one request.",
)
@_ask_option("--ca-file", default="", metavar="FILE", help="Trust the CAs in this PEM file.")
@_ask_option("--insecure", is_flag=True, help="Accept any certificate.")
@_ask_option("--username", default="", metavar="NAME", help="User to authenticate as.")
@_ask_option("--password-file", default="", metavar="FILE", help="File that contains the password.")
@_ask_option("--verbose", "-v", is_flag=True, help="Print every check, with the message of its latest run.")
def ask(
    path: str,
    url: str,
    timeout: float,
    wait: float,
    ca_file: str,
    insecure: bool,
    username: str,
    password_file: str,
    verbose: bool,
) -> int:
    """Query the running exporter: for exec probes, scripts and Docker's HEALTHCHECK.

    Prints the verdict and the checks that decided it. `exporter` queries the health of the exporter itself,
    regardless of its checks, and prints which configuration it runs.

    \b
    health-exporter ask livez
    health-exporter ask readyz -v
    health-exporter ask readyz --url http://10.1.2.3:4584 --timeout 3
    health-exporter ask readyz --wait 60
    health-exporter ask exporter --url https://health.example:4584 --ca-file ca.pem

    Each option has an environment variable, for example HEALTH_EXPORTER_ASK_CA_FILE for --ca-file. The option takes
    precedence.

    \b
    Exit codes:
      0   healthy
      1   not healthy
      3   no valid response (no connection, no response in time, not a health exporter),
          or invalid command line
    """
    from exporter.ask import Access, run

    return run(path, url, timeout, wait, Access(ca_file, insecure, username, password_file), verbose)


@cli.command(short_help="Find every error in a configuration file, and give advice.")
@click.argument("config_file", type=_File(), metavar="FILE")
@click.option(
    "--scrape-interval",
    type=_Seconds(min=0),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Your Prometheus' scrape interval; some advice depends on it.",
)
def validate(config_file: Path, scrape_interval: float) -> int:
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

    config = _load(config_file, AssumedEnvironment(os.environ))
    lines = [f"{complaint} (advice)" for complaint in give_advice(config, scrape_interval)]
    count = len(config.checks)
    echo(
        "\n".join([*lines, f"{config.document.source}: valid, {count} {'check' if count == 1 else 'checks'}"]),
        sys.stdout,
    )
    return 0


_manifest = click.argument("manifest", type=_File(), metavar="[FILE|-]", default="-")
_container = click.option(
    "--container",
    "containers",
    multiple=True,
    metavar="NAME",
    help="Container to watch. Can be repeated: the first that a pod has counts. Default: the annotation "
    "kubectl.kubernetes.io/default-container, or the only one.",
)


@cli.command(short_help="Add the exporter to the workloads of a Kubernetes manifest.")
@_manifest
@_container
@click.option(
    "--config.file",
    "config_file",
    type=_File(),
    metavar="FILE",
    help="Configuration with the application's checks. Default: the probes of the container become checks.",
)
@click.option(
    "--image",
    default="",
    metavar="IMAGE",
    help=f"Image of the exporter, with your registry. Default: the present one, or health-exporter:{__version__}.",
)
@click.option("--native", is_flag=True, help="Add a native sidecar, an init container; requires Kubernetes 1.29.")
def inject(manifest: Path, containers: Sequence[str], config_file: Path | None, image: str, native: bool) -> int:
    """Add the exporter to the workloads of a Kubernetes manifest, and print the result.

    \b
    health-exporter inject web.yaml --image registry.example/health-exporter:0.1.0 > web-health.yaml
    kubectl get deployment web -o yaml |
      health-exporter inject --image registry.example/health-exporter:0.1.0 |
      kubectl apply -f -
    helm template web ./chart |
      health-exporter inject --image registry.example/health-exporter:0.1.0 |
      kubectl apply -f -

    The probes of the container become checks, in a ConfigMap. The container's new probes query the exporter, which
    runs in a container of its own. A restart takes about as long as before; the notes on standard error show the times.
    The other objects of the file stay as they are, only comments are lost. The kinds of workloads are Deployment,
    StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob and Pod.

    An exec probe runs in the application's container, so it stays. With --config.file, your own checks replace the
    probes of the groups that they are in.

    A second inject has no further effect, except to update what the first one has added. It keeps the image, and what
    you have added to the exporter's container: resources, variables and mounts. `uninject` restores the original.

    \b
    Exit codes:
      0   the manifest with the exporter is on standard output
      2   invalid manifest, configuration or command line
    """
    from exporter.manifests.inject import Settings
    from exporter.manifests.inject import inject as inject_exporter

    given = Settings(containers, image, native, _read(config_file) if config_file else None)
    return _print_conversion(manifest, lambda content, source: inject_exporter(content, source, given))


@cli.command(short_help="Undo inject.")
@_manifest
def uninject(manifest: Path) -> int:
    """Remove what `inject` has added to a Kubernetes manifest, restore its probes, and print the result.

    \b
    kubectl get deployment web -o yaml | health-exporter uninject | kubectl apply -f -

    The ConfigMap stays in the cluster; a note on standard error has the command that deletes it.

    \b
    Exit codes:
      0   the original manifest is on standard output
      2   invalid manifest or command line, or nothing to undo
    """
    from exporter.manifests.inject import uninject as remove_exporter

    return _print_conversion(manifest, remove_exporter)


@cli.command(short_help="Convert probes of a manifest, or modules of blackbox_exporter.")
@click.argument("source", type=_File(), metavar="[FILE|-]", default="-")
@_container
@click.option(
    "--prometheus.config",
    "scrapes",
    type=_File(),
    metavar="FILE",
    help="Configuration of Prometheus, for the targets of its static_configs.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="[MODULE=]TARGET",
    help="Target of a module. Can be repeated. Without MODULE, the only one in the file, or http_2xx.",
)
def convert(source: Path, containers: Sequence[str], scrapes: Path | None, targets: Sequence[str]) -> int:
    """Print the configuration that replaces the probes of a Kubernetes manifest, or modules of blackbox_exporter.

    \b
    kubectl get deployment web -o yaml | health-exporter convert > health.yml
    health-exporter convert web.yaml --container web
    health-exporter convert blackbox.yml --prometheus.config prometheus.yml
    health-exporter convert blackbox.yml --target http_2xx=https://shop.example/

    Notes on standard error list what is left out or changed. Secrets are not copied from modules.

    \b
    Exit codes:
      0   the configuration is on standard output
      2   invalid file or command line, or nothing to convert
    """
    from exporter.manifests.convert import convert as convert_file

    prometheus = _read(scrapes) if scrapes else None
    return _print_conversion(source, lambda content, name: convert_file(content, name, containers, prometheus, targets))


@cli.command(short_help="Print the JSON Schema of the configuration file, for editors.")
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
        raise _Refused(str(error)) from None
    return 0


class _Refused(click.ClickException):
    """An error whose message is printed as it is, without a prefix."""

    def show(self, file: Any = None) -> None:
        click.echo(self.message, file=file or sys.stderr)


def _print_conversion(path: Path, convert: "Callable[[bytes, str], Conversion]") -> int:
    """Print the conversion of a file or of standard input, and the notes about it on standard error."""
    from exporter.config.complaint import ConfigError

    source, content = _read(path)
    try:
        conversion = convert(content, source)
    except ConfigError as error:
        raise _Refused(str(error)) from None
    for note in conversion.notes:
        echo(str(note), sys.stderr)
    try:
        sys.stdout.buffer.write(conversion.text.encode())  # UTF-8, whatever the locale
        sys.stdout.flush()
    except OSError as error:
        raise _Refused(f"the result could not be written: {error.strerror}") from None
    return 0


def _read(path: Path) -> tuple[str, bytes]:
    """Return the name and the content of a file; of standard input for `-`. If it is too large, one byte too many."""
    from exporter.manifests.workloads import MAX_BYTES

    if str(path) != "-":
        try:
            with path.open("rb") as file:
                return str(path), file.read(MAX_BYTES + 1)
        except OSError as error:
            raise _Refused(f"{path}: cannot be read: {error.strerror}") from None
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("give a FILE, or pipe one, for example: kubectl get deployment NAME -o yaml | ...")
    return "stdin", sys.stdin.buffer.read(MAX_BYTES + 1)


def _load(path: Path | None, environment: "Mapping[str, str] | None" = None) -> "Config":
    from exporter.config.checks import load
    from exporter.config.complaint import ConfigError

    try:
        if path is not None and str(path) == "-":
            name, content = _read(path)
            return load(Path(name), content, environment)
        return load(path, environment=environment)
    except ConfigError as error:
        raise _Refused(str(error)) from None


def _parse_shard(name: str | None, count: int | None) -> "Shard":
    from exporter.evaluation.shard import Shard

    if (name is None) != (count is None):
        raise click.UsageError("give both --shard and --shards, or neither")
    try:
        return Shard.parse(name, count) if name is not None and count is not None else Shard()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--shard'") from None


def _use_color() -> bool:
    """Return whether to use color: on a terminal that supports it, unless NO_COLOR is set (no-color.org)."""
    allowed = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return allowed and sys.stdout is not None and sys.stdout.isatty()
