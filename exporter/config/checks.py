"""YAML -> Config: every complaint at once, each with file:line and its path.

The vocabulary, the defaults and the limits are those of a Kubernetes probe (core/v1 Probe, and its validation in
pkg/apis/core/validation).
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, create_model

from exporter.config.complaint import Complaint, Keys, near
from exporter.config.document import Document
from exporter.kinds import kinds
from exporter.model import Group, Severity, Spec
from exporter.probe.check import Check, Probe
from exporter.probe.options import Options, Spelling

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

_FOREIGN = {
    "terminationGracePeriodSeconds": "stays in the manifest's probe: the exporter ends no application",
}
"""Keys of a Kubernetes probe that mean nothing here, and why."""
_INT32 = 2**31 - 1
# A Kubernetes label value: fits URLs, labels and lists.
_NAME = Spelling(
    r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    "must be letters, digits, '-', '_' and '.', with a letter or digit at both ends",
)
_Whole = Annotated[int, Field(strict=True, ge=0, le=_INT32)]
# Kubernetes replaces a 0 by the field's default (SetDefaults_Probe).
_Period = Annotated[_Whole, AfterValidator(lambda value: value or 10)]
_Timeout = Annotated[_Whole, AfterValidator(lambda value: value or 1)]
_Successes = Annotated[_Whole, AfterValidator(lambda value: value or 1)]
_Failures = Annotated[_Whole, AfterValidator(lambda value: value or 3)]


_Bound = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class CheckOptions(Options):
    """One check: a name, one kind, and a Kubernetes probe's timing."""

    name: Annotated[str, Field(max_length=63), _NAME]
    """Names the check in metrics, answers and logs: letters, digits, '-', '_' and '.', at most 63."""
    groups: frozenset[Group] = frozenset({Group.READINESS})
    """The questions this check has a say in. Every check has one in `all`."""
    severity: Severity = Severity.CRITICAL
    """How much a failure matters to the people who are called."""
    depends_on: tuple[str, ...] = ()
    """Names of checks without which this one cannot be well: while one of them fails, this one is suppressed."""
    latency_buckets: Annotated[tuple[_Bound, ...], Field(max_length=20)] = ()
    """Bounds in seconds, rising, of a histogram of the endpoint's latency; without them there is none."""
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
            depends_on=self.depends_on,
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
    """What a configuration file says."""

    checks: tuple[Check, ...]
    document: Document


class _Configuration(Options):
    """What the exporter watches."""

    checks: list[CheckOptions]
    """The checks, each with a name of its own."""


@cache
def _model() -> type[_Configuration]:
    """The file's model, made from the kinds there are: each is one optional key of a check."""
    fields: dict[str, Any] = {kind: (probe | None, None) for kind, probe in kinds().items()}
    check = create_model("Check", __base__=CheckOptions, __doc__=CheckOptions.__doc__, **fields)
    return create_model("Configuration", __base__=_Configuration, checks=(list[check], ...))


def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file, for editors."""
    document = _model().model_json_schema()
    check = document["$defs"]["Check"]
    check["oneOf"] = [{"required": [kind]} for kind in kinds()]
    for kind, probe in kinds().items():  # null is not a way to write a kind
        options = next(each for each in check["properties"][kind]["anyOf"] if "$ref" in each)
        check["properties"][kind] = {**options, "description": (inspect.getdoc(probe) or kind).splitlines()[0]}
    del check["properties"]["groups"]["uniqueItems"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "health-exporter",
        **_untitled(document),
    }


def _untitled(schema: Any) -> Any:
    """Without pydantic's titles, which only repeat the names."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _untitled(value) for key, value in schema.items() if key != "title" or isinstance(value, dict)}


def load(path: Path | None) -> Config:
    """Read a configuration file, or the built-in default. Raises document.ConfigError with every complaint there is."""
    document = Document.parse(BUILT_IN.encode(), "built-in default") if path is None else Document.read(path)
    model = document.validated(_model(), rules(document))
    return Config(tuple(check.check() for check in model.checks), document)


def rules(document: Document) -> Iterator[Complaint]:
    """The rules that tie fields or checks together, looked for in whatever the document holds."""
    checks = document.data.get("checks") if isinstance(document.data, dict) else None
    names: dict[str, int] = {}
    for index, check in enumerate(checks if isinstance(checks, list) else ()):
        if not isinstance(check, dict):
            continue
        name = check.get("name")
        if isinstance(name, str) and _NAME.fits(name) and names.setdefault(name, index) != index:
            first = document.line(("checks", names[name], "name"))
            message = f"the name {name!r} is taken by the check in line {first}"
            yield document.complaint(("checks", index, "name"), message)
        for key, message in (*_kind_rules(check), *_timing_rules(check)):
            yield document.complaint(("checks", index, *key), message)
        for foreign in _FOREIGN.keys() & check.keys():
            yield document.complaint(("checks", index, foreign), _FOREIGN[foreign])
    yield from (document.complaint(keys, message) for keys, message in _dependency_rules(checks))


def _dependency_rules(checks: Any) -> Iterator[tuple[Keys, str]]:
    """Every dependency is a check of this file, and none leads back to where it began."""
    named = [check for check in checks if isinstance(check, dict)] if isinstance(checks, list) else []
    parents = {check["name"]: check["dependsOn"] for check in named if _has_dependencies(check)}
    names = {check["name"] for check in named if isinstance(check.get("name"), str)}
    for index, check in enumerate(checks if parents else ()):
        for place, parent in enumerate(check["dependsOn"] if _has_dependencies(check) else ()):
            keys = ("checks", index, "dependsOn", place)
            if isinstance(parent, str) and parent not in names:
                yield keys, f"there is no check {parent!r}"
            elif isinstance(parent, str) and check["name"] in _ancestors(parent, parents):
                yield keys, f"{parent!r} itself depends on {check['name']!r}"


def _has_dependencies(check: Any) -> bool:
    return isinstance(check, dict) and isinstance(check.get("name"), str) and isinstance(check.get("dependsOn"), list)


def _ancestors(name: str, parents: dict[str, list[Any]]) -> set[str]:
    """A check and all that it depends on."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        if isinstance(each := waiting.pop(), str) and each not in found:
            found.add(each)
            waiting += parents.get(each, ())
    return found


def _kind_rules(check: dict[str, Any]) -> Iterator[tuple[Keys, str]]:
    chosen = [kind for kind in check if kind in kinds()]
    if len(chosen) > 1:
        yield (), f"has more than one kind, {' and '.join(chosen)}: make each a check of its own"
    elif chosen and check[chosen[0]] is None:
        needed = [each.alias or name for name, each in kinds()[chosen[0]].model_fields.items() if each.is_required()]
        form = f"{chosen[0]}: {{{', '.join(f'{name}: ...' for name in needed)}}}"
        yield (chosen[0],), f"is empty: write {form}{'' if needed else ' for its defaults'}"
    elif not chosen and not any(near(key, kinds()) for key in check):
        yield (), f"has no kind: write one of {', '.join(kinds())}"


def _timing_rules(check: dict[str, Any]) -> Iterator[tuple[Keys, str]]:
    groups, successes = check.get("groups"), check.get("successThreshold")
    strict = [group for group in ("liveness", "startup") if isinstance(groups, list) and group in groups]
    if strict and type(successes) is int and successes > 1:
        yield ("successThreshold",), f"must be 1 for a check in the group {strict[0]}, as in Kubernetes"
    given = check.get("latencyBuckets")
    bounds = [each for each in given if type(each) in (int, float)] if isinstance(given, list) else []
    if any(one >= other for one, other in pairwise(bounds)):
        yield ("latencyBuckets",), "must rise from each bound to the next"
    stale, period = check.get("staleAfterSeconds"), check.get("periodSeconds", 10)
    if type(stale) is int and type(period) is int and 0 < stale < (period or 10):
        message = f"must not be below periodSeconds ({period or 10}): every result would go stale before the next"
        yield ("staleAfterSeconds",), message
