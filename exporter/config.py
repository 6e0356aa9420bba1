"""YAML -> Config: every complaint at once, each with file:line and its path.

The vocabulary, the defaults and the limits are those of a Kubernetes probe (core/v1 Probe, and its validation in
pkg/apis/core/validation).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, create_model

from exporter.check import Check, Options, Probe, kinds
from exporter.document import Complaint, Document, Keys
from exporter.model import Group, Severity, Spec

BUILT_IN = """\
# What health-exporter watches when no --config.file is given: the machine it runs on.
checks:
  - name: load
    loadAverage: {}
  - name: memory
    memory: {}
  - name: disk
    disk: {path: /}
"""

_INT32 = 2**31 - 1
_NAME = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"  # a Kubernetes label value: fits URLs, labels and lists
_Whole = Annotated[int, Field(strict=True, ge=0, le=_INT32)]
# Kubernetes replaces a 0 by the field's default (SetDefaults_Probe).
_Period = Annotated[_Whole, AfterValidator(lambda value: value or 10)]
_Timeout = Annotated[_Whole, AfterValidator(lambda value: value or 1)]
_Successes = Annotated[_Whole, AfterValidator(lambda value: value or 1)]
_Failures = Annotated[_Whole, AfterValidator(lambda value: value or 3)]


class CheckOptions(Options):
    """One check: a name, one kind, and a Kubernetes probe's timing."""

    name: Annotated[str, StringConstraints(pattern=_NAME, max_length=63)]
    """Names the check in metrics, answers and logs: letters, digits, '-', '_' and '.', at most 63."""
    groups: frozenset[Group] = frozenset({Group.READINESS})
    """The questions this check has a say in. Every check has one in `all`."""
    severity: Severity = Severity.CRITICAL
    """How much a failure matters to the people who are called."""
    initial_delay_seconds: _Whole = 0
    """Seconds from the start of the exporter, or from the reload that brought the check, to its first run."""
    period_seconds: _Period = 10
    """Seconds from the start of one run to the start of the next."""
    timeout_seconds: _Timeout = 1
    """Seconds one run may take in all."""
    success_threshold: _Successes = 1
    """Successes in a row that settle `pass`. Must be 1 for liveness and startup."""
    failure_threshold: _Failures = 3
    """Failures in a row that settle `fail`."""
    stale_after_seconds: Annotated[int, Field(strict=True, ge=1, le=_INT32)] | None = None
    """Seconds after which the last definitive result no longer counts. Default: failureThreshold * periodSeconds +
    timeoutSeconds."""

    def check(self) -> Check:
        """The Check that these options describe."""
        kind, probe = next((kind, probe) for kind in kinds() if isinstance(probe := getattr(self, kind), Probe))
        spec = Spec(
            name=self.name,
            kind=kind,
            target=probe.target,
            groups=self.groups | {Group.ALL},
            severity=self.severity,
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
    """What a configuration file says."""

    checks: tuple[Check, ...]
    document: Document


@cache
def _model() -> type[BaseModel]:
    """The file's model, made from the kinds there are: each is one optional key of a check."""
    fields: dict[str, Any] = {kind: (probe | None, None) for kind, probe in kinds().items()}
    check = create_model("Check", __base__=CheckOptions, __doc__=CheckOptions.__doc__, **fields)
    return create_model("Configuration", __base__=Options, checks=(list[check], ...))


def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file, for editors."""
    document = _model().model_json_schema()
    check = document["$defs"]["Check"]
    check["oneOf"] = [{"required": [kind]} for kind in kinds()]
    for kind in kinds():  # null is not a way to write a kind
        check["properties"][kind] = next(each for each in check["properties"][kind]["anyOf"] if "$ref" in each)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "title": "health-exporter"}


def load(path: Path | None) -> Config:
    """Read a configuration file, or the built-in default. Raises document.ConfigError with every complaint there is."""
    document = Document.parse(BUILT_IN.encode(), "built-in default") if path is None else Document.read(path)
    model = document.validated(_model(), rules(document))
    checks: list[CheckOptions] = model.checks  # type: ignore[attr-defined]
    return Config(tuple(check.check() for check in checks), document)


def rules(document: Document) -> Iterator[Complaint]:
    """The rules that tie fields or checks together, looked for in whatever the document holds."""
    checks = document.data.get("checks") if isinstance(document.data, dict) else None
    names: dict[str, int] = {}
    for index, check in enumerate(checks if isinstance(checks, list) else ()):
        if not isinstance(check, dict):
            continue
        name = check.get("name")
        if isinstance(name, str) and names.setdefault(name, index) != index:
            first = document.line(("checks", names[name], "name"))
            yield document.complaint(
                ("checks", index, "name"), f"the name {name!r} is taken by the check in line {first}"
            )
        for key, message in _rules(check):
            yield document.complaint(("checks", index, *key), message)


def _rules(check: dict[str, Any]) -> Iterator[tuple[Keys, str]]:
    chosen = [kind for kind in kinds() if kind in check]
    if not chosen:
        yield (), f"one kind is required: {', '.join(kinds())}"
    if len(chosen) > 1:
        yield (), f"may not specify more than 1 kind, found {' and '.join(chosen)}"
    yield from (((kind,), f"is empty: write {kind}: {{}} for its defaults") for kind in chosen if check[kind] is None)
    groups = check.get("groups")
    strict = [group for group in ("liveness", "startup") if isinstance(groups, list) and group in groups]
    if strict and check.get("successThreshold", 1) not in (0, 1):
        yield ("successThreshold",), f"must be 1 for a check in the group {strict[0]}, as in Kubernetes"
    stale, period = check.get("staleAfterSeconds"), check.get("periodSeconds") or 10
    if isinstance(stale, int) and isinstance(period, int) and 0 < stale < period:
        yield ("staleAfterSeconds",), f"must not be below periodSeconds ({period}): every result would go stale"


def advice(config: Config, scrape_interval: float) -> Iterator[Complaint]:
    """What is allowed and rarely meant."""
    if not config.checks:
        yield config.document.complaint(("checks",), "nothing is watched, and so every answer is yes")
    for index, check in enumerate(config.checks):
        for key, message in _advice(check, scrape_interval):
            yield config.document.complaint(("checks", index, *key), message)


def _advice(check: Check, scrape_interval: float) -> Iterator[tuple[Keys, str]]:
    spec = check.spec
    if spec.timeout > spec.period:
        yield (
            ("timeoutSeconds",),
            (
                f"a timeout of {spec.timeout} s is longer than the period of {spec.period} s: a run that "
                "hangs makes the next one late"
            ),
        )
    if Group.LIVENESS not in spec.groups:
        return
    if risk := check.probe.liveness_risk():
        yield ("groups",), f"liveness restarts the application, and {risk}"
    kill_after = spec.failure_threshold * spec.period
    if kill_after < scrape_interval:
        yield (
            ("failureThreshold",),
            (
                f"the kill comes {kill_after} s after the first failure (failureThreshold * periodSeconds), before a "
                f"Prometheus that scrapes every {scrape_interval:g} s has seen the reason"
            ),
        )
