"""`explain`: show what has happened, in sentences."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.ask import Access, AskError, request
from exporter.cli.connection import PATIENCE, take_access, take_url
from exporter.cli.parts import File, Refused
from exporter.console import echo
from exporter.exitcodes import COULD_NOT_ASK

if TYPE_CHECKING:
    from exporter.render.story.chronicle import Chronicle


@click.command(short_help="Show what has happened and why, in sentences.")
@click.option(
    "--since",
    default="1h",
    show_default=True,
    metavar="TIME",
    help="Begin of the story: a time such as 2026-03-01T03:00:00Z, or a duration before its end.",
)
@click.option("--check", metavar="NAME", help="Show only what concerns this check.")
@click.option(
    "--history.file",
    "history_file",
    type=File(),
    metavar="FILE",
    help="Read this file, which `serve --history.file` has written, instead of asking an exporter.",
)
@take_url(PATIENCE)
@take_access
def explain(
    since: str,
    check: str | None,
    history_file: Path | None,
    url: str,
    timeout: float,
    access: Access,
) -> int:
    """Show what has happened, in sentences with times in UTC, the earliest first.

    For each incident: which check failed, why, and how often against which threshold; which clients received 503 and
    when; what followed; the owner and the runbook of the check. The source is the history of the running exporter, or
    the file of `serve --history.file`, which is still there when the pod is gone.

    \b
    health-exporter explain
    health-exporter explain --since 8h --check api
    health-exporter explain --since 2026-03-01T03:00:00Z --url http://10.1.2.3:4584
    health-exporter explain --history.file history.jsonl --since 1d

    With a file, a duration counts back from its last entry. The options of the connection are those of `ask`, with the
    same environment variables.

    \b
    Exit codes:
      0   the story is printed
      2   invalid command line, no such check, or the file is not a history
      3   no valid response (no connection, no response in time, not a health exporter)
    """
    import shutil

    from exporter.config.moments import parse_since
    from exporter.render.story.story import MAX_WIDTH, write

    try:
        chronicle = _request(url, timeout, access) if history_file is None else _read(history_file)
    except AskError as error:
        echo(f"{error}\nIf the exporter is gone, use --history.file with the file that it has written.", sys.stderr)
        return COULD_NOT_ASK
    try:
        moment = parse_since(since, chronicle.until, "--since")
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
    if check is not None and check not in chronicle.list_names():
        raise Refused(f"no such check: {check}; the checks are: {', '.join(chronicle.list_names()) or '(none)'}")
    width = min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns)
    echo(write(chronicle, moment, width, check), sys.stdout)
    return 0


def _request(url: str, timeout: float, access: Access) -> "Chronicle":
    from exporter.render.story.chronicle import parse

    address, (status, _, body) = request("events", url, timeout, access, "format=json&runs")
    if status != 200:
        hint = ": a listener for probes has no history" if status == 404 else ""
        raise AskError(f"{address} returned {status}, expected 200{hint}")
    try:
        return parse(json.loads(body))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        raise AskError(f"{address} did not respond like a health exporter of this version") from None


def _read(path: Path) -> "Chronicle":
    from exporter.render.story.chronicle import parse
    from exporter.server.recorded import read_document

    try:
        document = read_document(path)
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from None
    if document is None:
        raise Refused(f"{path}: has no history that this version can read")
    return parse(document)
