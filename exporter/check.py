"""Check, the thing to watch, and Probe, the way of looking, which every kind extends.

A kind is one file in `exporter/probes/`: `http_get.py` holds the kind `httpGet`. Nothing lists the kinds;
`kinds()` finds them.
"""

import importlib
import importlib.util
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from exporter import probes
from exporter.model import Deadline, Outcome, Spec

LATENCY = {
    "endpoint_latency_seconds": "Seconds the endpoint took to answer in the latest run, name resolution included."
}

Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
"""A port by number. Kubernetes' port names belong to a container's manifest, which the exporter does not have."""
Host = Annotated[str, Field(min_length=1)]
Ratio = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A part of a whole, or a load per CPU; 1 is all of it."""


def elsewhere(host: str) -> str | None:
    """The liveness risk of looking at this host: none when it is the pod's own loopback."""
    if host in ("localhost", "::1") or host.startswith("127."):
        return None
    return f"{host} is another host: a restart here does not mend it"


class Options(BaseModel):
    """A piece of configuration: camelCase keys, unknown keys refused, never changed after loading."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )


class Probe(Options, ABC):
    """One way of looking. Its fields are its settings, its docstring is its manual, its file is its kind.

    The field docstrings go into the JSON Schema. What the outside world gives (a folder, a clock) comes in as an
    argument of a method, so that tests hand in their own.
    """

    measures: ClassVar[Mapping[str, str]] = {}
    """The measurements this kind makes, each with the HELP text of its metric."""

    needs: ClassVar[Mapping[str, str]] = {}
    """The modules of other packages that this kind imports when it looks, each with the extra that installs it."""

    @model_validator(mode="after")
    def _installed(self) -> Self:
        for module, extra in self.needs.items():
            if importlib.util.find_spec(module) is None:
                raise ValueError(f"needs the package {module}: install health-exporter[{extra}]")
        return self

    @property
    def target(self) -> str:
        """What is looked at, for people and the label `target`: no credentials and no query string."""
        return ""

    @abstractmethod
    def probe(self, deadline: Deadline) -> Outcome:
        """Look once, and return what it concludes with the numbers it saw, before the deadline.

        Raises ProbeError, or anything else, only when it could not look.
        """

    def liveness_risk(self) -> str | None:
        """Why a restart of the application would not cure a failure of this probe, if that is so."""
        return None

    def __eq__(self, other: object) -> bool:
        """Alike when configured alike: what is under way does not count, and a reload keeps such a probe."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), self.model_dump_json()))

    def close(self) -> None:
        """Give up what is under way: the check is removed or the exporter ends."""


@dataclass(frozen=True, slots=True)
class Check:
    """One configured thing to watch."""

    spec: Spec
    probe: Probe


@cache
def kinds() -> Mapping[str, type[Probe]]:
    """Every kind by its name. Raises TypeError, naming the file, where a file in `probes/` holds no kind."""
    found = {}
    for entry in sorted(pkgutil.iter_modules(probes.__path__), key=lambda entry: entry.name):
        module = importlib.import_module(f"{probes.__name__}.{entry.name}")
        own = [
            each
            for each in vars(module).values()
            if isinstance(each, type) and issubclass(each, Probe) and each.__module__ == module.__name__
        ]
        if len(own) != 1:
            raise TypeError(f"{module.__file__}: a kind's file holds exactly one Probe, this one holds {len(own)}")
        found[to_camel(entry.name)] = own[0]
    return found
