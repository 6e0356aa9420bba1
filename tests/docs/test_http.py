"""docs/http.md lists the paths, parameters and statuses of docs/openapi.yaml."""

import re
from itertools import chain
from pathlib import Path

import yaml

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "http.md").read_text()
OPENAPI = yaml.safe_load((DOCS / "openapi.yaml").read_text())
OPERATIONS = [(item, item[method]) for item in OPENAPI["paths"].values() for method in item.keys() & {"get", "post"}]
SHORT = {f"/{group}/{{check}}" for group in ("readyz", "startupz", "healthz")}
"""Paths that the page does not repeat: "and the same for the other three"."""


def list_cells(section: str, pattern: str) -> set[str]:
    """What the first cells of a section's table have of this pattern."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)[1:]
    return {*chain.from_iterable(re.findall(pattern, cell) for cell in cells)}


def test_the_page_lists_every_path():
    assert list_cells("Paths", r"`(/\S*)`") == OPENAPI["paths"].keys() - SHORT


def test_the_page_lists_every_parameter():
    known = OPENAPI["components"]["parameters"]
    parameters = [
        known[parameter["$ref"].rpartition("/")[2]] if "$ref" in parameter else parameter
        for item, _ in OPERATIONS
        for parameter in item.get("parameters", [])
    ]

    queries = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}

    assert list_cells("Parameters", r"`(\S+)`") == queries


def test_the_page_lists_every_status():
    statuses = {status for _, operation in OPERATIONS for status in operation["responses"]}

    assert list_cells("Statuses", r"\d+") == {*statuses, "405"}  # of a method, and so of no operation
