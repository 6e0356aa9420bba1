"""Runs one check once: clocks it, and makes whatever happens an Outcome.

The only broad `except` in the house: a probe that breaks, in whatever way, is `unknown` for this run, and its next run
comes as if nothing had been.
"""

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

from exporter.model import Deadline, Outcome, ProbeError, Reason, Result, Status
from exporter.probe.check import Check

ATTEMPTS = 3
"""An attempt that could not look is repeated at once, as maxProbeRetries does (pkg/kubelet/prober/prober.go)."""
LONGEST = 2e6
"""Seconds. Kubernetes allows timeouts beyond what the C library can wait for, milliseconds in 32 bits."""
SUMMARY_LIMIT = 500  # characters

_log = logging.getLogger(__name__)


def run(check: Check, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> Result:
    """Look once. All attempts share the one deadline that `timeoutSeconds` sets."""
    started, began = wall(), clock()
    deadline = Deadline(began + min(check.spec.timeout, LONGEST), clock)
    outcome = attempt(check, deadline)
    for _ in range(ATTEMPTS - 1):
        if outcome.status is not Status.UNKNOWN or deadline.remaining() <= 0:
            break
        outcome = attempt(check, deadline)
    ended = clock()
    return Result(outcome, started, ended, max(0.0, ended - began))


def attempt(check: Check, deadline: Deadline, raised: Status = Status.UNKNOWN) -> Outcome:
    """One act of looking. `raised` is what an exception means that is no ProbeError."""
    try:
        return _clean(check.probe.probe(deadline))
    except ProbeError as error:
        return Outcome(Status.UNKNOWN, error.reason, _readable(str(error)))
    except BaseException as error:  # noqa: BLE001  # SystemExit in a plugin must not end a worker either
        _log.debug("check %s: the probe raised", check.spec.name, exc_info=True)
        return Outcome(raised, _reason(error), _readable(_whereabouts(error)))


def _clean(outcome: Outcome) -> Outcome:
    if not isinstance(outcome, Outcome):
        raise TypeError(f"a probe returns an Outcome, this one returned {type(outcome).__name__}")
    summary = _readable(outcome.summary)
    return outcome if summary is outcome.summary else replace(outcome, summary=summary)


def _reason(error: BaseException) -> Reason:
    match error:
        case PermissionError():
            return Reason.PERMISSION
        case FileNotFoundError():
            return Reason.MISSING
        case TimeoutError():
            return Reason.TIMEOUT
    return Reason.ERROR


def _whereabouts(error: BaseException) -> str:
    """The exception in words, even one that cannot say anything itself, and the line that raised it."""
    raised = error.__traceback__
    while raised is not None and raised.tb_next is not None:
        raised = raised.tb_next
    line = f" ({raised.tb_frame.f_code.co_filename.rpartition('/')[2]}:{raised.tb_lineno})" if raised else ""
    return "".join(traceback.format_exception_only(error)).strip() + line


def _readable(text: str) -> str:
    """One line, printable, of bounded length: it goes to terminals, logs and pages."""
    if len(text) > SUMMARY_LIMIT:
        text = text[: SUMMARY_LIMIT - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
