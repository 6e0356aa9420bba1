"""The numbers of checks and probes: how the thresholds of a container's old probes are kept.

With the exporter, failures are counted twice: by the check, and by the kubelet's probe of the exporter. If both had the
old numbers, a restart would take twice as long. So the two parts share the time that the old probe allowed:

- A check only confirms a failure, with 2 runs, or 1 if the old failureThreshold is 1. It runs more often than the
  kubelet did, but not more often than every 2 seconds, and not more often than its timeout allows. Down to a period of
  10 seconds, it runs at most five times as often: P = max(2, min(10, old period / 5), timeout), but at most the old
  period. With a longer one, a start would wait for minutes until the previous process is out of date.
- The kubelet's probe waits for the rest. Together they wait at least as long as the old probe did, from the first
  failure to the decision: (F - 1) * P + (f - 1) * p >= (old failureThreshold - 1) * old periodSeconds.
- The livenessProbe has f = 4 and p >= 10: 30 s without the exporter must not restart the application. A longer time
  changes p, not f, because each failed probe is an event, and the kubelet writes only 25 of them per pod at once.
- The readinessProbe has p = 6 and f >= 2, and successThreshold in the same way.
- The startupProbe has p = 5 and f >= 24, and allows at least the time that the old startupProbe and the old
  livenessProbe allowed, one after the other. It begins when the results of the previous process are out of date. So
  does the readinessProbe, because its checks may be slower than those in `startup`.
- If the startupProbe does not wait for every check in `liveness`, one of them may still report the previous process
  when the livenessProbe begins. Without a startupProbe, the livenessProbe begins one run of the slowest check later. A
  startupProbe may pass at any time, so with one, the livenessProbe also allows that much time from its first failure.

docs/probe-timing.md has the rules for these minimums.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass, replace
from enum import Enum
from typing import Any

from exporter.config.pasted import TIMING

_CONFIRMATION = 2  # runs of a check that fail before its status does
_MAX_PERIOD = 10  # periodSeconds of a check whose timeout is not longer


class Gate(Enum):
    """What passes before the kubelet begins with the livenessProbe."""

    NONE = "none"
    OTHER = "other"
    """A startupProbe that does not wait for every check in `liveness`."""
    SAME = "same"
    """A startupProbe on /startupz that waits for every check in `liveness`."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The numbers of a probe in a manifest, in the order of pasted.TIMING, with Kubernetes' defaults."""

    initial_delay: int = 0
    period: int = 10
    timeout: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3

    @property
    def patience(self) -> int:
        """Seconds from the first failure to the kubelet's decision."""
        return (self.failure_threshold - 1) * self.period

    @property
    def span(self) -> tuple[int, int]:
        """Seconds from a fault to the kubelet's decision, at least and at most."""
        return self.patience, self.failure_threshold * self.period + self.timeout

    @property
    def start(self) -> int:
        """Seconds from the start of the container to the kubelet's decision, if the probe never passes."""
        return self.initial_delay + self.patience


DEFAULTS = dict(zip(TIMING, astuple(Timing()), strict=True))
LEAST = {
    "startupProbe": Timing(initial_delay=6, period=5, timeout=2, failure_threshold=24),
    "livenessProbe": Timing(period=10, timeout=2, failure_threshold=4),
    "readinessProbe": Timing(period=6, timeout=2, failure_threshold=2),
}
"""The least numbers of the new probes, which are those of the kustomize component."""


def make_timing(fields: Mapping[str, Any]) -> Timing:
    """Return the numbers of a probe or of a check. Missing, null and 0 mean the default, as in Kubernetes."""
    return Timing(*(fields.get(key) or default for key, default in DEFAULTS.items()))


def choose_period(old: Timing) -> int:
    """Return how often a check runs that replaces this probe, in seconds."""
    return min(old.period, max(2, min(_MAX_PERIOD, math.ceil(old.period / 5)), old.timeout))


def choose_threshold(old: Timing) -> int:
    """Return the failureThreshold of a check that replaces this probe."""
    return min(old.failure_threshold, _CONFIRMATION)


def choose_liveness(old: Timing | None, checks: Collection[Timing], gate: Gate) -> Timing:
    """Return the numbers of the probe on /livez. `old` is the probe that it replaces, if any."""
    least, old = LEAST["livenessProbe"], old or Timing(failure_threshold=1)
    run = _find_run(checks)
    rest = max(old.patience - _find_delay(checks), run if gate is Gate.OTHER else 0)
    new = replace(least, period=max(least.period, math.ceil(rest / (least.failure_threshold - 1))))
    late = max(run, old.start + run - new.patience) if gate is Gate.NONE else 0
    return replace(new, initial_delay=max(old.initial_delay, late))


def choose_readiness(old: Timing | None, checks: Collection[Timing]) -> Timing:
    """Return the numbers of the probe on /readyz. `old` is the probe that it replaces, if any."""
    least, old = LEAST["readinessProbe"], old or Timing(failure_threshold=1)
    failures = 1 + math.ceil((old.patience - _find_delay(checks)) / least.period)
    return replace(
        least,
        initial_delay=max(old.initial_delay, _find_outdated(checks)),
        success_threshold=1 + math.ceil((old.success_threshold - 1) * old.period / least.period),
        failure_threshold=max(least.failure_threshold, failures),
    )


def choose_startup(old: Collection[Timing], checks: Collection[Timing]) -> Timing:
    """Return the numbers of the probe on /startupz. `old` has the old startupProbe and livenessProbe, if any."""
    least, delay = LEAST["startupProbe"], _find_outdated(checks)
    failures = 1 + math.ceil((sum(timing.start for timing in old) - delay) / least.period)
    return replace(least, initial_delay=delay, failure_threshold=max(least.failure_threshold, failures))


def find_span(probe: Timing, checks: Collection[Timing]) -> tuple[int, int]:
    """Return the seconds from a fault to the kubelet's decision, at least and at most, with these checks."""
    longest = _find_slowest(checks) + probe.failure_threshold * probe.period
    return _find_delay(checks) + probe.patience, longest


def format_timing(timing: Timing, old: Mapping[str, object]) -> dict[str, int]:
    """Return the numbers as the fields of a probe; also defaults, if the old probe has another value there."""
    numbers = dict(zip(TIMING, astuple(timing), strict=True))
    optional = {key: DEFAULTS[key] for key in ("initialDelaySeconds", "successThreshold")}
    return {key: number for key, number in numbers.items() if optional.get(key) != number or key in old}


def _find_delay(checks: Collection[Timing]) -> int:
    """Return the seconds from the first failed run to the status `fail`, of the fastest check."""
    return min((check.patience for check in checks), default=0)


def _find_slowest(checks: Collection[Timing]) -> int:
    """Return the seconds from a fault to the status `fail`, at most, of the slowest check."""
    return max((check.span[1] for check in checks), default=0)


def _find_run(checks: Collection[Timing]) -> int:
    """Return the seconds after which every check has run once more."""
    return max((check.period + check.timeout + 1 for check in checks), default=0)


def _find_outdated(checks: Collection[Timing]) -> int:
    """Return the seconds after which every check has noticed that the previous process is gone."""
    return max(LEAST["startupProbe"].initial_delay, _find_slowest(checks) + 1)
