"""Applications and plugins import from `exporter` alone, and the documentation lists every name they can import."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

import exporter
from exporter import Deadline, Status

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted(path for folder in ("plugin", "example") for path in (ROOT / "tests" / folder).rglob("*.py"))


def snippets(page: Path) -> list[str]:
    """The Python code blocks of a page, also those inside a list."""
    blocks = re.findall(r"^( *)```python\n(.*?)^\1```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [dedent(code) for _, code in blocks]


def imports(code: str) -> Iterator[tuple[str, str]]:
    """Every import from `exporter`, as module and name."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "exporter":
            yield from ((node.module or "", alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("exporter."))


def deeper(code: str) -> list[tuple[str, str]]:
    """The imports that go past the public API."""
    return [(module, name) for module, name in imports(code) if module != "exporter" or name not in exporter.__all__]


@pytest.mark.parametrize(
    "code", ["from exporter.model import Outcome", "import exporter.model", "from exporter import model"]
)
def test_an_import_past_the_public_api_is_found(code):
    assert deeper(code)


def test_the_documentation_lists_every_public_name():
    section = (ROOT / "docs" / "library.md").read_text().partition("## Public API\n")[2]

    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(exporter.__all__)


def test_dir_lists_every_public_name():
    assert dir(exporter) == sorted(exporter.__all__)


def test_the_documentation_has_code_to_check():
    assert sum(len(list(imports(code))) for page in PAGES for code in snippets(page)) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_code_block_imports_past_the_public_api(page):
    assert [found for code in snippets(page) for found in deeper(code)] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_no_example_imports_past_the_public_api(source):
    assert deeper(source.read_text()) == []


def load_example(number: int, folder: Path) -> ModuleType:
    """The code block of the guide with this number, counted from 0, as a module."""
    path = folder / "example.py"
    path.write_text(snippets(ROOT / "docs" / "plugins.md")[number])
    spec = importlib.util.spec_from_file_location("example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_plugin_of_the_guide_works(tmp_path):
    dice = load_example(0, tmp_path)
    (tmp_path / "pips").write_text("2")

    for threshold, status in ((1, Status.PASS), (2, Status.FAIL)):
        outcome = dice.Dice(file=tmp_path / "pips", fail_pips=threshold).probe(Deadline(0))
        assert (outcome.status, outcome.measurements[0].value) == (status, 2)


def test_the_secret_of_the_guide_works(tmp_path, monkeypatch):
    token = load_example(1, tmp_path).Token.model_validate({"token": {"env": "DICE_TOKEN"}})

    for value, status in (("s3cret", Status.PASS), ("", Status.FAIL)):
        monkeypatch.setenv("DICE_TOKEN", value)
        assert token.probe(Deadline(0)).status == status
