"""The nouns of the house: what is configured, what was seen, what is concluded.

Everything here is frozen: a value that has been handed to a reader never changes under it. The module imports
nothing else of the package, so that every other file may speak these words.
"""

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

_MEASUREMENT_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
ENDPOINT_LATENCY = "endpoint_latency_seconds"
"""The measurement of how long an endpoint took to respond; the latency histogram is made of it."""

_RESERVED = ("check_", "group_", "snapshot_", "exporter_", "answers_")


class Status(StrEnum):
    """The condition of a check, after one run or after thresholds."""

    PASS = "pass"  # noqa: S105  # the word of the health+json draft, not a password
    WARN = "warn"  # healthy, and somebody should look
    FAIL = "fail"
    UNKNOWN = "unknown"  # could not look; never "bad"

    @property
    def healthy(self) -> bool:
        """Whether this counts as a success for thresholds and verdicts."""
        return self in (Status.PASS, Status.WARN)


_BADNESS = (Status.FAIL, Status.UNKNOWN, Status.WARN, Status.PASS)


class Reason(StrEnum):
    """Why something is not `pass`. Closed: these are label values, and free text never is."""

    TIMEOUT = "timeout"  # the deadline came first
    DNS = "dns"  # the name was not resolved
    CONNECT = "connect"  # refused, reset, unreachable
    TLS = "tls"  # the handshake or the certificate
    STATUS = "status"  # the answer was not the expected one, or not an answer of the protocol
    BODY = "body"  # the answer's content
    EXIT = "exit"  # the command's exit status
    THRESHOLD = "threshold"  # a measured number beyond its limit
    MISSING = "missing"  # what should be there is not
    PERMISSION = "permission"  # not allowed to look
    ERROR = "error"  # the probe itself broke
    STALE = "stale"  # no definitive result came in time
    PENDING = "pending"  # no definitive result yet


class Group(StrEnum):
    """The question an endpoint asks."""

    LIVENESS = "liveness"
    READINESS = "readiness"
    STARTUP = "startup"
    ALL = "all"


class Severity(StrEnum):
    """How much a failing check matters to the people who are called."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment, on the monotonic clock, by which an act of looking has ended."""

    at: float
    clock: Callable[[], float] = time.monotonic

    def remaining(self) -> float:
        """Seconds left; zero or less once it has passed."""
        return self.at - self.clock()


class ProbeError(Exception):
    """Could not look. `run` makes it an Outcome with status `unknown`, which moves no threshold."""

    def __init__(self, reason: Reason, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Spec:
    """What is configured for one check, apart from how it looks. Seconds throughout.

    Names, defaults and limits are those of a Kubernetes probe (core/v1 Probe).
    """

    name: str
    kind: str
    target: str = ""  # for people and labels: no credentials, no query string
    groups: frozenset[Group] = frozenset({Group.READINESS})  # `all` is implied
    severity: Severity = Severity.CRITICAL
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    stale_after: float = 31
    depends_on: tuple[str, ...] = ()  # the checks without which this one cannot be well
    latency_buckets: tuple[float, ...] = ()  # upper bounds in seconds, rising; empty for no histogram

    def belongs_to(self, group: Group) -> bool:
        """Whether this check has a say in the group's verdict; every check has one in `all`."""
        return group is Group.ALL or group in self.groups


@dataclass(frozen=True, slots=True)
class Measurement:
    """A named number seen while looking, in base units, and the limits it is judged by.

    Its name is its metric's name without the `health_` prefix. Raises ValueError for a name that is no metric name
    or belongs to the exporter's own families, and for a number that is none.
    """

    name: str
    value: float
    warn: float | None = None
    fail: float | None = None
    falling: bool = False  # the limits are the least that is well, not the most
    phase: str | None = None  # the part of the act that it is about, where one run has the number several times

    def __post_init__(self) -> None:
        if not _MEASUREMENT_NAME.match(self.name) or self.name.startswith(_RESERVED) or self.name.endswith("_limit"):
            raise ValueError(f"{self.name!r} cannot be the name of a measurement")
        if not all(math.isfinite(number) for number in (self.value, *self.limits.values())):
            raise ValueError(f"measurement {self.name} is {self.value}, limits {self.limits}: not finite")

    @property
    def key(self) -> str:
        """The name, made unique within a run."""
        return self.name if self.phase is None else f"{self.name}:{self.phase}"

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by level."""
        return {level: limit for level, limit in (("warn", self.warn), ("fail", self.fail)) if limit is not None}

    @property
    def status(self) -> Status:
        """What this number means by its limits: at a limit counts as beyond it."""
        if self._reaches(self.fail):
            return Status.FAIL
        return Status.WARN if self._reaches(self.warn) else Status.PASS

    def _reaches(self, limit: float | None) -> bool:
        return limit is not None and (self.value <= limit if self.falling else self.value >= limit)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one act of looking concluded. It has no clock: when and how long is the Result's."""

    status: Status
    reason: Reason | None = None
    summary: str = ""  # for people: logs, the page, the command line; never a label
    measurements: tuple[Measurement, ...] = ()

    def __post_init__(self) -> None:
        if (self.status is Status.PASS) != (self.reason is None):
            raise ValueError(f"an outcome has a reason if and only if it is not pass: {self.status}, {self.reason}")

    @classmethod
    def failed(cls, reason: Reason, summary: str, *measurements: Measurement) -> "Outcome":
        """The target is bad, for this reason."""
        return cls(Status.FAIL, reason, summary, measurements)

    @classmethod
    def passed(cls, summary: str, *measurements: Measurement) -> "Outcome":
        """The target is well."""
        return cls(Status.PASS, None, summary, measurements)

    @classmethod
    def measured(cls, summary: str, by: Measurement, *others: Measurement) -> "Outcome":
        """A number decides, by its limits; the summary says which limit it met or kept."""
        status = by.status
        if status is Status.PASS:
            limits = " and ".join(f"{level} at {limit:g}" for level, limit in by.limits.items())
            return cls(status, None, f"{summary} ({limits})" if limits else summary, (by, *others))
        return cls(status, Reason.THRESHOLD, f"{summary}: {status} limit {by.limits[status]:g} reached", (by, *others))

    @classmethod
    def counted(cls, summary: str, name: str, count: int, least: int | None, most: int | None) -> "Outcome":
        """A whole number decides: the least and the most that are well, so that the limits lie one beyond them."""
        below = Measurement(name, count, fail=least - 1 if least else None, falling=True)
        above = Measurement(name, count, fail=None if most is None else most + 1)
        seen = below if most is None else above  # a measurement has limits on one side
        if below.status is Status.FAIL:
            return cls.failed(Reason.THRESHOLD, f"{summary}, expected at least {least}", seen)
        if above.status is Status.FAIL:
            return cls.failed(Reason.THRESHOLD, f"{summary}, expected at most {most}", seen)
        return cls.passed(summary, seen)

    @classmethod
    def worst(cls, *outcomes: "Outcome") -> "Outcome":
        """Several conclusions about one target as one: the worst decides, and nothing that was measured is lost."""
        decides = min(outcomes, key=lambda each: _BADNESS.index(each.status))
        summary = "; ".join(each.summary for each in outcomes)
        measurements = tuple(seen for each in outcomes for seen in each.measurements)
        return cls(decides.status, decides.reason, summary, measurements)


@dataclass(frozen=True, slots=True)
class Result:
    """An Outcome with its times: `started` on the wall clock, `ended` on the monotonic one, in seconds."""

    outcome: Outcome
    started: float
    ended: float
    duration: float


@dataclass(frozen=True, slots=True)
class State:
    """A check's settled condition after thresholds, and all that has been counted on the way to it."""

    spec: Spec
    status: Status = Status.UNKNOWN
    reason: Reason | None = Reason.PENDING
    since: float | None = None  # the last transition, wall clock
    last: Result | None = None
    last_pass: float | None = None  # start of the last healthy run, wall clock
    streak: int = 0  # definitive results of the same kind in a row
    streak_healthy: bool = False
    runs: int = 0
    failures: Mapping[Reason, int] = field(default_factory=dict)  # runs that were not healthy, by reason
    transitions: int = 0
    latencies: tuple[int, ...] = ()  # answers up to each of the latency buckets, and beyond the last
    latency_sum: float = 0.0  # seconds
    fresh_until: float = math.inf  # monotonic clock; beyond it this State no longer holds

    @property
    def consecutive_failures(self) -> int:
        """Failing runs in a row up to now; a run that could not look neither counts nor breaks it."""
        return 0 if self.streak_healthy else self.streak


@dataclass(frozen=True)
class Snapshot:
    """Every State at one moment. Two answers that carry the same generation tell the same truth."""

    generation: int
    timestamp: float  # wall clock
    states: Mapping[str, State]
    draining: bool = False

    @cached_property
    def fresh_until(self) -> float:
        """The moment, on the monotonic clock, at which the first State of this Snapshot goes stale."""
        return min((state.fresh_until for state in self.states.values()), default=math.inf)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one group's question over a Snapshot, with the checks that decided it."""

    group: Group
    up: bool
    members: tuple[State, ...]
    culprits: tuple[State, ...]
    draining: bool = False  # the exporter is shutting down, which by itself makes readiness false

    @property
    def status(self) -> Status:
        """The verdict as one of the health+json draft's three words."""
        if not self.up:
            return Status.FAIL
        return Status.WARN if any(state.status is Status.WARN for state in self.members) else Status.PASS


@dataclass(frozen=True, slots=True)
class Vitals:
    """The exporter's own condition, for its own metrics and for /-/healthy."""

    running: bool  # the schedule starts what is due
    workers: int = 0
    busy: int = 0
    stuck: int = 0  # busy beyond the deadline of the check they run
    lag: float = 0.0  # seconds
    reload_ok: bool = True
    reload_time: float = 0.0  # the last successful load of the configuration, wall clock
