"""Check, the thing to watch, and Probe, the way of checking it, which every kind extends."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import model_validator

from exporter.model import Deadline, Outcome, Spec
from exporter.probe.options import Options

FUNCTION = "function"
"""The kind of a check that is a function of an application. No other kind may have this name."""


def require(module: str, extra: str) -> Any:
    """Import a module that only an extra installs. Raises ValueError, with what to install, if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(f"needs the package {module}: install health-exporter[{extra}]") from None


class Probe(Options, ABC):  # noqa: PLW1641  # pydantic makes frozen models hashable
    """One way of checking something. Extend it to add a kind.

    The fields are the kind's options, with a docstring below each for the JSON Schema and the reference; the class
    docstring is the kind's manual. Pass in whatever belongs to the outside world (a folder, a clock) as an argument of
    a method with a default, so that tests can pass their own.

    A probe is used by one thread at a time. A reload keeps it if its options have not changed; state that it keeps
    between runs belongs in a pydantic `PrivateAttr`.
    """

    measures: ClassVar[Mapping[str, str]] = {}
    """The measurements this kind makes, each with the HELP text of its metric."""
    examples: ClassVar[Sequence[str]] = ()
    """Checks of this kind for the reference, each an item of `checks` in YAML. A test loads them."""
    needs: ClassVar[Mapping[str, str]] = {}
    """The modules of other packages that this kind imports when it runs, each with the extra that installs it."""

    @model_validator(mode="after")
    def _require_packages(self) -> Self:
        for module, extra in self.needs.items():
            require(module, extra)
        return self

    @property
    def target(self) -> str:
        """What is checked, for people and for the label `target`: without credentials or a query string."""
        return ""

    @abstractmethod
    def probe(self, deadline: Deadline) -> Outcome:
        """Check once, before the deadline, and return the conclusion with the numbers it is based on.

        An unhealthy target is an Outcome, not an exception. Raises ProbeError, or anything else, only if the check
        could not be made; the run is then `unknown` and moves no threshold.
        """

    def liveness_risk(self) -> str | None:
        """Why restarting the application would not fix a failure of this probe; None if it might."""
        return None

    def __eq__(self, other: object) -> bool:
        """Equal if configured alike. State between runs does not count, so a reload keeps an unchanged probe."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def close(self) -> None:
        """Abandon a run in progress: the check has been removed, or the exporter stops."""


@dataclass(frozen=True, slots=True)
class Check:
    """One configured thing to watch: a Spec, which says when and for whom, and a Probe, which says how."""

    spec: Spec
    probe: Probe
