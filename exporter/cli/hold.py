"""`hold`: suspend restarts for a limited time."""

import sys

import click

from exporter.ask import Access, AskError, request
from exporter.cli.connection import PATIENCE, take_access, take_url
from exporter.cli.parts import Refused, Seconds
from exporter.console import echo
from exporter.exitcodes import COULD_NOT_ASK


@click.command(short_help="Suspend restarts for a limited time, to debug.")
@click.argument("group", metavar="liveness", type=click.Choice(["liveness"]))
@click.option(
    "--for",
    "seconds",
    type=Seconds(min=0, min_open=True),
    metavar="DURATION",
    help="Time until the hold expires, such as 15m. At most 1h in total.",
)
@click.option("--why", metavar="TEXT", help="Reason for the hold, which everyone sees. At most 200 characters.")
@click.option("--end", is_flag=True, help="End the hold now.")
@take_url(PATIENCE)
@take_access
def hold(
    group: str,  # noqa: ARG001  # there is only one that can be held
    seconds: float | None,
    why: str | None,
    end: bool,
    url: str,
    timeout: float,
    access: Access,
) -> int:
    """Suspend restarts by liveness: until the hold expires, /livez returns 200, whatever its checks say.

    The checks run on, and /readyz still removes an unhealthy pod from its Service. The status page, the log, the
    metrics, an alert and `ask livez` show the hold and its reason. It expires by itself, and it ends if the exporter
    restarts. Repeat the command for more time, up to one hour in total. The exporter must run with --web.enable-hold.

    \b
    health-exporter hold liveness --for 15m --why "debugging a deadlock"
    health-exporter hold liveness --end

    The options of the connection are those of `ask`, with the same environment variables.

    \b
    Exit codes:
      0   restarts are suspended; with --end, they are not
      2   invalid command line, or the exporter has refused the hold
      3   no valid response (no connection, no response in time, not a health exporter)
    """
    from urllib.parse import urlencode

    if end and (seconds or why):
        raise click.UsageError("give either --end, or --for and --why")
    if not end and (seconds is None or not why):
        raise click.UsageError("give --for and --why, such as --for 15m --why debugging")
    query = "end" if end else urlencode({"for": seconds, "why": why})
    try:
        address, (status, head, body) = request("-/hold", url, timeout, access, query, "POST")
    except AskError as error:
        echo(str(error), sys.stderr)
        return COULD_NOT_ASK
    if b"\nhealth-generation:" not in head.lower():
        echo(f"{address} did not respond like a health exporter", sys.stderr)
        return COULD_NOT_ASK
    text = body.decode("utf-8", "replace").strip()
    if status != 200:
        known = "use a web listener in --url; a listener for probes and an earlier version cannot suspend restarts"
        raise Refused(f"{address} returned {status}: {known if status == 404 else text}")
    echo(text, sys.stdout)
    return 0
