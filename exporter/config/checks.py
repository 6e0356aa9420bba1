"""Configuration files -> Checks: the models of a file, and `load`.

`load` takes the files through four stages: files.py reads them, document.py turns each into plain data with lines, the
models below and the rules in rules.py validate the data, and `CheckOptions.build_check` turns every valid entry into a
Check. document.py explains how a complaint gets its line. The models see one file at a time, and the rules all of them,
because names and dependencies are those of the whole configuration.

The fields, defaults and ranges of a check are those of a Kubernetes probe (core/v1 Probe, and its validation in
pkg/apis/core/validation).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, create_model
from pydantic_core import PydanticCustomError

from exporter.config.complaint import Complaint, ConfigError, UnreadableError
from exporter.config.data import Count
from exporter.config.document import Document, explain_unreadable
from exporter.config.files import BUILT_IN, Text, read_texts
from exporter.config.pasted import find_pasted_file
from exporter.config.rules import NAME, ONE_LINE, RUNBOOK_URL, find_violations, list_checks
from exporter.kinds import KindError, kinds
from exporter.model import Group, Severity, Spec
from exporter.probe.check import Check, Probe
from exporter.probe.options import Meaning, Options, Seconds
from exporter.probe.secret import withhold_secrets

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
    """Names the team that is responsible. It is a label of `health_check_info` and of the check's alerts."""
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
        kind, probe = next((kind, probe) for kind in kinds() if isinstance(probe := getattr(self, kind, None), Probe))
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
class Part:
    """A file of a configuration: its checks, and the document that knows their lines."""

    document: Document
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """A valid configuration, of one file or several."""

    parts: tuple[Part, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks of all files."""
        return tuple(check for part in self.parts for check in part.checks)


class _Configuration(Options):
    """The checks that the exporter runs."""

    checks: list[CheckOptions]
    """The checks, each with a unique name."""


@lru_cache(maxsize=2)  # the one in use, and the one with all kinds
def build_model(chosen: frozenset[str] | None = None) -> type[_Configuration]:
    """Return the model of the file. Each of these kinds is an optional key of a check; by default, all kinds are.

    A model with few kinds takes a fraction of the time and memory.
    """
    names = sorted(kinds() if chosen is None else chosen)
    fields: dict[str, Any] = {kind: (kinds()[kind] | None, None) for kind in names}
    check = create_model("Check", __base__=CheckOptions, __doc__=CheckOptions.__doc__, **fields)
    return create_model("Configuration", __base__=_Configuration, checks=(list[check], ...))


def load(*paths: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Load the configuration in these files and folders; without any, the built-in default.

    `environment` is used for `$(NAME)` instead of the process's own. Raises complaint.ConfigError with every complaint.
    """
    return parse(read_texts(paths) if paths else [BUILT_IN], environment)


def parse(texts: Sequence[Text], environment: Mapping[str, str] | None = None) -> Config:
    """Return the configuration in these texts. Raises ConfigError as `load` does."""
    documents, complaints = _parse_documents(texts)
    try:
        model = build_model(_find_kinds(documents))
    except KindError as error:
        found = [documents[0].make_complaint((), str(error))] if documents else []
        raise ConfigError([*complaints, *found]) from error
    own = []
    for document in documents:
        if pasted := find_pasted_file(document):
            complaints += [*document.complaints, *pasted]
        else:
            own.append(document)
    parts = []
    for document, violations in zip(own, find_violations(own, complete=not complaints), strict=True):
        try:
            options = _validate(document, model, violations, environment)
            parts.append(Part(document, tuple(_build_checks(options, document))))
        except ConfigError as error:
            complaints += error.complaints
        except KindError as error:
            complaints.append(document.make_complaint((), str(error)))
    if complaints:
        places = {text.source: place for place, text in enumerate(texts)}
        complaints.sort(key=lambda complaint: places[complaint.source])
        unread = any(isinstance(text.content, OSError) for text in texts)
        raise (UnreadableError if unread else ConfigError)(complaints)
    config = Config(tuple(parts))
    withhold_secrets(config.checks, config.checks)
    return config


def _parse_documents(texts: Iterable[Text]) -> tuple[list[Document], list[Complaint]]:
    """Return the documents, and complaints about those that cannot be read or are not valid YAML."""
    documents: list[Document] = []
    complaints: list[Complaint] = []
    count = Count()
    for source, content in texts:
        if isinstance(content, OSError):
            complaints.append(explain_unreadable(source, content))
        elif not count.full:  # otherwise, one of the complaints is about the number of values
            try:
                documents.append(Document.parse(content, source, count))
            except ConfigError as error:
                complaints += error.complaints
    return documents, complaints


def _find_kinds(documents: Iterable[Document]) -> frozenset[str]:
    checks = (check for document in documents for check in list_checks(document).values())
    return frozenset(key for check in checks for key in check if key in kinds())


def _validate(
    document: Document,
    model: type[_Configuration],
    violations: Sequence[Complaint],
    environment: Mapping[str, str] | None,
) -> list[CheckOptions]:
    """Return the checks of a document. Raises ConfigError, and KindError if another kind cannot be loaded."""
    try:
        return document.validate(model, violations, environment).checks
    except ConfigError:  # its complaints compare a misspelled key with those of all kinds
        return document.validate(build_model(), violations, environment).checks


def _build_checks(options: list[CheckOptions], document: Document) -> Iterator[Check]:
    for index, check in enumerate(options):
        with document.report_exceptions(("checks", index)):  # by the property `target` of a plugin's kind
            built = check.build_check()
        yield built
