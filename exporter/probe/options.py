"""The options of a kind: their base class, and the field types that several kinds share."""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, core_schema

from exporter.probe import docstrings
from exporter.probe.flaws import find_flaw, find_line_end
from exporter.probe.reference import ASSUMED, EXPANDED, REFERRING
from exporter.redaction import describe

_Path = TypeVar("_Path", str, Path)
# A character of a name: not one of a URL, a shell or YAML, and none that cannot be seen.
_CHARACTER = (
    r"""[^\s/@?#\[\]:.$(){}<>"'`,;\u00ad\u200b\u200e\u200f\u2018-\u201f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"""
)
_NAME = rf"{_CHARACTER}{{1,63}}(?:\.{_CHARACTER}{{1,63}})*\.?"
_ADDRESS = rf"(?:{_CHARACTER}*:){{2,}}(?:{_CHARACTER}|\.)*"  # of IPv6: a single colon would separate a port
_HOST = rf"^(?=.{{1,254}}$)(?:{_NAME}|{_ADDRESS})$"
_HOST_FAULTS = {
    "/": ", without a scheme or a path: write them in options of their own",
    "{{": ": render the template first",
    "[$]": "; an environment variable is written $(NAME)",
    r"^([^\s:]+|\[[^\s\]]*\]):[0-9]+$": ", without a port: write it in the option port",
    r"^\[.*\]$": ", without brackets",
}
"""What a host contains that is not part of a name or an address, each with the end of a message."""


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

    Use it as `Annotated[str, Spelling(pattern, rule)]`; the rule completes "NAME must be ...". `explain` returns what
    is wrong with a text that does not fit, if it knows more than the rule. `in_schema` is the pattern of the schema if
    the text in the file has another form than the value.
    """

    pattern: str
    rule: str
    explain: Callable[[str], str | None] = find_flaw
    in_schema: str = ""

    def fits(self, text: str) -> bool:
        """Return whether the whole text matches the pattern."""
        return re.fullmatch(self.pattern, text) is not None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.in_schema or self.pattern}

    def _check(self, text: str) -> str:
        if not self.fits(text):
            raise PydanticCustomError("spelling", "{rule}", {"rule": self.explain(text) or self.rule})
        return text


class Meaning(Enum):
    """What a text is for, as part of an option's type: `validate` finds probable mistakes by it."""

    REFERENCE = "`$(NAME)` in it is an environment variable"
    HTTP_PATH = "the path and the query of a URL"
    FILE = "the path of a file, a folder or a socket"
    INPUT = "a file that must exist when the check runs"
    VARIABLE = "the name of an environment variable"
    ARGUMENTS = "a command and its arguments"
    BLOCK = "text that may end with a line break"


def require_one_line(path: _Path) -> _Path:
    """Return the path. Raises ValueError if it contains a line break, as the text of a block scalar does."""
    text = str(path)
    if len(text.splitlines()) > 1 or find_line_end(text):
        raise ValueError(find_line_end(text) or "must be a single line")
    return path


def _explain_host(text: str) -> str | None:
    if flaw := find_flaw(text):
        return flaw
    cause = next((cause for pattern, cause in _HOST_FAULTS.items() if re.search(pattern, text)), None)
    return cause and f"must be a name or an address{cause}"


def _reject_port_name(port: Any) -> Any:
    """Raise an error for a name: names of ports are defined in the pod's manifest, which the exporter cannot read."""
    if isinstance(port, str):
        why = "remove the quotes" if port.isdigit() else "only the kubelet knows the names of ports"
        if "$" in port or "{" in port:
            why = "write the number itself, not a variable or a template"
        text = "must be a whole number, not {port}: {why}"
        raise PydanticCustomError("verbatim", text, {"port": describe(port), "why": why})
    return port


Port = Annotated[int, Field(ge=1, le=65535, strict=True), BeforeValidator(_reject_port_name)]
"""A TCP or UDP port, by number."""
HOST = Spelling(
    _HOST,
    "must be a name or an address: no scheme, port, brackets or empty label",
    _explain_host,
    rf"{_HOST}|^{REFERRING}$",
)
Host = Annotated[str, Meaning.REFERENCE, EXPANDED, HOST]
"""A host name or an IP address, or `$(NAME)` for that of an environment variable."""
HttpPath = Annotated[str, Meaning.REFERENCE, Meaning.HTTP_PATH, EXPANDED]
"""The path of a URL, and its query. `$(NAME)` in it is an environment variable."""
FilePath = Annotated[
    str, Field(min_length=1), Meaning.REFERENCE, Meaning.FILE, EXPANDED, AfterValidator(require_one_line)
]
"""The path of a file to look at. `$(NAME)` in it is an environment variable."""
InputFile = Annotated[Path, Meaning.REFERENCE, Meaning.FILE, Meaning.INPUT, EXPANDED, AfterValidator(require_one_line)]
"""The path of a file that a run reads, such as a certificate. `$(NAME)` in it is an environment variable."""
Variable = Annotated[
    str,
    Meaning.VARIABLE,
    Spelling(
        r"^[A-Za-z_][-.A-Za-z0-9_]*$",
        "must be the name of an environment variable, such as DB_PASSWORD, without $, braces or spaces",
    ),
]
"""The name of an environment variable of the exporter."""
HeaderName = Annotated[str, Spelling(r"^[-A-Za-z0-9]+$", "must be letters, digits and '-'")]
"""The name of an HTTP header."""
Arguments = Annotated[tuple[str, ...], Field(min_length=1), Meaning.ARGUMENTS]
"""A program and its arguments, without a shell. The kind itself replaces `$(NAME)`."""
Block = Annotated[str, Meaning.BLOCK]
"""A text that may have several lines, such as the body of a request."""
Query = Annotated[str, Field(min_length=1), Meaning.BLOCK]
"""A query for a database, or another text to send that is not empty."""
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


class HttpHeader(Options):
    """A request header. Repeated names are sent repeatedly; an empty User-Agent or Accept is not sent."""

    name: HeaderName
    """Name of the header."""
    value: str = ""
    """Value of the header."""


def find_host_risk(host: str) -> str | None:
    """Return why a liveness check of this host is risky; None for an address of the pod, which a restart can fix."""
    if host == ASSUMED or is_loopback(host) or is_own_address(host):
        return None
    return "the target is on a different host; restarting this application cannot fix it"


def is_loopback(host: str) -> bool:
    """Return whether this is `localhost` or an address of loopback."""
    import ipaddress  # only advice needs it

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_own_address(host: str) -> bool:
    """Return whether this is an IP address of the machine or the pod: only then can a socket be bound to it."""
    import ipaddress  # only advice needs it

    try:
        address = ipaddress.ip_address(host)
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((host, 0))
    except (ValueError, OSError):
        return False
    return True
