"""Runs one check once: measures the time, and turns every outcome and exception into a Result.

This is the only broad `except` around checks. However a probe fails, its result is `unknown`, and the next run starts
afresh.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from exporter.evaluation import failure
from exporter.model import Deadline, Outcome, ProbeError, Reason, Result, Status
from exporter.probe.check import Check
from exporter.probe.pod import compare_addresses
from exporter.probe.secret import hide, record_secrets
from exporter.text import replace_unprintable

MAX_ATTEMPTS = 3
"""An attempt with the status `unknown` is repeated at once, as with maxProbeRetries in pkg/kubelet/prober/prober.go."""
MAX_RUN_TIME = 2e6
"""Seconds. Kubernetes allows longer timeouts, but the C library waits in milliseconds, which must fit in 32 bits."""
MAX_SUMMARY = 500  # characters

_log = logging.getLogger(__name__)


def run(check: Check, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> Result:
    """Run a check once. Never raises. All attempts share one deadline, which `timeoutSeconds` sets."""
    started, start = wall(), clock()
    deadline = Deadline(start + min(check.spec.timeout, MAX_RUN_TIME), clock)
    outcome = attempt(check, deadline)
    for _ in range(MAX_ATTEMPTS - 1):
        if outcome.status is not Status.UNKNOWN or deadline.remaining() <= 0:
            break
        outcome = attempt(check, deadline)
    ended = clock()
    return Result(outcome, started, ended, max(0.0, ended - start))


def close(check: Check) -> None:
    """Abandon a run of this check that is in progress, if there is one. Never raises."""
    try:
        check.probe.close()
    except Exception:  # noqa: BLE001  # the code of a plugin
        _log.error("check %s: closing it failed", check.spec.name, exc_info=True)


def attempt(check: Check, deadline: Deadline, raised: Status = Status.UNKNOWN) -> Outcome:
    """Call the probe once. Never raises.

    A ProbeError is `unknown`. Any other exception has the status `raised`.
    """
    secrets = record_secrets()
    try:
        return compare_addresses(check.probe, _sanitize(check.probe.probe(deadline), secrets))
    except ProbeError as error:
        return Outcome(Status.UNKNOWN, error.reason, _summarize(str(error), secrets))
    except BaseException as error:  # noqa: BLE001  # SystemExit in a plugin must not end a worker either
        if _log.isEnabledFor(logging.DEBUG):
            fields = {"exception": failure.format_traceback(error, check, secrets)}
            _log.debug("check %s: the probe raised an exception", check.spec.name, extra={"fields": fields})
        text = failure.describe(error, check, secrets) + _find_line(error)
        return Outcome(raised, _find_reason(error), _summarize(text))


def _sanitize(outcome: Outcome, secrets: Sequence[str]) -> Outcome:
    """Return the Outcome with a summary that is safe to print. Raises TypeError if it is not an Outcome."""
    if not isinstance(outcome, Outcome):
        raise TypeError(f"a probe returns an Outcome, this one returned {type(outcome).__name__}")
    summary = _summarize(outcome.summary, secrets)
    return outcome if summary is outcome.summary else replace(outcome, summary=summary)


def _find_reason(error: BaseException) -> Reason:
    match error:
        case PermissionError():
            return Reason.PERMISSION
        case FileNotFoundError():
            return Reason.MISSING
        case TimeoutError():
            return Reason.TIMEOUT
    return Reason.ERROR


def _find_line(error: BaseException) -> str:
    """Return the file and the line that raised the exception."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f" ({frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno})" if frame else ""


def _cut_middle(text: str) -> str:
    """Return at most MAX_SUMMARY characters. The end is kept: the last line of a traceback has the cause."""
    half = MAX_SUMMARY // 2
    return text if len(text) <= MAX_SUMMARY else f"{text[: half - 1]}…{text[-half:]}"


def _summarize(text: str, secrets: Sequence[str] = ()) -> str:
    """Return one printable line of bounded length, without secrets, for terminals, logs and the status page."""
    text = _cut_middle(hide(text, *secrets) if secrets else text)
    return text if text.isprintable() else replace_unprintable(" ".join(text.split()), " ")
