"""docs/openapi.yaml describes exactly the paths of the exporter, and every response is as it says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from stage import Stage, exchange, served
from support import Exporter, ended, eventually, unavailable

from exporter.evaluation.history import Event
from exporter.keeper.answers import PATHS, Request, respond
from exporter.model import Group, Reason, Severity, Status

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.yaml"
SCHEMATHESIS = Path(f"{sys.prefix}-tools", "bin", "schemathesis")
METHODS = {"get", "head", "post", "put", "delete", "options", "patch", "trace"}
CHECKS = (
    "status_code_conformance",  # also finds a 5xx that is not documented
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",  # 405 with Allow
)
CONFIG = """
checks:
  - {name: web, exec: {command: ["true"]}, groups: [liveness, readiness, startup], periodSeconds: 1}
  - {name: slow, exec: {command: [sleep, "60"]}, groups: [], periodSeconds: 1, failureThreshold: 1}
  - {name: machine, loadAverage: {failRatio: 1000}, dependsOn: [slow], groups: []}
"""


REFUSED = {
    400: b"GET /livez HTTP/1.1\r\n\r\n",
    431: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Y: " + b"z" * 20_000 + b"\r\n\r\n",
    501: b"GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n",
    505: b"GET /livez HTTP/1.2\r\nHost: x\r\n\r\n",
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return yaml.safe_load(DOCUMENT.read_text())


def list_routes() -> dict[str, set[str]]:
    """The methods of every path that the exporter serves, with `check` as the name of a path's parameter."""
    flask = Stage().app(reload=lambda: None).__self__
    rules = flask.url_map.iter_rules()
    return {rule.rule.replace("<name>", "{check}"): {method.lower() for method in rule.methods} for rule in rules}


def test_it_describes_every_path_and_method_and_no_others(document):
    described = {path: METHODS & item.keys() for path, item in document["paths"].items()}

    assert described == list_routes()


def test_its_lists_are_those_of_the_code(document):
    schemas = document["components"]["schemas"]

    assert schemas["Status"]["enum"] == [*Status]
    assert schemas["Reason"]["enum"] == [*Reason]
    assert schemas["Event"]["properties"]["type"]["enum"] == ["transition", "answered", "runs", *Event]
    assert schemas["Health"]["properties"]["group"]["enum"] == [*Group]
    assert schemas["Check"]["properties"]["severity"]["enum"] == [*Severity]


def test_every_response_says_what_its_body_is(document):
    components = document["components"]["responses"]
    operations = [item[method] for item in document["paths"].values() for method in METHODS & item.keys()]
    responses = [
        response for operation in operations for status, response in operation["responses"].items() if status != "304"
    ]
    resolved = [
        components[response["$ref"].rpartition("/")[2]] if "$ref" in response else response for response in responses
    ]

    assert all(response["content"] for response in resolved)


@pytest.mark.parametrize("status", REFUSED)
def test_every_operation_has_the_statuses_of_requests_that_are_not_valid(document, status):
    with served(Stage().dispatch()) as url:
        head = exchange(url, REFUSED[status]).partition(b"\r\n\r\n")[0].decode()
    operations = [item[method] for item in document["paths"].values() for method in METHODS & item.keys()]
    (name,) = {operation["responses"].get(str(status), {}).get("$ref") for operation in operations}
    described = document["components"]["responses"][name.rpartition("/")[2]]

    assert head.startswith(f"HTTP/1.1 {status} ")
    assert {name.lower() for name in described["headers"]} < {line.partition(":")[0] for line in head.splitlines()}


def test_a_server_follows_it_whatever_is_requested(tmp_path):
    """Schemathesis generates requests from the document, and compares each response with it."""
    if not SCHEMATHESIS.exists():
        unavailable("schemathesis is not installed (make tools)")
    config = tmp_path / "health.yml"
    config.write_text(CONFIG)
    with ended(Exporter("--web.enable-lifecycle", "--web.enable-hold", config=config)) as exporter:
        eventually(lambda: exporter.get("/livez").status == 200 and exporter.get("/healthz/slow").status == 503)
        done = run_schemathesis(exporter.url, tmp_path)

        assert done.returncode == 0, done.stdout + done.stderr
        assert "32 selected / 32 total" in done.stdout
        assert exporter.get("/livez").status == 200
        assert not [line for line in exporter.lines if "Traceback" in line]


def run_schemathesis(url: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    options = [f"--url={url}", "--generation-deterministic", "--max-examples=20", "--phases=examples,coverage,fuzzing"]
    arguments = [SCHEMATHESIS, "run", DOCUMENT, *options, f"--checks={','.join(CHECKS)}", "--no-color", "--no-shrink"]
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=300)


def test_its_schema_rejects_a_document_without_results(document):
    """A schema that accepts everything would hide an error."""
    schema = {"$ref": "#/components/schemas/Health", "components": document["components"]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"status": "pass"}, schema)


@pytest.mark.parametrize("path", PATHS)
def test_its_schema_accepts_what_the_keeper_knows(document, path):
    """Without the version, which only the worker knows, and only with the generation 0."""
    schema = {"$ref": "#/components/schemas/Health", "components": document["components"]}
    response = respond(Request(f"GET {path}?format=json HTTP/1.1".encode()), "starting")
    health = json.loads(response.partition(b"\r\n\r\n")[2])

    jsonschema.validate(health, schema)
    with pytest.raises(jsonschema.ValidationError, match="'releaseId' is a required property"):
        jsonschema.validate(health | {"generation": 1}, schema)
