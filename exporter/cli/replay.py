"""`replay`: recorded runs with other thresholds."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from exporter.cli.parts import File, Refused, load_config
from exporter.console import echo


@click.command(short_help="Show what other thresholds would have done with recorded runs.")
@click.option(
    "--history.file",
    "history_file",
    type=File(),
    required=True,
    metavar="FILE",
    help="History that `serve --history.file` has written.",
)
@click.option(
    "--since",
    metavar="TIME",
    help="Begin of the time to replay: a time such as 2026-03-01T09:00:00Z, or a duration before now such as 24h.",
)
@click.option("--until", metavar="TIME", help="End of the time to replay.")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="[CHECK.]OPTION=VALUE[,VALUE...]",
    help="Option to change, of one check or of all. Several values are a variant each. Can be repeated.",
)
@click.option(
    "--config.file",
    "config_files",
    type=File(),
    multiple=True,
    metavar="FILE",
    help="Configuration file to replay with. Can be repeated: each file is a variant.",
)
@click.option(
    "--kubelet",
    "probes",
    multiple=True,
    metavar="PROBE.OPTION=VALUE",
    help="Option of the livenessProbe or the readinessProbe as it is in your manifest. Can be repeated.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the report: text for people, or a JSON object.",
)
def replay(
    history_file: Path,
    since: str | None,
    until: str | None,
    sets: Sequence[str],
    config_files: Sequence[Path],
    probes: Sequence[str],
    form: str,
) -> int:
    """Show what other thresholds, periods, groups or probes would have done with recorded runs.

    \b
    health-exporter replay --history.file history.jsonl --since 7d --set api.failureThreshold=2,3,5
    health-exporter replay --history.file history.jsonl --set failureThreshold=5 --set periodSeconds=20
    health-exporter replay --history.file history.jsonl --set api.groups=readiness
    health-exporter replay --history.file history.jsonl --set livenessProbe.failureThreshold=6
    health-exporter replay --history.file history.jsonl --config.file new.yml

    The first row is the recorded configuration. --set changes one of failureThreshold, successThreshold, periodSeconds,
    staleAfterSeconds and groups of a check, or periodSeconds, failureThreshold and successThreshold of the
    livenessProbe and the readinessProbe. With --kubelet, state the numbers that these probes have in your manifest. The
    defaults are those of the manifests of this project.

    A number is exact, or a range: when the kubelet probes is not recorded. A period has to be a multiple of the
    recorded one, because nothing is known between two runs.

    \b
    Exit codes:
      0   the report is on standard output
      2   invalid command line or configuration, or the history cannot answer the question
    """
    from exporter.evaluation.entries import decode
    from exporter.probe.reference import AssumedEnvironment
    from exporter.replay.compare import compare
    from exporter.replay.notes import write_notes
    from exporter.replay.recording import ReplayError, read
    from exporter.replay.table import render_json, render_text
    from exporter.replay.variant import make_variants, parse_kubelet
    from exporter.replay.windows import intersect
    from exporter.server.segments import read_lines

    begin, end = _parse_time(since, "--since", 0.0), _parse_time(until, "--until", float("inf"))
    recording = read(decode(read_lines(history_file, sys.maxsize)))
    covered = intersect(recording.covered, ((begin, end),))
    if not covered:
        raise Refused(f"{history_file}: no history, or none of this time")
    configs = [(str(path), load_config(path, AssumedEnvironment())) for path in config_files]
    try:
        names = {life.spec.name for life in recording.lives}
        variants = make_variants(sets, configs, parse_kubelet(probes), names)
        rows = [*compare(recording, variants, covered)]
    except ReplayError as error:
        raise Refused(str(error)) from None
    notes = [*write_notes(recording, covered, rows)]
    echo(render_text(rows, notes) if form == "text" else render_json(rows, notes, covered), sys.stdout)
    return 0


def _parse_time(text: str | None, option: str, default: float) -> float:
    from exporter.config.moments import parse_since

    if text is None:
        return default
    try:
        return parse_since(text, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=f"'{option}'") from None
