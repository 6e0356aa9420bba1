"""The nouns of the package: the configuration of a check, what a run found, and the verdicts that follow.

Everything here is frozen: a value never changes after it has been passed on. This module imports nothing else of the
package, so every other module can use it. The file is longer than others because these nouns are read together.

All exceptions of the package: who raises them, and what becomes of them.

    Exception
    |-- ProbeError       kinds, `host`, `probe`: the check cannot run. `evaluation.run` makes it an `unknown` Outcome.
    |-- DialError        `net`, kinds: an endpoint was not reached or stopped responding. The kind makes it a failed
    |                    Outcome.
    |-- MalformedError   `net.head`, `net.response`: the response is not valid HTTP. `net.fetch` makes it a DialError,
    |   |                or a ProbeError if only the body is incomplete.
    |   |-- RefusedError  an HTTP/2 server has not processed the request. `net.fetch` repeats it.
    |   `-- SilentError  the connection was closed before the first byte. `net.fetch` makes it a DialError.
    |-- PathError        `host.path`: a path is missing, cannot be read or hangs. The kind makes it a failed Outcome.
    |-- PlainTextError   `kinds.mysql`: the server requests the password in clear text. The kind makes it a DialError.
    |-- MissingExtraError  `probe`: an option or a kind requires an extra. It becomes a Complaint in a ConfigError.
    |-- KindError        `kinds`: a kind cannot be loaded. `config.checks.load` makes it a ConfigError.
    |-- _TextError       `config.nodes`: a file is not YAML. It becomes a Complaint in a ConfigError.
    |-- ConfigError      `config`: a file is invalid; it holds every Complaint (not an exception) about the file.
    |   |                `check` and `validate` print it and exit with 2. `serve` logs it and waits for a valid file. A
    |   |                reload logs it and keeps the running configuration.
    |   `-- UnreadableError  the file cannot be read now. `serve` tries again, even if the file does not change.
    |-- PoolError        `evaluation`: the system cannot start enough threads. `check` prints it and exits with 2.
    |                    `serve` logs it, keeps the running configuration if there is one, and tries again.
    |-- _SkippedError    `manifests`: a workload is left as it is. `inject` prints the reason, and goes on.
    |-- ReplayError      `replay`: the recording cannot answer the question. `replay` prints it and exits with 2.
    |-- ReloadBusyError  `server.reload`: another reload is in progress. `server.routes` answers 503.
    |-- HoldError        `evaluation.hold`: a hold would be too long, or has no reason. `server.holding` answers 400.
    |-- ListenError      `addresses`: the exporter cannot listen on an address. `serve` prints it and exits with 2.
    |-- UnknownTopicError  `cli.manual`: there is no such kind or option. `kinds` prints it and exits with 2.
    |-- AskError         `ask`: no valid answer arrived. `ask` prints it and exits with 3.
    `-- Refused          `cli`: the command cannot continue. `__main__` prints the message and exits with 2.

Any other exception of a probe is a defect of that probe, and `evaluation.run` makes it an `unknown` Outcome too. Only
an exception of an application's own check function is a failed Outcome.
"""

import math
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from exporter.quantities import format_quantity

_MEASUREMENT_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_NAME_RULE = (
    "{name!r} cannot be the name of a measurement: it needs lower-case letters, digits and '_', must not begin with "
    "check_, group_, snapshot_, exporter_ or answers_, and must not end with _limit"
)
_RESERVED = ("check_", "group_", "snapshot_", "exporter_", "answers_")

STREAK_BOUNDS = (1, 2, 4, 9)
"""The buckets for the lengths of streaks of failures. One more is a likely failureThreshold: 2, 3, 5, 10."""

ENDPOINT_LATENCY = "endpoint_latency_seconds"
"""The measurement of how long an endpoint took to respond; the latency histogram is built from it."""


class Status(StrEnum):
    """The status of a check: of one run, or settled after thresholds."""

    PASS = "pass"  # noqa: S105  # the word of the health+json draft, not a password
    WARN = "warn"  # healthy, but needs attention
    FAIL = "fail"
    UNKNOWN = "unknown"  # the check could not run; no evidence that the target is unhealthy

    healthy: bool
    """Whether this counts as a success for thresholds and verdicts. Not a property: an exposition reads it 12 times per
    check."""

    def __init__(self, value: str) -> None:
        self.healthy = value in ("pass", "warn")


BADNESS = (Status.FAIL, Status.UNKNOWN, Status.WARN, Status.PASS)
"""Every status, worst first. Fail comes before unknown: a check that could not run must not hide an outage."""


class Reason(StrEnum):
    """Why a status is not `pass`. The list is closed, because reasons are label values and free text must not be."""

    TIMEOUT = "timeout"  # no result before the deadline
    DNS = "dns"  # the name could not be resolved
    CONNECT = "connect"  # the connection was refused or reset, or the target is unreachable
    TLS = "tls"  # the TLS handshake or the certificate failed
    STATUS = "status"  # the response has an unexpected status, or does not follow the protocol
    BODY = "body"  # the response has unexpected content
    EXIT = "exit"  # the command exited with a non-zero status
    THRESHOLD = "threshold"  # a measurement reached its limit
    MISSING = "missing"  # a required file, command or setting does not exist
    PERMISSION = "permission"  # access was denied
    ERROR = "error"  # the probe itself failed
    STALE = "stale"  # no result has arrived in time
    PENDING = "pending"  # no result yet


class Group(StrEnum):
    """The question an endpoint answers."""

    LIVENESS = "liveness"
    READINESS = "readiness"
    STARTUP = "startup"
    ALL = "all"


class Severity(StrEnum):
    """How urgently a failing check should alert."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment, on the monotonic clock, by which a run must have ended."""

    at: float
    clock: Callable[[], float] = time.monotonic

    def remaining(self) -> float:
        """Return the seconds left; zero or less if the deadline has passed."""
        return self.at - self.clock()


class ProbeError(Exception):
    """The check could not run, so nothing is known about its target.

    The result of the run is `unknown` with this reason and summary. It does not count toward any threshold.
    """

    def __init__(self, reason: Reason, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason


SLACK = 0.5
"""Seconds that a result counts beyond `stale_after`.

A run that takes its whole timeout ends a moment after that. Without time for it, a check that hangs would be `unknown`
just before it fails.
"""


@dataclass(frozen=True, slots=True)
class Spec:
    """The configuration of one check without its probe. All times are in seconds.

    The names, defaults and ranges are the ones of a Kubernetes probe (core/v1 Probe).
    """

    name: str
    kind: str
    target: str = ""  # for people and labels, without credentials and query string
    groups: frozenset[Group] = frozenset({Group.READINESS})  # `all` is implied
    severity: Severity = Severity.CRITICAL
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    stale_after: float = 31
    depends_on: tuple[str, ...] = ()  # names of the checks that this check needs to be healthy
    owner: str = ""  # for routing alerts
    description: str = ""  # for people
    runbook_url: str = ""
    latency_buckets: tuple[float, ...] = ()  # upper bounds in seconds, in ascending order; empty for no histogram

    @property
    def fresh_for(self) -> float:
        """Seconds after a result for which it counts, with time for the next run to begin late and to end."""
        return self.stale_after + SLACK

    def __post_init__(self) -> None:
        if not isinstance(self.target, str):
            raise TypeError(f"the target of the check {self.name!r} is not a text: {self.target!r}")

    @property
    def guidance(self) -> dict[str, str]:
        """Whom to call and what to read if the check fails, by the names of the options; only what is set."""
        texts = {"owner": self.owner, "description": self.description, "runbookUrl": self.runbook_url}
        return {name: text for name, text in texts.items() if text}

    def belongs_to(self, group: Group) -> bool:
        """Return whether this check counts for the group's verdict. Every check counts for `all`."""
        return group is Group.ALL or group in self.groups


@dataclass(frozen=True, slots=True)
class Measurement:
    """A named number that a run measured, in base units (seconds, bytes, ratios), and the limits it is compared with.

    Its name is the metric's name without the `health_` prefix. The metric of a name that ends in `_total` is a
    counter: the value is a count that only increases. Raises ValueError if the name is not a valid metric name or is
    reserved for the exporter's own metrics, if the value or a limit is not finite, and if a count is negative.
    """

    name: str
    value: float
    warn: float | None = None
    fail: float | None = None
    falling: bool = False  # lower limits: a value at or below one is bad
    phase: str | None = None  # the part of the request, such as `connect`, if a run measures this number once per part
    field: str | None = None  # the name that the target has for this number, if a run measures several of them

    def __post_init__(self) -> None:
        if not _MEASUREMENT_NAME.match(self.name) or self.name.startswith(_RESERVED) or self.name.endswith("_limit"):
            raise ValueError(_NAME_RULE.format(name=self.name))
        if not all(math.isfinite(number) for number in (self.value, *self.limits.values())):
            raise ValueError(f"measurement {self.name} is {self.value}, limits {self.limits}: not finite")
        if self.value < 0 and self.name.endswith("_total"):
            raise ValueError(f"measurement {self.name} is {self.value}, but a count is not negative")

    @property
    def key(self) -> str:
        """The name, and the phase or the field, which together are unique within a run."""
        return ":".join((self.name, *self.labels.values()))

    @property
    def labels(self) -> dict[str, str]:
        """The labels that the metric has in addition to those of the check."""
        return {name: text for name, text in (("phase", self.phase), ("field", self.field)) if text is not None}

    @property
    def quantity(self) -> str:
        """The value with its unit, for people."""
        return format_quantity(self.name, self.value)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by level: `warn`, `fail`."""
        return {level: limit for level, limit in (("warn", self.warn), ("fail", self.fail)) if limit is not None}

    @property
    def status(self) -> Status:
        """The status according to the limits. A value that is equal to a limit has reached it."""
        if self._reaches(self.fail):
            return Status.FAIL
        return Status.WARN if self._reaches(self.warn) else Status.PASS

    def _reaches(self, limit: float | None) -> bool:
        return limit is not None and (self.value <= limit if self.falling else self.value >= limit)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of a check found. Its times are in the Result.

    Raises ValueError if a status other than `pass` comes without a reason, or `pass` comes with one. Raises TypeError
    for a reason that is not a Reason: reasons are label values, so the list is closed.
    """

    status: Status
    reason: Reason | None = None
    summary: str = ""  # for people: logs, status page, command line; never a label
    measurements: tuple[Measurement, ...] = ()

    def __post_init__(self) -> None:
        if self.reason is not None and not isinstance(self.reason, Reason):
            raise TypeError(f"a reason is a Reason, not {self.reason!r}")
        if (self.status is Status.PASS) != (self.reason is None):
            raise ValueError(f"an outcome has a reason if and only if it is not pass: {self.status}, {self.reason}")

    @classmethod
    def failed(cls, reason: Reason, summary: str, *measurements: Measurement) -> "Outcome":
        """Return the Outcome of an unhealthy target."""
        return cls(Status.FAIL, reason, summary, measurements)

    @classmethod
    def passed(cls, summary: str, *measurements: Measurement) -> "Outcome":
        """Return the Outcome of a healthy target."""
        return cls(Status.PASS, None, summary, measurements)

    @classmethod
    def measured(cls, summary: str, by: Measurement, *others: Measurement) -> "Outcome":
        """Return the Outcome according to one measurement and its limits.

        The summary shows the limits, or the one that was reached.

        >>> Outcome.measured("90 % used", Measurement("memory_used_ratio", 0.9, warn=0.8, fail=0.95)).summary
        '90 % used: warn limit 80 % reached'
        """
        status = by.status
        if status is Status.PASS:
            limits = " and ".join(f"{level} at {format_quantity(by.name, limit)}" for level, limit in by.limits.items())
            return cls(status, None, f"{summary} ({limits})" if limits else summary, (by, *others))
        limit = format_quantity(by.name, by.limits[status])
        return cls(status, Reason.THRESHOLD, f"{summary}: {status} limit {limit} reached", (by, *others))

    @classmethod
    def counted(cls, summary: str, name: str, count: int, least: int | None, most: int | None) -> "Outcome":
        """Return the Outcome according to a count: healthy from `least` to `most`, both included.

        None leaves that side open. The limits of the Measurement are one beyond these numbers.

        >>> Outcome.counted("2 workers", "processes", 2, least=3, most=None).summary
        '2 workers, expected at least 3'
        >>> Outcome.counted("4 workers", "processes", 4, least=3, most=8).measurements[0].limits
        {'fail': 9}
        """
        below = Measurement(name, count, fail=least - 1 if least else None, falling=True)
        above = Measurement(name, count, fail=None if most is None else most + 1)
        measurement = below if most is None else above  # a Measurement has limits on one side only
        if below.status is Status.FAIL:
            return cls.failed(Reason.THRESHOLD, f"{summary}, expected at least {least}", measurement)
        if above.status is Status.FAIL:
            return cls.failed(Reason.THRESHOLD, f"{summary}, expected at most {most}", measurement)
        return cls.passed(summary, measurement)

    @classmethod
    def worst(cls, *outcomes: "Outcome") -> "Outcome":
        """Combine several Outcomes of one target. The worst one decides; all summaries and measurements are kept.

        If several are equally bad, the first of them gives the reason. Raises ValueError if there is no Outcome.

        >>> Outcome.worst(Outcome.passed("2 running"), Outcome.failed(Reason.TIMEOUT, "no response")).summary
        '2 running; no response'
        >>> Outcome.worst(Outcome.passed("2 running"), Outcome.failed(Reason.TIMEOUT, "no response")).status
        <Status.FAIL: 'fail'>
        """
        worst = min(outcomes, key=lambda outcome: BADNESS.index(outcome.status))
        summary = "; ".join(outcome.summary for outcome in outcomes)
        measurements = tuple(measurement for outcome in outcomes for measurement in outcome.measurements)
        return cls(worst.status, worst.reason, summary, measurements)


@dataclass(frozen=True, slots=True)
class Result:
    """An Outcome with its times in seconds: `started` on the wall clock, `ended` on the monotonic clock."""

    outcome: Outcome
    started: float
    ended: float
    duration: float


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat that a job has sent for a check, or the beginning of the wait for the first one."""

    check: str
    time: float  # wall clock
    clock: float  # monotonic clock
    generation: int
    exit_code: int | None = 0
    """The exit code of the job; None if there has been no heartbeat."""


@dataclass(frozen=True, slots=True)
class State:
    """The settled status of a check after thresholds, and the counts that led to it."""

    spec: Spec
    status: Status = Status.UNKNOWN
    reason: Reason | None = Reason.PENDING
    since: float | None = None  # time of the last transition, wall clock
    last: Result | None = None
    last_pass: float | None = None  # start of the last healthy run, wall clock
    streak: int = 0  # consecutive runs that are all healthy or all failed; unknown runs are left out
    streak_healthy: bool = False
    runs: int = 0
    failures: Mapping[Reason, int] = field(default_factory=dict)  # runs that were not healthy, by reason
    failed_since: Mapping[Reason, float] = field(default_factory=dict)  # start of the first of these runs, wall clock
    transitions: int = 0
    first_failure: float | None = None  # start of the first failed run, wall clock
    failure_streaks: tuple[int, ...] = ()  # streaks of failures that have ended, by STREAK_BOUNDS, and longer ones
    failure_streak_runs: int = 0  # failed runs in all of these streaks
    latencies: tuple[int, ...] = ()  # responses per latency bucket, and those above the last bucket
    latency_sum: float = 0.0  # seconds
    fresh_until: float = math.inf  # monotonic clock; from then on this State is stale

    @property
    def consecutive_failures(self) -> int:
        """The number of consecutive failed runs; an `unknown` run neither counts nor ends the streak."""
        return 0 if self.streak_healthy else self.streak


@dataclass(frozen=True, slots=True)
class Hold:
    """Restarts are suspended: liveness is up until the hold expires, whatever its checks say."""

    why: str  # for people
    until: float  # wall clock
    begun: float  # monotonic clock; an extension does not change it
    expires: float  # monotonic clock


@dataclass(frozen=True)
class Snapshot:
    """Every State at one moment. Answers with the same generation never contradict each other."""

    generation: int
    timestamp: float  # wall clock
    states: Mapping[str, State]
    draining: bool = False
    degraded: bool = False  # no configuration has been loaded yet, because the file is invalid
    started: bool = False  # startup and readiness have been up together since the exporter started
    hold: Hold | None = None

    @cached_property
    def fresh_until(self) -> float:
        """The moment, on the monotonic clock, at which the first State goes stale or the hold expires."""
        expires = self.hold.expires if self.hold else math.inf
        return min(expires, min((state.fresh_until for state in self.states.values()), default=math.inf))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a group's endpoint answers for one Snapshot, with the checks that decided it."""

    group: Group
    up: bool
    members: tuple[State, ...]
    culprits: tuple[State, ...]
    draining: bool = False  # the exporter is shutting down, which alone makes readiness false
    degraded: bool = False  # there is no configuration, which alone makes every group but liveness false
    hold: Hold | None = None  # restarts are suspended, which alone makes liveness true

    def without(self, exclude: Collection[str]) -> "Verdict":
        """Return the verdict that the group would have without these checks."""
        if not exclude:
            return self
        culprits = tuple(state for state in self.culprits if state.spec.name not in exclude)
        up = bool(self.hold) or not (culprits or self.draining or self.degraded)
        return replace(self, up=up, culprits=culprits)

    @property
    def status(self) -> Status:
        """The verdict as a status of the health+json draft: `pass`, `warn` or `fail`."""
        if not self.up:
            return Status.FAIL
        warns = self.hold or any(state.status is Status.WARN for state in self.members)
        return Status.WARN if warns else Status.PASS


NO_FILE = "built-in default"
"""The name of the configuration without a file."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which exporter this is, for people."""

    host: str = ""
    files: tuple[str, ...] = ()  # the configuration: its paths, or what takes their place
    started: float | None = None  # wall clock

    @property
    def file(self) -> str:
        """The configuration as one text."""
        return ", ".join(self.files)


@dataclass(frozen=True, slots=True)
class Vitals:
    """The condition of the exporter itself, for its own metrics and for /-/healthy."""

    running: bool  # due checks are started
    open: bool = True  # all listeners accept connections
    workers: int = 0
    busy: int = 0
    stuck: int = 0  # workers whose run has passed its deadline
    lag: float = 0.0  # largest recent delay of a start, seconds
    reload_ok: bool = True
    reload_time: float | None = None  # the last successful load of the configuration, wall clock
    complaint: str | None = None  # why the latest load of the configuration failed, for people
    complaint_time: float | None = None  # when it failed for the first time, wall clock
    identity: Identity = Identity()
    restarts: int | None = None  # of the worker by its keeper, if there is a keeper
