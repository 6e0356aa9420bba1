"""The command line: arguments in, exit code out. The only file that builds every part.

The parts are imported where a command needs them: `ask` runs in an exec probe every few seconds and needs almost none.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import click

from exporter import __version__
from exporter.model import Group, Vitals

if TYPE_CHECKING:
    from exporter.check import Check
    from exporter.config import Config
    from exporter.model import Snapshot

DEFAULT_ADDRESS = ":4584"  # H-L-T-H on a keypad
CHECKERS = 32  # checks that `check` runs at the same time
AFTERTHOUGHT = 1.0  # seconds that `check` waits beyond the longest timeout

_config_file = click.option(
    "--config.file",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file. Without it: this machine's load average, memory and disk.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="health-exporter")
def cli() -> None:
    """Run health checks and answer Kubernetes probes and Prometheus from one evaluation.

    \b
    health-exporter serve                                   watch this machine, on port 4584
    health-exporter serve --config.file health.yml          watch what the file says
    health-exporter check --config.file health.yml          run every check once, now
    health-exporter ask livez                               ask the running exporter
    health-exporter validate health.yml                     find what is wrong, and what is unwise

    A configuration is a list of Kubernetes probes with names:

    \b
    checks:
      - name: api
        httpGet: {path: /health, port: 8080}
        groups: [liveness, readiness]
    """


@cli.command()
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
    "--log.level", "level", type=click.Choice(["debug", "info", "warn", "error"]), default="info", show_default=True
)
@click.option("--log.format", "form", type=click.Choice(["logfmt", "json"]), default="logfmt", show_default=True)
def serve(
    config_file: Path | None,
    web_addresses: Sequence[str],
    probe_addresses: Sequence[str],
    web_config_file: Path | None,
    lifecycle: bool,
    shutdown_delay: float,
    level: str,
    form: str,
) -> int:
    """Run the checks and serve their results until SIGTERM.

    SIGHUP, or a change of the file, reloads the configuration; a bad one changes nothing. SIGTERM turns readiness off,
    waits for the shutdown delay and exits with 0. A configuration or address that cannot be used exits with 2.
    """
    from dataclasses import replace

    from exporter import config, log, web, web_config
    from exporter import serve as serving
    from exporter.document import ConfigError
    from exporter.schedule import Schedule
    from exporter.store import Store

    first = _loaded(config_file)
    try:
        guard = web_config.load(web_config_file) if web_config_file else web_config.WebConfig()
        web_sockets = [serving.listen(address) for address in web_addresses]
        probe_sockets = [serving.listen(address) for address in probe_addresses]
    except (ConfigError, serving.ListenError) as error:
        raise _Refused(str(error)) from None
    writer = log.start(level, form)
    store, answers = Store(), web.Answers()
    schedule = Schedule(store)

    def apply(loaded: config.Config) -> int:
        schedule.replace(store.configure(loaded.checks))
        return len(loaded.checks)

    def vitals() -> Vitals:
        return replace(schedule.vitals(), reload_ok=reloader.ok, reload_time=reloader.time)

    def tick() -> None:
        store.snapshot()  # notices what has gone stale, should nobody ask
        if rotation:
            rotation.poll()

    reloader = serving.Reloader(config_file, lambda: apply(config.load(config_file)))
    rotation = guard.tls_server_config and web_config.Rotation(guard.tls_server_config)
    users = guard.basic_auth_users and web_config.Users(guard.basic_auth_users).authorize
    app = web.create_app(store, answers, vitals, reloader.reload if lifecycle else None, users or None)
    listeners = [serving.Listener(web_sockets, app, rotation.context if rotation else None)]
    if probe_sockets:
        listeners.append(serving.Listener(probe_sockets, web.probe_app(store, answers)))
    apply(first)
    serving.serve(listeners, reloader=reloader, tick=tick, drain=store.drain, shutdown_delay=shutdown_delay)
    schedule.stop()
    writer.close()
    return 0


@cli.command()
@_config_file
@click.option(
    "--group", type=click.Choice([*Group]), default=Group.ALL, show_default=True, help="Only this group's checks."
)
@click.option("--name", "names", multiple=True, metavar="NAME", help="Only the check of this name. May be repeated.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check(config_file: Path | None, group: str, names: Sequence[str], form: str) -> int:
    """Run every check once, now, and report.

    One run decides: thresholds count runs, and here there is one. Exits with 0 if all is healthy, with 1 if not, and
    with 2 if it could not be found out.
    """
    from exporter.judge import judge
    from exporter.render import report

    checks = [each for each in _loaded(config_file).checks if each.spec.belongs_to(Group(group))]
    unknown = sorted(set(names) - {each.spec.name for each in checks})
    if unknown:
        raise _Refused(f"no such check: {', '.join(unknown)}; there are: {', '.join(c.spec.name for c in checks)}")
    snapshot = _look([each for each in checks if not names or each.spec.name in names])
    verdict = judge(snapshot, Group(group))
    _say(report.as_json(snapshot, verdict) if form == "json" else report.text(snapshot, colour=_colour()))
    return 0 if verdict.up else 1


@cli.command()
@click.argument(
    "path", metavar="[livez|readyz|startupz|healthz]", type=click.Choice(["livez", "readyz", "startupz", "healthz"])
)
@click.option("--url", default="http://127.0.0.1:4584", show_default=True, help="Where the exporter is.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=1, show_default=True, metavar="SECONDS")
def ask(path: str, url: str, timeout: float) -> int:
    """Ask the running exporter, as an exec probe, a script or a Docker HEALTHCHECK does.

    Exits with 0 for yes, with 1 for no, and with 3 if it could not be asked. Prints the checks that made it so.
    """
    from exporter.ask import AskError, answer

    try:
        yes, lines = answer(url, path, timeout)
    except AskError as error:
        raise _Refused(str(error)) from None
    _say("\n".join(lines))
    return 0 if yes else 1


@cli.command()
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
    """Find every fault of a configuration file, and what is allowed in it but rarely meant.

    Exits with 2 if there is a fault, and with 0 otherwise, advice or not.
    """
    from exporter.config import advice

    config = _loaded(config_file)
    lines = [f"{each} (advice)" for each in advice(config, scrape_interval)]
    count = len(config.checks)
    _say("\n".join([*lines, f"{config_file}: valid, {count} {'check' if count == 1 else 'checks'}"]))
    return 0


@cli.command()
def schema() -> int:
    """Print the JSON Schema of the configuration file, for editors."""
    from exporter.config import schema as described

    _say(json.dumps(described(), indent=2))
    return 0


class _Refused(click.ClickException):
    """What the user has to know, without a word before it."""

    def show(self, file: Any = None) -> None:
        click.echo(self.message, file=file or sys.stderr)


def _loaded(path: Path | None) -> "Config":
    from exporter.config import load
    from exporter.document import ConfigError

    try:
        return load(path)
    except ConfigError as error:
        raise _Refused(str(error)) from None


def _look(checks: "Sequence[Check]") -> "Snapshot":
    """One run of each check, in the same store that `serve` uses; a check that outlasts its timeout stays unknown."""
    from dataclasses import replace

    from exporter.check import Check
    from exporter.run import run
    from exporter.store import Store

    store = Store()
    once = [Check(replace(each.spec, success_threshold=1, failure_threshold=1), each.probe) for each in checks]
    waiting: SimpleQueue[Check] = SimpleQueue()
    for each in store.configure(once):
        waiting.put(each)

    def work() -> None:
        with contextlib.suppress(Empty):
            while True:
                each = waiting.get_nowait()
                store.record(each, run(each))

    # Daemons: a probe that breaks its promise and outlasts its timeout must not keep the report from being given.
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(CHECKERS, len(once)))]
    for worker in workers:
        worker.start()
    rounds = -(-len(once) // CHECKERS)
    until = time.monotonic() + rounds * max((each.spec.timeout for each in once), default=0) + AFTERTHOUGHT
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
    return store.snapshot()


def _say(text: str) -> None:
    """Print, and go on when nobody reads: the exit code is the answer."""
    try:
        click.echo(text)
    except OSError as error:
        click.echo(f"the report could not be written: {error.strerror}", err=True)


def _colour() -> bool:
    """Colour on a terminal, unless NO_COLOR says otherwise."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
