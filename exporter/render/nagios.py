"""Snapshot -> one line for Nagios, Icinga and others that run its plugins, with performance data."""

from decimal import Decimal
from enum import IntEnum

from exporter.evaluation.judge import satisfies
from exporter.model import Measurement, Snapshot, State, Status, Verdict
from exporter.render.words import find_summary, format_headline
from exporter.text import replace_unprintable, shorten

MAX_PROBLEMS = 10  # that the line describes
MAX_PROBLEM = 200  # characters
_UNITS = {"_timestamp_seconds": "", "_seconds": "s", "_bytes": "B", "_total": "c"}


class PluginState(IntEnum):
    """The exit codes of a plugin. Unlike those of other commands, 1 and 2 are different degrees of unhealthy."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def find_state(verdict: Verdict) -> PluginState:
    """Return the exit code: a failing check is CRITICAL, and UNKNOWN is only a check that could not run."""
    if any(state.status is Status.FAIL for state in verdict.culprits):
        return PluginState.CRITICAL
    if not verdict.up:
        return PluginState.UNKNOWN
    return PluginState.WARNING if verdict.status is Status.WARN else PluginState.OK


def render(snapshot: Snapshot, verdict: Verdict) -> str:
    """Return the line: the state, the checks that are not healthy, and the measurements of all checks."""
    states = [state for state in verdict.members if not satisfies(state, verdict.group)]
    states += [state for state in verdict.members if state.status is Status.WARN]
    problems = [shorten(_describe(state), MAX_PROBLEM) for state in states[:MAX_PROBLEMS]]
    problems += [f"{len(states) - MAX_PROBLEMS} more"] * (len(states) > MAX_PROBLEMS)
    data = " ".join(_format(state, number) for state in verdict.members for number in _list_measurements(state))
    text = ": ".join([format_headline(snapshot), *(["; ".join(problems)] if problems else [])])
    line = format_line(find_state(verdict), text)
    return f"{line} | {data}" if data else line


def format_line(state: PluginState, text: str) -> str:
    """Return the line without data. A vertical bar would begin the data."""
    return f"HEALTH {state.name} - {replace_unprintable(text, ' ').replace('|', '¦')}"


def _describe(state: State) -> str:
    return f"{state.spec.name} ({state.reason}): {find_summary(state)}"


def _list_measurements(state: State) -> tuple[Measurement, ...]:
    return state.last.outcome.measurements if state.last else ()


def _format(state: State, measurement: Measurement) -> str:
    """Return 'label'=value[unit];[warn];[fail]. A limit is a range: `10` is bad above 10, and `10:` below."""
    unit = next((unit for suffix, unit in _UNITS.items() if measurement.name.endswith(suffix)), "")
    colon = ":" if measurement.falling else ""
    warn, fail = (
        "" if limit is None else f"{_format_number(limit)}{colon}" for limit in (measurement.warn, measurement.fail)
    )
    label = f"{state.spec.name}_{measurement.key}".replace("'", "").replace("=", "")
    return f"'{label}'={_format_number(measurement.value)}{unit};{warn};{fail}"


def _format_number(value: float) -> str:
    """Return a number without an exponent."""
    return f"{Decimal(repr(value)):f}"
