"""`ask`: query the running exporter.

A plain `ask`, which runs every few seconds in exec probes, does not import this module (see `__main__`).
"""

from functools import partial

import click

from exporter.ask import ENDPOINTS, MAX_TIMEOUT, TIMEOUT, Access
from exporter.cli.connection import take_access, take_url
from exporter.cli.parts import Seconds, option

_option = partial(option, command="ask")


@click.command(short_help="Query the running exporter, for exec probes and scripts.")
@click.argument("path", metavar=f"{{{'|'.join(ENDPOINTS)}}}", type=click.Choice(list(ENDPOINTS)))
@take_url(TIMEOUT)
@_option(
    "--wait",
    type=Seconds(min=0, max=MAX_TIMEOUT),
    default=0,
    metavar="SECONDS",
    help="Time limit for repeating the request until the verdict is healthy. Default: one request.",
)
@take_access
@_option("--verbose", "-v", is_flag=True, help="Print every check, with the message of its latest run.")
def ask(
    path: str,
    url: str,
    timeout: float,
    wait: float,
    access: Access,
    verbose: bool,
) -> int:
    """Query the running exporter: for exec probes, scripts and Docker's HEALTHCHECK.

    Prints the verdict and the checks that decided it. `exporter` queries the health of the exporter itself,
    regardless of its checks, and prints which configuration it runs.

    \b
    health-exporter ask livez
    health-exporter ask readyz -v
    health-exporter ask readyz --url http://10.1.2.3:4584 --timeout 3
    health-exporter ask readyz --wait 60s
    health-exporter ask exporter --url https://health.example:4584 --ca-file ca.pem

    An option takes precedence over its environment variable.

    \b
    Exit codes:
      0   healthy
      1   not healthy
      3   no valid response (no connection, no response in time, not a health exporter),
          or invalid command line
    """
    from exporter.ask import run

    return run(path, url, timeout, wait, access, verbose)
