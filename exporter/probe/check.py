"""Probe, the base class of every kind of check, and Check, one configured check."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import model_validator

from exporter.model import Deadline, Group, Outcome, Spec
from exporter.probe.extras import require
from exporter.probe.options import Options

FUNCTION = "function"
"""The kind of a check that is a function of the application. It is reserved: no other kind may have this name."""


class Probe(Options, ABC):  # noqa: PLW1641  # pydantic makes frozen models hashable
    """One way of checking something. Extend this class to add a kind.

    The fields are the kind's options; write a docstring below each for the JSON Schema and the reference. The class
    docstring is the kind's manual, and its first sentence states what the kind checks. Take everything that belongs to
    the outside world, such as a folder or a clock, as a method argument with a default, so that tests can replace it.

    Only one thread at a time uses a probe. A reload keeps a probe whose options have not changed; store the state that
    it keeps between runs in a pydantic `PrivateAttr`.
    """

    measures: ClassVar[Mapping[str, str]] = {}
    """The names of the measurements that this kind makes, each with the HELP text of its metric."""
    examples: ClassVar[Sequence[str]] = ()
    """Checks of this kind for the reference, each an item of `checks` in YAML. A test loads every one."""
    default_groups: ClassVar[frozenset[Group]] = frozenset({Group.READINESS})
    """The groups of a check of this kind that configures none."""
    needs: ClassVar[Mapping[str, str]] = {}
    """The modules of other packages that this kind imports when it runs, each with the extra that installs it."""

    @model_validator(mode="after")
    def _require_packages(self) -> Self:
        self._import_packages()
        return self

    def _import_packages(self) -> None:
        """Import what `needs` names. Raises ValueError if it is missing or broken."""
        for module, extra in self.needs.items():
            require(module, extra)

    @property
    def target(self) -> str:
        """The target of the check, for people and for the label `target`: no credentials, no query string."""
        return ""

    @abstractmethod
    def probe(self, deadline: Deadline) -> Outcome:
        """Run the check once, by the deadline, and return the outcome with the numbers it is based on.

        An unhealthy target is an Outcome, not an exception. Raises ProbeError, or any other exception, only if the
        check could not run; the result is then `unknown` and does not count toward any threshold.
        """

    def liveness_risk(self) -> str | None:
        """Return why a restart of the application would not fix a failure of this check; None if it might."""
        return None

    def __eq__(self, other: object) -> bool:
        """Equal if the options are equal. State between runs does not count, so a reload keeps an unchanged probe.

        Nor does a `cached_property`, whose value is in `__dict__` too.
        """
        if type(self) is not type(other):
            return False
        ours, theirs = self.__dict__, other.__dict__
        return all(ours.get(name) == theirs.get(name) for name in type(self).model_fields)

    def withhold(self, variables: frozenset[str]) -> None:
        """Keep these environment variables out of the commands that the probe starts, unless its options name them.

        Secrets of the configuration are read from them. The exporter calls this before the first run and after each
        reload.
        """

    def close(self) -> None:
        """Abandon a run in progress, because the check was removed or the exporter is stopping."""


@dataclass(frozen=True, slots=True)
class Check:
    """One configured check: its Spec sets when it runs and which groups it affects, its Probe how it checks."""

    spec: Spec
    probe: Probe
