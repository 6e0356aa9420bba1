"""The options of a kind: their base class, and the field types that several kinds share."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, core_schema

from exporter.probe import docstrings
from exporter.redaction import describe


class Options(BaseModel):
    """A piece of configuration: its keys are camelCase, unknown keys are invalid, and it never changes once loaded.

    An error does not show the value, which may be a secret in the wrong place.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_extra=docstrings.describe,
        hide_input_in_errors=True,
    )


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a text must be spelled: a pattern for the JSON Schema, and the rule in words for people.

    Use it as `Annotated[str, Spelling(pattern, rule)]`; the rule completes "NAME must be ...".
    """

    pattern: str
    rule: str

    def fits(self, text: str) -> bool:
        """Return whether the whole text matches the pattern."""
        return re.fullmatch(self.pattern, text) is not None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, text: str) -> str:
        if not self.fits(text):
            raise PydanticCustomError("spelling", "{rule}", {"rule": self.rule})
        return text


def _reject_port_name(port: Any) -> Any:
    """Raise an error for a name: names of ports are defined in the pod's manifest, which the exporter cannot read."""
    if isinstance(port, str):
        why = "remove the quotes" if port.isdigit() else "only the kubelet knows the names of ports"
        text = "must be a whole number, not {port}: {why}"
        raise PydanticCustomError("verbatim", text, {"port": describe(port), "why": why})
    return port


Port = Annotated[int, Field(ge=1, le=65535, strict=True), BeforeValidator(_reject_port_name)]
"""A TCP or UDP port, by number."""
HOST = Spelling(
    r"^(?=.{1,254}$)[^\s/@?#\[\].]{1,63}(\.[^\s/@?#\[\].]{1,63})*\.?$",
    "must be a name or an address: no scheme, port, brackets or empty label",
)
Host = Annotated[str, HOST]
"""A host name or an IP address."""
Ratio = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
"""A share of a whole, or a load per CPU; 1 is all of it."""
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
"""A duration above zero."""
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""Any finite number, such as a limit for a query's value."""
Count = Annotated[int, Field(strict=True, ge=0)]
"""A whole number of things, such as bytes or processes."""
PositiveCount = Annotated[int, Field(strict=True, gt=0)]
"""A whole number above zero, for upper limits that any value would reach if they were 0."""
Text = Annotated[str, Field(min_length=1)]
"""A text that is not empty."""


def find_host_risk(host: str) -> str | None:
    """Return why a liveness check of this host is risky; None for the pod's own loopback, which a restart can fix."""
    if host in ("localhost", "::1") or host.startswith("127."):
        return None
    return "the target is on a different host; restarting this application cannot fix it"
