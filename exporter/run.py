"""Runs one check once: clocks it, and makes whatever happens an Outcome.

The only broad `except` in the house: a probe that breaks, in whatever way, is `unknown` for this run, and its next run
comes as if nothing had been.
"""

import logging
import time
import traceback
from collections.abc import Callable

from exporter.check import Check
from exporter.model import Deadline, Outcome, ProbeError, Reason, Result, Status

ATTEMPTS = 3
"""An attempt that could not look is repeated at once, as maxProbeRetries does (pkg/kubelet/prober/prober.go)."""
SUMMARY_LIMIT = 500  # characters

_log = logging.getLogger(__name__)


def run(check: Check, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> Result:
    """Look once. All attempts share the one deadline that `timeoutSeconds` sets."""
    started, began = wall(), clock()
    deadline = Deadline(began + check.spec.timeout, clock)
    outcome = _attempt(check, deadline)
    for _ in range(ATTEMPTS - 1):
        if outcome.status is not Status.UNKNOWN or deadline.remaining() <= 0:
            break
        outcome = _attempt(check, deadline)
    ended = clock()
    return Result(outcome, started, ended, max(0.0, ended - began))


def _attempt(check: Check, deadline: Deadline) -> Outcome:
    try:
        outcome = check.probe.probe(deadline)
    except ProbeError as error:
        return Outcome(Status.UNKNOWN, error.reason, _readable(str(error)))
    except BaseException as error:  # noqa: BLE001  # SystemExit in a plugin must not end a worker either
        _log.debug("check %s: the probe raised", check.spec.name, exc_info=True)
        return Outcome(Status.UNKNOWN, _reason(error), _readable(_whereabouts(error)))
    return Outcome(outcome.status, outcome.reason, _readable(outcome.summary), outcome.measurements)


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
    frames = traceback.extract_tb(error.__traceback__)
    last = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{last}"


def _readable(text: str) -> str:
    """One line, printable, of bounded length: it goes to terminals, logs and pages."""
    if len(text) > SUMMARY_LIMIT:
        text = text[: SUMMARY_LIMIT - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
