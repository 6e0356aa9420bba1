"""`$(NAME)` in a host, a path or a URL: the value of an environment variable, as in the command of a manifest.

The exporter replaces it once, when it loads the configuration. The document keeps the text as it is written.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import AfterValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from exporter.redaction import describe

# As in Kubernetes (third_party/forked/golang/expansion), `$$(NAME)` is the text `$(NAME)`. Beyond that, a `$` stays as
# it is, so that every other path is the one that the kubelet requests.
_NAME = r"[A-Za-z_][-.A-Za-z0-9_]*"
_REFERENCE = re.compile(rf"\$(\$?)\(({_NAME})\)")
# How variables are usually named. Another name may be a secret in the wrong place.
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
REFERRING = rf"(?:.*[^$])?\$\({_NAME}\).*"
"""The pattern of a text that refers to a variable, for the JSON Schema."""

ASSUMED = "1"
"""The assumed value of a variable. It fits everywhere in a URL, as a name or as a port."""
_T = TypeVar("_T", str, Path)


class AssumedEnvironment(dict[str, str]):
    """The environment of another machine, for `validate`: variables that are not set here are ASSUMED."""

    def __missing__(self, _: str) -> str:
        return ASSUMED


def show_variable(name: str) -> str:
    """Return the name of a variable for a message; of a name that may be a secret, only the length."""
    return name if _VARIABLE.fullmatch(name) else f"({describe(name)})"


def find_unset(text: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of the variables in a text that are not set."""
    for match in _REFERENCE.finditer(text):
        if not match[1] and match[2] not in environment:
            yield match[2]


def explain_unset(names: Iterable[str], where: str = "") -> str:
    """Return the message about variables that are not set."""
    shown = [show_variable(name) for name in dict.fromkeys(names)]
    subject = "the environment variable" if len(shown) == 1 else "the environment variables"
    return f"{subject} {', '.join(shown)} {'is' if len(shown) == 1 else 'are'} not set{where}"


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return the text with the values of its variables. Raises KeyError for one that is not set."""
    return _REFERENCE.sub(lambda match: match[0][1:] if match[1] else environment[match[2]], text)


def _expand(value: _T, info: ValidationInfo) -> _T:
    """Return the text or the path with its references resolved, in the environment of the validation's context."""
    environment: Mapping[str, str] = os.environ if info.context is None else info.context
    text = str(value)
    if not isinstance(environment, AssumedEnvironment) and (unset := list(find_unset(text, environment))):
        raise PydanticCustomError("unset_variable", "{message}", {"message": explain_unset(unset)})
    return type(value)(expand(text, environment))


EXPANDED = AfterValidator(_expand)
"""Marks the type of an option whose text may contain `$(NAME)`. Validators after it see the value."""
