"""docs/json.md and docs/schemas describe every field of every JSON document, and no field that does not exist."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import jsonschema
import pytest
from make import FAIL, PASS, UNKNOWN, check
from stage import Stage, served

from exporter.evaluation.history import Event
from exporter.model import Reason, Status

DOCS = Path(__file__).parents[2] / "docs"
GOLDEN = Path(__file__).parents[1] / "render"
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (DOCS / "schemas").glob("*.json")}
CONFIG = "checks: [{name: a, exec: {command: ['true']}}, {name: b, exec: {command: ['false']}}]\n"


def make_files() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("documents", DOCS / "documents.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make()


def close(schema: Any) -> Any:
    """The schema without room for other fields than those it describes."""
    if isinstance(schema, list):
        return [close(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: close(inner) for name, inner in schema.items()}
    return {"additionalProperties": False, **closed} if "properties" in schema and "title" in schema else closed


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """An exporter with a past, and checks with everything that a document can have of one."""
    made = Stage()
    with served(made.dispatch()) as made.url:
        made.store.note(Event.REJECTED, "health.yml:1: checks: is required")
        details = {"owner": "shop", "description": "The front page.", "runbook_url": "https://runbooks.example/api"}
        made.watch(check(failure_threshold=1, **details), check("web", depends_on=("api",)))
        for name, outcome in (("api", PASS), ("api", FAIL), ("web", UNKNOWN)):
            made.clock.advance(10)
            made.conclude(name, outcome)
        made.get("/readyz", User_Agent="kube-probe/1.31")
        yield made


def test_the_files_are_in_step_with_the_openapi_document():
    outdated = [path for path, text in make_files().items() if (DOCS / path).read_text() != text]

    assert outdated == [], "run `make docs`"


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_are_valid(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/livez?format=json", "health"),
        ("/healthz?format=json", "health"),
        ("/-/healthy?format=json", "exporter"),
        ("/events?format=json&runs", "events"),
    ],
)
def test_a_response_has_no_other_fields_than_its_schema(stage, path, name):
    jsonschema.validate(json.loads(stage.get(path).body), close(SCHEMAS[name]))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("scene.*z.json")), ids=lambda path: path.name)
def test_an_example_has_no_other_fields_than_its_schema(path):
    jsonschema.validate(json.loads(path.read_text()), close(SCHEMAS["health"]))


def test_the_report_has_no_other_fields_than_its_schema(tmp_path):
    (tmp_path / "health.yml").write_text(CONFIG)
    reports = [
        commands.run("check", "--format", "json", "--config.file", tmp_path / "health.yml").stdout,
        (GOLDEN / "report.json").read_text(),
    ]
    for report in reports:
        jsonschema.validate(json.loads(report), close(SCHEMAS["check"]))


def test_the_lists_of_the_report_are_those_of_the_code():
    definitions = SCHEMAS["check"]["$defs"]

    assert (definitions["Status"]["enum"], definitions["Reason"]["enum"]) == ([*Status], [*Reason])


def test_a_field_without_description_is_found():
    document = json.loads((GOLDEN / "report.json").read_text())
    document["checks"][0]["colour"] = "red"

    with pytest.raises(jsonschema.ValidationError, match="colour"):
        jsonschema.validate(document, close(SCHEMAS["check"]))
