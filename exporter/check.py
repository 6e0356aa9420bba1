"""Check, the thing to watch, and Probe, the way of looking, which every kind extends.

A kind is one file in `exporter/probes/`: `http_get.py` holds the kind `httpGet`. Nothing lists the kinds;
`kinds()` finds them.
"""

import importlib
import importlib.metadata
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, core_schema

from exporter import probes
from exporter.manual import describe
from exporter.model import Deadline, Outcome, Spec

FUNCTION = "function"
"""The kind of a check that is a function of an application. No other kind may have the name."""
PLUGINS = "health_exporter.probes"
"""The group of entry points by which another package adds kinds: each the kind's name and its Probe."""

LATENCY = {
    "endpoint_latency_seconds": "Seconds the endpoint took to answer in the latest run, name resolution included."
}


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a text must be spelt: a pattern for the JSON Schema, and the rule in words for people."""

    pattern: str
    rule: str

    def fits(self, text: str) -> bool:
        """Whether the whole text is spelt so."""
        return re.fullmatch(self.pattern, text) is not None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}

    def _checked(self, text: str) -> str:
        if not self.fits(text):
            raise PydanticCustomError("spelling", "{rule}", {"rule": self.rule})
        return text


def _numbered(port: Any) -> Any:
    """Kubernetes' port names belong to a container's manifest, which the exporter does not have."""
    if isinstance(port, str):
        why = "numbers stand without quotes" if port.isdigit() else "only the kubelet knows the names of ports"
        text = "must be a whole number, not {port}: {why}"
        raise PydanticCustomError("verbatim", text, {"port": repr(port), "why": why})
    return port


Port = Annotated[int, Field(ge=1, le=65535, strict=True), BeforeValidator(_numbered)]
Host = Annotated[str, Spelling(r"^[^\s/@?#\[\]]+$", "must be a name or an address, with no scheme, port or brackets")]
Ratio = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
"""A part of a whole, or a load per CPU; 1 is all of it."""


def require(module: str, extra: str) -> Any:
    """A module that only an extra installs. Raises ValueError, with what to install, where it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(f"needs the package {module}: install health-exporter[{extra}]") from None


def endpoint(host: str, port: int) -> str:
    """Where an endpoint is, for people: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def elsewhere(host: str) -> str | None:
    """The liveness risk of looking at this host: none when it is the pod's own loopback."""
    if host in ("localhost", "::1") or host.startswith("127."):
        return None
    return f"{host} is another host: a restart here does not mend it"


class KindError(Exception):
    """A kind that cannot be used. It stops the start, and the message names it."""


class Options(BaseModel):
    """A piece of configuration: camelCase keys, unknown keys refused, never changed after loading."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, json_schema_extra=describe
    )


class Probe(Options, ABC):
    """One way of looking. Its fields are its settings, its docstring is its manual, its file is its kind.

    The field docstrings go into the JSON Schema. What the outside world gives (a folder, a clock) comes in as an
    argument of a method, so that tests hand in their own.
    """

    measures: ClassVar[Mapping[str, str]] = {}
    """The measurements this kind makes, each with the HELP text of its metric."""

    examples: ClassVar[Sequence[str]] = ()
    """Checks of this kind for the manual, each an item of `checks` in YAML. A test loads them."""
    needs: ClassVar[Mapping[str, str]] = {}
    """The modules of other packages that this kind imports when it looks, each with the extra that installs it."""

    @model_validator(mode="after")
    def _installed(self) -> Self:
        for module, extra in self.needs.items():
            require(module, extra)
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
    """Every kind by its name: those in `probes/`, and those of other packages (entry points `health_exporter.probes`).

    Raises KindError for one that is none: a check that silently disappears would be worse than no start.
    """
    found = {to_camel(entry.name): _own(entry.name) for entry in pkgutil.iter_modules(probes.__path__)}
    for plugin in importlib.metadata.entry_points(group=PLUGINS):
        if plugin.name in found or plugin.name == FUNCTION:
            raise KindError(f"the plugin {plugin.value}: the kind {plugin.name} is there already")
        found[plugin.name] = _foreign(plugin)
    return dict(sorted(found.items()))


def _own(name: str) -> type[Probe]:
    module = importlib.import_module(f"{probes.__name__}.{name}")
    own = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Probe) and each.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise KindError(f"{module.__file__}: a kind's file holds exactly one Probe, this one holds {len(own)}")
    return own[0]


def _foreign(plugin: importlib.metadata.EntryPoint) -> type[Probe]:
    package = f"{plugin.dist.name} {plugin.dist.version}" if plugin.dist else "an unknown package"
    try:
        kind = plugin.load()
    except Exception as error:
        raise KindError(
            f"the kind {plugin.name} of {package} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Probe)):
        raise KindError(f"the kind {plugin.name} of {package} is no Probe: {plugin.value}")
    return kind
