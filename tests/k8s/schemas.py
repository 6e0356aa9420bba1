"""Validation of objects as an API server does it."""

from functools import cache
from typing import Any

from kubernetes_validate import ValidationError, utils

__all__ = ["ValidationError", "validate"]

# Without this, each object takes a few hundredths of a second of CPU time, for megabytes of JSON.
utils.schema_contents = cache(utils.schema_contents)


def validate(object_: dict[str, Any], version: str = "1.37") -> None:
    """Raise a ValidationError if a Kubernetes of this version would reject the object."""
    utils.validate(object_, version, strict=True)
