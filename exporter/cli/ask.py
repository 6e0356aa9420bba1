"""`ask`: query the running exporter.

A plain `ask`, which runs every few seconds in exec probes, does not import this module (see `__main__`).
"""

from functools import partial

import click

from exporter.ask import ENDPOINTS, MAX_TIMEOUT, TIMEOUT, URL
from exporter.cli.parts import Seconds, complete_files, option

ask_option = partial(option, command="ask")


@click.command(short_help="Query the running exporter, for exec probes and scripts.")
@click.argument("path", metavar=f"{{{'|'.join(ENDPOINTS)}}}", type=click.Choice(list(ENDPOINTS)))
@ask_option("--url", default=URL, show_default=True, metavar="URL", help="URL of the exporter.")
@ask_option(
    "--timeout",
    type=Seconds(min=0, min_open=True, max=MAX_TIMEOUT),
    default=TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="Time limit for the whole request, name resolution included.",
)
@ask_option(
    "--wait",
    type=Seconds(min=0, max=MAX_TIMEOUT),
    default=0,
    metavar="SECONDS",
    help="Time limit for repeating the request until the verdict is healthy. Default: one request.",
)
@ask_option(
    "--ca-file", default="", metavar="FILE", shell_complete=complete_files, help="Trust the CAs in this PEM file."
)
@ask_option("--insecure", is_flag=True, help="Accept any certificate.")
@ask_option("--username", default="", metavar="NAME", help="User to authenticate as.")
@ask_option(
    "--password-file",
    default="",
    metavar="FILE",
    shell_complete=complete_files,
    help="File that contains the password.",
)
@ask_option("--verbose", "-v", is_flag=True, help="Print every check, with the message of its latest run.")
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
    from exporter.ask import Access, run

    return run(path, url, timeout, wait, Access(ca_file, insecure, username, password_file), verbose)
