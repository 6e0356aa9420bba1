"""`replay`: recorded runs with other thresholds."""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.parts import File, Refused, load_config
from exporter.console import echo

if TYPE_CHECKING:
    from exporter.replay.recording import Recording


@click.command(short_help="Show what other thresholds would have done with recorded runs.")
@click.option(
    "--history.file",
    "history_file",
    type=File(),
    metavar="FILE",
    help="History that `serve --history.file` has written.",
)
@click.option(
    "--prometheus.url",
    "url",
    metavar="URL",
    help="Prometheus that scrapes the exporter, instead of a history. Exact if it shows every run.",
)
@click.option(
    "--prometheus.match",
    "match",
    default="",
    metavar="MATCHERS",
    help='Matchers that select one exporter, such as \'namespace="shop", pod="web-0"\'.',
)
@click.option(
    "--since",
    metavar="TIME",
    help="Begin of the time to replay: a time such as 2026-03-01T09:00:00Z, or a duration such as 7d, which counts "
    "back from the last entry. Default: the whole history, or 1d of Prometheus.",
)
@click.option("--until", metavar="TIME", help="End of the time to replay, written in the same way.")
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
    history_file: Path | None,
    url: str | None,
    match: str,
    since: str | None,
    until: str | None,
    sets: Sequence[str],
    config_files: Sequence[Path],
    probes: Sequence[str],
    form: str,
) -> int:
    """Show what other thresholds, periods, groups or probes would have done with recorded runs.

    \b
    health-exporter replay --history.file events.jsonl --since 7d --set api.failureThreshold=2,3,5
    health-exporter replay --history.file events.jsonl --set failureThreshold=5 --set periodSeconds=20
    health-exporter replay --history.file events.jsonl --set api.groups=readiness
    health-exporter replay --history.file events.jsonl --set livenessProbe.failureThreshold=6
    health-exporter replay --history.file events.jsonl --config.file new.yml
    health-exporter replay --prometheus.url http://127.0.0.1:9090 --prometheus.match 'pod="web-0"' \\
      --set api.groups=readiness

    The first row is the recorded configuration. --set changes one of failureThreshold, successThreshold, periodSeconds,
    staleAfterSeconds and groups of a check, or periodSeconds, failureThreshold and successThreshold of the
    livenessProbe and the readinessProbe. With --kubelet, state the numbers that these probes have in your manifest. The
    defaults are those of the manifests of this project.

    A number is exact, or a range from the minimum to the maximum, because the times of most of the kubelet's probes are
    not recorded. A period has to be a multiple of the recorded one, because nothing is known between two runs.

    \b
    Exit codes:
      0   the report is on standard output
      2   invalid command line or configuration, or the history cannot answer the question
    """
    from exporter.probe.reference import AssumedEnvironment
    from exporter.replay.compare import compare
    from exporter.replay.notes import write_notes
    from exporter.replay.recording import ReplayError
    from exporter.replay.table import render_json, render_text
    from exporter.replay.variant import make_variants, parse_kubelet
    from exporter.replay.windows import intersect

    if (history_file is None) == (url is None):
        raise click.UsageError("give either --history.file or --prometheus.url")
    configs = [(str(path), load_config([path], AssumedEnvironment())) for path in config_files]
    try:
        recording, window = (
            _read(history_file, since, until) if history_file else _query(url or "", match, since, until)
        )
        covered = intersect(recording.covered, (window,))
        names = {life.spec.name for life in recording.lives}
        variants = make_variants(sets, configs, parse_kubelet(probes), names)
        rows = [*compare(recording, variants, covered)]
    except ReplayError as error:
        raise Refused(str(error)) from None
    if not covered:
        raise Refused("there is no history, or none of this time")
    notes = [*write_notes(recording, covered, rows)]
    echo(render_text(rows, notes) if form == "text" else render_json(rows, notes, covered), sys.stdout)
    return 0


def _read(path: Path, since: str | None, until: str | None) -> "tuple[Recording, tuple[float, float]]":
    """Return the recording in a file, and the wanted window. A duration counts back from the last entry."""
    from exporter.evaluation.entries import decode
    from exporter.replay.recording import read
    from exporter.server.segments import list_lines

    try:
        recording = read(decode(list_lines(path)))
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from None
    if not recording.covered:
        raise Refused(f"{path}: has no history that this version can read")
    last = recording.covered[-1][1]
    return recording, (_parse_time(since, "--since", last, 0.0), _parse_time(until, "--until", last, math.inf))


def _query(url: str, match: str, since: str | None, until: str | None) -> "tuple[Recording, tuple[float, float]]":
    """Return the recording of an exporter that Prometheus scrapes, and the wanted window."""
    from exporter.replay.counters import rebuild
    from exporter.replay.prometheus import load

    now = time.time()
    end = _parse_time(until, "--until", now, now)
    begin = _parse_time(since, "--since", now, end - 86400)
    return rebuild(load(url, match, begin, end)), (begin, end)


def _parse_time(text: str | None, option: str, now: float, default: float) -> float:
    from exporter.config.moments import parse_since

    if text is None:
        return default
    try:
        return parse_since(text, now, option)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None
