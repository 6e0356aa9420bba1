"""Configuration file -> Checks: the models of the file, and `load`.

`load` takes a file through three stages: document.py reads it as plain data with lines, the models below and the rules
in rules.py validate the data, and `CheckOptions.build_check` turns every valid entry into a Check. document.py explains
how a complaint gets its line. The fields, defaults and ranges of a check are those of a Kubernetes probe
(core/v1 Probe, and its validation in pkg/apis/core/validation).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, create_model
from pydantic_core import PydanticCustomError

from exporter.config.complaint import ConfigError
from exporter.config.document import Document
from exporter.config.pasted import find_pasted_file
from exporter.config.rules import NAME, ONE_LINE, RUNBOOK_URL, find_violations
from exporter.kinds import KindError, kinds
from exporter.model import Group, Severity, Spec
from exporter.probe.check import Check, Probe
from exporter.probe.options import Meaning, Options, Seconds
from exporter.probe.secret import withhold_secrets

BUILT_IN = """\
# The checks without a --config.file: they watch the machine that health-exporter runs on.
checks:
  - name: load
    loadAverage: {}
  - name: memory
    memory: {}
  - name: disk
    disk: {path: /}
"""
BUILT_IN_NAME = "built-in default"
_MAX_INT32 = 2**31 - 1
_Int32 = Annotated[int, Field(ge=0, le=_MAX_INT32)]


def _zero_means(default: int) -> AfterValidator:
    """Return a validator that replaces 0 with the field's default, as Kubernetes does (SetDefaults_Probe)."""
    return AfterValidator(lambda value: value or default)


def _join_lines(text: str) -> str:
    return " ".join(text.split())


def _require_ascending(bounds: tuple[float, ...]) -> tuple[float, ...]:
    if any(lower >= upper for lower, upper in pairwise(bounds)):
        raise PydanticCustomError("verbatim", "must be in ascending order, each bound once")
    return bounds


def _require_whole_period(stale_after: int | None, info: ValidationInfo) -> int | None:
    period = info.data.get("period_seconds", 0)  # absent if it is invalid itself
    if stale_after is not None and stale_after < period:
        message = "must be at least periodSeconds ({period}), or every result goes stale before the next"
        raise PydanticCustomError("verbatim", message, {"period": period})
    return stale_after


class CheckOptions(Options):
    """One check: a name, one kind, and the timing of a Kubernetes probe."""

    name: Annotated[str, Field(max_length=63), NAME]
    """Names the check in metrics, responses and logs: letters, digits, '-', '_' and '.', at most 63."""
    groups: frozenset[Group] = frozenset({Group.READINESS})
    """Selects the probe endpoints that this check affects. Every check is also in the group `all`. A check of the kind
    `certificate` is by default in no other group."""
    severity: Severity = Severity.CRITICAL
    """Sets how urgently a failure should alert."""
    depends_on: tuple[str, ...] = ()
    """Names the checks that this one depends on. While one of them fails, this check is marked as suppressed."""
    owner: Annotated[str, Field(max_length=100), ONE_LINE] = ""
    """Names the team that is responsible. It is a label of `health_check_info`, by which alerts can be routed."""
    description: Annotated[str, Field(max_length=500), Meaning.BLOCK, AfterValidator(_join_lines)] = ""
    """States what it means if this check fails, in responses, on the status page and in the log."""
    runbook_url: Annotated[str, Field(max_length=500), RUNBOOK_URL] = ""
    """Links to the instructions for a failure of this check, in responses, on the status page and in the log."""
    latency_buckets: Annotated[tuple[Seconds, ...], Field(max_length=20), AfterValidator(_require_ascending)] = ()
    """Bounds in seconds, in ascending order, of a histogram of the endpoint's latency. Without bounds, there is no
    histogram."""
    initial_delay_seconds: _Int32 = 0
    """Seconds from the start of the exporter, or from the reload that added the check, to the check's first run."""
    period_seconds: Annotated[_Int32, _zero_means(10)] = 10
    """Seconds from the start of one run to the start of the next. 0 means the default, as in Kubernetes."""
    timeout_seconds: Annotated[_Int32, _zero_means(1)] = 1
    """Time limit in seconds for a whole run. 0 means the default, as in Kubernetes."""
    success_threshold: Annotated[_Int32, _zero_means(1)] = 1
    """Number of consecutive healthy runs after which the check counts as healthy. Must be 1 for liveness and startup.
    0 means the default, as in Kubernetes."""
    failure_threshold: Annotated[_Int32, _zero_means(3)] = 3
    """Number of consecutive failed runs after which the check's status becomes `fail`. 0 means the default, as in
    Kubernetes."""
    stale_after_seconds: Annotated[
        Annotated[int, Field(ge=1, le=_MAX_INT32)] | None, AfterValidator(_require_whole_period)
    ] = None
    """Seconds after which the latest result other than `unknown` no longer counts. Default: failureThreshold *
    periodSeconds + timeoutSeconds."""

    def build_check(self) -> Check:
        """Return the Check that these options describe."""
        kind, probe = next((kind, probe) for kind in kinds() if isinstance(probe := getattr(self, kind), Probe))
        spec = Spec(
            name=self.name,
            kind=kind,
            target=probe.target,
            groups=(self.groups if "groups" in self.model_fields_set else probe.default_groups) | {Group.ALL},
            severity=self.severity,
            depends_on=self.depends_on,
            owner=self.owner,
            description=self.description,
            runbook_url=self.runbook_url,
            latency_buckets=self.latency_buckets,
            initial_delay=self.initial_delay_seconds,
            period=self.period_seconds,
            timeout=self.timeout_seconds,
            success_threshold=self.success_threshold,
            failure_threshold=self.failure_threshold,
            stale_after=self.stale_after_seconds or self.failure_threshold * self.period_seconds + self.timeout_seconds,
        )
        return Check(spec, probe)


@dataclass(frozen=True, slots=True)
class Config:
    """A valid configuration file: its checks, and the document that knows their lines."""

    checks: tuple[Check, ...]
    document: Document


class _Configuration(Options):
    """The checks that the exporter runs."""

    checks: list[CheckOptions]
    """The checks, each with a unique name."""


@cache
def build_model() -> type[_Configuration]:
    """Return the model of the file. Each kind that is installed is an optional key of a check."""
    fields: dict[str, Any] = {kind: (probe | None, None) for kind, probe in kinds().items()}
    check = create_model("Check", __base__=CheckOptions, __doc__=CheckOptions.__doc__, **fields)
    return create_model("Configuration", __base__=_Configuration, checks=(list[check], ...))


def load(path: Path | None, content: bytes | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Load a configuration file, or the built-in default. Raises complaint.ConfigError with every complaint.

    `content` is used instead of the file's own, as from an earlier time. `environment` is used for `$(NAME)` instead of
    the process's own.
    """
    if path is None:
        document = Document.parse(BUILT_IN.encode(), BUILT_IN_NAME)
    else:
        document = Document.read(path) if content is None else Document.parse(content, str(path))
    try:
        kinds_model = build_model()
    except KindError as error:
        raise ConfigError([document.make_complaint((), str(error))]) from error
    if pasted := find_pasted_file(document):
        raise ConfigError([*document.complaints, *pasted])
    model = document.validate(kinds_model, find_violations(document), environment)
    checks = tuple(_build_checks(model.checks, document))
    withhold_secrets(checks, checks)
    return Config(checks, document)


def _build_checks(options: list[CheckOptions], document: Document) -> Iterator[Check]:
    for index, check in enumerate(options):
        with document.report_exceptions(("checks", index)):  # by the property `target` of a plugin's kind
            built = check.build_check()
        yield built
