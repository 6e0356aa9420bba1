"""What was before and after -> the log line about what has changed."""

import logging

from exporter.lines import format_time
from exporter.model import Hold, Reason, State, Status
from exporter.text import replace_unprintable

_log = logging.getLogger(__name__)


def announce(before: State, after: State, generation: int) -> None:
    """Log one line per transition, and one when the runs of a check become unknown.

    The message has the reason and the summary too: an application's own formatter may leave out the fields.
    """
    outcome = after.last.outcome if after.last else None
    if after.status is not before.status:
        change, reason = f"{before.status} -> {after.status}", after.reason
    elif outcome and outcome.status is Status.UNKNOWN and not _last_run_unknown(before):
        change, reason = "could not run", outcome.reason
    else:
        return
    spec, healthy = after.spec, after.status is Status.PASS and outcome is not None and outcome.status.healthy
    summary = f"no result within {spec.stale_after:g} s" if reason is Reason.STALE else outcome and outcome.summary
    fields = {
        "check": spec.name,
        "kind": spec.kind,
        "status": after.status,
        "reason": reason,
        "summary": summary,
        "owner": spec.owner or None,
        "description": None if healthy else spec.description or None,
        "runbook_url": None if healthy else spec.runbook_url or None,
        "generation": generation,
    }
    cause = f" ({reason})" if reason else ""
    text = f": {summary}" if summary else ""
    _log.log(
        logging.INFO if healthy else logging.WARNING,
        "check %s: %s%s%s",
        *(replace_unprintable(part) for part in (spec.name, change, cause, text)),
        extra={"fields": fields},
    )


def announce_hold(hold: Hold, generation: int) -> None:
    """Log that restarts are suspended."""
    fields = {"until": format_time(hold.until), "why": hold.why, "generation": generation}
    _log.warning(
        "restarts are suspended: /livez returns 200 until %s: %s", fields["until"], hold.why, extra={"fields": fields}
    )


def announce_release(cause: str, generation: int) -> None:
    """Log that restarts are no longer suspended."""
    fields = {"generation": generation}
    _log.warning("restarts are no longer suspended: the hold %s", cause, extra={"fields": fields})


def _last_run_unknown(state: State) -> bool:
    return state.last is not None and state.last.outcome.status is Status.UNKNOWN
