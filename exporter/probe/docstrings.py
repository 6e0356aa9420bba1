"""Docstrings under the fields of a class, which Python discards: read from the source when the JSON Schema is made.

pydantic can read them too (`use_attribute_docstrings`), but it does so for every class on import. That would add a
tenth of a second and half a MiB to each start, for texts that only the JSON Schema needs.
"""

import ast
import inspect
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel


def describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Add the docstrings of a model's fields to its JSON Schema. This is the `json_schema_extra` of a model."""
    texts = {name: text for cls in reversed(model.__mro__) for name, text in _read_docstrings(cls).items()}
    for name, field in model.model_fields.items():
        if name in texts:
            schema["properties"][field.alias or name].setdefault("description", texts[name])


def _read_docstrings(cls: type) -> dict[str, str]:
    """Return the text under each field that this class itself declares, by the field's name."""
    if cls is BaseModel or not issubclass(cls, BaseModel):
        return {}
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):  # created at run time; its base classes have the source
        return {}
    (definition,) = ast.parse(dedent(source)).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
