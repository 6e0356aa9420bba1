"""The JSON Schema of the configuration file."""

import inspect
from typing import Any

from exporter.config.checks import build_model
from exporter.kinds import kinds


def build_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, for editors."""
    document = build_model().model_json_schema()
    check = document["$defs"]["Check"]
    check["oneOf"] = [{"required": [kind]} for kind in kinds()]
    for kind, probe in kinds().items():  # pydantic allows null, which no file may have as a kind
        options = next(option for option in check["properties"][kind]["anyOf"] if "$ref" in option)
        check["properties"][kind] = {**options, "description": (inspect.getdoc(probe) or kind).splitlines()[0]}
    del check["properties"]["groups"]["uniqueItems"]  # a group that is listed twice is harmless
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "health-exporter",
        **_remove_titles(document),
    }


def _remove_titles(schema: Any) -> Any:
    """Without pydantic's titles, which only repeat the names."""
    if isinstance(schema, list):
        return [_remove_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _remove_titles(value) for key, value in schema.items() if key != "title" or isinstance(value, dict)}
