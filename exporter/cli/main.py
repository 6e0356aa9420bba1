"""The command line: arguments in, exit code out.

Each command is in a module of its own, which imports what it needs when it runs. Most of these modules is the text of
`--help`; what the commands do is elsewhere.
"""

import click

from exporter import __version__
from exporter.cli import ask, check, completion, explain, hold, kinds, manifests, replay, serve, validate

PROGRAM = "health-exporter"


class _InOrder(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        """List the commands in the order in which people use them, not alphabetically."""
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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


for _command in (
    serve.serve,
    check.check,
    ask.ask,
    explain.explain,
    hold.hold,
    replay.replay,
    validate.validate,
    manifests.inject,
    manifests.uninject,
    manifests.convert,
    validate.schema,
    kinds.print_kinds,
    completion.completion,
):
    cli.add_command(_command)
