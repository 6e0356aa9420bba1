"""The JSON Schema of the configuration: it accepts and refuses the same files as the exporter."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from config.canaries import read_schema
from config.loading import complaints_about, find_complaints
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from exporter.config.checks import build_model
from exporter.config.document import Document
from exporter.kinds import kinds

GOOD = Path(__file__).parents[1] / "good"


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(read_schema())


def test_the_schema_is_valid():
    Draft202012Validator.check_schema(read_schema())


def test_every_property_of_the_schema_has_a_description():
    definitions = {"": read_schema(), **read_schema()["$defs"]}
    options = {
        f"{name}.{key}": option
        for name, definition in definitions.items()
        for key, option in definition.get("properties", {}).items()
    }

    assert options
    assert [name for name, option in options.items() if not option.get("description")] == []


def test_the_schema_repeats_no_name_as_a_title():
    assert re.findall(r"'title': '[^']*'", str(read_schema())) == ["'title': 'health-exporter'"]


@pytest.mark.parametrize("path", sorted(GOOD.iterdir()), ids=lambda path: path.stem)
def test_the_schema_accepts_every_good_file(path):
    assert [error.message for error in validator().iter_errors(Document.read(path).data)] == []


NOT_IN_A_SCHEMA = {
    "the name is already used by the check on line": [{"name": "a", "disk": {}}, {"name": "a", "disk": {}}],
    "must be 1 for a check in the group": [{"name": "a", "disk": {}, "successThreshold": 2, "groups": ["startup"]}],
    "must be at least periodSeconds": [{"name": "a", "disk": {}, "staleAfterSeconds": 9}],
    "must be in ascending order": [{"name": "a", "disk": {}, "latencyBuckets": [2, 1]}],
    "no check has this name": [{"name": "a", "disk": {}, "dependsOn": ["b"]}],
    "a check cannot depend on itself|is part of a cycle: ": [{"name": "a", "disk": {}, "dependsOn": ["a"]}],
    "the environment variables? .* not set": [{"name": "a", "tcpSocket": {"host": "$(A)", "port": 1}}],
    "must be a whole number, not 10.0": [{"name": "a", "disk": {}, "periodSeconds": 10.0}],
}
"""Complaints about rules that JSON Schema cannot express (to it, 10.0 is a whole number), each with an example."""


def value_errors(data: Any) -> list[str]:
    """Messages of the kinds' own validators: about several options together, or texts with a grammar."""
    try:
        build_model().model_validate_json(json.dumps(data), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        errors = error.errors()
        return [detail["msg"].removeprefix("Value error, ") for detail in errors if detail["type"] == "value_error"]
    return []


WORDS = st.sampled_from(
    ["", "a", "api", "a b", "-", "liveness", "startup", "all", "info", "HTTPS", "1m", "8080", "x" * 64]
)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2, 9, 10, 99, 100, 999, 1000, 65535, 65536, 2**31 - 1, 2**31, 10**30]),
    st.sampled_from([-0.5, 0.5, 1.5]),
    WORDS,
    st.sampled_from(["5", "0.5", "true", "10s"]),
    st.lists(WORDS, max_size=2),
    st.builds(dict),
)


def values_of(part: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a part of the schema describes."""
    match part:
        case {"$ref": reference}:
            return values_of(document["$defs"][reference.rpartition("/")[2]], document)
        case {"anyOf": parts} | {"oneOf": parts} if "properties" not in part:
            return st.one_of([values_of(alternative, document) for alternative in parts])
        case {"enum": values}:
            return st.sampled_from(values)
        case {"const": value}:
            return st.just(value)
        case {"type": "object"}:
            return objects(part, document)
        case {"type": "array"}:
            return st.lists(values_of(part.get("items", {}), document), min_size=part.get("minItems", 0), max_size=3)
        case {"type": "string", "pattern": pattern}:
            # Unlike in JSON Schema, `$` in Python also matches before a final line feed.
            return st.from_regex(pattern, fullmatch=True).filter(lambda text: not text.endswith("\n"))
        case {"type": "string"}:
            return WORDS.filter(lambda text: len(text) >= part.get("minLength", 0))
        case {"type": "integer"}:
            return st.integers(part.get("minimum", -5), part.get("maximum", 5))
        case {"type": "number"}:
            return st.floats(0.01, 5)
        case {"type": "boolean"}:
            return st.booleans()
    return ANYTHING


def objects(part: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Mappings with all required keys and, where the schema has `oneOf`, exactly one of its keys."""
    properties = {key: values_of(value, document) for key, value in part.get("properties", {}).items()}
    required = {key: properties.pop(key) for key in part.get("required", ())}
    choices = [(choice["required"][0], properties.pop(choice["required"][0])) for choice in part.get("oneOf", ())]
    plain = st.fixed_dictionaries(required, optional=properties)
    if not choices:
        return plain
    return st.sampled_from(choices).flatmap(
        lambda kind: st.builds(lambda base, options: {**base, kind[0]: options}, plain, kind[1])
    )


@st.composite
def mutated(draw: st.DrawFn, whole: st.SearchStrategy[Any]) -> Any:
    """A configuration in which up to three places are changed, renamed, removed or added."""
    data = draw(whole)
    for _ in range(draw(st.integers(0, 3))):
        places = list(places_in(data))
        holder, key = draw(st.sampled_from(places)) if places else (None, None)
        if holder is None:
            return draw(ANYTHING)
        match draw(st.sampled_from(["replace", "replace", "rename", "remove", "add"])):
            case "replace":
                holder[key] = draw(ANYTHING)
            case "remove":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key)] = holder.pop(key)
            case "add" if isinstance(holder, dict):
                holder[draw(st.sampled_from(["port", "disk", "name", "colour", "failRatio", "groups"]))] = draw(
                    ANYTHING
                )
    return data


def places_in(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in the data, as a container and a key of it."""
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        yield data, key
        yield from places_in(value)


MUTATED = st.deferred(lambda: mutated(values_of(read_schema(), read_schema())))


@settings(suppress_health_check=list(HealthCheck))
@given(data=MUTATED)
def test_the_schema_and_the_loader_agree(data):
    not_in_a_schema = re.compile("|".join([*NOT_IN_A_SCHEMA, *map(re.escape, value_errors(data))]))
    complaints = [message for message in complaints_about(data) if not not_in_a_schema.match(message)]

    assert validator().is_valid(data) is (complaints == [])


@pytest.mark.parametrize("kind", kinds())
def test_an_option_refuses_a_scalar_of_another_type_as_the_schema_does(kind):
    """A number in quotes is text, and `yes` is not true."""
    (example,) = Document.parse(kinds()[kind].examples[0].encode(), "example").data
    for option in read_schema()["$defs"][kinds()[kind].__name__]["properties"]:
        for value in ("5", "true", "yes", True, 5, 0.5):
            data = {"checks": [{**example, kind: {**example[kind], option: value}}]}
            if not validator().is_valid(data):
                assert complaints_about(data), f"{option}: {value!r}"


@settings(suppress_health_check=list(HealthCheck))
@given(data=MUTATED)
def test_the_path_of_a_complaint_is_in_the_file(data):
    """Or its parent is, if something is missing there."""
    places = {(): data}
    for holder, key in places_in(data):
        (path,) = [path for path, value in places.items() if value is holder]
        places[(*path, key)] = holder[key]
    for complaint in find_complaints(data):
        missing = complaint.message == "is required"
        assert (complaint.path[:-1] if missing else complaint.path) in places


@pytest.mark.parametrize("message", NOT_IN_A_SCHEMA)
def test_the_exporter_checks_what_a_schema_cannot_express(message):
    data = {"checks": NOT_IN_A_SCHEMA[message]}

    assert validator().is_valid(data)
    assert [re.match(message, complaint) is not None for complaint in complaints_about(data)] == [True]
