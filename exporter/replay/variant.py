"""`--set`, `--kubelet` and `--config.file` -> Variants: other options of the checks, and of the kubelet's probes."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from exporter.config.checks import CheckOptions, Config
from exporter.config.complaint import ConfigError
from exporter.config.document import Document
from exporter.model import Group, Spec
from exporter.replay.recording import ReplayError
from exporter.replay.stretches import Timing

MAX_VARIANTS = 50
_OPTIONS = ("failureThreshold", "successThreshold", "periodSeconds", "staleAfterSeconds", "groups")
_PROBE_OPTIONS = ("periodSeconds", "failureThreshold", "successThreshold")
_SPLIT = re.compile(r",(?![^\[]*\])")  # commas outside brackets


@dataclass(frozen=True, slots=True)
class Kubelet:
    """The probes of the exporter."""

    liveness: Timing
    readiness: Timing


MANIFESTS = Kubelet(Timing(10, 4), Timing(6, 2))
"""The probes in the manifests of this project."""


@dataclass(frozen=True, slots=True)
class Change:
    """One option with another value, of one check or probe; of all checks if `subject` is empty."""

    text: str
    subject: str
    option: str
    options: CheckOptions
    """The options of a check that has this one."""
    is_probe: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """Another configuration to replay the recorded runs with."""

    name: str
    kubelet: Kubelet = MANIFESTS
    changes: tuple[Change, ...] = ()
    configured: Mapping[str, Spec] | None = None
    """The checks of another configuration file, if there is one."""

    def apply(self, spec: Spec) -> Spec | None:
        """Return the Spec of a check in this variant; None if the check is not in it. Raises ReplayError."""
        if self.configured is not None:
            other = self.configured.get(spec.name)
            if other is None:
                return None
            spec = replace(other, timeout=spec.timeout)
        for change in self.changes:
            if not change.is_probe and change.subject in ("", spec.name):
                spec = _change_spec(spec, change.option, change.options)
        if spec.success_threshold > 1 and spec.groups & {Group.LIVENESS, Group.STARTUP}:
            message = f"{spec.name}: successThreshold must be 1 for a check in the group liveness or startup"
            raise ReplayError(f"{message}, as in Kubernetes")
        return spec


def make_variants(
    sets: Sequence[str], configs: Sequence[tuple[str, Config]], kubelet: Kubelet, names: Iterable[str]
) -> list[Variant]:
    """Return what happened, and every variant. `names` are the recorded checks. Raises ReplayError."""
    known = set(names)
    alternatives = [[*_parse(text, known)] for text in sets]
    bases: list[tuple[str, Mapping[str, Spec] | None]] = []
    for name, config in configs:
        specs = {check.spec.name: check.spec for check in config.checks}
        _require_known(name, specs, known)
        bases.append((name, specs))
    recorded = Variant("as recorded", kubelet)
    made = [
        Variant(
            " ".join([*filter(None, [name]), *(change.text for change in changes)]),
            _change_kubelet(kubelet, changes),
            changes,
            specs,
        )
        for name, specs in bases or [("", None)]
        for changes in product(*alternatives)
        if name or changes
    ]
    if len(made) > MAX_VARIANTS:
        raise ReplayError(f"{len(made)} variants are too many, the maximum is {MAX_VARIANTS}")
    return [recorded, *made]


def parse_kubelet(texts: Iterable[str]) -> Kubelet:
    """Return the kubelet's probes of the exporter, as they are now. Raises ReplayError."""
    changes = []
    for text in texts:
        subject, option, values = _split(text, "--kubelet")
        probe = _find_probe(subject)
        if probe is None or len(values) != 1:
            example = "livenessProbe.failureThreshold=3"
            raise ReplayError(f"--kubelet {text}: write a probe, an option and a number, such as {example}")
        changes.append(_make_change(f"--kubelet {text}", probe, option, values[0]))
    return _change_kubelet(MANIFESTS, changes)


def _require_known(source: str, wanted: Iterable[str], known: set[str]) -> None:
    if unknown := sorted(set(wanted) - known):
        recorded = ", ".join(sorted(known)) or "(none)"
        raise ReplayError(f"{source}: no runs of {', '.join(unknown)} are recorded; the checks are: {recorded}")


def _parse(text: str, known: set[str]) -> Iterator[Change]:
    """Yield a change for each of the values."""
    subject, option, values = _split(text, "--set")
    probe = _find_probe(subject) if subject not in known else None
    if subject and probe is None:
        _require_known(f"--set {text}", [subject], known)
    for value in values:
        change = _make_change(f"--set {text}", probe or subject, option, value, is_probe=probe is not None)
        name = f"{subject}." if subject else ""
        yield replace(change, text=f"{name}{option}={value}")


def _split(text: str, source: str) -> tuple[str, str, list[str]]:
    key, equals, value = text.partition("=")
    subject, _, option = key.strip().rpartition(".")
    values = [part.strip() for part in _SPLIT.split(value)]
    if not equals or not option or not all(values):
        raise ReplayError(f"{source} {text}: write an option and a value, such as api.failureThreshold=5")
    return subject, option, values


def _find_probe(subject: str) -> str | None:
    name = subject.removesuffix("Probe")
    return name if name in ("liveness", "readiness") else None


def _make_change(source: str, subject: str, option: str, value: str, *, is_probe: bool = True) -> Change:
    options = _validate(source, option, value)
    if is_probe:
        if option not in _PROBE_OPTIONS:
            raise ReplayError(f"{source}: {option} of a probe is not replayed, only {', '.join(_PROBE_OPTIONS)}")
        return Change(source, subject, option, options, is_probe=True)
    if option not in _OPTIONS:
        raise ReplayError(f"{source}: {option} is not replayed, only {', '.join(_OPTIONS)}")
    return Change(source, subject, option, options)


def _validate(source: str, option: str, value: str) -> CheckOptions:
    """Return the options of a check that has this one, written as in a configuration file."""
    if option == "groups" and not value.startswith("["):
        value = f"[{value}]"
    try:
        document = Document.parse(f"name: it\n{option}: {value}\n".encode("utf-8", "replace"), source)
        return document.validate(CheckOptions)
    except ConfigError as error:
        raise ReplayError("\n".join(f"{source}: {complaint.message}" for complaint in error.complaints)) from None


def _change_spec(spec: Spec, option: str, options: CheckOptions) -> Spec:
    follows = spec.stale_after == _compute_stale_after(spec)
    match option:
        case "groups":
            return replace(spec, groups=options.groups | {Group.ALL})
        case "staleAfterSeconds":
            return replace(spec, stale_after=options.stale_after_seconds or spec.stale_after)
        case "periodSeconds":
            spec = replace(spec, period=options.period_seconds)
        case "failureThreshold":
            spec = replace(spec, failure_threshold=options.failure_threshold)
        case "successThreshold":
            spec = replace(spec, success_threshold=options.success_threshold)
    return replace(spec, stale_after=_compute_stale_after(spec)) if follows else spec


def _compute_stale_after(spec: Spec) -> float:
    """Return the default of staleAfterSeconds."""
    return spec.failure_threshold * spec.period + spec.timeout


def _change_kubelet(kubelet: Kubelet, changes: Iterable[Change]) -> Kubelet:
    for change in changes:
        if change.is_probe and change.subject == "liveness":
            kubelet = replace(kubelet, liveness=_change_timing(kubelet.liveness, change))
        elif change.is_probe:
            kubelet = replace(kubelet, readiness=_change_timing(kubelet.readiness, change))
    return kubelet


def _change_timing(timing: Timing, change: Change) -> Timing:
    match change.option:
        case "periodSeconds":
            return replace(timing, period=change.options.period_seconds)
        case "failureThreshold":
            return replace(timing, failure_threshold=change.options.failure_threshold)
    return replace(timing, success_threshold=change.options.success_threshold)
