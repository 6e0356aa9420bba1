"""The command line: arguments in, exit code out.

Each command is in a module of its own, which is imported with the command and imports what it needs when it runs. Most
of these modules is the text of `--help`; what the commands do is elsewhere.
"""

from importlib import import_module

import click

from exporter import __version__

PROGRAM = "health-exporter"

_MODULES = {
    "serve": "serve:serve",
    "check": "check:check",
    "ask": "ask:ask",
    "explain": "explain:explain",
    "hold": "hold:hold",
    "replay": "replay:replay",
    "validate": "validate:validate",
    "inject": "manifests:inject",
    "uninject": "manifests:uninject",
    "convert": "manifests:convert",
    "schema": "validate:schema",
    "kinds": "kinds:print_kinds",
    "completion": "completion:completion",
}
"""The commands, in the order in which people use them: the module of each, and its name there."""


class _Commands(click.Group):
    """Imports the module of a command when the command is needed, so that `serve` does not pay for the others."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """List the commands in the order in which people use them, not alphabetically."""
        return list(_MODULES)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command with this name, or None."""
        if cmd_name not in _MODULES:
            return None
        module, _, attribute = _MODULES[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"exporter.cli.{module}"), attribute)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Run health checks and serve the results to Kubernetes probes and Prometheus.

    \b
    health-exporter serve health.yml            run the checks in the file, on port 4584
    health-exporter serve                       the same for checks of this machine
    health-exporter check health.yml            run every check once, now
    health-exporter ask livez                   query the running exporter
    health-exporter explain --since 8h          show what has happened, and why
    health-exporter validate health.yml         find errors and probable mistakes
    health-exporter inject web.yaml             add the exporter to a Kubernetes manifest
    health-exporter kinds httpGet               print the options of a kind of check

    A configuration is a list of Kubernetes probes with names:

    \b
    checks:
      - name: api
        httpGet: {path: /health, port: 8080}
        groups: [liveness, readiness, startup]
    """
