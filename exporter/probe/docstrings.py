"""The docstring under a class's field, which Python forgets: read from the source when somebody asks for it.

pydantic reads it too (`use_attribute_docstrings`), but of every class at its import: a tenth of a second and half a MiB
of each start, for what only the JSON Schema shows.
"""

import ast
import inspect
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel


def describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Add to a model's JSON Schema what its source says of its fields: a model's `json_schema_extra`."""
    said = {name: text for cls in reversed(model.__mro__) for name, text in _said(cls).items()}
    for name, field in model.model_fields.items():
        if name in said:
            schema["properties"][field.alias or name].setdefault("description", said[name])


def _said(cls: type) -> dict[str, str]:
    """The text under each field that this class itself declares."""
    if cls is BaseModel or not issubclass(cls, BaseModel):
        return {}
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):  # made at run time, from classes whose source is asked next
        return {}
    (declared,) = ast.parse(dedent(source)).body
    assert isinstance(declared, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(declared.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
